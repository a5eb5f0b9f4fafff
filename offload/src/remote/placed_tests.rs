use super::*;
use crate::{Waiter, policy::Policy, remote::Reach};
use outrigger_runtime::sampler::SamplerParams;
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::runtime::Runtime;

/// A node that is there or not.
#[derive(Clone, Default)]
struct Link {
    gone: Arc<AtomicBool>,
    failures: Arc<AtomicU32>,
    refused: Arc<AtomicBool>,
}

impl Reach for Link {
    fn failed(&self) {
        self.failures.fetch_add(1, SeqCst);
    }

    fn is_back(&self) -> bool {
        !self.gone.load(SeqCst)
    }

    fn refused(&self) -> Option<String> {
        (self.refused.load(SeqCst)).then(|| "it lets nobody in".to_owned())
    }
}

/// Writes the position as the token, several at a time if it drafts.
struct Fake {
    ms: u64,
    waiter: Waiter,
    /// Set while it fails.
    fails: Option<Arc<AtomicBool>>,
    /// Guesses of a step, and how many of them are right.
    drafts: Option<(u64, u64)>,
    followed: Arc<AtomicU32>,
    record: Speculation,
    provenance: Provenance,
}

impl Decoder for Fake {
    fn decode(
        &mut self,
        request: DecodeRequest<'_>,
        out: &mut Vec<Decoded>,
    ) -> Result<(), DecodeError> {
        let pause = tokio::time::sleep(Duration::from_millis(self.ms));
        self.waiter.wait(pause);
        if self.fails.as_ref().is_some_and(|fails| fails.load(SeqCst)) {
            return Err(RemoteError::Closed.into());
        }
        let (drafted, right) = self.drafts.unwrap_or((0, 0));
        let most = request.tokens_max.min(right as usize + 1);
        for at in 0..most as u32 {
            out.push(Decoded {
                token: request.transcript.len() + at,
                logprob: None,
                top: Vec::new(),
                state: request.transcript.sampler_state(),
            });
        }
        self.record.target_steps += 1;
        self.record.tokens += most as u64;
        self.record.drafted += drafted;
        self.record.accepted += right;
        Ok(())
    }

    fn context(&self) -> u32 {
        10_000
    }

    fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    fn speculation(&self) -> Option<&Speculation> {
        self.drafts.map(|_| &self.record)
    }

    fn follow(&mut self, transcript: &Transcript) {
        self.followed.store(transcript.len(), SeqCst);
    }

    fn behind(&self, transcript: &Transcript) -> Option<u32> {
        (self.provenance.source == "local").then(|| transcript.len())
    }
}

struct Ground {
    runtime: Arc<Runtime>,
    link: Link,
    fails: Arc<AtomicBool>,
    followed: Arc<AtomicU32>,
    told: Arc<Mutex<Vec<String>>>,
    known: Signals,
}

