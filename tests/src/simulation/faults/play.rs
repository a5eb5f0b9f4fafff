//! Plays a run.

use super::{
    super::{EDGE, Failure, Ground, Host, Language, NODE, Served, Setting, Trust, ground::address},
    Event, Fault, Kind, Played, Player, Record, Scenario,
};
use outrigger_offload::{
    policy::{Mode, Policy, Privacy, Signals},
    remote::{NodeLink, PlacedDecoder, Placement, PolicySource, RemoteError, Surroundings},
    transport::simulated::Network,
};
use outrigger_runtime::decoder::{DecodeRequest, Decoder};
use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::watch;

/// Tokens of the prompt.
const PROMPT: usize = 40;
/// How long a node that came back has to be found, or refused.
const RETURN: Duration = Duration::from_secs(40);

/// The policy of a run in which one chooses.
const CHOOSING: &str = "\
modes_allowed = [\"local\", \"stream\", \"verify\", \"verify_pipelined\", \"draft_at_node\"]
[hysteresis]
dwell_tokens = 8
dwell_ms = 200
";

/// Plays the run of a seed. A run that goes wrong says so in its record.
///
/// # Errors
/// If the simulation cannot be set up.
pub fn play(seed: u64, trust: &Trust, language: &Language) -> Result<Played, Failure> {
    let scenario = Scenario::of(seed);
    let setting = Setting {
        seed,
        trust,
        language: language.clone(),
        times: scenario.times,
        acceptance: scenario.acceptance.clone(),
        path: scenario.path,
    };
    Ground::run(setting, |ground| {
        let record = Record::begin();
        let played = catch_unwind(AssertUnwindSafe(|| write(ground, &scenario, &record)));
        let found = match played {
            Ok(Ok(())) => Vec::new(),
            Ok(Err(error)) => vec![error.to_string()],
            Err(_) => vec!["a panic".into()],
        };
        let (events, trace) = (record.events(), ground.network.trace());
        Ok(Played::of(scenario.clone(), events, trace, found))
    })
}

/// Writes the text, and fails if it is not that of local decoding.
fn write(ground: &Ground<'_>, scenario: &Scenario, record: &Record) -> Result<(), Failure> {
    let host = ground.host();
    let served = host.serve(&ground.setting.language)?;
    let link = ground.link()?;
    ground.waiter().wait(link.welcome())?;
    let local = ground.local(scenario.warm);
    let rebuilt = local.rebuilt_ms();
    let local = Box::new(local);
    let mut decoder = placed(ground, scenario, local, &link, record)?;
    let (wrote, written) = watch::channel(0);
    let mischief = Mischief {
        host,
        network: ground.network.clone(),
        language: ground.setting.language.clone(),
        served: Some(served),
        written,
        record: record.clone(),
    };
    tokio::spawn(mischief.make(scenario.faults.clone()));
    speak(ground, &mut decoder, scenario, &wrote, &rebuilt, record)?;
    if scenario.kind == Kind::OtherModel {
        refuses(ground, &link)?;
    }
    Ok(())
}

fn speak(
    ground: &Ground<'_>,
    decoder: &mut dyn Decoder,
    scenario: &Scenario,
    wrote: &watch::Sender<u32>,
    rebuilt_ms: &AtomicU64,
    record: &Record,
) -> Result<(), Failure> {
    let language = &ground.setting.language;
    let mut transcript = language.prompt(PROMPT);
    let end = transcript.len() + scenario.tokens;
    let wanted = language.follow(transcript.tokens(), scenario.tokens as usize);
    let mut out = Vec::new();
    while transcript.len() < end {
        let before = rebuilt_ms.load(Ordering::Relaxed);
        let request = DecodeRequest {
            transcript: &transcript,
            tokens_max: (end - transcript.len()) as usize,
            logprobs: None,
            cancel: &AtomicBool::new(false),
            progress: &mut |_| (),
        };
        decoder.decode(request, &mut out)?;
        for decoded in out.drain(..) {
            transcript.commit(decoded.token, decoded.state);
        }
        let text = &transcript.tokens()[PROMPT..];
        if text.len() > wanted.len() || text != &wanted[..text.len()] {
            return Err(format!("the text is wrong within {} tokens", text.len()).into());
        }
        let tokens = text.len() as u32;
        let rebuilt_ms = rebuilt_ms.load(Ordering::Relaxed) - before;
        record.note(Event::Wrote { tokens, rebuilt_ms });
        wrote.send_replace(tokens);
    }
    Ok(())
}

