//! A cell's modes side by side.

use super::{
    super::{Failure, Language, Trust, language::mix},
    Cell, measure,
};
use outrigger_offload::policy::{Chooser, Mode, Policy, Signals, predict};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// The modes that are measured.
pub const MODES: [Mode; 5] = [
    Mode::Local,
    Mode::Stream,
    Mode::VerifySequential,
    Mode::VerifyPipelined,
    Mode::DraftAtNode,
];

/// Tokens of a measurement; losses are rare, and their mean takes more.
const TOKENS: u32 = 1500;
const TOKENS_LOSSY: u32 = 2000;

/// A mode in a cell.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// The mode.
    pub mode: Mode,
    /// Tokens per second, as measured.
    pub measured: f64,
    /// Tokens per second, as the policy predicts.
    pub predicted: f64,
    /// The draft length that the prediction names.
    pub draft_tokens: Option<u32>,
}

impl Measured {
    /// Measured over predicted.
    pub fn ratio(&self) -> f64 {
        self.measured / self.predicted
    }
}

/// A cell.
#[derive(Debug, Clone)]
pub struct Row {
    /// The cell.
    pub cell: Cell,
    /// Its modes.
    pub modes: Vec<Measured>,
    /// What the policy picks.
    pub pick: Mode,
}

impl Row {
    /// The mode that was fastest.
    pub fn best(&self) -> Option<&Measured> {
        let speed = |a: &&Measured, b: &&Measured| a.measured.total_cmp(&b.measured);
        self.modes.iter().max_by(speed)
    }

    /// The speed of the mode that was picked over that of the fastest.
    pub fn pick_ratio(&self) -> f64 {
        let picked = self.modes.iter().find(|one| one.mode == self.pick);
        let best = self.best().map_or(f64::INFINITY, |best| best.measured);
        picked.map_or(0.0, |picked| picked.measured / best)
    }
}

/// What decides a mode's speed in a cell, so that it is measured once.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    mode: Mode,
    link: Option<(u32, u64)>,
    cloud_ms: Option<u32>,
    draft_ms: Option<u32>,
    rates: Option<String>,
}

impl Key {
    fn of(mode: Mode, cell: &Cell) -> Self {
        let remote = mode.is_remote();
        let guessed = remote && mode != Mode::Stream;
        let drafted = guessed && mode != Mode::DraftAtNode;
        Self {
            mode,
            link: remote.then_some((cell.rtt_ms, cell.loss.to_bits())),
            cloud_ms: remote.then_some(cell.times.cloud_ms),
            draft_ms: drafted.then_some(cell.times.draft_ms),
            rates: guessed.then(|| cell.rates.name.clone()),
        }
    }
}

/// Measures, predicts and picks in every cell, on some threads. The same seed
/// gives the same rows.
///
/// # Errors
/// The first of a measurement, or what cannot be predicted.
pub fn rows(
    cells: &[Cell],
    seed: u64,
    threads: usize,
    trust: &Trust,
    language: &Language,
) -> Result<Vec<Row>, Failure> {
    let mut jobs: Vec<(Key, &Cell)> = Vec::new();
    for cell in cells {
        for mode in MODES {
            let key = Key::of(mode, cell);
            if !jobs.iter().any(|(other, _)| *other == key) {
                jobs.push((key, cell));
            }
        }
    }
    let next = AtomicUsize::new(0);
    let speeds = Mutex::new(HashMap::new());
    let work = || -> Result<(), Failure> {
        while let Some((key, cell)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let lossy = cell.loss > 0.0;
            let tokens = if lossy { TOKENS_LOSSY } else { TOKENS };
            let seed =
                mix(seed ^ mix(u64::from(cell.rtt_ms) << 32 | u64::from(cell.times.cloud_ms)));
            let ms = measure(cell, key.mode, tokens, seed, trust, language)?;
            let mut speeds = speeds.lock().unwrap_or_else(PoisonError::into_inner);
            speeds.insert(key.clone(), 1e3 / ms);
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        let mut ended = workers.into_iter().map(|worker| worker.join());
        ended.try_for_each(|result| result.unwrap_or_else(|_| Err("a measurement panicked".into())))
    })?;
    let speeds = speeds.into_inner().unwrap_or_else(PoisonError::into_inner);
    let policy = Arc::new(Policy::parse(&policy_text(), "grid.toml")?);
    cells
        .iter()
        .map(|cell| row(cell, &speeds, &policy))
        .collect()
}

fn policy_text() -> String {
    format!("modes_allowed = {:?}\n", MODES.map(Mode::name))
}

fn row(cell: &Cell, speeds: &HashMap<Key, f64>, policy: &Arc<Policy>) -> Result<Row, Failure> {
    let signals = signals(cell);
    let modes = MODES.map(|mode| {
        let prediction = predict(mode, &signals, &policy.terms)?;
        let measured = speeds.get(&Key::of(mode, cell));
        Ok(Measured {
            mode,
            measured: *measured.ok_or("a mode was not measured")?,
            predicted: 1e3 / prediction.tpot_ms,
            draft_tokens: prediction.draft_tokens,
        })
    });
    let modes = modes.into_iter().collect::<Result<_, Failure>>()?;
    let decision = Chooser::new(policy.clone()).decide(&signals, Duration::ZERO);
    Ok(Row {
        cell: cell.clone(),
        modes,
        pick: decision.choice.ok_or("the policy picks nothing")?,
    })
}

/// What is true of a cell, as the policy's signals.
fn signals(cell: &Cell) -> Signals {
    let times = &cell.times;
    let ms = |count: u32| Some(f64::from(count));
    Signals {
        online: Some(true),
        rtt_ms: ms(cell.rtt_ms),
        // Nothing on the way changes how long a datagram takes.
        rtt_var_ms: Some(0.0),
        loss: Some(cell.loss),
        node_model_matches: Some(true),
        node_tokenizer_matches: Some(true),
        edge_has_model: Some(true),
        edge_has_draft: Some(true),
        node_has_draft: Some(true),
        t_local_ms: ms(times.local_ms),
        t_cloud_ms: ms(times.cloud_ms),
        t_verify_base_ms: ms(times.cloud_ms - times.column_ms),
        t_verify_per_token_ms: ms(times.column_ms),
        t_draft_ms: ms(times.draft_ms),
        t_node_draft_ms: ms(times.node_draft_ms),
        prefill_local_ms: ms(times.prefill_local_ms),
        prefill_cloud_ms: ms(times.prefill_cloud_ms),
        acceptance: cell.rates.places.to_vec(),
        node_acceptance: cell.rates.places.to_vec(),
        ..Signals::default()
    }
}
