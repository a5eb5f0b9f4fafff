//! What the grid spans.

use super::super::Times;
use std::sync::Arc;

/// A step of the target on the edge, in milliseconds.
const LOCAL_MS: u32 = 45;

/// How often a draft is right.
#[derive(Debug, Clone)]
pub struct Rates {
    /// What a table calls it.
    pub name: String,
    /// The chance of each place, given that those before it were right; the
    /// last goes on.
    pub places: Arc<[f32]>,
}

impl Rates {
    /// The same chance at every place.
    pub fn constant(rate: f32) -> Self {
        Self {
            name: format!("{rate}"),
            places: Arc::new([rate]),
        }
    }
}

/// The values of each axis.
#[derive(Debug, Clone)]
pub struct Axes {
    /// Round trips in milliseconds, even, so that each way is a whole number.
    pub rtts_ms: Vec<u32>,
    /// Shares of datagrams lost, each way.
    pub losses: Vec<f64>,
    /// Steps of one column at the node, in milliseconds.
    pub clouds_ms: Vec<u32>,
    /// Steps of the draft on the edge, in milliseconds.
    pub drafts_ms: Vec<u32>,
    /// How often the draft is right.
    pub acceptances: Vec<Rates>,
}

impl Axes {
    /// The whole grid. The edge's own step stays the same: it is the fastest
    /// way where the node is slow or far.
    pub fn whole(bundled: Arc<[f32]>) -> Self {
        let bundled = Rates {
            name: "bundled".into(),
            places: bundled,
        };
        let mut acceptances: Vec<_> = [0.6, 0.8, 0.9].map(Rates::constant).into();
        acceptances.push(bundled);
        Self {
            rtts_ms: vec![0, 10, 40, 100, 200],
            losses: vec![0.0, 0.01, 0.05],
            clouds_ms: vec![15, 30, 60],
            drafts_ms: vec![2, 10],
            acceptances,
        }
    }

    /// Two values of most axes, for tests.
    pub fn quick(bundled: Arc<[f32]>) -> Self {
        let whole = Self::whole(bundled);
        Self {
            rtts_ms: vec![0, 40],
            losses: vec![0.0, 0.05],
            clouds_ms: vec![30],
            drafts_ms: vec![2],
            acceptances: whole.acceptances[1..].iter().step_by(2).cloned().collect(),
        }
    }

    /// Every combination.
    pub fn cells(&self) -> Vec<Cell> {
        let mut cells = Vec::new();
        for &rtt_ms in &self.rtts_ms {
            for &loss in &self.losses {
                for &cloud_ms in &self.clouds_ms {
                    for &draft_ms in &self.drafts_ms {
                        for rates in &self.acceptances {
                            cells.push(Cell {
                                rtt_ms,
                                loss,
                                times: times(cloud_ms, draft_ms),
                                rates: rates.clone(),
                            });
                        }
                    }
                }
            }
        }
        cells
    }
}

fn times(cloud_ms: u32, draft_ms: u32) -> Times {
    Times {
        local_ms: LOCAL_MS,
        prefill_local_ms: 4,
        cloud_ms,
        column_ms: 1,
        prefill_cloud_ms: 1,
        draft_ms,
        // A draft is to its target at the node what 1 is to 15.
        node_draft_ms: cloud_ms / 15,
    }
}

/// A link and machines.
#[derive(Debug, Clone)]
pub struct Cell {
    /// Round trip in milliseconds.
    pub rtt_ms: u32,
    /// The share of datagrams lost, each way.
    pub loss: f64,
    /// What the models take.
    pub times: Times,
    /// How often the edge's draft is right.
    pub rates: Rates,
}