/// Holds that a node that came back with another model is refused, and that
/// the refusal names both models.
fn refuses(ground: &Ground<'_>, link: &NodeLink) -> Result<(), Failure> {
    let language = &ground.setting.language;
    let title = |language: &Language| format!("model {:016x}", language.hash(&[]));
    let refused = ground.waiter().wait(async {
        tokio::time::timeout(RETURN, async {
            loop {
                match link.welcome().await {
                    Err(error @ RemoteError::OtherModel { .. }) => return Ok(error.to_string()),
                    Ok(welcome) if welcome.model.title != title(language) => {
                        return Err("another model was let in");
                    }
                    _ => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        })
        .await
    });
    let said = refused??;
    let named = said.contains(&title(language));
    match named && said.contains(&title(&language.of_another_model())) {
        true => Ok(()),
        false => Err(format!("a refusal that names no model: {said}").into()),
    }
}

fn placed(
    ground: &Ground<'_>,
    scenario: &Scenario,
    local: Box<dyn Decoder>,
    link: &NodeLink,
    record: &Record,
) -> Result<PlacedDecoder, Failure> {
    let mut decoders: BTreeMap<Mode, Box<dyn Decoder>> = BTreeMap::new();
    decoders.insert(Mode::Local, local);
    decoders.insert(Mode::Stream, ground.stream(link));
    decoders.insert(Mode::VerifySequential, ground.verify(link)?);
    decoders.insert(Mode::VerifyPipelined, ground.pipelined(link));
    decoders.insert(Mode::DraftAtNode, ground.draft_at_node(link));
    let policy = match scenario.player {
        Player::Stream => Policy::named(Mode::Stream, scenario.warm),
        Player::Verify => Policy::named(Mode::VerifySequential, scenario.warm),
        Player::Pipelined => Policy::named(Mode::VerifyPipelined, scenario.warm),
        Player::DraftAtNode => Policy::named(Mode::DraftAtNode, scenario.warm),
        Player::Policy => Policy::parse(CHOOSING, "faults.toml"),
    }?;
    let (times, acceptance) = (scenario.times, scenario.acceptance.clone());
    let estimated = link.clone();
    let sense = move || {
        let ms = |count: u32| Some(f64::from(count));
        let time = |time: Duration| time.as_secs_f64() * 1e3;
        let estimate = estimated.estimate();
        let estimate = estimate.as_ref();
        let srtt = estimate.and_then(|estimate| estimate.srtt());
        Signals {
            rtt_ms: srtt.or(estimated.rtt()).map(time),
            rtt_var_ms: estimate.and_then(|e| e.rttvar()).map(time),
            rtt_p95_ms: estimate.and_then(|e| e.rtt_p95()).map(time),
            loss: estimate.map(|estimate| estimate.loss()),
            node_model_matches: Some(true),
            node_tokenizer_matches: Some(true),
            edge_has_model: Some(true),
            edge_has_draft: Some(true),
            node_has_draft: Some(true),
            privacy: Some(Privacy::Internal),
            t_local_ms: ms(times.local_ms),
            t_cloud_ms: ms(times.cloud_ms),
            t_verify_base_ms: ms(times.cloud_ms - times.column_ms),
            t_verify_per_token_ms: ms(times.column_ms),
            t_draft_ms: ms(times.draft_ms),
            t_node_draft_ms: ms(times.node_draft_ms),
            acceptance: acceptance.to_vec(),
            node_acceptance: acceptance.to_vec(),
            ..Signals::default()
        }
    };
    let told = record.clone();
    let tell = move |placement: Placement<'_>| match placement {
        Placement::Failed { why, .. } => told.note(Event::Failed { why: why.into() }),
        Placement::Resumed { .. } => told.note(Event::Back),
        Placement::Changed(_) | Placement::Waiting { .. } | Placement::Instead { .. } => {}
    };
    let surroundings = Surroundings {
        sense: Box::new(sense),
        reach: Box::new(link.clone()),
        tell: Box::new(tell),
    };
    let source = PolicySource::Fixed(Arc::new(policy));
    let placed = PlacedDecoder::new(decoders, source, surroundings);
    placed.ok_or_else(|| "there is no decoder to place".into())
}

/// Makes faults happen.
struct Mischief {
    host: Host,
    network: Network,
    language: Language,
    served: Option<Served>,
    written: watch::Receiver<u32>,
    record: Record,
}

impl Mischief {
    async fn make(mut self, faults: Vec<(u32, Duration, Fault)>) {
        for (index, (tokens, after, fault)) in faults.into_iter().enumerate() {
            // The text may end first.
            if self
                .written
                .wait_for(|&count| count >= tokens)
                .await
                .is_err()
            {
                return;
            }
            tokio::time::sleep(after).await;
            self.record.note(Event::Fault(fault));
            self.happen(fault, index as u8).await;
        }
        // A node ends with what holds it.
        std::future::pending().await
    }

    async fn happen(&mut self, fault: Fault, index: u8) {
        match fault {
            Fault::Kill => self.kill(),
            Fault::Restart(after) => {
                self.kill();
                tokio::time::sleep(after).await;
                self.served = self.host.serve(&self.language).ok();
            }
            Fault::OtherModel(after) => {
                self.kill();
                tokio::time::sleep(after).await;
                self.served = self.host.serve(&self.language.of_another_model()).ok();
            }
            Fault::Cut(lasts) => {
                self.network.set_cut(EDGE, NODE, true);
                tokio::time::sleep(lasts).await;
                self.network.set_cut(EDGE, NODE, false);
            }
            Fault::Stall(lasts) => self.network.stall(EDGE, NODE, lasts),
            Fault::Address => {
                // It is free: each fault has an address of its own.
                let _ = self.network.set_address(EDGE, address(10 + index));
            }
        }
    }

    fn kill(&mut self) {
        if let Some(served) = self.served.take() {
            self.host.kill(served);
        }
    }
}
