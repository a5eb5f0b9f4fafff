//! DRY, "don't repeat yourself": a penalty on the token that would continue a
//! repetition, which grows exponentially with the length of what is repeated
//! (p-e-w, text-generation-webui #5677).

use std::borrow::Cow;
use std::collections::HashMap;

use super::params::{SamplerParams, window};

/// What is needed of a tokenizer to find sequence breakers in tokens.
pub trait BreakerVocabulary {
    /// Number of tokens.
    fn n_tokens(&self) -> u32;
    /// The text of a token.
    fn piece(&self, token: u32) -> Cow<'_, [u8]>;
    /// The tokens of a text, without special ones.
    fn tokenize(&self, text: &str) -> Vec<u32>;
}

/// The longest sequence after the first token of a breaker; llama.cpp's limit.
const TAIL_TOKENS_MAX: usize = 20;

/// Token sequences across which no repetition is seen: for each first token,
/// what may follow it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DryBreakers {
    tails: HashMap<u32, Vec<Vec<u32>>>,
}

impl DryBreakers {
    /// Finds the breakers in a vocabulary: every token that contains one, and
    /// every token that ends in the beginning of one, followed by the rest.
    pub fn of_vocabulary(vocabulary: &impl BreakerVocabulary, breakers: &[String]) -> Self {
        let mut found = Self::default();
        for token in 0..vocabulary.n_tokens() {
            let piece = vocabulary.piece(token);
            for breaker in breakers.iter().filter(|breaker| !breaker.is_empty()) {
                found.add_overlaps(vocabulary, token, &piece, breaker);
            }
        }
        found
    }

    fn add_overlaps(
        &mut self,
        vocabulary: &impl BreakerVocabulary,
        token: u32,
        piece: &[u8],
        breaker: &str,
    ) {
        if piece
            .windows(breaker.len())
            .any(|part| part == breaker.as_bytes())
        {
            self.add(token, Vec::new());
            return;
        }
        for overlap in 1..breaker.len().min(piece.len() + 1) {
            // A rest that begins inside a character has no tokens.
            if breaker.is_char_boundary(overlap) && piece.ends_with(&breaker.as_bytes()[..overlap])
            {
                let mut tail = vocabulary.tokenize(&breaker[overlap..]);
                tail.truncate(TAIL_TOKENS_MAX);
                self.add(token, tail);
            }
        }
    }

    /// Takes breakers that are token sequences already; empty ones are none.
    pub fn of_sequences<'a>(sequences: impl IntoIterator<Item = &'a [u32]>) -> Self {
        let mut found = Self::default();
        for sequence in sequences {
            if let Some((&head, tail)) = sequence.split_first() {
                found.add(head, tail[..tail.len().min(TAIL_TOKENS_MAX)].into());
            }
        }
        found
    }

    fn add(&mut self, head: u32, tail: Vec<u32>) {
        let tails = self.tails.entry(head).or_default();
        if !tails.contains(&tail) {
            tails.push(tail);
        }
    }

    /// Whether the token is a breaker on its own.
    fn is_single(&self, token: u32) -> bool {
        self.tails
            .get(&token)
            .is_some_and(|tails| tails.iter().any(Vec::is_empty))
    }

    /// Number of tokens after the last breaker in `tokens`.
    fn since_last(&self, tokens: &[u32]) -> usize {
        if self.tails.is_empty() {
            return tokens.len();
        }
        for (at, token) in tokens.iter().enumerate().rev() {
            let Some(tails) = self.tails.get(token) else {
                continue;
            };
            let after = &tokens[at + 1..];
            let longest = tails.iter().filter(|tail| after.starts_with(tail));
            if let Some(length) = longest.map(Vec::len).max() {
                return after.len() - length;
            }
        }
        tokens.len()
    }
}

/// Applies the DRY penalty to the logits.
#[derive(Debug)]
pub(super) struct Dry {
    breakers: DryBreakers,
    /// Z-function of the reversed window.
    common: Vec<u32>,
    /// One more than the longest repetition that each token would continue;
    /// zero between calls.
    continues: Vec<u32>,
}

impl Dry {
    pub(super) fn new(n_vocab: usize, breakers: DryBreakers) -> Self {
        Self {
            breakers,
            common: Vec::new(),
            continues: vec![0; n_vocab],
        }
    }

    /// `history` holds tokens of the vocabulary only.
    pub(super) fn apply(&mut self, logits: &mut [f32], history: &[u32], params: &SamplerParams) {
        let window = window(history, params.dry_penalty_last_n);
        let allowed = params.dry_allowed_length as usize;
        if window.len() <= allowed {
            return;
        }
        let limit = self.breakers.since_last(window);
        if limit < allowed {
            return;
        }
        reversed_z(window, &mut self.common);
        // common[k] tokens before the last k equal those at the end, so the
        // token k from the end would follow them again.
        for (back, &common) in self.common.iter().enumerate().skip(1) {
            let length = (common as usize).min(limit);
            if length >= allowed {
                let next = window[window.len() - back] as usize;
                self.continues[next] = self.continues[next].max(length as u32 + 1);
            }
        }
        for &token in window {
            let length = std::mem::take(&mut self.continues[token as usize]).checked_sub(1);
            let Some(length) = length.filter(|_| !self.breakers.is_single(token)) else {
                continue;
            };
            let exponent = f64::from(length - params.dry_allowed_length);
            let penalty =
                f64::from(params.dry_multiplier) * libm::pow(params.dry_base.into(), exponent);
            logits[token as usize] -= penalty.min(f32::MAX.into()) as f32;
        }
    }
}

/// `z[k]` is the length of the longest common suffix of `tokens` and of
/// `tokens` without its last k, in linear time.
fn reversed_z(tokens: &[u32], z: &mut Vec<u32>) {
    let n = tokens.len();
    let from_end = |at: usize| tokens[n - 1 - at];
    z.clear();
    z.resize(n, 0);
    let (mut left, mut right) = (0, 0);
    for k in 1..n {
        let mut length = 0;
        if k < right {
            length = (z[k - left] as usize).min(right - k);
        }
        while k + length < n && from_end(length) == from_end(k + length) {
            length += 1;
        }
        if k + length > right {
            (left, right) = (k, k + length);
        }
        z[k] = length as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breakers_are_found_across_tokens() {
        struct Words;
        impl BreakerVocabulary for Words {
            fn n_tokens(&self) -> u32 {
                5
            }
            fn piece(&self, token: u32) -> Cow<'_, [u8]> {
                [b"a".as_slice(), b"x<", b"/s>", b"y</s>z", b"</"][token as usize].into()
            }
            fn tokenize(&self, text: &str) -> Vec<u32> {
                text.bytes().map(u32::from).collect()
            }
        }
        let ascii = |text: &str| text.bytes().map(u32::from).collect::<Vec<_>>();
        let sequence = |head: u32, tail: &str| [vec![head], ascii(tail)].concat();
        let expected = [sequence(1, "/s>"), sequence(3, ""), sequence(4, "s>")];
        assert_eq!(
            DryBreakers::of_vocabulary(&Words, &["</s>".into()]),
            DryBreakers::of_sequences(expected.iter().map(Vec::as_slice))
        );
    }
}
