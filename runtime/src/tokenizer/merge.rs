//! The merging of adjacent symbols that both kinds of byte-pair encoding share.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::TokenId;

/// The id of a symbol that is no token.
pub(super) const NO_TOKEN: TokenId = TokenId::MAX;

/// A part of the text being merged, in bytes from its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) id: TokenId,
}

/// What two adjacent parts become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Merge {
    /// Lower ranks are merged first, equal ones from left to right.
    pub(super) rank: u32,
    pub(super) id: TokenId,
}

/// Merges parts until no pair can be; kept between texts for its buffers.
///
/// Takes O(n log n) time for n parts.
#[derive(Default)]
pub(super) struct Merger {
    symbols: Vec<Symbol>,
    queue: BinaryHeap<Reverse<Candidate>>,
    end: u32,
}

/// A node of a doubly linked list; what was merged into its left is unlinked.
#[derive(Clone, Copy)]
struct Symbol {
    start: u32,
    id: TokenId,
    prev: u32,
    next: u32,
}

const NONE: u32 = u32::MAX;
/// `prev` of a symbol that is no longer in the list.
const UNLINKED: u32 = u32::MAX - 1;

/// A pair that could be merged when it was queued. Symbols only grow, so it
/// still can if the left one is linked and the pair still ends at `end`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    rank: u32,
    left: u32,
    end: u32,
    id: TokenId,
}

impl Merger {
    /// Forgets the last text.
    pub(super) fn clear(&mut self) {
        self.symbols.clear();
        self.end = 0;
    }

    /// Appends a part that starts where the last one ended and ends at `end`.
    pub(super) fn push(&mut self, end: u32, id: TokenId) {
        let at = self.symbols.len() as u32;
        if let Some(last) = self.symbols.last_mut() {
            last.next = at;
        }
        self.symbols.push(Symbol {
            start: self.end,
            id,
            prev: at.checked_sub(1).unwrap_or(NONE),
            next: NONE,
        });
        self.end = end;
    }

    /// Merges pairs in order of their rank, as `lookup` gives it.
    pub(super) fn merge(&mut self, lookup: impl Fn(Part, Part) -> Option<Merge>) {
        let mut queue = std::mem::take(&mut self.queue).into_vec();
        queue.clear();
        for left in 1..self.symbols.len() as u32 {
            queue.extend(self.candidate(left - 1, &lookup).map(Reverse));
        }
        self.queue = queue.into();

        while let Some(Reverse(candidate)) = self.queue.pop() {
            let left = self.symbols[candidate.left as usize];
            if left.prev == UNLINKED || left.next == NONE {
                continue;
            }
            let right = self.symbols[left.next as usize];
            if self.end_of(right) != candidate.end {
                continue;
            }
            self.symbols[left.next as usize].prev = UNLINKED;
            let merged = &mut self.symbols[candidate.left as usize];
            merged.id = candidate.id;
            merged.next = right.next;
            if right.next != NONE {
                self.symbols[right.next as usize].prev = candidate.left;
            }
            let before = (left.prev != NONE)
                .then(|| self.candidate(left.prev, &lookup))
                .flatten();
            let after = self.candidate(candidate.left, &lookup);
            self.queue.extend(before.map(Reverse));
            self.queue.extend(after.map(Reverse));
        }
    }

    /// The parts there are now, in order.
    pub(super) fn parts(&self) -> impl Iterator<Item = Part> {
        let mut at = if self.symbols.is_empty() { NONE } else { 0 };
        std::iter::from_fn(move || {
            let symbol = *self.symbols.get(at as usize)?;
            at = symbol.next;
            Some(self.part(symbol))
        })
    }

    fn end_of(&self, symbol: Symbol) -> u32 {
        match self.symbols.get(symbol.next as usize) {
            Some(next) => next.start,
            None => self.end,
        }
    }

    fn part(&self, symbol: Symbol) -> Part {
        Part {
            start: symbol.start,
            end: self.end_of(symbol),
            id: symbol.id,
        }
    }

    fn candidate(
        &self,
        left: u32,
        lookup: impl Fn(Part, Part) -> Option<Merge>,
    ) -> Option<Candidate> {
        let first = self.symbols[left as usize];
        let second = *self.symbols.get(first.next as usize)?;
        let (first, second) = (self.part(first), self.part(second));
        let Merge { rank, id } = lookup(first, second)?;
        Some(Candidate {
            rank,
            left,
            end: second.end,
            id,
        })
    }
}
