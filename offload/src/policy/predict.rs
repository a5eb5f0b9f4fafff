//! What each mode would cost.

use super::{
    Mode, Signals,
    formula::{
        Acceptance, Gathering, Pipeline, loss_behind_ms, loss_ms, sequential_ms, transfer_ms,
    },
};
use outrigger_runtime::decoder::DRAFT_MAX as DECODERS_DRAFT_MAX;
use serde::Serialize;

/// A step's frame beside its payload, with the headers of QUIC, UDP and IP, in
/// bytes.
const FRAME_BYTES: f64 = 80.0;
/// A token id on the wire, in bytes.
const ID_BYTES: f64 = 4.0;

/// Longest draft that is looked at, in tokens.
const DRAFT_MAX: u32 = 64;

/// What a prediction weighs and how far it looks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Terms {
    /// What a token computed at the node counts as, in milliseconds. Default 0.
    pub lambda_cloud_ms_per_token: f64,
    /// What a joule of the edge counts as, in milliseconds. Default 0.
    pub lambda_energy_ms_per_joule: f64,
    /// The share of (95th percentile - mean) of the RTT that is added to the
    /// cost, though not to the time, of each round trip, from 0 to 1. Default 0.
    pub jitter_margin: f64,
    /// Most tokens of a draft, up to 64. Default: as many as decoders draft.
    pub draft_max: u32,
    /// Most tokens under way in a pipelined verify. Default 64.
    pub in_flight_max: u32,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            lambda_cloud_ms_per_token: 0.0,
            lambda_energy_ms_per_joule: 0.0,
            jitter_margin: 0.0,
            draft_max: DECODERS_DRAFT_MAX as u32,
            in_flight_max: 64,
        }
    }
}

/// What a mode would cost, on average.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Prediction {
    /// Time per output token, in milliseconds.
    pub tpot_ms: f64,
    /// Time to the first token, in milliseconds; `None` where a time of
    /// reading the prompt is not known.
    pub ttft_ms: Option<f64>,
    /// The draft length that costs least, in tokens.
    pub draft_tokens: Option<u32>,
    /// Tokens the node computes for each one committed, thrown away ones
    /// included.
    pub cloud_tokens: f64,
    /// The share of them that is thrown away, from 0 to 1.
    pub waste: f64,
    /// Energy the edge takes per output token, in joules; `None` where its
    /// power is not known.
    pub edge_joules: Option<f64>,
    /// Bytes from edge to node per output token.
    pub up_bytes: f64,
    /// Bytes from node to edge per output token.
    pub down_bytes: f64,
    /// All of it as the policy weighs it, in milliseconds per output token.
    pub cost_ms: f64,
}

