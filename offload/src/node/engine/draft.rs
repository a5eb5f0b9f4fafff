//! The node's own guesses for those who asked for them.

use super::{Engine, Slot};
use crate::node::{Compute, Drafting};
use outrigger_runtime::{
    tokenizer::TokenId,
    transcript::{Class, Transcript},
};
use tokio::time::Instant;

impl<C: Compute> Engine<C> {
    /// Lets the node's draft guess for those who asked for it.
    pub(super) async fn draft(&mut self) {
        if !self.compute.drafts() {
            return;
        }
        let context = self.compute.context();
        // What is left of a pass, with a column for everybody.
        let columns = self.compute.columns_max().saturating_sub(self.slots.len());
        let share = columns / self.slots.len().max(1);
        let mut wanted = Vec::new();
        for slot in self.slots.values_mut() {
            slot.guesses.tokens.clear();
            let transcript = slot.state.transcript();
            let edges = (slot.state.requested()).is_none_or(|r| !r.guesses.is_empty());
            let reads = slot.orphan.is_none() && slot.outbox.capacity() > 1;
            if edges || !reads || !slot.state.opened().draft || ends_in_prompt(transcript) {
                continue;
            }
            // One token comes without a guess, and one may stand behind the
            // context.
            let left = slot.state.running().saturating_sub(1);
            let room = left.min(context.saturating_sub(transcript.len())) as usize;
            let tokens_max = slot.guesses.wanted(room.min(share));
            if tokens_max > 0 {
                wanted.push(Drafting {
                    sequence: slot.sequence,
                    transcript,
                    tokens_max,
                    guesses: &mut slot.guesses.tokens,
                });
            }
        }
        if wanted.is_empty() {
            return;
        }
        let started = Instant::now();
        self.compute.draft(&mut wanted).await;
        let took = started.elapsed();
        for slot in self.slots.values_mut() {
            slot.guesses.drafted(took);
        }
    }
}

/// The guesses for the next pass: the edge's, or the node's own.
pub(super) fn guesses_of<'a>(slot: &'a Slot, edges: &'a [TokenId]) -> &'a [TokenId] {
    match edges.is_empty() {
        true => &slot.guesses.tokens,
        false => edges,
    }
}

/// Whether a prompt is the last that a transcript holds.
pub(super) fn ends_in_prompt(transcript: &Transcript) -> bool {
    let last = transcript.positions().segments().last();
    last.is_some_and(|segment| segment.class == Class::Prompt)
}
