//! What happens in a run.

use super::super::{Times, times::ms};
use fastrand::Rng;
use outrigger_offload::transport::Path;
use std::{fmt, sync::Arc, time::Duration};

/// Tokens of a run.
const TOKENS: u32 = 120;

/// What goes wrong at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The node is gone for good.
    Kill,
    /// The node is gone, and comes back after a while, knowing nothing.
    Restart(Duration),
    /// The same, and it comes back with another model.
    OtherModel(Duration),
    /// Everything is lost for a while.
    Cut(Duration),
    /// Everything is held back for a while.
    Stall(Duration),
    /// The edge appears under another address.
    Address,
}

impl Fault {
    /// For how long the link that there was may give no answer because of it;
    /// `None` is for ever. QUIC proves a new address before it sends much
    /// there, again and again where the proof is lost.
    pub fn lasts(self) -> Option<Duration> {
        match self {
            Self::Kill | Self::Restart(_) | Self::OtherModel(_) => None,
            Self::Cut(lasts) | Self::Stall(lasts) => Some(lasts),
            Self::Address => Some(Duration::from_secs(1)),
        }
    }
}

/// The sorts of runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)] // each is what a fault of its name is
pub enum Kind {
    Kill,
    Restart,
    OtherModel,
    Cut,
    Stall,
    Address,
    Disorder,
    Loss,
    Several,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Kill,
        Self::Restart,
        Self::OtherModel,
        Self::Cut,
        Self::Stall,
        Self::Address,
        Self::Disorder,
        Self::Loss,
        Self::Several,
    ];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Kill => "node killed",
            Self::Restart => "node restarted",
            Self::OtherModel => "restarted, another model",
            Self::Cut => "link cut",
            Self::Stall => "5 s stall",
            Self::Address => "address change",
            Self::Disorder => "doubled, reordered",
            Self::Loss => "loss up to 10 %",
            Self::Several => "several at once",
        })
    }
}

/// Who writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Player {
    /// The node, with the edge behind it.
    Stream,
    /// The edge drafts and the node verifies, with the edge behind them.
    Verify,
    /// The same, and the edge drafts on meanwhile.
    Pipelined,
    /// The node drafts and verifies, with the edge behind it.
    DraftAtNode,
    /// Whoever the policy chooses.
    Policy,
}

/// A run before it is played.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Where all of it comes from.
    pub seed: u64,
    /// What sort it is.
    pub kind: Kind,
    /// Who writes.
    pub player: Player,
    /// Round trip, in milliseconds.
    pub rtt_ms: u32,
    /// What datagrams meet, each way.
    pub path: Path,
    /// What computing takes.
    pub times: Times,
    /// How often the draft is right.
    pub acceptance: Arc<[f32]>,
    /// Whether the edge computes along.
    pub warm: bool,
    /// Tokens to write.
    pub tokens: u32,
    /// What goes wrong: so long after so many tokens were written.
    pub faults: Vec<(u32, Duration, Fault)>,
}

impl Scenario {
    /// The run of a seed.
    pub fn of(seed: u64) -> Self {
        let kind = Kind::ALL[(seed % Kind::ALL.len() as u64) as usize];
        let mut random = Rng::with_seed(seed);
        let mut one_of = |values: &[u32]| values[random.usize(..values.len())];
        let player = match one_of(&[0, 1, 2, 3, 4]) {
            0 => Player::Stream,
            1 => Player::Verify,
            2 => Player::Pipelined,
            3 => Player::DraftAtNode,
            _ => Player::Policy,
        };
        let rtt_ms = one_of(&[10, 20, 40, 40, 100]);
        let times = Times {
            local_ms: one_of(&[45, 90]),
            prefill_local_ms: one_of(&[2, 6]),
            cloud_ms: one_of(&[15, 30]),
            column_ms: 1,
            prefill_cloud_ms: 1,
            draft_ms: one_of(&[2, 5]),
            node_draft_ms: 1,
        };
        let mut path = Path::with_round_trip(ms(rtt_ms));
        let (noisy, disorder) = (random.u8(..3) == 0, kind == Kind::Disorder);
        if disorder || noisy {
            path.duplicate = random.f64() * 0.2;
            path.reorder = random.f64() * 0.1;
        }
        if kind == Kind::Loss || noisy {
            path.loss = random.f64() * 0.1;
        }
        let count = match kind {
            Kind::Disorder | Kind::Loss => 0,
            Kind::Several => random.usize(2..=4),
            _ => 1,
        };
        let faults = (0..count).map(|_| {
            let after = Duration::from_millis(random.u64(..100));
            (
                random.u32(8..TOKENS * 3 / 4),
                after,
                fault(kind, &mut random),
            )
        });
        let mut faults: Vec<_> = faults.collect();
        faults.sort_by_key(|&(at, after, _)| (at, after));
        Self {
            seed,
            kind,
            player,
            rtt_ms,
            path,
            times,
            acceptance: Arc::new([0.5 + random.f32() * 0.45]),
            warm: random.bool(),
            tokens: TOKENS,
            faults,
        }
    }
}

fn fault(kind: Kind, random: &mut Rng) -> Fault {
    let mut within = |least: u64, most: u64| Duration::from_millis(random.u64(least..=most));
    match kind {
        Kind::Kill => Fault::Kill,
        Kind::Restart => Fault::Restart(within(0, 3_000)),
        Kind::OtherModel => Fault::OtherModel(within(0, 3_000)),
        Kind::Cut => Fault::Cut(within(50, 4_000)),
        Kind::Stall => Fault::Stall(Duration::from_secs(5)),
        Kind::Address | Kind::Disorder | Kind::Loss => Fault::Address,
        Kind::Several => {
            let short = Duration::from_millis(random.u64(50..=2_000));
            match random.u8(..6) {
                0 => Fault::Restart(short),
                1 => Fault::OtherModel(short),
                2 => Fault::Cut(short),
                3 => Fault::Stall(short),
                4 => Fault::Kill,
                _ => Fault::Address,
            }
        }
    }
}
