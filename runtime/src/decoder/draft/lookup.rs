//! Prompt lookup: what followed last time (Saxena, "Prompt Lookup Decoding",
//! 2023).

use super::{Confidence, Draft, DraftRequest};
use crate::{decoder::DecodeError, tokenizer::TokenId, transcript::Transcript};

/// The longest n-gram that is told from a longer one, in tokens.
const NGRAM_MAX: usize = 16;

/// Guesses what followed the longest n-gram that the transcript ends in and
/// that occurred in it before; of several, the latest.
///
/// It holds no index: a search walks the tokens once, which next to a pass of
/// a model is nothing, and has nothing to keep in step with the transcript.
#[derive(Debug, Default)]
pub struct LookupDraft {
    _private: (),
}

impl LookupDraft {
    /// A draft that searches the transcript.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Draft for LookupDraft {
    fn name(&self) -> &str {
        "ngram"
    }

    fn confidence(&mut self, transcript: &Transcript) -> Option<Confidence> {
        let occurrence = search(transcript.tokens())?;
        Some(Confidence::new(occurrence.length.ilog2() as usize))
    }

    fn propose(
        &mut self,
        request: &mut DraftRequest<'_>,
        out: &mut Vec<TokenId>,
    ) -> Result<(), DecodeError> {
        let tokens = request.transcript.tokens();
        let Some(Occurrence { end, .. }) = search(tokens) else {
            return Ok(());
        };
        for index in end..end + request.tokens_max {
            // Where the occurrence reaches the end, it goes on in the guess.
            let token = match tokens.get(index) {
                Some(&token) => token,
                None => out[index - tokens.len()],
            };
            out.push(token);
        }
        Ok(())
    }
}

/// An earlier occurrence of the tokens at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Occurrence {
    /// Index of the token behind it.
    end: usize,
    /// Tokens of it, from 1 to [`NGRAM_MAX`].
    length: usize,
}

fn search(tokens: &[TokenId]) -> Option<Occurrence> {
    let (last, before) = tokens.split_last()?;
    let mut best: Option<Occurrence> = None;
    for (index, token) in before.iter().enumerate().rev() {
        if token != last {
            continue;
        }
        let pairs = before[..index].iter().rev().zip(before.iter().rev());
        let more = pairs.take(NGRAM_MAX - 1).take_while(|(a, b)| a == b);
        let length = 1 + more.count();
        if best.is_none_or(|best| length > best.length) {
            best = Some(Occurrence {
                end: index + 1,
                length,
            });
            if length == NGRAM_MAX {
                break;
            }
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampler::SamplerParams;
    use std::sync::atomic::AtomicBool;

    fn guess(tokens: &[TokenId], count: usize) -> Vec<TokenId> {
        let mut transcript = Transcript::new(SamplerParams::greedy());
        transcript.push_prompt(tokens);
        let mut out = Vec::new();
        let mut request = DraftRequest {
            transcript: &transcript,
            tokens_max: count,
            cancel: &AtomicBool::new(false),
            progress: &mut |_| (),
        };
        LookupDraft::new().propose(&mut request, &mut out).unwrap();
        out
    }

    #[test]
    fn the_longest_occurrence_wins_over_a_later_one() {
        let text = [1, 2, 3, 7, 8, 9, 3, 6, 2, 3];
        assert_eq!(search(&text), Some(Occurrence { end: 3, length: 2 }));
        assert_eq!(guess(&text, 3), [7, 8, 9]);
    }

    #[test]
    fn of_equal_ones_the_latest_wins() {
        assert_eq!(guess(&[5, 1, 5, 2, 5], 1), [2]);
    }

    #[test]
    fn a_guess_goes_on_beyond_the_end() {
        assert_eq!(guess(&[1, 2, 3, 1], 5), [2, 3, 1, 2, 3]);
        assert_eq!(guess(&[4, 4], 3), [4, 4, 4]);
    }

    #[test]
    fn long_occurrences_end_the_search() {
        let text: Vec<u32> = (0..40).chain(0..40).collect();
        let found = search(&text).unwrap();
        assert_eq!((found.end, found.length), (40, NGRAM_MAX));
        let mut transcript = Transcript::new(SamplerParams::greedy());
        transcript.push_prompt(&text);
        let confidence = LookupDraft::new().confidence(&transcript).unwrap();
        assert_eq!(confidence.grade(), Confidence::GRADES - 1);
    }

    #[test]
    fn nothing_is_guessed_where_nothing_occurred() {
        for text in [&[][..], &[1], &[1, 2, 3]] {
            assert_eq!(search(text), None);
            assert!(guess(text, 4).is_empty());
        }
    }
}
