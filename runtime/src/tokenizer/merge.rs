//! The merging of adjacent symbols that both kinds of byte-pair encoding share.

use super::TokenId;
use super::queue::{Candidate, Queue};

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
        let last = self.symbols.len().saturating_sub(1);
        let pairs = (0..last as u32).filter_map(|left| self.candidate(left, &lookup));
        let mut queue = Queue::new(pairs, last);
        while let Some(candidate) = queue.pop() {
            // Symbols only grow: a pair is as it was queued if its left one is
            // still linked and its right one ends where it did.
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
            if left.prev != NONE
                && let Some(before) = self.candidate(left.prev, &lookup)
            {
                queue.push(before);
            }
            if let Some(after) = self.candidate(candidate.left, &lookup) {
                queue.push(after);
            }
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    /// Looks for the best pair anew before every merge.
    fn naive(ids: &[TokenId], table: &HashMap<(TokenId, TokenId), Merge>) -> Vec<TokenId> {
        let mut ids = ids.to_vec();
        loop {
            let best = ids
                .windows(2)
                .enumerate()
                .filter_map(|(at, pair)| Some((table.get(&(pair[0], pair[1]))?, at)))
                .min_by_key(|&(merge, at)| (merge.rank, at));
            let Some((merge, at)) = best else { return ids };
            ids.splice(at..at + 2, [merge.id]);
        }
    }

    fn merged(ids: &[TokenId], table: &HashMap<(TokenId, TokenId), Merge>) -> Vec<TokenId> {
        let mut merger = Merger::default();
        for (end, &id) in (1..).zip(ids) {
            merger.push(end, id);
        }
        merger.merge(|left, right| table.get(&(left.id, right.id)).copied());
        let parts: Vec<Part> = merger.parts().collect();
        assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start));
        assert_eq!(parts.last().map_or(0, |part| part.end) as usize, ids.len());
        parts.iter().map(|part| part.id).collect()
    }

    fn tables() -> impl Strategy<Value = HashMap<(TokenId, TokenId), Merge>> {
        let entry = ((0..9_u32, 0..9_u32), (0..6_u32, 3..9_u32));
        prop::collection::vec(entry, 0..24).prop_map(|entries| {
            let merge = |(pair, (rank, id))| (pair, Merge { rank, id });
            entries.into_iter().map(merge).collect()
        })
    }

    proptest! {
        #[test]
        fn merges_are_those_of_repeated_search(
            ids in prop::collection::vec(0..3_u32, 0..60),
            table in tables(),
        ) {
            prop_assert_eq!(merged(&ids, &table), naive(&ids, &table));
        }
    }

    #[test]
    fn long_texts_merge_as_short_ones() {
        // Long enough for lists by rank, and made of independent stretches.
        let merge = |rank, id| Merge { rank, id };
        let table = HashMap::from([
            ((0, 0), merge(1, 3)),
            ((3, 3), merge(0, 4)),
            ((0, 1), merge(2, 5)),
            ((4, 5), merge(1, 6)),
        ]);
        let stretch = [0, 0, 0, 0, 0, 1, 2, 0, 0, 1, 1, 0, 2];
        let long = stretch.repeat(2000);
        assert_eq!(merged(&long, &table), naive(&stretch, &table).repeat(2000));
    }
}