impl Ground {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        Self {
            runtime: Arc::new(runtime),
            link: Link::default(),
            fails: Arc::default(),
            followed: Arc::default(),
            told: Arc::default(),
            known: Signals {
                rtt_ms: Some(5.0),
                rtt_var_ms: Some(1.0),
                node_tokenizer_matches: Some(true),
                edge_has_model: Some(true),
                edge_has_draft: Some(true),
                t_local_ms: Some(100.0),
                t_cloud_ms: Some(30.0),
                t_verify_base_ms: Some(29.0),
                t_verify_per_token_ms: Some(1.0),
                t_draft_ms: Some(2.0),
                ..Signals::default()
            },
        }
    }

    fn waiter(&self) -> Waiter {
        self.runtime.clone().into()
    }

    fn fake(&self, source: &str, ms: u64) -> Fake {
        Fake {
            ms,
            waiter: self.waiter(),
            fails: (source != "local").then(|| self.fails.clone()),
            drafts: None,
            followed: self.followed.clone(),
            record: Speculation::new("fake"),
            provenance: Provenance {
                source: source.into(),
                model: "model".into(),
                kernel_set: "fake".into(),
            },
        }
    }

    fn drafting(&self, right: u64) -> Fake {
        Fake {
            drafts: Some((4, right)),
            ..self.fake("verify", 45)
        }
    }

    fn decoders(&self, decoders: Vec<(Mode, Fake)>) -> Decoders {
        let boxed = |(mode, fake)| (mode, Box::new(fake) as Box<dyn Decoder>);
        decoders.into_iter().map(boxed).collect()
    }

    fn two(&self) -> Decoders {
        self.decoders(vec![
            (Mode::Local, self.fake("local", 100)),
            (Mode::Stream, self.fake("stream", 30)),
        ])
    }

    fn placed(&self, decoders: Decoders, policy: &str) -> PlacedDecoder {
        let policy = Arc::new(Policy::parse(policy, "p.toml").unwrap());
        let (known, told) = (self.known.clone(), self.told.clone());
        let surroundings = Surroundings {
            sense: Box::new(move || known.clone()),
            reach: Box::new(self.link.clone()),
            tell: Box::new(move |placement| {
                let told_now = match placement {
                    Placement::Changed(decision) => decision.reason.clone(),
                    Placement::Failed { mode, next, .. } => format!("failed {mode}: {next:?}"),
                    Placement::Waiting { .. } => "waiting".into(),
                    Placement::Instead { model } => format!("instead {model}"),
                    Placement::Resumed { mode } => format!("resumed {mode}"),
                };
                told.lock().unwrap().push(told_now);
            }),
        };
        PlacedDecoder::new(decoders, PolicySource::Fixed(policy), surroundings).unwrap()
    }

    fn patient(&self, policy: &str) -> PlacedDecoder {
        let only = self.decoders(vec![(Mode::Stream, self.fake("stream", 30))]);
        self.placed(only, policy).with_patience(Patience {
            waiter: self.waiter(),
            most: Duration::from_secs(60),
        })
    }

    fn was_told(&self, what: &str) -> bool {
        self.told.lock().unwrap().iter().any(|told| told == what)
    }
}

/// A text that grows by one decoder.
struct Text(Transcript);

impl Text {
    fn new() -> Self {
        let mut transcript = Transcript::new(SamplerParams::default());
        transcript.push_prompt(&[0, 1, 2]);
        Self(transcript)
    }

    /// Where tokens came from until there are so many more.
    fn write(&mut self, decoder: &mut PlacedDecoder, tokens: u32) -> Vec<String> {
        let end = self.0.len() + tokens;
        let mut sources = Vec::new();
        while self.0.len() < end {
            self.step(decoder, &AtomicBool::new(false)).unwrap();
            let source = &decoder.provenance().source;
            if sources.last() != Some(source) {
                sources.push(source.clone());
            }
        }
        let whole: Vec<u32> = (0..self.0.len()).collect();
        assert_eq!(self.0.tokens(), whole, "no token is lost or doubled");
        sources
    }

    fn step(
        &mut self,
        decoder: &mut PlacedDecoder,
        cancel: &AtomicBool,
    ) -> Result<(), DecodeError> {
        let mut out = Vec::new();
        let request = DecodeRequest {
            transcript: &self.0,
            tokens_max: 100,
            logprobs: None,
            cancel,
            progress: &mut |_| (),
        };
        decoder.decode(request, &mut out)?;
        for decoded in out {
            self.0.commit(decoded.token, decoded.state);
        }
        Ok(())
    }
}

const BOTH: &str = "modes_allowed = [\"local\", \"stream\"]\n";
const NODE: &str = "modes_allowed = [\"stream\"]\n";

#[test]
fn a_node_that_fails_is_replaced_and_comes_back() {
    let ground = Ground::new();
    let _entered = ground.runtime.enter();
    let mut decoder = ground.placed(ground.two(), BOTH);
    let mut text = Text::new();
    assert_eq!(text.write(&mut decoder, 20), ["stream"]);
    ground.fails.store(true, SeqCst);
    ground.link.gone.store(true, SeqCst);
    assert_eq!(text.write(&mut decoder, 20), ["local"]);
    let next = Next::Mode {
        mode: Mode::Local,
        behind: Some(23),
    };
    assert!(ground.was_told(&format!("failed stream: {next:?}")));
    ground.fails.store(false, SeqCst);
    ground.link.gone.store(false, SeqCst);
    assert_eq!(text.write(&mut decoder, 60).last().unwrap(), "stream");
    assert!(ground.was_told("resumed stream"));
    assert_eq!(ground.link.failures.load(SeqCst), 1);
}

