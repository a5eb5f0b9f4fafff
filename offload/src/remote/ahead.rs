//! A transcript and, behind it, guesses that are not confirmed yet.

use outrigger_runtime::{
    sampler::{SamplerParams, SamplerState},
    tokenizer::TokenId,
    transcript::Transcript,
};

/// What a token of the node was to the guess in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judged {
    /// The same.
    Right {
        /// Guesses right before it since drafting began anew.
        place: usize,
    },
    /// Another: the guesses behind it are gone.
    Wrong {
        /// Guesses right before it since drafting began anew.
        place: usize,
        /// Whether the node knows the guess.
        sent: bool,
    },
    /// There was no guess.
    Unguessed,
}

/// A transcript that runs ahead of what is confirmed.
///
/// Invariants: `confirmed <= sent.max(confirmed) <= transcript.len()`, and the
/// guesses from `since` on were each made behind those before them.
pub(super) struct Ahead {
    transcript: Transcript,
    /// Positions that are confirmed.
    confirmed: u32,
    /// The sampler's state there.
    state: SamplerState,
    /// Guesses before this position have been sent.
    sent: u32,
    /// Where drafting last began anew.
    since: u32,
}

impl Ahead {
    pub(super) fn new() -> Self {
        let transcript = Transcript::new(SamplerParams::greedy());
        Self {
            state: transcript.sampler_state(),
            transcript,
            confirmed: 0,
            sent: 0,
            since: 0,
        }
    }

    /// Begins behind another transcript.
    pub(super) fn restart(&mut self, transcript: &Transcript) {
        self.transcript = transcript.clone();
        self.confirmed = transcript.len();
        self.state = transcript.sampler_state();
        self.sent = self.confirmed;
        self.since = self.confirmed;
    }

    /// What is confirmed and the guesses behind it.
    pub(super) fn transcript(&self) -> &Transcript {
        &self.transcript
    }

    /// Positions that are confirmed.
    pub(super) fn confirmed(&self) -> u32 {
        self.confirmed
    }

    /// The last guess that is not confirmed.
    pub(super) fn last_guess(&self) -> Option<TokenId> {
        let last = self.transcript.tokens().last().copied();
        last.filter(|_| self.guessed() > 0)
    }

    /// Guesses that are not confirmed.
    pub(super) fn guessed(&self) -> u32 {
        self.transcript.len() - self.confirmed
    }

    /// Where those guesses begin that were not sent, the sampler's state
    /// there as far as it is known, and the guesses.
    pub(super) fn unsent(&self) -> (u32, SamplerState, &[TokenId]) {
        let start = self.sent.max(self.confirmed);
        let guesses = &self.transcript.tokens()[start as usize..];
        (start, self.state, guesses)
    }

    /// All guesses have been sent.
    pub(super) fn set_sent(&mut self) {
        self.sent = self.transcript.len();
    }

    /// Appends a guess, with the sampler's state behind it if the draft has
    /// one.
    pub(super) fn guess(&mut self, token: TokenId, state: Option<SamplerState>) {
        let state = state.unwrap_or(self.transcript.sampler_state());
        self.transcript.commit(token, state);
    }

    /// Takes in the next token that the node chose.
    pub(super) fn confirm(&mut self, token: TokenId, state: SamplerState) -> Judged {
        let position = self.confirmed;
        self.confirmed += 1;
        self.state = state;
        let place = position.saturating_sub(self.since) as usize;
        let guess = self.transcript.tokens().get(position as usize).copied();
        if guess == Some(token) {
            if self.transcript.len() == self.confirmed {
                self.transcript.truncate(self.confirmed, state);
            }
            return Judged::Right { place };
        }
        self.transcript.truncate(position, state);
        self.transcript.commit(token, state);
        self.since = self.confirmed;
        let sent = position < self.sent;
        self.sent = self.sent.min(self.confirmed);
        match guess {
            Some(_) => Judged::Wrong { place, sent },
            None => Judged::Unguessed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mu(value: f32) -> SamplerState {
        SamplerState { mirostat_mu: value }
    }

    fn ahead(guesses: &[TokenId]) -> Ahead {
        let mut transcript = Transcript::new(SamplerParams::greedy());
        transcript.push_prompt(&[1, 2]);
        let mut ahead = Ahead::new();
        ahead.restart(&transcript);
        for &guess in guesses {
            ahead.guess(guess, Some(mu(9.0)));
        }
        ahead
    }

    #[test]
    fn right_guesses_stay_and_the_rest_follows() {
        let mut ahead = ahead(&[5, 6]);
        ahead.set_sent();
        ahead.guess(7, None);
        assert_eq!(ahead.unsent().2, [7]);
        assert_eq!(ahead.confirm(5, mu(1.0)), Judged::Right { place: 0 });
        assert_eq!(ahead.confirm(6, mu(2.0)), Judged::Right { place: 1 });
        // The guess behind them was not sent, and is confirmed by the token
        // that comes with them.
        assert_eq!(ahead.confirm(7, mu(3.0)), Judged::Right { place: 2 });
        assert_eq!((ahead.guessed(), ahead.unsent().0), (0, 5));
        assert_eq!(ahead.transcript().sampler_state(), mu(3.0));
        assert_eq!(ahead.confirm(8, mu(4.0)), Judged::Unguessed);
        ahead.guess(9, None);
        assert_eq!(ahead.confirm(9, mu(5.0)), Judged::Right { place: 0 });
        assert_eq!(ahead.transcript().tokens(), [1, 2, 5, 6, 7, 8, 9]);
    }

    #[test]
    fn a_wrong_guess_takes_those_behind_it_away() {
        let mut ahead = ahead(&[5, 6, 7]);
        ahead.set_sent();
        ahead.guess(8, None);
        ahead.confirm(5, mu(1.0));
        let wrong = Judged::Wrong {
            place: 1,
            sent: true,
        };
        assert_eq!(ahead.confirm(4, mu(2.0)), wrong);
        assert_eq!(ahead.transcript().tokens(), [1, 2, 5, 4]);
        assert_eq!(ahead.unsent(), (4, mu(2.0), &[][..]));
        ahead.guess(3, None);
        assert_eq!(ahead.unsent(), (4, mu(2.0), &[3][..]));
        let wrong = Judged::Wrong {
            place: 0,
            sent: false,
        };
        assert_eq!(ahead.confirm(2, mu(3.0)), wrong);
    }
}
