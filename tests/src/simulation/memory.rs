//! A KV cache of which only the positions count.

use outrigger_runtime::{
    decoder::Decoded,
    transcript::{Positions, Transcript},
};

/// The positions that a model has computed.
#[derive(Debug, Default)]
pub(super) struct Memory {
    positions: Positions,
}

impl Memory {
    /// Positions of a transcript that are to be computed before a token comes:
    /// the last one at least.
    pub(super) fn behind(&self, transcript: &Transcript) -> u32 {
        let common = self.positions.common_prefix(transcript.positions());
        transcript.len() - common.min(transcript.len().saturating_sub(1))
    }

    /// Takes in that a transcript was computed up to `end`.
    pub(super) fn compute(&mut self, transcript: &Transcript, end: u32) {
        let common = self.positions.common_prefix(transcript.positions());
        self.positions.truncate(common);
        self.positions.follow(transcript.positions(), end);
    }

    /// Takes in the guesses of a pass that were right: all tokens that it
    /// chose but the last.
    pub(super) fn accept(&mut self, chosen: &[Decoded]) {
        let right = chosen.len().saturating_sub(1);
        for decoded in &chosen[..right] {
            self.positions.push_generated(decoded.token);
        }
    }
}