#[test]
fn a_node_that_is_there_and_fails_is_left_alone_for_longer_and_longer() {
    let ground = Ground::new();
    let _entered = ground.runtime.enter();
    let mut decoder = ground.placed(ground.two(), BOTH);
    ground.fails.store(true, SeqCst);
    // 60 s of local tokens.
    assert_eq!(Text::new().write(&mut decoder, 600), ["local"]);
    let failures = ground.link.failures.load(SeqCst);
    assert!((3..=20).contains(&failures), "{failures}");
}

#[test]
fn where_only_the_node_may_write_it_is_waited_for() {
    let ground = Ground::new();
    let _entered = ground.runtime.enter();
    let mut decoder = ground.patient(NODE);
    let mut text = Text::new();
    text.write(&mut decoder, 10);
    ground.fails.store(true, SeqCst);
    ground.link.gone.store(true, SeqCst);
    let (fails, gone) = (ground.fails.clone(), ground.link.gone.clone());
    ground.runtime.spawn(async move {
        tokio::time::sleep(Duration::from_secs(50)).await;
        fails.store(false, SeqCst);
        gone.store(false, SeqCst);
    });
    let begun = Instant::now();
    assert_eq!(text.write(&mut decoder, 10), ["stream"]);
    assert!(begun.elapsed() >= Duration::from_secs(50));
    assert!(ground.was_told("failed stream: Wait(60s)"));
    assert!(ground.was_told("resumed stream"));
}

