//! A model whose middle is at a node.

use super::{
    CONTEXT, PROMPTS, generate,
    node::{Breakable, Pipes, TestNode},
    open, run_options, samplings, transcript,
};
use outrigger_offload::{
    frames::{FrameReader, Incoming},
    node::NodeLimits,
    remote::{Connect, RemoteStage, RemoteStageConfig, StageRecord},
    wire::{
        Failure, NumberFormat, OpenStage, Refused, STATES_DOWN, STATES_UP, Staged, StatesHeader,
        StatesShape, ToEdge, ToNode, encode,
    },
};
use outrigger_runtime::{
    decoder::{
        DecodeError, Decoder, Generation, GenerationOptions, LocalDecoder, LookupDraft,
        SpeculativeDecoder,
    },
    kv::{KvFormat, SequenceId},
    loaded::LoadedModel,
    sampler::SamplerParams,
    stage::{Batch, Column, Span, Stage},
    transcript::Class,
};
use std::{ops::Range, sync::atomic::AtomicBool, time::Duration};
use tokio::io::{AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};

fn config(model: &LoadedModel, layers: Range<usize>) -> RemoteStageConfig {
    RemoteStageConfig {
        layers,
        width: model.model().width,
        model: [0; 32],
        kv: KvFormat::F16,
        numbers: NumberFormat::F32,
        kernel_set: "cpu-2".into(),
    }
}

fn stage(node: &TestNode, config: RemoteStageConfig) -> RemoteStage<Pipes> {
    RemoteStage::new(node.remote(), node.runtime(), config).unwrap()
}

fn around<C: Connect>(model: &LoadedModel, stage: RemoteStage<C>) -> (LocalDecoder, StageRecord) {
    let record = stage.record();
    let options = run_options();
    let pipeline = model
        .pipeline_around(&options.team().unwrap(), &options, Box::new(stage))
        .unwrap();
    let decoder = LocalDecoder::over(pipeline, model, "split:test").unwrap();
    (decoder, record)
}

fn split(model: &LoadedModel, node: &TestNode, layers: Range<usize>) -> LocalDecoder {
    around(model, stage(node, config(model, layers))).0
}

#[test]
fn wherever_it_is_split_a_model_says_the_same() {
    let model = open();
    let layers = model.model().layers.len();
    let mut local = LocalDecoder::new(&model, &run_options()).unwrap();
    let prompts: Vec<_> = samplings()
        .into_iter()
        .zip(PROMPTS)
        .map(|(sampling, prompt)| transcript(&model, sampling, prompt))
        .collect();
    let expected: Vec<_> = (prompts.iter())
        .map(|start| generate(&model, &mut local, start, 24))
        .collect();
    for first in 0..layers {
        for end in first + 1..=layers {
            let node = TestNode::start(&model, NodeLimits::default());
            let mut split = split(&model, &node, first..end);
            assert_eq!(split.provenance().kernel_set, "cpu-2");
            for (start, expected) in prompts.iter().zip(&expected) {
                let found = generate(&model, &mut split, start, 24);
                assert_eq!(&found, expected, "{first}..{end}");
            }
        }
    }
}

#[test]
fn bytes_and_times_of_steps_are_counted() {
    let model = open();
    let node = TestNode::start(&model, NodeLimits::default());
    let (mut split, record) = around(&model, stage(&node, config(&model, 1..2)));
    let [greedy, ..] = samplings();
    let start = transcript(&model, greedy, PROMPTS[0]);
    generate(&model, &mut split, &start, 10);
    let (before, steps) = (record.traffic(), record.times().steps);
    generate(&model, &mut split, &start, 30);
    let (after, times) = (record.traffic(), record.times());
    // The prompt's last position is computed again for its logits.
    let tokens = times.steps - steps;
    assert!((28..=30).contains(&tokens), "{tokens}");
    let state = (28 + 4 * model.model().width) as u64;
    let crossed = after.since(before);
    assert_eq!((crossed.sent, crossed.received), (30 * state, 30 * state));
    assert!(times.here > Duration::ZERO && times.node > Duration::ZERO);
}

