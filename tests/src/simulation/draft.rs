//! A draft that is right as often as it should be.

use super::{
    Language, Times,
    language::{mix, share},
    times::ms,
};
use outrigger_offload::Waiter;
use outrigger_runtime::{
    decoder::{Confidence, DecodeError, Draft, DraftRequest},
    tokenizer::TokenId,
    transcript::Transcript,
};
use std::sync::Arc;

/// Sets the draft's chances apart from the language's own hash.
const CHANCE: u64 = 0x5851_f42d_4c95_7f2d;

/// Guesses by waiting.
pub struct ClockDraft {
    language: Language,
    times: Times,
    waiter: Waiter,
    /// The chance of each place in a draft to be right, given that those
    /// before it were; the last goes on.
    acceptance: Arc<[f32]>,
}

impl ClockDraft {
    /// A draft for `language` that is right at the chances of `acceptance`,
    /// which are not empty.
    pub fn new(language: Language, times: Times, waiter: Waiter, acceptance: Arc<[f32]>) -> Self {
        Self {
            language,
            times,
            waiter,
            acceptance,
        }
    }

    fn guess(&self, text: &[TokenId], place: usize) -> TokenId {
        let last = self.acceptance.len() - 1;
        let chance = f64::from(self.acceptance[place.min(last)]);
        match share(mix(self.language.hash(text) ^ CHANCE)) < chance {
            true => self.language.next(text),
            false => self.language.wrong(text),
        }
    }
}

impl Draft for ClockDraft {
    fn name(&self) -> &str {
        "clock"
    }

    fn confidence(&mut self, _: &Transcript) -> Option<Confidence> {
        Some(Confidence::new(0))
    }

    fn propose(
        &mut self,
        request: &mut DraftRequest<'_>,
        out: &mut Vec<TokenId>,
    ) -> Result<(), DecodeError> {
        let takes = ms(self.times.draft_ms) * request.tokens_max as u32;
        self.waiter.wait(async { tokio::time::sleep(takes).await });
        let mut text = request.transcript.tokens().to_vec();
        for place in 0..request.tokens_max {
            let token = self.guess(&text, place);
            text.push(token);
            out.push(token);
        }
        Ok(())
    }
}
