//! One sequence's pages.

use super::pool::PageId;
use std::{collections::VecDeque, fmt};

/// A sequence's number, chosen by whoever makes the sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SequenceId(pub u32);

impl fmt::Display for SequenceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sequence {}", self.0)
    }
}

/// The pages of one layer: those that hold positions
/// `first * P .. (first + pages.len()) * P`.
#[derive(Debug)]
pub(super) struct PageList {
    pub(super) first: usize,
    pub(super) pages: VecDeque<PageId>,
}

impl PageList {
    pub(super) fn with_capacity(pages: usize) -> Self {
        Self {
            first: 0,
            pages: VecDeque::with_capacity(pages),
        }
    }

    /// The page that holds positions from `index * P` on.
    pub(super) fn page(&self, index: usize) -> Option<PageId> {
        self.pages.get(index.checked_sub(self.first)?).copied()
    }

    pub(super) fn end(&self) -> usize {
        self.first + self.pages.len()
    }
}

#[derive(Debug)]
pub(super) struct Sequence {
    pub(super) len: u32,
    pub(super) quota: usize,
    pub(super) layers: Vec<PageList>,
}

impl Sequence {
    pub(super) fn new(layers: usize, pages_per_layer: usize) -> Self {
        Self {
            len: 0,
            quota: usize::MAX,
            layers: (0..layers)
                .map(|_| PageList::with_capacity(pages_per_layer))
                .collect(),
        }
    }

    pub(super) fn held(&self) -> usize {
        self.layers.iter().map(|l| l.pages.len()).sum()
    }
}