#[test]
fn split_and_local_take_over_between_any_two_tokens() {
    let model = open();
    let node = TestNode::start(&model, NodeLimits::default());
    let mut local = LocalDecoder::new(&model, &run_options()).unwrap();
    let layers = model.model().layers.len();
    let mut split = split(&model, &node, 1..layers);
    let [_, sampled, _] = samplings();
    let start = transcript(&model, sampled, PROMPTS[1]);
    let (expected, _) = generate(&model, &mut local, &start, 40);
    for every in [1, 3, 8] {
        let mut now = start.clone();
        for turn in 0.. {
            let left = expected.len() - now.len();
            if left == 0 {
                break;
            }
            let decoder: &mut dyn Decoder = match turn % 2 {
                0 => &mut split,
                _ => &mut local,
            };
            (now, _) = generate(&model, decoder, &now, every.min(left as usize));
        }
        assert_eq!(now, expected, "every {every}");
    }
}

#[test]
fn edges_that_split_alike_share_passes() {
    let model = open();
    let node = TestNode::start(&model, NodeLimits::default());
    let mut local = LocalDecoder::new(&model, &run_options()).unwrap();
    let [_, sampled, _] = samplings();
    let starts: Vec<_> = (0..4)
        .map(|i| {
            let sampling = SamplerParams {
                seed: Some(i),
                ..sampled.clone()
            };
            transcript(&model, sampling, PROMPTS[i as usize % 3])
        })
        .collect();
    let expected: Vec<_> = starts
        .iter()
        .map(|start| generate(&model, &mut local, start, 64))
        .collect();
    std::thread::scope(|scope| {
        for (start, expected) in starts.iter().zip(&expected) {
            let (model, node) = (&model, &node);
            scope.spawn(move || {
                let mut split = split(model, node, 1..model.model().layers.len());
                assert_eq!(&generate(model, &mut split, start, 64), expected);
            });
        }
    });
    let counted = node.metrics();
    let shared: u64 = counted.passes[1..].iter().sum();
    assert!(shared > 4, "no pass was shared: {counted:?}");
}

#[test]
fn guesses_cross_together_and_change_nothing() {
    let model = open();
    let node = TestNode::start(&model, NodeLimits::default());
    let mut local = LocalDecoder::new(&model, &run_options()).unwrap();
    let (target, record) = around(&model, stage(&node, config(&model, 1..3)));
    let mut split = SpeculativeDecoder::over(
        Box::new(target),
        model.tokenizer().clone(),
        Box::new(LookupDraft::new()),
        3..=7,
    )
    .unwrap();
    for sampling in samplings() {
        let start = transcript(&model, sampling, PROMPTS[1]);
        let expected = generate(&model, &mut local, &start, 48);
        assert_eq!(generate(&model, &mut split, &start, 48), expected);
    }
    let guessed = split.speculation().unwrap();
    assert!(guessed.accepted > 0, "{guessed:?}");
    // Up and down, a column for each guess.
    let state = (4 * model.model().width) as u64;
    assert!(record.traffic().sent > (3 * 48 + guessed.accepted) * state);
}

