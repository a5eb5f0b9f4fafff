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

/// Guesses, right at set chances.
#[derive(Clone)]
pub(super) struct Guesser {
    language: Language,
    /// The chance of each place in a draft to be right, given that those
    /// before it were; the last goes on.
    acceptance: Arc<[f32]>,
}

impl Guesser {
    /// # Panics
    /// If `acceptance` is empty.
    pub(super) fn new(language: Language, acceptance: Arc<[f32]>) -> Self {
        assert!(!acceptance.is_empty(), "a draft has a chance to be right");
        Self {
            language,
            acceptance,
        }
    }

    /// The guess behind `text`, of which the last `place` tokens are guesses.
    pub(super) fn guess(&self, text: &[TokenId], place: usize) -> TokenId {
        let last = self.acceptance.len() - 1;
        let chance = f64::from(self.acceptance[place.min(last)]);
        match share(mix(self.language.hash(text) ^ CHANCE)) < chance {
            true => self.language.next(text),
            false => self.language.wrong(text),
        }
    }
}

/// Guesses by waiting.
pub struct ClockDraft {
    guesser: Guesser,
    times: Times,
    waiter: Waiter,
    /// What it was asked behind last, and what it guessed.
    text: Vec<TokenId>,
    /// Guesses at the end of `text`.
    place: usize,
}

impl ClockDraft {
    pub(super) fn new(guesser: Guesser, times: Times, waiter: Waiter) -> Self {
        Self {
            guesser,
            times,
            waiter,
            text: Vec::new(),
            place: 0,
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
        // It drafts on where its own guesses are all that is new.
        if self.text != request.transcript.tokens() {
            self.text.clear();
            self.text.extend(request.transcript.tokens());
            self.place = 0;
        }
        for _ in 0..request.tokens_max {
            let token = self.guesser.guess(&self.text, self.place);
            self.text.push(token);
            self.place += 1;
            out.push(token);
        }
        Ok(())
    }
}