/// Why a mode cannot be used or predicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unfit {
    /// Whether it can be used at all rests on a signal that is not known.
    #[error("`{0}` is not known")]
    Unknown(&'static str),
    /// It can be used, but a quantity that its cost rests on is not known.
    #[error("`{0}` is not measured yet")]
    Unmeasured(&'static str),
    /// The machines or the link lack something.
    #[error("{0}")]
    Lacking(&'static str),
}

/// Predicts a mode.
///
/// # Errors
/// The first thing that is lacking or not known.
pub fn predict(mode: Mode, signals: &Signals, terms: &Terms) -> Result<Prediction, Unfit> {
    let predictor = Predictor { signals, terms };
    let prediction = match mode {
        Mode::Local => predictor.local(),
        Mode::Split => predictor.split(),
        Mode::Stream => predictor.stream(),
        Mode::VerifySequential => predictor.verify(Predictor::sequential),
        Mode::VerifyPipelined => predictor.verify(Predictor::pipelined),
        Mode::DraftAtNode => predictor.draft_at_node(),
    }?;
    if prediction.cost_ms.is_finite() {
        Ok(prediction)
    } else {
        Err(Unfit::Lacking("the link carries nothing"))
    }
}

struct Predictor<'a> {
    signals: &'a Signals,
    terms: &'a Terms,
}

/// What a draft-and-verify mode has to work with.
struct Drafting {
    acceptance: Acceptance,
    draft_ms: f64,
    /// A verify pass of no columns and of each.
    verify_ms: (f64, f64),
}

impl Drafting {
    /// A pass over some drafts and the token before them.
    fn verify(&self, drafts: u32) -> f64 {
        self.verify_ms.0 + self.verify_ms.1 * f64::from(drafts + 1)
    }
}

impl Predictor<'_> {
    fn local(&self) -> Result<Prediction, Unfit> {
        let s = self.signals;
        has(s.edge_has_model, "edge_has_model", "the edge has no model")?;
        let step = need(s.t_local_ms, "t_local_ms")?;
        Ok(self.prediction(Outline {
            tpot_ms: step,
            edge_busy_ms: step,
            ttft_ms: self.prompt_ms(s.prefill_local_ms),
            ..Outline::default()
        }))
    }

    fn split(&self) -> Result<Prediction, Unfit> {
        let s = self.signals;
        self.link()?;
        has(
            s.node_model_matches,
            "node_model_matches",
            "the node has another model",
        )?;
        let edge = need(s.t_edge_split_ms, "t_edge_split_ms")?;
        let node = need(s.t_node_split_ms, "t_node_split_ms")?;
        let hidden = need(s.hidden_bytes, "hidden_bytes")?;
        need(s.up_mbit_s, "up_mbit_s")?;
        need(s.down_mbit_s, "down_mbit_s")?;
        let bytes = hidden + FRAME_BYTES;
        let prompt = known(s.prompt_tokens).map(|tokens| tokens * hidden + FRAME_BYTES);
        let ttft = match (prompt, self.prompt_ms(s.prefill_split_ms)) {
            (Some(up), Some(prefill)) => Some(self.exchange_ms(up, bytes)? + prefill),
            _ => None,
        };
        Ok(self.prediction(Outline {
            tpot_ms: edge + node + self.exchange_ms(bytes, bytes)?,
            edge_busy_ms: edge,
            ttft_ms: ttft,
            exchanges: 1.0,
            cloud_tokens: 1.0,
            up_bytes: bytes,
            down_bytes: bytes,
            ..Outline::default()
        }))
    }

    fn stream(&self) -> Result<Prediction, Unfit> {
        self.ids()?;
        let step = need(self.signals.t_cloud_ms, "t_cloud_ms")?;
        Ok(self.prediction(Outline {
            tpot_ms: step,
            ttft_ms: self.remote_ttft_ms()?,
            cloud_tokens: 1.0,
            down_bytes: FRAME_BYTES + ID_BYTES,
            ..Outline::default()
        }))
    }

    fn verify(
        &self,
        of_length: impl Fn(&Self, &Drafting, u32) -> Result<Outline, Unfit>,
    ) -> Result<Prediction, Unfit> {
        let s = self.signals;
        self.ids()?;
        has(
            s.edge_has_draft,
            "edge_has_draft",
            "the edge has no draft model",
        )?;
        let drafting = Drafting {
            acceptance: Acceptance::new(&s.acceptance).ok_or(Unfit::Unmeasured("acceptance"))?,
            draft_ms: need(s.t_draft_ms, "t_draft_ms")?,
            verify_ms: self.verify_ms()?,
        };
        self.best(|drafts| of_length(self, &drafting, drafts))
    }

    fn sequential(&self, drafting: &Drafting, drafts: u32) -> Result<Outline, Unfit> {
        let committed = drafting.acceptance.committed(drafts);
        let up = FRAME_BYTES + ID_BYTES * f64::from(drafts);
        let down = FRAME_BYTES + 2.0 * ID_BYTES;
        let exchange = self.exchange_ms(up, down)?;
        let columns = f64::from(drafts + 1);
        let verify = drafting.verify(drafts);
        Ok(Outline {
            tpot_ms: sequential_ms(drafts, drafting.draft_ms, exchange, verify, committed),
            edge_busy_ms: f64::from(drafts) * drafting.draft_ms / committed,
            ttft_ms: self.remote_ttft_ms()?,
            exchanges: 1.0 / committed,
            draft_tokens: Some(drafts),
            cloud_tokens: columns / committed,
            waste: 1.0 - committed / columns,
            up_bytes: up / committed,
            down_bytes: down / committed,
        })
    }

    fn pipelined(&self, drafting: &Drafting, drafts: u32) -> Result<Outline, Unfit> {
        let up = FRAME_BYTES + ID_BYTES * f64::from(drafts);
        let down = FRAME_BYTES + 2.0 * ID_BYTES;
        let verify_ms = drafting.verify(drafts);
        let draft_ms = drafting.draft_ms * f64::from(drafts);
        let pipeline = Pipeline {
            drafts,
            draft_ms,
            step_ms: draft_ms.max(verify_ms),
            whole_windows: drafting.acceptance.whole_windows(drafts),
            run: drafting.acceptance.run(),
            exchange_ms: self.exchange_ms(up, down)?,
            verify_ms,
            in_flight_max: self.terms.in_flight_max,
        };
        let gathering = Gathering {
            drafts,
            draft_ms: drafting.draft_ms,
            verify_ms: drafting.verify_ms,
            exchange_ms: self.clean_exchange_ms(up, down)?,
            loss_ms: loss_behind_ms(self.loss(), need(self.signals.rtt_ms, "rtt_ms")?),
            in_flight_max: self.terms.in_flight_max,
        };
        let waste = pipeline.waste();
        let cloud_tokens = 1.0 / (1.0 - waste);
        let windows = cloud_tokens / f64::from(drafts);
        Ok(Outline {
            tpot_ms: gathering.token_ms(&drafting.acceptance),
            edge_busy_ms: cloud_tokens * drafting.draft_ms,
            ttft_ms: self.remote_ttft_ms()?,
            exchanges: 1.0 / pipeline.run,
            draft_tokens: Some(drafts),
            cloud_tokens,
            waste,
            up_bytes: up * windows,
            down_bytes: down * windows,
        })
    }

    fn draft_at_node(&self) -> Result<Prediction, Unfit> {
        let s = self.signals;
        self.ids()?;
        has(
            s.node_has_draft,
            "node_has_draft",
            "the node has no draft model",
        )?;
        let drafting = Drafting {
            acceptance: Acceptance::new(&s.node_acceptance)
                .ok_or(Unfit::Unmeasured("node_acceptance"))?,
            draft_ms: need(s.t_node_draft_ms, "t_node_draft_ms")?,
            verify_ms: self.verify_ms()?,
        };
        let ttft_ms = self.remote_ttft_ms()?;
        self.best(|drafts| {
            let committed = drafting.acceptance.committed(drafts);
            let columns = f64::from(drafts + 1);
            let verify = drafting.verify(drafts);
            Ok(Outline {
                tpot_ms: sequential_ms(drafts, drafting.draft_ms, 0.0, verify, committed),
                ttft_ms,
                draft_tokens: Some(drafts),
                cloud_tokens: columns / committed,
                waste: 1.0 - committed / columns,
                down_bytes: FRAME_BYTES / committed + ID_BYTES,
                ..Outline::default()
            })
        })
    }

    /// The draft length that costs least.
    fn best(&self, of_length: impl Fn(u32) -> Result<Outline, Unfit>) -> Result<Prediction, Unfit> {
        let mut best = self.prediction(of_length(1)?);
        for drafts in 2..=self.terms.draft_max.min(DRAFT_MAX) {
            let other = self.prediction(of_length(drafts)?);
            if other.cost_ms < best.cost_ms {
                best = other;
            }
        }
        Ok(best)
    }

    fn link(&self) -> Result<(), Unfit> {
        has(self.signals.online, "online", "no node answers")?;
        need(self.signals.rtt_ms, "rtt_ms").map(|_| ())
    }

    /// What every mode needs that sends ids.
    fn ids(&self) -> Result<(), Unfit> {
        self.link()?;
        has(
            self.signals.node_tokenizer_matches,
            "node_tokenizer_matches",
            "the node has another tokenizer",
        )
    }

    fn verify_ms(&self) -> Result<(f64, f64), Unfit> {
        Ok((
            need(self.signals.t_verify_base_ms, "t_verify_base_ms")?,
            need(self.signals.t_verify_per_token_ms, "t_verify_per_token_ms")?,
        ))
    }

    /// What is added to a round trip for its spread, in milliseconds.
    fn margin_ms(&self) -> f64 {
        let (rtt, p95) = (known(self.signals.rtt_ms), known(self.signals.rtt_p95_ms));
        let spread = rtt.zip(p95).map_or(0.0, |(rtt, p95)| (p95 - rtt).max(0.0));
        self.terms.jitter_margin * spread
    }

    /// A round trip with its payloads and its share of lost packets.
    fn exchange_ms(&self, up_bytes: f64, down_bytes: f64) -> Result<f64, Unfit> {
        Ok(self.clean_exchange_ms(up_bytes, down_bytes)? + self.loss_ms()?)
    }

    /// A round trip with its payloads where nothing is lost.
    fn clean_exchange_ms(&self, up_bytes: f64, down_bytes: f64) -> Result<f64, Unfit> {
        let s = self.signals;
        let rtt = need(s.rtt_ms, "rtt_ms")?;
        let on_wire = |bytes, mbit_s| known(mbit_s).map_or(0.0, |rate| transfer_ms(bytes, rate));
        Ok(rtt + on_wire(up_bytes, s.up_mbit_s) + on_wire(down_bytes, s.down_mbit_s))
    }

    /// What lost packets add to a round trip on average.
    fn loss(&self) -> f64 {
        known(self.signals.loss).unwrap_or(0.0)
    }

    fn loss_ms(&self) -> Result<f64, Unfit> {
        let s = self.signals;
        let rtt = need(s.rtt_ms, "rtt_ms")?;
        let variation = known(s.rtt_var_ms).unwrap_or(rtt / 2.0);
        Ok(loss_ms(self.loss(), rtt, variation))
    }

    fn prompt_ms(&self, token_ms: Option<f64>) -> Option<f64> {
        Some(known(self.signals.prompt_tokens)? * known(token_ms)?)
    }

    /// Time to the first token where the prompt goes up as ids.
    fn remote_ttft_ms(&self) -> Result<Option<f64>, Unfit> {
        let Some(prefill) = self.prompt_ms(self.signals.prefill_cloud_ms) else {
            return Ok(None);
        };
        let ids = known(self.signals.prompt_tokens).unwrap_or(0.0);
        let exchange = self.exchange_ms(FRAME_BYTES + ids * ID_BYTES, FRAME_BYTES + ID_BYTES)?;
        Ok(Some(exchange + prefill))
    }

    fn prediction(&self, outline: Outline) -> Prediction {
        let power = known(self.signals.edge_power_w);
        let edge_joules = power.map(|watts| watts * outline.edge_busy_ms / 1e3);
        let cost_ms = outline.tpot_ms
            + self.margin_ms() * outline.exchanges
            + self.terms.lambda_cloud_ms_per_token * outline.cloud_tokens
            + self.terms.lambda_energy_ms_per_joule * edge_joules.unwrap_or(0.0);
        Prediction {
            tpot_ms: outline.tpot_ms,
            ttft_ms: outline.ttft_ms,
            draft_tokens: outline.draft_tokens,
            cloud_tokens: outline.cloud_tokens,
            waste: outline.waste,
            edge_joules,
            up_bytes: outline.up_bytes,
            down_bytes: outline.down_bytes,
            cost_ms,
        }
    }
}

/// A prediction before it is weighed; see [`Prediction`].
#[derive(Default)]
struct Outline {
    tpot_ms: f64,
    /// Time the edge computes per output token, in milliseconds.
    edge_busy_ms: f64,
    ttft_ms: Option<f64>,
    /// Round trips waited for, per output token.
    exchanges: f64,
    draft_tokens: Option<u32>,
    cloud_tokens: f64,
    waste: f64,
    up_bytes: f64,
    down_bytes: f64,
}

/// A quantity, if it is one.
pub(super) fn known(number: Option<f64>) -> Option<f64> {
    number.filter(|number| number.is_finite() && *number >= 0.0)
}

fn need(number: Option<f64>, name: &'static str) -> Result<f64, Unfit> {
    known(number).ok_or(Unfit::Unmeasured(name))
}

fn has(fact: Option<bool>, name: &'static str, lacking: &'static str) -> Result<(), Unfit> {
    match fact {
        Some(true) => Ok(()),
        Some(false) => Err(Unfit::Lacking(lacking)),
        None => Err(Unfit::Unknown(name)),
    }
}

#[cfg(test)]
#[path = "predict_tests.rs"]
mod tests;