/// Generates over a link that breaks before every fifth token; returns the
/// columns that the node computed.
fn over_a_bad_link(limits: NodeLimits) -> u64 {
    let model = open();
    let node = TestNode::start(&model, limits);
    let mut local = LocalDecoder::new(&model, &run_options()).unwrap();
    let [_, sampled, _] = samplings();
    let start = transcript(&model, sampled, PROMPTS[1]);
    let (expected, _) = generate(&model, &mut local, &start, 40);

    let link = Breakable::new(&node);
    let config = config(&model, 1..3);
    let stage = RemoteStage::new(link.remote(), node.runtime(), config).unwrap();
    let (mut split, _) = around(&model, stage);
    let options = GenerationOptions {
        tokens_max: Some(40),
        ..GenerationOptions::default()
    };
    let mut generation = Generation::new(start, model.tokenizer().clone(), options).unwrap();
    for step in 0.. {
        if step % 5 == 4 {
            link.cut();
        }
        match generation.step(&mut split, &AtomicBool::new(false), &mut |_| ()) {
            Ok(step) if step.finished.is_some() => break,
            Ok(_) => {}
            // Nothing was committed, and the same may be asked again.
            Err(DecodeError::Elsewhere(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert!(link.streams() >= 8, "{}", link.streams());
    assert_eq!(generation.into_transcript(), expected);
    node.metrics().columns
}

#[test]
fn a_link_that_breaks_costs_no_token() {
    let kept = over_a_bad_link(NodeLimits::default());
    let forgotten = over_a_bad_link(NodeLimits {
        orphan: Duration::ZERO,
        ..NodeLimits::default()
    });
    // What the node has kept is not computed again.
    assert!(kept < 80 && forgotten > 160, "{kept} and {forgotten}");
}

fn nmse(found: &[f32], wanted: &[f32]) -> f64 {
    let square = |x: f64| x * x;
    let pairs = found.iter().zip(wanted);
    let error: f64 = pairs
        .map(|(&a, &b)| square(f64::from(a) - f64::from(b)))
        .sum();
    let power: f64 = wanted.iter().map(|&b| square(b.into())).sum();
    error / power
}

/// The states behind the layers of `stage`, of those in `hidden`.
fn behind(stage: &mut dyn Stage, hidden: &[f32]) -> Vec<f32> {
    let sequence = SequenceId(0);
    stage.create(sequence).unwrap();
    stage.truncate(sequence, 0).unwrap();
    run(stage, |batch| batch.hidden = hidden.to_vec())
}

fn run(stage: &mut dyn Stage, fill: impl Fn(&mut Batch)) -> Vec<f32> {
    let mut batch = Batch::default();
    fill(&mut batch);
    let columns = batch.tokens.len().max(batch.hidden.len() / stage.width());
    batch.columns = (0..columns as u32)
        .map(|position| Column {
            sequence: SequenceId(0),
            position,
            class: Class::Prompt,
            wanted: true,
        })
        .collect();
    let ticket = stage.submit(batch).unwrap();
    let completion = stage.wait(ticket, Duration::from_secs(20)).unwrap();
    completion.result.unwrap();
    completion.batch.output
}

#[test]
fn fewer_bits_are_close_and_said() {
    let model = open();
    let node = TestNode::start(&model, NodeLimits::default());
    let options = run_options();
    let team = options.team().unwrap();
    let span = Span {
        embed: true,
        layers: 0..1,
        head: false,
    };
    let mut first = model.stage_on(&team, &options, span).unwrap();
    first.create(SequenceId(0)).unwrap();
    let [greedy, ..] = samplings();
    let start = transcript(&model, greedy, PROMPTS[1]);
    let hidden = run(&mut first, |batch| batch.tokens = start.tokens().to_vec());
    let with = |numbers| RemoteStageConfig {
        numbers,
        ..config(&model, 1..3)
    };
    let exact = behind(&mut stage(&node, with(NumberFormat::F32)), &hidden);
    for (numbers, most) in [(NumberFormat::Bf16, 1e-4), (NumberFormat::Q8, 1e-3)] {
        let found = behind(&mut stage(&node, with(numbers)), &hidden);
        let error = nmse(&found, &exact);
        println!("{}: NMSE {error:.2e}", numbers.name());
        assert!(error > 0.0 && error < most, "{}: {error}", numbers.name());
        let (mut split, _) = around(&model, stage(&node, with(numbers)));
        let said = &split.provenance().kernel_set;
        assert_eq!(*said, format!("cpu-2+{}:cpu-2+cpu-2", numbers.name()));
        generate(&model, &mut split, &start, 8);
    }
}

/// The near end of a stream of states that is written by hand.
struct Hand {
    node: TestNode,
    reader: FrameReader<ReadHalf<DuplexStream>>,
    writer: WriteHalf<DuplexStream>,
    shape: StatesShape,
}

impl Hand {
    fn new(model: &LoadedModel, limits: NodeLimits) -> Self {
        let node = TestNode::start(model, limits);
        let (read, writer) = node.dial(1);
        Self {
            reader: FrameReader::new(read),
            writer,
            shape: StatesShape::new(model.model().width, NumberFormat::F32).unwrap(),
            node,
        }
    }

    /// Opens another stream, of `client`.
    fn dial(&mut self, client: u64) {
        let (read, write) = self.node.dial(client);
        (self.reader, self.writer) = (FrameReader::new(read), write);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let runtime = self.node.runtime();
        // A node that has had enough is gone.
        let _ = runtime.block_on(self.writer.write_all(bytes));
    }

    fn hear(&mut self) -> Option<Incoming<ToEdge>> {
        let heard = self.reader.read_states(STATES_DOWN, &self.shape);
        let heard = async { tokio::time::timeout(Duration::from_secs(10), heard).await };
        self.node.runtime().block_on(heard).unwrap().unwrap()
    }

    fn open(&mut self, open: OpenStage) -> Result<Staged, Refused> {
        self.bytes(&encode(&ToNode::OpenStage(open)).unwrap());
        match self.hear() {
            Some(Incoming::Message(ToEdge::Staged(staged))) => Ok(staged),
            Some(Incoming::Message(ToEdge::Refused(refused))) => Err(refused),
            other => panic!("{other:?}"),
        }
    }

    fn frame(&self, position: u32, columns: u16, value: f32) -> Vec<u8> {
        let header = StatesHeader {
            epoch: 0,
            position,
            columns,
            class: Class::Generated,
            took_us: 0,
            sharing: 0,
        };
        let mut frame = Vec::new();
        let values = vec![value; usize::from(columns) * self.shape.width];
        header.write(STATES_UP, &self.shape, &values, &mut frame);
        frame
    }

    fn failed(&mut self) -> Failure {
        match self.hear() {
            Some(Incoming::Message(ToEdge::Failed(failed))) => failed.failure,
            other => panic!("{other:?}"),
        }
    }

    fn broke(&mut self) -> String {
        match self.hear() {
            Some(Incoming::Message(ToEdge::Refused(Refused::Protocol { what }))) => what,
            other => panic!("{other:?}"),
        }
    }
}

fn ask(session: u64, layers: Range<u32>) -> OpenStage {
    OpenStage {
        session,
        model: [0; 32],
        first: layers.start,
        end: layers.end,
        numbers: NumberFormat::F32,
        kv: "f16".into(),
    }
}

#[test]
fn layers_that_are_not_given_are_refused_by_name() {
    let model = open();
    let layers = model.model().layers.len() as u32;
    let limits = NodeLimits {
        split_sessions_max: 3,
        client_sessions_max: 2,
        ..NodeLimits::default()
    };
    let mut hand = Hand::new(&model, limits);
    let mut refused = |client, open| {
        hand.dial(client);
        hand.open(open).map(|staged| staged.len)
    };
    let other = OpenStage {
        model: [1; 32],
        ..ask(1, 0..1)
    };
    assert_eq!(refused(1, other), Err(Refused::Model));
    let most = u32::MAX;
    for (start, end) in [(0, layers + 1), (2, 2), (3, 2), (most - 1, most)] {
        let range = start..end;
        assert_eq!(refused(1, ask(1, range)), Err(Refused::Layers { layers }));
    }
    let other = OpenStage {
        kv: "q8_0".into(),
        ..ask(1, 0..1)
    };
    let node = "f16".into();
    assert_eq!(refused(1, other), Err(Refused::KvFormat { node }));
    let mut alone = Hand::new(
        &model,
        NodeLimits {
            split_sessions_max: 0,
            ..limits
        },
    );
    assert_eq!(alone.open(ask(1, 0..1)), Err(Refused::Split));

    // Kept open, for a stream that ends makes room.
    let mut held = Vec::new();
    let mut refused = |client, open| {
        let mut stream = Hand {
            node: hand.node.clone(),
            reader: FrameReader::new(hand.node.dial(client).0),
            writer: hand.node.dial(client).1,
            shape: hand.shape,
        };
        stream.dial(client);
        let answer = stream.open(open).map(|staged| staged.len);
        held.push(stream);
        answer
    };
    assert_eq!(refused(1, ask(1, 0..1)), Ok(0));
    assert_eq!(refused(1, ask(2, 0..2)), Ok(0));
    let (client, all) = (Refused::Sessions { max: 2 }, Refused::Sessions { max: 3 });
    assert_eq!(refused(1, ask(3, 0..1)), Err(client));
    assert_eq!(refused(2, ask(1, 1..2)), Err(Refused::Stages { max: 2 }));
    assert_eq!(refused(2, ask(1, 0..1)), Ok(0));
    assert_eq!(refused(3, ask(1, 0..1)), Err(all));
}

#[test]
fn frames_that_do_not_fit_are_refused_by_name() {
    let model = open();
    let mut hand = Hand::new(&model, NodeLimits::default());
    let staged = hand.open(ask(1, 1..2)).unwrap();
    assert_eq!(staged.context, CONTEXT);
    assert_eq!(staged.columns_max as usize, hand.shape.columns_max);

    // NaN is a number like others, and goes on to be computed.
    let frame = hand.frame(0, 3, f32::NAN);
    hand.bytes(&frame);
    let answered = hand.hear();
    assert!(
        matches!(answered, Some(Incoming::States(h, _)) if h.columns == 3),
        "{answered:?}"
    );

    // A gap, and what is behind the context: the stream goes on.
    for (position, columns, wanted) in [(9, 1, "behind the end"), (3, 127, ""), (130, 127, "")] {
        let frame = hand.frame(position, columns, 1.0);
        hand.bytes(&frame);
        match hand.hear() {
            Some(Incoming::Message(ToEdge::Failed(failed))) => match failed.failure {
                Failure::Refused(Refused::Protocol { what }) => assert!(what.contains(wanted)),
                Failure::Refused(Refused::Context { max }) => {
                    assert_eq!((max, position), (CONTEXT, 130))
                }
                other => panic!("{other:?}"),
            },
            Some(Incoming::States(header, _)) => assert_eq!(header.position, 3),
            other => panic!("{other:?}"),
        }
    }

    // Bytes that are no frame of these states end it.
    let columns = hand.shape.columns_max as u32 + 1;
    let long = (20 + columns * 4 * hand.shape.width as u32).to_le_bytes();
    let changes: [(usize, &[u8], &str); 6] = [
        (4, &long, "longer than"),
        (4, &[24, 0, 0, 0], "take"),
        (16, &[0, 0], "0 columns"),
        (16, &[255, 255], "65535 columns"),
        (18, &[7], "no class 7"),
        (19, &[1], "bf16 where f32"),
    ];
    for (session, (at, bytes, wanted)) in (2..).zip(changes) {
        hand.dial(1);
        hand.open(ask(session, 1..2)).unwrap();
        let mut frame = hand.frame(0, 1, 1.0);
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        hand.bytes(&frame);
        let what = hand.broke();
        assert!(what.contains(wanted), "{what}");
        assert_eq!(hand.hear(), None);
        hand.dial(1);
        hand.open(ask(session, 1..2)).unwrap();
        hand.bytes(&encode(&ToNode::Goodbye(outrigger_offload::wire::Goodbye)).unwrap());
        assert_eq!(hand.hear(), None);
    }
    hand.dial(1);
    hand.open(ask(99, 1..2)).unwrap();
    hand.bytes(&encode(&ToNode::Ping(1)).unwrap());
    assert!(hand.broke().contains("does not belong"));
}

#[test]
fn a_quota_holds_for_layers_too_and_a_draining_node_lets_go() {
    let model = open();
    let limits = NodeLimits {
        client_tokens_max: Some(3),
        ..NodeLimits::default()
    };
    let mut hand = Hand::new(&model, limits);
    hand.open(ask(1, 1..2)).unwrap();
    let frame = hand.frame(0, 3, 1.0);
    hand.bytes(&frame);
    assert!(matches!(hand.hear(), Some(Incoming::States(h, _)) if h.end() == 3));
    let frame = hand.frame(3, 1, 1.0);
    hand.bytes(&frame);
    assert_eq!(hand.failed(), Failure::Refused(Refused::Quota));
    hand.node.drain();
    assert_eq!(hand.failed(), Failure::Draining);
    assert_eq!(hand.hear(), None);
    hand.dial(2);
    assert_eq!(hand.open(ask(1, 1..2)), Err(Refused::Draining));
}
