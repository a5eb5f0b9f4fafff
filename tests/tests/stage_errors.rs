//! Every way in which a stage refuses or fails a batch, and that it is as it
//! was before: the same batch, mended or tried again, gives the same bits.

use outrigger_kernels::team::Team;
use outrigger_runtime::{
    kv::{KvConfig, KvError, KvSnapshot, SequenceId},
    model::Model,
    stage::{
        Batch, Completion, CpuStage, Pipeline, PipelineError, Recovery, Refused, Span, Stage,
        StageError, Ticket,
    },
    transcript::Class,
};
use outrigger_tests::{
    local::{Options, load, logits, pipeline},
    stages::{Gate, batch, bits, feed, kv_config, reference_file, stage, tokens},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

const A: SequenceId = SequenceId(4);
const B: SequenceId = SequenceId(5);
const G: Class = Class::Generated;
const LONG: Duration = Duration::from_secs(60);

struct Bench {
    model: Arc<Model>,
    team: Arc<Team>,
    options: Options,
}

impl Bench {
    fn new(name: &str, format: &str) -> Self {
        let options = Options::default();
        Self {
            model: load(&reference_file(name, format), &options),
            team: Arc::new(Team::new(2).unwrap()),
            options,
        }
    }

    fn kv(&self) -> KvConfig {
        kv_config(&self.model, 0..self.layers(), &self.options)
    }

    fn layers(&self) -> usize {
        self.model.layers.len()
    }

    /// A stage of the whole model with this cache.
    fn whole(&self, kv: KvConfig) -> CpuStage {
        let span = Span::whole(self.layers());
        stage(&self.model, &self.team, span, kv, &self.options)
    }

    /// A stage of the model with sequence A in it.
    fn stage(&self) -> CpuStage {
        let mut stage = self.whole(self.kv());
        stage.create(A).unwrap();
        stage
    }

    /// The model before and from layer 1 on, each with a cache of its own.
    fn halves(&self, second: impl FnOnce(&mut KvConfig)) -> (CpuStage, CpuStage) {
        let layers = self.layers();
        let make = |range: std::ops::Range<usize>, change: Option<&mut KvConfig>| {
            let kv = kv_config(&self.model, range.clone(), &self.options);
            let kv = change.map_or(kv, |kv| *kv);
            let span = Span {
                embed: range.start == 0,
                head: range.end == layers,
                layers: range,
            };
            stage(&self.model, &self.team, span, kv, &self.options)
        };
        let mut kv = kv_config(&self.model, 1..layers, &self.options);
        second(&mut kv);
        (make(0..1, None), make(1..layers, Some(&mut kv)))
    }
}

fn bench() -> Bench {
    Bench::new("llama3-rope", "Q8_0")
}

fn output(batch: &Batch) -> Vec<u32> {
    batch.output.iter().map(|x| x.to_bits()).collect()
}

/// What a fresh stage makes of a batch.
fn wanted(bench: &Bench, mut batch: Batch) -> Vec<u32> {
    feed(&mut bench.stage(), &mut batch).unwrap();
    output(&batch)
}

/// Submits a batch that is refused; it comes back as it was.
fn refused(stage: &mut CpuStage, batch: Batch) -> StageError {
    let lens: Vec<_> = [A, B].map(|id| stage.len(id)).into();
    let refused = stage
        .submit(batch.clone())
        .expect_err("this batch is wrong");
    assert_eq!(refused.batch, batch);
    assert_eq!([A, B].map(|id| stage.len(id)), lens[..]);
    let text = refused.error.to_string();
    assert!(!text.is_empty() && !text.contains('\n'), "{text}");
    refused.error
}

#[test]
fn a_wrong_batch_is_refused_as_it_came() {
    let bench = bench();
    let mut stage = bench.stage();
    let good = batch(A, 0, G, &[1, 2, 3]);
    assert!(matches!(
        refused(&mut stage, Batch::default()),
        StageError::EmptyBatch
    ));
    let many = refused(&mut stage, batch(A, 0, G, &[1; 513]));
    let StageError::TooManyColumns { columns, max } = many else {
        panic!("{many}")
    };
    assert_eq!((columns, max), (513, 512));
    assert_eq!(many.recovery(), Recovery::Fatal);
    let mut short = good.clone();
    short.tokens.pop();
    assert!(matches!(
        refused(&mut stage, short),
        StageError::InputLength {
            found: 2,
            wanted: 3
        }
    ));
    for (columns, found, wanted) in [
        (batch(A, 1, G, &[1]), 1, 0),
        (batch(A, u32::MAX, G, &[1]), u32::MAX, 0),
    ] {
        assert!(matches!(
            refused(&mut stage, columns),
            StageError::Position { sequence: A, found: f, wanted: w } if (f, w) == (found, wanted)
        ));
    }
    let mut gap = good.clone();
    gap.columns[2].position = 3;
    assert!(matches!(
        refused(&mut stage, gap),
        StageError::Position {
            found: 3,
            wanted: 2,
            ..
        }
    ));
    let vocab = bench.model.vocab;
    for token in [vocab as u32, u32::MAX] {
        let error = refused(&mut stage, batch(A, 0, G, &[0, token]));
        assert!(
            matches!(error, StageError::UnknownToken { token: t, vocab: v } if t == token && v == vocab)
        );
        assert!(error.to_string().contains(&token.to_string()), "{error}");
    }
    assert!(matches!(
        refused(&mut stage, batch(B, 0, G, &[1])),
        StageError::Kv(KvError::Unknown(B))
    ));
    // Behind all that the stage works as if nothing had been.
    let mut again = good.clone();
    feed(&mut stage, &mut again).unwrap();
    assert_eq!(output(&again), wanted(&bench, good));
    assert!(matches!(
        refused(&mut stage, batch(A, 0, G, &[1])),
        StageError::Position {
            found: 0,
            wanted: 3,
            ..
        }
    ));
}

#[test]
fn a_stage_without_embedding_takes_whole_hidden_states() {
    let bench = bench();
    let (_, mut second) = bench.halves(|_| ());
    second.create(A).unwrap();
    let mut short = batch(A, 0, G, &[1, 2]);
    short.hidden = vec![0.0; 2 * bench.model.width - 1];
    assert!(matches!(
        refused(&mut second, short),
        StageError::InputLength { .. }
    ));
}

#[test]
fn sequences_that_are_not_there_or_there_already() {
    let mut stage = bench().stage();
    assert!(matches!(
        stage.create(A),
        Err(StageError::Kv(KvError::Exists(A)))
    ));
    assert!(stage.truncate(B, 0).is_err());
    assert!(stage.fork(B, A, 0).is_err());
    assert!(stage.fork(A, A, 0).is_err());
    assert!(stage.snapshot(B).is_err());
    assert!(matches!(
        stage.truncate(A, 1),
        Err(StageError::Kv(KvError::Beyond {
            len: 0,
            asked: 1,
            ..
        }))
    ));
    stage.release(B).unwrap();
    assert_eq!((stage.len(A), stage.len(B)), (Some(0), None));
}

#[test]
fn one_batch_at_a_time() {
    let bench = bench();
    let mut stage = bench.stage();
    let first = batch(A, 0, G, &[1, 2, 3]);
    let gate = Gate::close(&bench.team);
    let ticket = stage.submit(first.clone()).unwrap();
    let busy = refused(&mut stage, batch(A, 3, G, &[4]));
    assert!(matches!(busy, StageError::Busy { in_flight: 1 }));
    assert_eq!(busy.recovery(), Recovery::Retryable);
    // Neither may the cache change under the threads.
    for error in [
        stage.create(B).unwrap_err(),
        stage.release(A).unwrap_err(),
        stage.truncate(A, 0).unwrap_err(),
        stage.fork(A, B, 0).unwrap_err(),
        stage.snapshot(A).unwrap_err(),
    ] {
        assert!(matches!(error, StageError::Busy { .. }), "{error}");
    }
    assert_eq!(stage.len(A), Some(0), "not yet computed");
    assert!(stage.poll(ticket).is_none());
    assert!(stage.wait(ticket, Duration::from_millis(1)).is_none());
    assert!(stage.poll(Ticket(999)).is_none());
    stage.cancel(Ticket(999));
    gate.open();
    let completion = stage.wait(ticket, LONG).unwrap();
    completion.result.unwrap();
    assert_eq!(output(&completion.batch), wanted(&bench, first));
    assert!(stage.poll(ticket).is_none(), "given out once");
    assert_eq!(stage.len(A), Some(3));
}

#[test]
fn a_stage_may_be_dropped_under_way() {
    let bench = bench();
    let mut stage = bench.stage();
    stage.submit(batch(A, 0, G, &[1; 100])).unwrap();
    drop(stage);
    // The team is free for others.
    let mut stage = bench.stage();
    feed(&mut stage, &mut batch(A, 0, G, &[1])).unwrap();
}

#[test]
fn a_cancelled_batch_counts_for_nothing_and_can_be_tried_again() {
    for name in ["llama3-rope", "qwen2moe", "gemma3"] {
        let bench = Bench::new(name, "Q8_0");
        let mut stage = bench.stage();
        let (before, now) = (tokens(70, 256, 1), tokens(10, 256, 2));
        feed(&mut stage, &mut batch(A, 0, G, &before)).unwrap();
        let snapshot = stage.snapshot(A).unwrap();
        let now = batch(A, 70, G, &now);
        let gate = Gate::close(&bench.team);
        let ticket = stage.submit(now.clone()).unwrap();
        stage.cancel(ticket);
        gate.open();
        let completion = stage.wait(ticket, LONG).unwrap();
        let error = completion.result.unwrap_err();
        assert!(matches!(error, StageError::Cancelled));
        assert_eq!(error.recovery(), Recovery::Retryable);
        assert_eq!(completion.batch.columns, now.columns);
        assert_eq!(completion.batch.tokens, now.tokens);
        assert_eq!(stage.len(A), Some(70));
        assert_eq!(stage.snapshot(A).unwrap().len(), snapshot.len());
        let mut again = completion.batch;
        feed(&mut stage, &mut again).unwrap();
        stage.restore(B, &snapshot).unwrap();
        let mut other = now;
        other.columns.iter_mut().for_each(|c| c.sequence = B);
        feed(&mut stage, &mut other).unwrap();
        assert_eq!(output(&again), output(&other), "{name}");
    }
}

#[test]
fn a_cancel_at_any_moment_leaves_the_batch_done_or_undone() {
    let bench = Bench::new("starcoder2", "Q4_0");
    let ids = tokens(200, 256, 3);
    let whole = batch(A, 0, G, &ids);
    let wanted = wanted(&bench, whole.clone());
    let mut stage = bench.stage();
    let start = Instant::now();
    feed(&mut stage, &mut whole.clone()).unwrap();
    let pass = start.elapsed();
    let mut cancelled = 0;
    for part in 0..40 {
        stage.release(A).unwrap();
        stage.create(A).unwrap();
        let ticket = stage.submit(whole.clone()).unwrap();
        thread::sleep(pass * part / 32);
        stage.cancel(ticket);
        let completion = stage.wait(ticket, LONG).unwrap();
        let mut batch = completion.batch;
        match completion.result {
            Ok(()) => assert_eq!(stage.len(A), Some(200)),
            Err(StageError::Cancelled) => {
                cancelled += 1;
                assert_eq!(stage.len(A), Some(0));
                feed(&mut stage, &mut batch).unwrap();
            }
            Err(error) => panic!("{error}"),
        }
        assert!(output(&batch) == wanted);
    }
    println!("{cancelled} of 40 were cancelled");
}

#[test]
fn a_context_of_one_token_holds_one_token() {
    let mut bench = bench();
    bench.options.context = 1;
    let mut stage = bench.stage();
    let mut one = batch(A, 0, G, &[7]);
    feed(&mut stage, &mut one).unwrap();
    assert!(one.output.iter().all(|x| x.is_finite()));
    let error = refused(&mut stage, batch(A, 1, G, &[7]));
    assert!(matches!(
        error,
        StageError::Kv(KvError::ContextExceeded {
            sequence: A,
            needed: 2,
            max: 1
        })
    ));
    assert_eq!(error.recovery(), Recovery::Fatal);
    stage.truncate(A, 0).unwrap();
    let mut again = batch(A, 0, G, &[7]);
    feed(&mut stage, &mut again).unwrap();
    assert_eq!(output(&again), output(&one));
}

#[test]
fn a_batch_may_fill_the_context_and_no_more() {
    let mut bench = bench();
    bench.options.context = 100;
    let mut stage = bench.stage();
    let ids = tokens(101, 256, 4);
    let error = refused(&mut stage, batch(A, 0, G, &ids));
    assert!(matches!(
        error,
        StageError::Kv(KvError::ContextExceeded {
            needed: 101,
            max: 100,
            ..
        })
    ));
    feed(&mut stage, &mut batch(A, 0, G, &ids[..100])).unwrap();
    assert_eq!(stage.len(A), Some(100));
}

/// A cache of so many pages for each layer.
fn pages(bench: &Bench, count: usize) -> KvConfig {
    let one = Options {
        context: 64,
        sequences: 1,
        ..bench.options.clone()
    };
    // For one page of positions there is a second page, for a fork.
    let two = kv_config(&bench.model, 0..bench.layers(), &one).bytes_max;
    KvConfig {
        bytes_max: two / 2 * count,
        ..bench.kv()
    }
}

#[test]
fn a_full_cache_has_room_again_once_a_sequence_goes() {
    let bench = bench();
    let mut stage = bench.whole(pages(&bench, 3));
    stage.create(A).unwrap();
    stage.create(B).unwrap();
    feed(&mut stage, &mut batch(A, 0, G, &tokens(128, 256, 5))).unwrap();
    let second = tokens(100, 256, 6);
    let error = refused(&mut stage, batch(B, 0, G, &second));
    assert!(matches!(error, StageError::Kv(KvError::Full { .. })));
    assert_eq!(error.recovery(), Recovery::Retryable);
    stage.release(A).unwrap();
    let mut again = batch(B, 0, G, &second);
    feed(&mut stage, &mut again).unwrap();
    assert_eq!(output(&again), wanted(&bench, batch(A, 0, G, &second)));
}

#[test]
fn a_failed_batch_keeps_no_pages() {
    let bench = bench();
    let mut stage = bench.whole(pages(&bench, 3));
    stage.create(A).unwrap();
    stage.create(B).unwrap();
    // A's page is there, B's three are not.
    let mut both = batch(A, 0, G, &[1]);
    let ids = tokens(192, 256, 7);
    let other = batch(B, 0, G, &ids);
    both.columns.extend(&other.columns);
    both.tokens.extend(&other.tokens);
    let error = refused(&mut stage, both);
    assert!(matches!(error, StageError::Kv(KvError::Full { .. })));
    // Neither does one that was cancelled.
    let gate = Gate::close(&bench.team);
    let ticket = stage.submit(batch(A, 0, G, &ids)).unwrap();
    stage.cancel(ticket);
    gate.open();
    assert!(stage.wait(ticket, LONG).unwrap().result.is_err());
    feed(&mut stage, &mut batch(B, 0, G, &ids)).unwrap();
}

/// A stage that cancels each pass: before it begins, or at its first barrier.
struct Cancelling {
    inner: CpuStage,
    team: Arc<Team>,
    armed: Arc<AtomicBool>,
}

impl Stage for Cancelling {
    fn span(&self) -> &Span {
        self.inner.span()
    }
    fn width(&self) -> usize {
        self.inner.width()
    }
    fn output_len(&self) -> usize {
        self.inner.output_len()
    }
    fn columns_max(&self) -> usize {
        self.inner.columns_max()
    }
    fn in_flight_max(&self) -> usize {
        self.inner.in_flight_max()
    }
    fn kernel_set(&self) -> &str {
        self.inner.kernel_set()
    }
    fn submit(&mut self, batch: Batch) -> Result<Ticket, Box<Refused>> {
        let gate = self
            .armed
            .swap(false, Ordering::Relaxed)
            .then(|| Gate::close(&self.team));
        let ticket = self.inner.submit(batch)?;
        if gate.is_some() {
            self.inner.cancel(ticket);
        }
        Ok(ticket)
    }
    fn poll(&mut self, ticket: Ticket) -> Option<Completion> {
        self.inner.poll(ticket)
    }
    fn wait(&mut self, ticket: Ticket, at_most: Duration) -> Option<Completion> {
        self.inner.wait(ticket, at_most)
    }
    fn cancel(&mut self, ticket: Ticket) {
        self.inner.cancel(ticket);
    }
    fn create(&mut self, id: SequenceId) -> Result<(), StageError> {
        self.inner.create(id)
    }
    fn release(&mut self, id: SequenceId) -> Result<(), StageError> {
        self.inner.release(id)
    }
    fn len(&self, id: SequenceId) -> Option<u32> {
        self.inner.len(id)
    }
    fn fork(&mut self, from: SequenceId, to: SequenceId, len: u32) -> Result<u32, StageError> {
        self.inner.fork(from, to, len)
    }
    fn truncate(&mut self, id: SequenceId, len: u32) -> Result<u32, StageError> {
        self.inner.truncate(id, len)
    }
    fn snapshot(&mut self, id: SequenceId) -> Result<KvSnapshot, StageError> {
        self.inner.snapshot(id)
    }
    fn restore(&mut self, id: SequenceId, snapshot: &KvSnapshot) -> Result<(), StageError> {
        self.inner.restore(id, snapshot)
    }
}

#[test]
fn a_pass_cancelled_in_the_second_stage_is_undone_in_the_first() {
    // Mistral lets go of what is behind its window while it runs: even then a
    // long batch can be taken back.
    for (name, format, before, now) in [
        ("llama3-rope", "Q8_0", 70, 10),
        ("mistral", "F16", 40, 400),
        ("gemma3", "Q8_0", 40, 400),
    ] {
        let bench = Bench::new(name, format);
        let (first, second) = bench.halves(|_| ());
        let armed = Arc::new(AtomicBool::new(false));
        let second = Cancelling {
            inner: second,
            team: bench.team.clone(),
            armed: armed.clone(),
        };
        let mut pair = Pipeline::new(vec![Box::new(first), Box::new(second)]).unwrap();
        let mut whole = pipeline(&bench.model, &bench.options);
        let (before, now) = (tokens(before, 256, 8), tokens(now, 256, 9));
        let start = before.len() as u32;
        for pipeline in [&mut pair, &mut whole] {
            pipeline.create(A).unwrap();
            logits(pipeline, A, &before, G, 64).unwrap();
        }
        armed.store(true, Ordering::Relaxed);
        let mut batch = batch(A, start, G, &now);
        let error = pair
            .forward(&mut batch, &AtomicBool::new(false))
            .unwrap_err();
        assert!(matches!(error, StageError::Cancelled), "{error}");
        assert_eq!(pair.len(A), Some(start), "{name}");
        pair.forward(&mut batch, &AtomicBool::new(false)).unwrap();
        let found: Vec<_> = batch.output.chunks_exact(pair.vocab()).collect();
        let wanted = logits(&mut whole, A, &now, G, 512).unwrap();
        let found: Vec<_> = found.into_iter().map(<[f32]>::to_vec).collect();
        assert!(bits(&found) == bits(&wanted), "{name}");
    }
}

#[test]
fn a_second_stage_without_room_undoes_the_first() {
    let bench = bench();
    let (first, second) = bench.halves(|kv| kv.positions_max = 50);
    let mut pair = Pipeline::new(vec![Box::new(first), Box::new(second)]).unwrap();
    pair.create(A).unwrap();
    let ids = tokens(60, 256, 10);
    logits(&mut pair, A, &ids[..40], G, 40).unwrap();
    let error = logits(&mut pair, A, &ids[40..], G, 20).unwrap_err();
    assert!(matches!(
        error,
        StageError::Kv(KvError::ContextExceeded { .. })
    ));
    assert_eq!(pair.len(A), Some(40));
    let found = logits(&mut pair, A, &ids[40..50], G, 10).unwrap();
    let mut whole = pipeline(&bench.model, &bench.options);
    whole.create(A).unwrap();
    let wanted = logits(&mut whole, A, &ids[..50], G, 50).unwrap();
    assert!(bits(&found) == bits(&wanted[40..]));
}

#[test]
fn a_request_to_cancel_that_is_already_there_runs_nothing() {
    let bench = bench();
    let mut pipeline = pipeline(&bench.model, &bench.options);
    pipeline.create(A).unwrap();
    let mut batch = batch(A, 0, G, &[1, 2]);
    let error = pipeline.forward(&mut batch, &AtomicBool::new(true));
    assert!(matches!(error, Err(StageError::Cancelled)));
    assert_eq!(pipeline.len(A), Some(0));
    assert_eq!(batch.tokens, [1, 2]);
}

#[test]
fn stages_that_do_not_join_make_no_pipeline() {
    let bench = bench();
    let new = |stages: Vec<CpuStage>| {
        let stages = stages.into_iter().map(|s| Box::new(s) as Box<dyn Stage>);
        Pipeline::new(stages.collect()).map(drop)
    };
    let halves = || bench.halves(|_| ());
    assert_eq!(new(vec![]), Err(PipelineError::Ends));
    assert_eq!(new(vec![halves().0]), Err(PipelineError::Ends));
    assert_eq!(new(vec![halves().1]), Err(PipelineError::Ends));
    let (first, second) = halves();
    assert_eq!(new(vec![second, first]), Err(PipelineError::Ends));
    let (first, second) = halves();
    assert_eq!(
        new(vec![first, halves().0, second]),
        Err(PipelineError::Gap { index: 1 })
    );
    // The first layer twice.
    let span = Span {
        embed: false,
        layers: 0..1,
        head: false,
    };
    let kv = kv_config(&bench.model, 0..1, &bench.options);
    let again = stage(&bench.model, &bench.team, span, kv, &bench.options);
    let (first, second) = halves();
    assert_eq!(
        new(vec![first, again, second]),
        Err(PipelineError::Gap { index: 1 })
    );
    let (first, second) = halves();
    assert_eq!(new(vec![first, second]), Ok(()));
}
