//! The transcript of one generation: its committed tokens, each with its
//! class.
//!
//! It is the only truth about a generation. Everything else, a KV cache on any
//! device included, can be rebuilt from it.

use crate::tokenizer::TokenId;
use std::ops::Range;

/// How a position came to be, which decides the kernels that compute it.
///
/// Generated positions go through kernels in which each column's result is
/// independent of all others; prompt positions through kernels that work on
/// chunks of a fixed grid. A position that is computed again is computed by
/// the kernels of its class, so that it gets the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Given by the user.
    Prompt,
    /// Chosen by a decoder.
    Generated,
}

/// A run of positions of one class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The class of all its positions.
    pub class: Class,
    /// The positions. A prompt's chunk grid starts at its first.
    pub positions: Range<u32>,
}

/// The committed tokens of one generation, or of one chat.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Transcript {
    tokens: Vec<TokenId>,
    segments: Vec<Segment>,
}

impl Transcript {
    /// An empty transcript.
    pub fn new() -> Self {
        Self::default()
    }

    /// All tokens; the index is the position.
    pub fn tokens(&self) -> &[TokenId] {
        &self.tokens
    }

    /// Number of positions.
    pub fn len(&self) -> u32 {
        self.tokens.len() as u32
    }

    /// Whether there are no tokens.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Makes room, so that committing as many tokens does not allocate.
    pub fn reserve(&mut self, tokens: usize) {
        self.tokens.reserve(tokens);
        self.segments.reserve(2);
    }

    /// Appends a prompt: a segment of its own, even after another prompt.
    pub fn push_prompt(&mut self, tokens: &[TokenId]) {
        if tokens.is_empty() {
            return;
        }
        let start = self.len();
        self.tokens.extend_from_slice(tokens);
        self.segments.push(Segment {
            class: Class::Prompt,
            positions: start..self.len(),
        });
    }

    /// Appends a token that a decoder chose.
    pub fn commit(&mut self, token: TokenId) {
        let position = self.len();
        self.tokens.push(token);
        match self.segments.last_mut() {
            Some(last) if last.class == Class::Generated => last.positions.end = position + 1,
            _ => self.segments.push(Segment {
                class: Class::Generated,
                positions: position..position + 1,
            }),
        }
    }

    /// The runs of one class, in order, without gaps.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The segment that holds `position`.
    pub fn segment_at(&self, position: u32) -> Option<&Segment> {
        let index = self
            .segments
            .partition_point(|s| s.positions.end <= position);
        self.segments.get(index)
    }

    /// Cuts the transcript to `len` tokens.
    pub fn truncate(&mut self, len: u32) {
        self.tokens.truncate(len as usize);
        self.segments.retain(|s| s.positions.start < len);
        if let Some(last) = self.segments.last_mut() {
            last.positions.end = last.positions.end.min(len);
        }
    }

    /// Number of leading tokens that both have, with the same classes.
    pub fn common_prefix(&self, other: &Self) -> u32 {
        let pairs = self.tokens.iter().zip(&other.tokens);
        let mut common = pairs.take_while(|(a, b)| a == b).count() as u32;
        for (a, b) in self.segments.iter().zip(&other.segments) {
            if a.positions.start >= common {
                break;
            }
            if a.class != b.class || a.positions.start != b.positions.start {
                common = a.positions.start.min(b.positions.start);
                break;
            }
            // Where one segment ends and the other goes on, the next
            // position differs in class or in its chunk grid.
            if a.positions.end != b.positions.end {
                common = common.min(a.positions.end.min(b.positions.end));
            }
        }
        common
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transcript(parts: &[(Class, &[TokenId])]) -> Transcript {
        let mut transcript = Transcript::new();
        for (class, tokens) in parts {
            match class {
                Class::Prompt => transcript.push_prompt(tokens),
                Class::Generated => tokens.iter().for_each(|&t| transcript.commit(t)),
            }
        }
        transcript
    }

    use Class::{Generated as G, Prompt as P};

    #[test]
    fn segments_follow_the_classes() {
        let t = transcript(&[(P, &[1, 2]), (G, &[3, 4]), (P, &[5]), (P, &[6])]);
        let segments: Vec<_> = t
            .segments()
            .iter()
            .map(|s| (s.class, s.positions.clone()))
            .collect();
        assert_eq!(segments, [(P, 0..2), (G, 2..4), (P, 4..5), (P, 5..6)]);
        assert_eq!(t.segment_at(3).unwrap().class, G);
        assert_eq!(t.segment_at(6), None);
    }

    #[test]
    fn truncating_cuts_segments() {
        let mut t = transcript(&[(P, &[1, 2]), (G, &[3, 4]), (P, &[5])]);
        t.truncate(3);
        assert_eq!(t.tokens(), [1, 2, 3]);
        assert_eq!(t.segments().last().unwrap().positions, 2..3);
        t.truncate(0);
        assert!(t.is_empty() && t.segments().is_empty());
    }

    #[test]
    fn a_common_prefix_has_the_same_tokens_and_classes() {
        let a = transcript(&[(P, &[1, 2]), (G, &[3, 4]), (P, &[5])]);
        assert_eq!(a.common_prefix(&a), 5);
        assert_eq!(a.common_prefix(&transcript(&[(P, &[1, 9])])), 1);
        assert_eq!(a.common_prefix(&transcript(&[(P, &[1, 2, 3, 4, 5])])), 2);
        assert_eq!(
            a.common_prefix(&transcript(&[(P, &[1, 2]), (G, &[3, 9])])),
            3
        );
        assert_eq!(
            a.common_prefix(&transcript(&[(P, &[1, 2]), (G, &[3]), (P, &[4])])),
            3
        );
        assert_eq!(a.common_prefix(&transcript(&[])), 0);
    }
}
