//! The record of how far a draft carried.

/// What a draft brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Speculation {
    /// What the draft is called: a model's name, or `ngram`.
    pub draft: String,
    /// Passes of the model that each followed on a generated token.
    pub target_steps: u64,
    /// Tokens that came of them.
    pub tokens: u64,
    /// Tokens that the draft guessed.
    pub drafted: u64,
    /// Guesses that were what the model chose.
    pub accepted: u64,
}

impl Speculation {
    /// A record of nothing yet.
    pub fn new(draft: &str) -> Self {
        Self {
            draft: draft.into(),
            target_steps: 0,
            tokens: 0,
            drafted: 0,
            accepted: 0,
        }
    }

    /// The share of guesses that were right; `None` before the first.
    pub fn acceptance_rate(&self) -> Option<f64> {
        (self.drafted > 0).then(|| self.accepted as f64 / self.drafted as f64)
    }

    /// Mean number of tokens of a pass, 1 without a draft; `None` before the
    /// first.
    pub fn tokens_per_step(&self) -> Option<f64> {
        (self.target_steps > 0).then(|| self.tokens as f64 / self.target_steps as f64)
    }

    /// Adds what `whole` has more than these counts of it.
    pub(super) fn add_since(&mut self, before: [u64; 4], whole: &Self) {
        let [target_steps, tokens, drafted, accepted] = before;
        self.target_steps += whole.target_steps - target_steps;
        self.tokens += whole.tokens - tokens;
        self.drafted += whole.drafted - drafted;
        self.accepted += whole.accepted - accepted;
    }

    /// The counts at this moment.
    pub(super) fn counts(&self) -> [u64; 4] {
        [self.target_steps, self.tokens, self.drafted, self.accepted]
    }
}