#[test]
fn a_wait_ends() {
    let ground = Ground::new();
    let _entered = ground.runtime.enter();
    ground.link.gone.store(true, SeqCst);
    let (mut text, never) = (Text::new(), AtomicBool::new(false));
    let begun = Instant::now();
    let mut decoder = ground.patient(NODE);
    let error = text.step(&mut decoder, &never).unwrap_err().to_string();
    assert!(error.contains("no node answers; waited 60 s"), "{error}");
    assert_eq!(begun.elapsed().as_secs(), 60);
    assert!(ground.was_told("waiting"));

    let cancelled = text.step(&mut ground.patient(NODE), &AtomicBool::new(true));
    assert!(matches!(cancelled, Err(DecodeError::Cancelled)));

    let begun = Instant::now();
    ground.link.refused.store(true, SeqCst);
    let refused = text.step(&mut ground.patient(NODE), &never).unwrap_err();
    assert!(refused.to_string().contains("it lets nobody in"));

    // What bars the node is not that it is gone.
    ground.link.gone.store(false, SeqCst);
    let barred = "modes_allowed = [\"stream\"]\n[[gate]]\nname = \"no\"\nwhen = \"true\"\n\
                  deny = [\"stream\"]\nreason = \"not today\"\n";
    let barred = text.step(&mut ground.patient(barred), &never).unwrap_err();
    assert!(barred.to_string().contains("not today"), "{barred}");
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[test]
fn another_model_goes_on_where_this_machine_has_not_the_nodes() {
    let mut ground = Ground::new();
    ground.known.edge_has_model = Some(false);
    let _entered = ground.runtime.enter();
    let policy = format!("fallback_model = \"small.gguf\"\n{BOTH}");
    let small = std::sync::Mutex::new(Some(ground.fake("local", 100)));
    let mut decoder = ground
        .placed(ground.two(), &policy)
        .with_fallback(Box::new(move |path| {
            assert_eq!(path, "small.gguf");
            let small = small.lock().unwrap().take().ok_or("once")?;
            Ok(Box::new(small) as Box<dyn Decoder>)
        }));
    let mut text = Text::new();
    assert_eq!(text.write(&mut decoder, 10), ["stream"]);
    ground.fails.store(true, SeqCst);
    ground.link.gone.store(true, SeqCst);
    assert_eq!(text.write(&mut decoder, 10), ["fallback"]);
    let next = Next::Fallback {
        model: "model".into(),
        behind: Some(13),
    };
    assert!(ground.was_told(&format!("failed stream: {next:?}")));
    ground.fails.store(false, SeqCst);
    ground.link.gone.store(false, SeqCst);
    assert_eq!(text.write(&mut decoder, 40).last().unwrap(), "stream");
}

#[test]
fn a_node_that_comes_later_is_taken() {
    let ground = Ground::new();
    let _entered = ground.runtime.enter();
    ground.link.gone.store(true, SeqCst);
    let late = ground.decoders(vec![(Mode::Stream, ground.fake("stream", 30))]);
    let (mut late, link) = (Some(late), ground.link.clone());
    let local = ground.decoders(vec![(Mode::Local, ground.fake("local", 100))]);
    let arrivals = move || link.is_back().then(|| late.take()).flatten();
    let mut decoder = ground.placed(local, BOTH).with_arrivals(Box::new(arrivals));
    let mut text = Text::new();
    assert_eq!(text.write(&mut decoder, 20), ["local"]);
    ground.link.gone.store(false, SeqCst);
    assert_eq!(text.write(&mut decoder, 40).last().unwrap(), "stream");
    assert!(ground.was_told("resumed stream"));
}

#[test]
fn this_machine_follows_where_the_policy_wants_it_warm() {
    for warm in [true, false] {
        let ground = Ground::new();
        let _entered = ground.runtime.enter();
        let policy = format!("keep_local_warm = {warm}\n{BOTH}");
        let mut decoder = ground.placed(ground.two(), &policy);
        Text::new().write(&mut decoder, 30);
        let followed = ground.followed.load(SeqCst);
        assert_eq!(followed, if warm { 32 } else { 0 });
    }
}

#[test]
fn a_draft_is_tried_and_kept_if_it_is_good() {
    let policy = "modes_allowed = [\"local\", \"stream\", \"verify\"]\n";
    for (right, last) in [(4, "verify"), (0, "stream")] {
        let ground = Ground::new();
        let _entered = ground.runtime.enter();
        let mut decoders = ground.two();
        let verify = ground.drafting(right);
        decoders.insert(Mode::VerifySequential, Box::new(verify));
        let mut decoder = ground.placed(decoders, policy);
        let mut text = Text::new();
        let sources = text.write(&mut decoder, 200);
        assert!(
            sources.iter().any(|source| source == "verify"),
            "{sources:?}"
        );
        assert_eq!(sources.last().unwrap(), last, "{sources:?}");
        assert!(sources.len() <= 3, "{sources:?}");
        // A mode that does not pay is not tried again and again.
        let told = ground.told.lock().unwrap().clone();
        let tried = told.iter().filter(|told| told.contains("to measure"));
        assert_eq!(tried.count(), 1, "{told:?}");
        assert_eq!(decoder.speculation().unwrap().drafted % 4, 0);
    }
}

#[test]
fn what_nodes_cost_is_counted() {
    let ground = Ground::new();
    let _entered = ground.runtime.enter();
    let policy = format!(
        "{BOTH}[[gate]]\nname = \"budget\"\nwhen = \"known(cost_so_far) && cost_so_far >= 1.0\"\n\
         only = [\"local\"]\nreason = \"the budget is spent\"\n"
    );
    let tokens = Arc::new(AtomicU64::new(10));
    let mut decoder = ground
        .placed(ground.two(), &policy)
        .with_costs(tokens.clone(), Some(0.05));
    let mut text = Text::new();
    assert_eq!(text.write(&mut decoder, 60), ["stream", "local"]);
    let told = ground.told.lock().unwrap().clone();
    assert!(
        told.last().unwrap().contains("the budget is spent"),
        "{told:?}"
    );
    // Ten were there before, and eight are written between two decisions.
    assert!((20..=28).contains(&tokens.load(SeqCst)), "{tokens:?}");
}
