//! A sequence's keys and values, copied out of the pool.

use super::{KvFormat, LayerKv};

/// What [`KvCache::snapshot`](super::KvCache::snapshot) takes and
/// [`KvCache::restore`](super::KvCache::restore) puts back, in this cache or
/// in another one of the same shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvSnapshot {
    pub(super) format: KvFormat,
    pub(super) page_positions: usize,
    pub(super) shape: Vec<LayerKv>,
    pub(super) len: u32,
    pub(super) layers: Vec<SnapshotLayer>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SnapshotLayer {
    pub(super) first: usize,
    pub(super) pages: Vec<Box<[u8]>>,
}

impl KvSnapshot {
    /// Positions in the snapshot.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether there are no positions.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of keys and values held.
    pub fn bytes(&self) -> usize {
        let pages = self.layers.iter().flat_map(|l| &l.pages);
        pages.map(|page| page.len()).sum()
    }
}
