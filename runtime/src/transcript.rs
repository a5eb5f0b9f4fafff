//! The transcript of one generation: its committed tokens, each with its
//! class, and the state of its sampler.
//!
//! It is the only truth about a generation. Everything else, a KV cache on any
//! device included, can be rebuilt from it.

use crate::{
    sampler::{SamplerParams, SamplerState},
    tokenizer::TokenId,
};
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

/// Tokens at positions from 0 on, each with its class.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Positions {
    tokens: Vec<TokenId>,
    segments: Vec<Segment>,
}

impl Positions {
    /// No tokens.
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

    /// Cuts to `len` tokens.
    pub fn truncate(&mut self, len: u32) {
        self.tokens.truncate(len as usize);
        self.segments.retain(|s| s.positions.start < len);
        if let Some(last) = self.segments.last_mut() {
            last.positions.end = last.positions.end.min(len);
        }
    }

    /// Number of leading positions that both have with the same tokens and
    /// classes.
    pub fn common_prefix(&self, other: &Self) -> u32 {
        let mut common = common_tokens(&self.tokens, &other.tokens) as u32;
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

    /// Appends the positions of `other` up to `end`, of which these are the
    /// beginning.
    pub fn follow(&mut self, other: &Self, end: u32) {
        let start = self.len();
        let end = end.min(other.len());
        if start >= end {
            return;
        }
        let new = &other.tokens[start as usize..end as usize];
        self.tokens.extend_from_slice(new);
        for segment in &other.segments {
            let positions = segment.positions.start..segment.positions.end.min(end);
            if positions.end <= start || positions.start >= end {
                continue;
            }
            match self.segments.last_mut() {
                Some(last) if last.positions.start == positions.start => last.positions = positions,
                _ => self.segments.push(Segment {
                    class: segment.class,
                    positions,
                }),
            }
        }
    }

    /// Appends to the last segment if it is a prompt's, else begins one.
    fn extend_prompt(&mut self, tokens: &[TokenId]) {
        let len = self.len() + tokens.len() as u32;
        match self.segments.last_mut() {
            Some(last) if last.class == Class::Prompt => {
                last.positions.end = len;
                self.tokens.extend_from_slice(tokens);
            }
            _ => self.push_prompt(tokens),
        }
    }

    fn push_prompt(&mut self, tokens: &[TokenId]) {
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

    /// Appends a token of class generated.
    pub fn push_generated(&mut self, token: TokenId) {
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
}

/// Number of leading tokens that both have. Decoders ask before every token,
/// of transcripts that are mostly the same, so blocks are compared at once.
fn common_tokens(a: &[TokenId], b: &[TokenId]) -> usize {
    const BLOCK: usize = 128;
    let blocks = a.chunks_exact(BLOCK).zip(b.chunks_exact(BLOCK));
    let start = blocks.take_while(|(a, b)| a == b).count() * BLOCK;
    let pairs = a[start..].iter().zip(&b[start..]);
    start + pairs.take_while(|(a, b)| a == b).count()
}

/// The committed tokens of one generation, or of one chat, and how the next
/// ones are chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Transcript {
    positions: Positions,
    sampling: SamplerParams,
    sampler_state: SamplerState,
}

impl Transcript {
    /// An empty transcript. A seed is drawn if `sampling` has none, so that
    /// whoever holds the transcript chooses the same tokens.
    pub fn new(sampling: SamplerParams) -> Self {
        let sampling = sampling.seeded();
        Self {
            positions: Positions::new(),
            sampler_state: SamplerState::initial(&sampling),
            sampling,
        }
    }

    /// The tokens with their classes.
    pub fn positions(&self) -> &Positions {
        &self.positions
    }

    /// All tokens; the index is the position.
    pub fn tokens(&self) -> &[TokenId] {
        self.positions.tokens()
    }

    /// Number of positions.
    pub fn len(&self) -> u32 {
        self.positions.len()
    }

    /// Whether there are no tokens.
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// How tokens are chosen; the seed is always set.
    pub fn sampling(&self) -> &SamplerParams {
        &self.sampling
    }

    /// What the sampler carries from token to token.
    pub fn sampler_state(&self) -> SamplerState {
        self.sampler_state
    }

    /// Takes the next seed, so that what follows is chosen otherwise.
    pub fn reseed(&mut self) {
        self.sampling.seed = self.sampling.seed.map(|seed| seed.wrapping_add(1));
    }

    /// Makes room, so that committing as many tokens does not allocate.
    pub fn reserve(&mut self, tokens: usize) {
        self.positions.tokens.reserve(tokens);
        self.positions.segments.reserve(2);
    }

    /// Appends a prompt: a segment of its own, even after another prompt.
    pub fn push_prompt(&mut self, tokens: &[TokenId]) {
        self.positions.push_prompt(tokens);
    }

    /// Appends to the prompt that ends the transcript, or begins one.
    pub fn extend_prompt(&mut self, tokens: &[TokenId]) {
        self.positions.extend_prompt(tokens);
    }

    /// Cuts to `len` tokens, with the sampler's state there.
    pub fn truncate(&mut self, len: u32, state: SamplerState) {
        self.positions.truncate(len);
        self.sampler_state = state;
    }

    /// Appends a token that a decoder chose, with the sampler's state after it.
    pub fn commit(&mut self, token: TokenId, state: SamplerState) {
        self.positions.push_generated(token);
        self.sampler_state = state;
    }

    /// Makes the transcript read `tokens`: what it has in common with them
    /// stays as it is, what differs goes, and the rest is appended as a
    /// prompt. This is how a chat's next turn follows on the last.
    pub fn continue_as(&mut self, tokens: &[TokenId]) {
        let pairs = self.tokens().iter().zip(tokens);
        let common = pairs.take_while(|(a, b)| a == b).count();
        self.positions.truncate(common as u32);
        self.positions.push_prompt(&tokens[common..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Class::{Generated as G, Prompt as P};

    fn positions(parts: &[(Class, &[TokenId])]) -> Positions {
        let mut positions = Positions::new();
        for (class, tokens) in parts {
            match class {
                P => positions.push_prompt(tokens),
                G => tokens.iter().for_each(|&t| positions.push_generated(t)),
            }
        }
        positions
    }

    #[test]
    fn segments_follow_the_classes() {
        let t = positions(&[(P, &[1, 2]), (G, &[3, 4]), (P, &[5]), (P, &[6])]);
        let segments = t.segments().iter();
        let segments: Vec<_> = segments.map(|s| (s.class, s.positions.clone())).collect();
        assert_eq!(segments, [(P, 0..2), (G, 2..4), (P, 4..5), (P, 5..6)]);
        assert_eq!(t.segment_at(3).unwrap().class, G);
        assert_eq!(t.segment_at(6), None);
    }

    #[test]
    fn truncating_cuts_segments() {
        let mut t = positions(&[(P, &[1, 2]), (G, &[3, 4]), (P, &[5])]);
        t.truncate(3);
        assert_eq!(t.tokens(), [1, 2, 3]);
        assert_eq!(t.segments().last().unwrap().positions, 2..3);
        t.truncate(0);
        assert!(t.is_empty() && t.segments().is_empty());
    }

    #[test]
    fn a_prompt_in_pieces_is_one_segment() {
        let mut whole = positions(&[(P, &[1, 2, 3]), (G, &[4]), (P, &[5, 6])]);
        let mut t = positions(&[(P, &[1])]);
        t.extend_prompt(&[2, 3]);
        t.push_generated(4);
        t.extend_prompt(&[5]);
        t.extend_prompt(&[6]);
        assert_eq!(t, whole);
        whole.push_prompt(&[7]);
        t.extend_prompt(&[7]);
        assert_ne!(t, whole);
    }

    #[test]
    fn a_common_prefix_has_the_same_tokens_and_classes() {
        let a = positions(&[(P, &[1, 2]), (G, &[3, 4]), (P, &[5])]);
        let common = |parts: &[(Class, &[TokenId])]| a.common_prefix(&positions(parts));
        assert_eq!(a.common_prefix(&a), 5);
        assert_eq!(common(&[(P, &[1, 9])]), 1);
        assert_eq!(common(&[(P, &[1, 2, 3, 4, 5])]), 2);
        assert_eq!(common(&[(P, &[1, 2]), (G, &[3, 9])]), 3);
        assert_eq!(common(&[(P, &[1, 2]), (G, &[3]), (P, &[4])]), 3);
        assert_eq!(common(&[]), 0);
    }

    #[test]
    fn long_prefixes_part_at_any_place() {
        let tokens: Vec<TokenId> = (0..400).collect();
        let whole = positions(&[(P, &tokens)]);
        for at in 0..tokens.len() {
            let mut other = tokens.clone();
            other[at] ^= 1 << 20;
            assert_eq!(whole.common_prefix(&positions(&[(P, &other)])), at as u32);
            assert_eq!(common_tokens(&tokens, &tokens[..at]), at);
        }
    }

    #[test]
    fn following_step_by_step_arrives_at_the_same() {
        let whole = positions(&[(P, &[1, 2, 3]), (G, &[4, 5]), (P, &[6]), (P, &[7])]);
        for step in 1..=7 {
            let mut copy = Positions::new();
            while copy.len() < whole.len() {
                copy.follow(&whole, copy.len() + step);
                assert_eq!(copy.common_prefix(&whole), copy.len());
            }
            assert_eq!(copy, whole);
        }
    }

    #[test]
    fn a_next_turn_keeps_what_was_generated() {
        let mut t = Transcript::new(SamplerParams::default());
        assert!(t.sampling().seed.is_some());
        let state = t.sampler_state();
        t.push_prompt(&[1, 2]);
        t.commit(3, state);
        t.commit(4, state);
        t.continue_as(&[1, 2, 3, 8, 9]);
        assert_eq!(t.tokens(), [1, 2, 3, 8, 9]);
        let classes: Vec<_> = t.positions().segments().iter().map(|s| s.class).collect();
        assert_eq!(classes, [P, G, P]);
    }
}
