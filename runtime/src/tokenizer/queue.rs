//! The pairs that wait to be merged, lowest rank first and from left to right.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::TokenId;
use super::hash::FoldHash;

/// A pair that could be merged when it was queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Candidate {
    pub(super) rank: u32,
    /// The left symbol.
    pub(super) left: u32,
    /// Where the right symbol ended.
    pub(super) end: u32,
    /// What the pair becomes.
    pub(super) id: TokenId,
}

/// A priority queue for few candidates, or for very many.
///
/// A heap serves a word. In a text of millions of symbols without a cut it
/// misses the cache at every level; but there candidates of one rank are made
/// from left to right, so that a list per rank is nearly always in order.
pub(super) enum Queue {
    Heap(BinaryHeap<Reverse<Candidate>>),
    Lists(Lists),
}

/// From so many candidates on, lists by rank are faster than a heap.
const HEAP_MAX: usize = 1 << 12;

impl Queue {
    /// A queue that starts with `candidates`, which are in order from left to
    /// right and at most `len`.
    pub(super) fn new(candidates: impl Iterator<Item = Candidate>, len: usize) -> Self {
        if len <= HEAP_MAX {
            return Self::Heap(candidates.map(Reverse).collect());
        }
        let mut lists = Lists::default();
        candidates.for_each(|candidate| lists.push(candidate));
        Self::Lists(lists)
    }

    pub(super) fn push(&mut self, candidate: Candidate) {
        match self {
            Self::Heap(heap) => heap.push(Reverse(candidate)),
            Self::Lists(lists) => lists.push(candidate),
        }
    }

    pub(super) fn pop(&mut self) -> Option<Candidate> {
        match self {
            Self::Heap(heap) => heap.pop().map(|Reverse(candidate)| candidate),
            Self::Lists(lists) => lists.pop(),
        }
    }
}

/// Candidates by rank. The list in use is out of the map.
#[derive(Default)]
pub(super) struct Lists {
    waiting: HashMap<u32, List, FoldHash>,
    ranks: BinaryHeap<Reverse<u32>>,
    current: List,
    current_rank: u32,
}

/// The candidates of one rank: those that came in order, and the others.
#[derive(Default)]
struct List {
    ordered: Vec<Candidate>,
    taken: usize,
    others: BinaryHeap<Reverse<Candidate>>,
}

impl Lists {
    fn push(&mut self, candidate: Candidate) {
        if candidate.rank == self.current_rank {
            self.current.push(candidate);
            return;
        }
        self.waiting
            .entry(candidate.rank)
            .or_insert_with(|| {
                self.ranks.push(Reverse(candidate.rank));
                List::default()
            })
            .push(candidate);
    }

    fn pop(&mut self) -> Option<Candidate> {
        loop {
            let lowest = self.ranks.peek().map(|&Reverse(rank)| rank);
            if lowest.is_none_or(|lowest| self.current_rank <= lowest)
                && let Some(candidate) = self.current.pop()
            {
                return Some(candidate);
            }
            let next = self.waiting.remove(&lowest?)?;
            self.ranks.pop();
            let last = std::mem::replace(&mut self.current, next);
            let last_rank = std::mem::replace(&mut self.current_rank, lowest?);
            if !last.is_empty() {
                self.ranks.push(Reverse(last_rank));
                self.waiting.insert(last_rank, last);
            }
        }
    }
}

impl List {
    fn is_empty(&self) -> bool {
        self.taken == self.ordered.len() && self.others.is_empty()
    }

    fn push(&mut self, candidate: Candidate) {
        if self.taken == self.ordered.len() {
            self.ordered.clear();
            self.taken = 0;
        }
        match self.ordered.last() {
            Some(&last) if candidate < last => self.others.push(Reverse(candidate)),
            _ => self.ordered.push(candidate),
        }
    }

    fn pop(&mut self) -> Option<Candidate> {
        let ordered = self.ordered.get(self.taken);
        match (ordered, self.others.peek()) {
            (Some(&first), other) if other.is_none_or(|&Reverse(other)| first <= other) => {
                self.taken += 1;
                Some(first)
            }
            _ => self.others.pop().map(|Reverse(candidate)| candidate),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn candidate(rank: u32, left: u32) -> Candidate {
        Candidate {
            rank,
            left,
            end: left + 1,
            id: rank,
        }
    }

    proptest! {
        /// Pushes below and at the rank in use included, as SentencePiece's
        /// equal scores make them.
        #[test]
        fn candidates_leave_in_order(
            first in prop::collection::vec((0..4_u32, 0..50_u32), 0..40),
            steps in prop::collection::vec(prop::option::of((0..6_u32, 0..50_u32)), 0..200),
        ) {
            let first: BTreeSet<Candidate> =
                first.into_iter().map(|(rank, left)| candidate(rank, left)).collect();
            for len in [0, HEAP_MAX + 1] {
                let mut model = first.clone();
                let mut queue = Queue::new(first.iter().copied(), len);
                for step in &steps {
                    match *step {
                        Some((rank, left)) => {
                            let new = candidate(rank, left);
                            if model.insert(new) {
                                queue.push(new);
                            }
                        }
                        None => prop_assert_eq!(queue.pop(), model.pop_first()),
                    }
                }
                while let Some(next) = model.pop_first() {
                    prop_assert_eq!(queue.pop(), Some(next));
                }
                prop_assert_eq!(queue.pop(), None);
            }
        }
    }
}
