//! How a generation is going, while it goes.

use super::{
    offload::{Board, DecisionRecord},
    status::StatusLine,
};
use outrigger_offload::remote::Traffic;
use outrigger_runtime::decoder::{Decoder, Generation, Speculation};
use std::sync::Arc;

/// What is shown of a generation that nodes may take part in.
pub(super) struct Gauge {
    status: StatusLine,
    board: Option<Arc<Board>>,
}

impl Gauge {
    pub(super) fn new(status: StatusLine, board: Option<Arc<Board>>) -> Self {
        Self { status, board }
    }

    /// Makes room for text, or for another line.
    pub(super) fn clear(&self) {
        self.status.clear();
    }

    /// Takes in text that was written, and shows how things stand behind it.
    pub(super) fn wrote(&self, text: &str, generation: &Generation, decoder: &dyn Decoder) {
        self.status.wrote(text);
        if let Some(board) = &self.board {
            self.status.draw(|| line(board, generation, decoder));
        }
    }

    /// Takes in that a text has ended with its row.
    pub(super) fn ended(&self) {
        self.status.ended();
    }

    /// What has crossed so far; `None` where there is no link.
    pub(super) fn traffic(&self) -> Option<Traffic> {
        self.board.as_ref()?.traffic()
    }

    /// The changes of mode since they were last asked for; `None` where there
    /// is nothing to decide.
    pub(super) fn decisions(&self) -> Option<Vec<DecisionRecord>> {
        Some(self.board.as_ref()?.take_decisions())
    }
}

fn line(board: &Board, generation: &Generation, decoder: &dyn Decoder) -> String {
    let mut parts = vec![decoder.provenance().source.clone()];
    if let Some(rtt) = board.rtt() {
        parts.push(format!("{:.0} ms away", rtt.as_secs_f64() * 1e3));
    }
    if let Some(time) = generation.time_per_output_token() {
        parts.push(format!(
            "{:.1} tokens/s",
            1.0 / time.as_secs_f64().max(1e-6)
        ));
    }
    let rate = generation
        .speculation()
        .and_then(Speculation::acceptance_rate);
    if let Some(rate) = rate {
        parts.push(format!("{:.0} % of drafts accepted", rate * 1e2));
    }
    parts.join(", ")
}
