//! The cache itself: sequences over the pool.

use super::{
    KvConfig, KvError, KvSnapshot, LayerKv, SequenceId,
    pool::{PageLayout, PagePool, page_bytes},
    sequence::{PageList, Sequence},
    snapshot::SnapshotLayer,
};
use outrigger_kernels::cpu::{
    attention::KvRuns,
    kv::{KEY_TILE, key_tile},
};
use std::collections::HashMap;

/// Keys and values of the layers of one stage.
pub struct KvCache {
    config: KvConfig,
    shape: Vec<LayerKv>,
    layouts: Vec<PageLayout>,
    pool: PagePool,
    sequences: HashMap<SequenceId, Sequence>,
}

impl KvCache {
    /// A cache for layers of the given shapes.
    pub fn new(shape: Vec<LayerKv>, config: KvConfig) -> Result<Self, KvError> {
        let layouts = shape.iter().map(|l| PageLayout::new(l, &config));
        let layouts = layouts.collect::<Result<_, _>>()?;
        let pool = PagePool::new(page_bytes(&shape, &config)?, config.bytes_max);
        let pool = pool.ok_or(KvError::TooLarge {
            positions: config.positions_max,
        })?;
        Ok(Self {
            config,
            shape,
            layouts,
            pool,
            sequences: HashMap::new(),
        })
    }

    /// How the cache was sized.
    pub fn config(&self) -> &KvConfig {
        &self.config
    }

    /// Makes an empty sequence.
    pub fn create(&mut self, id: SequenceId) -> Result<(), KvError> {
        if self.sequences.contains_key(&id) {
            return Err(KvError::Exists(id));
        }
        let sequence = Sequence::new(self.shape.len(), self.pages_per_layer());
        self.sequences.insert(id, sequence);
        Ok(())
    }

    /// Forgets a sequence and gives its pages back; no error if there is none.
    pub fn release(&mut self, id: SequenceId) {
        if let Some(mut sequence) = self.sequences.remove(&id) {
            clear(&mut self.pool, &mut sequence);
        }
    }

    /// The sequence's length in positions; `None` if it does not exist.
    pub fn len(&self, id: SequenceId) -> Option<u32> {
        self.sequences.get(&id).map(|s| s.len)
    }

    /// Whether there are no sequences.
    pub fn is_empty(&self) -> bool {
        self.sequences.is_empty()
    }

    /// Bounds the pages that a sequence may hold, over all layers.
    pub fn set_quota(&mut self, id: SequenceId, pages: usize) -> Result<(), KvError> {
        self.sequence_mut(id)?.quota = pages;
        Ok(())
    }

    /// Pages that the sequence holds, shared ones counted in full.
    pub fn held_pages(&self, id: SequenceId) -> Option<usize> {
        self.sequences.get(&id).map(Sequence::held)
    }

    /// Pages that no sequence holds.
    pub fn free_pages(&self) -> usize {
        self.pool.free_pages()
    }

    /// Pages in the pool.
    pub fn total_pages(&self) -> usize {
        self.pool.total_pages()
    }

    /// Makes room for `count` further positions and makes the pages that they
    /// fall into the sequence's own. On an error nothing has changed that a
    /// caller could see.
    pub fn prepare(&mut self, id: SequenceId, count: u32) -> Result<(), KvError> {
        let page = self.config.page_positions;
        let positions_max = self.config.positions_max;
        let sequence = self.sequences.get(&id).ok_or(KvError::Unknown(id))?;
        let needed = u64::from(sequence.len) + u64::from(count);
        if needed > u64::from(positions_max) {
            return Err(KvError::ContextExceeded {
                sequence: id,
                needed,
                max: positions_max,
            });
        }
        if count == 0 {
            return Ok(());
        }
        let first = sequence.len as usize / page;
        let end = (needed as usize).div_ceil(page);
        let (mut new, mut copies) = (0, 0);
        for list in &sequence.layers {
            new += end.saturating_sub(list.end().max(first));
            let shared = |i| list.page(i).is_some_and(|p| self.pool.is_shared(p));
            copies += (first..end).filter(|&i| shared(i)).count();
        }
        let held = sequence.held() + new;
        if held > sequence.quota {
            return Err(KvError::Quota {
                sequence: id,
                quota: sequence.quota,
                needed: held,
            });
        }
        if new + copies > self.pool.free_pages() {
            return Err(KvError::Full {
                needed: new + copies,
                free: self.pool.free_pages(),
                total: self.pool.total_pages(),
            });
        }
        let Some(sequence) = self.sequences.get_mut(&id) else {
            return Err(KvError::Unknown(id));
        };
        for list in &mut sequence.layers {
            own(&mut self.pool, list, first);
            while list.end() < end {
                let Some(page) = self.pool.take() else { break };
                list.pages.push_back(page);
            }
        }
        Ok(())
    }

    /// Gives back the pages that were prepared and not committed.
    pub fn trim(&mut self, id: SequenceId) {
        if let Some(sequence) = self.sequences.get_mut(&id) {
            drop_from(
                &mut self.pool,
                sequence,
                sequence.len,
                self.config.page_positions,
            );
        }
    }

    /// Counts `count` positions, prepared and since written, as the sequence's
    /// own, and lets go of pages that no window reached before them. That is
    /// one commit late, so that what was committed last can always be taken
    /// back, however many positions it was.
    pub fn commit(&mut self, id: SequenceId, count: u32) -> Result<(), KvError> {
        let page = self.config.page_positions;
        let rollback = self.config.rollback;
        let sequence = self.sequences.get_mut(&id).ok_or(KvError::Unknown(id))?;
        let before = sequence.len;
        sequence.len += count;
        for (list, layer) in sequence.layers.iter_mut().zip(&self.shape) {
            let Some(window) = layer.window else { continue };
            let keep_from = before.saturating_sub(window.saturating_add(rollback));
            while list.first < keep_from as usize / page {
                let Some(old) = list.pages.pop_front() else {
                    break;
                };
                self.pool.drop_reference(old);
                list.first += 1;
            }
        }
        Ok(())
    }

    /// Makes `to` a copy of the first `len` positions of `from`, sharing
    /// pages. Returns the length that could be kept: `len`, or 0 where a
    /// window of that length has been let go (see [`truncate`](Self::truncate)).
    pub fn fork(&mut self, from: SequenceId, to: SequenceId, len: u32) -> Result<u32, KvError> {
        if self.sequences.contains_key(&to) {
            return Err(KvError::Exists(to));
        }
        let source = self.sequences.get(&from).ok_or(KvError::Unknown(from))?;
        check_len(from, source, len)?;
        let mut copy = Sequence::new(self.shape.len(), self.pages_per_layer());
        let kept = if self.reaches(source, len) { len } else { 0 };
        if kept > 0 {
            copy.len = kept;
            let end = (kept as usize).div_ceil(self.config.page_positions);
            for (list, target) in source.layers.iter().zip(&mut copy.layers) {
                target.first = list.first.min(end);
                for page in list.pages.iter().take(end.saturating_sub(list.first)) {
                    self.pool.share(*page);
                    target.pages.push_back(*page);
                }
            }
        }
        self.sequences.insert(to, copy);
        Ok(kept)
    }

    /// Cuts the sequence to `len` positions. Returns the length that was kept,
    /// from which the caller rebuilds: `len`, or 0 where a sliding window
    /// would need positions that have been let go, because the keys of a
    /// position depend on all windows before it.
    pub fn truncate(&mut self, id: SequenceId, len: u32) -> Result<u32, KvError> {
        let sequence = self.sequences.get(&id).ok_or(KvError::Unknown(id))?;
        check_len(id, sequence, len)?;
        let reaches = self.reaches(sequence, len);
        let Some(sequence) = self.sequences.get_mut(&id) else {
            return Err(KvError::Unknown(id));
        };
        if len == 0 || !reaches {
            clear(&mut self.pool, sequence);
            return Ok(0);
        }
        sequence.len = len;
        drop_from(&mut self.pool, sequence, len, self.config.page_positions);
        Ok(len)
    }

    /// Copies a sequence out.
    pub fn snapshot(&mut self, id: SequenceId) -> Result<KvSnapshot, KvError> {
        let sequence = self.sequences.get(&id).ok_or(KvError::Unknown(id))?;
        let mut layers = Vec::with_capacity(sequence.layers.len());
        for list in &sequence.layers {
            let pages = list.pages.iter().map(|&p| self.pool.page_mut(p).into());
            layers.push(SnapshotLayer {
                first: list.first,
                pages: pages.collect(),
            });
        }
        Ok(KvSnapshot {
            format: self.config.format,
            page_positions: self.config.page_positions,
            shape: self.shape.clone(),
            len: sequence.len,
            layers,
        })
    }

    /// Puts a snapshot back as the new sequence `id`.
    pub fn restore(&mut self, id: SequenceId, snapshot: &KvSnapshot) -> Result<(), KvError> {
        if self.sequences.contains_key(&id) {
            return Err(KvError::Exists(id));
        }
        if snapshot.shape != self.shape
            || snapshot.format != self.config.format
            || snapshot.page_positions != self.config.page_positions
        {
            return Err(KvError::SnapshotMismatch);
        }
        if snapshot.len > self.config.positions_max {
            return Err(KvError::ContextExceeded {
                sequence: id,
                needed: snapshot.len.into(),
                max: self.config.positions_max,
            });
        }
        let needed = snapshot.layers.iter().map(|l| l.pages.len()).sum();
        if needed > self.pool.free_pages() {
            return Err(KvError::Full {
                needed,
                free: self.pool.free_pages(),
                total: self.pool.total_pages(),
            });
        }
        let mut sequence = Sequence::new(self.shape.len(), self.pages_per_layer());
        sequence.len = snapshot.len;
        for (layer, list) in snapshot.layers.iter().zip(&mut sequence.layers) {
            list.first = layer.first;
            for bytes in &layer.pages {
                let Some(page) = self.pool.take() else { break };
                self.pool.page_mut(page).copy_from_slice(bytes);
                list.pages.push_back(page);
            }
        }
        self.sequences.insert(id, sequence);
        Ok(())
    }

    /// One head's keys and values, for reading.
    ///
    /// # Safety
    /// While the result lives no thread writes to this head in this layer of
    /// the sequence.
    pub unsafe fn rows(&self, id: SequenceId, layer: usize, head: usize) -> Option<HeadRows<'_>> {
        Some(HeadRows {
            pool: &self.pool,
            list: self.sequences.get(&id)?.layers.get(layer)?,
            layout: self.layouts[layer],
            head,
            page_positions: self.config.page_positions,
        })
    }

    /// Writes the key and the value of one head at a prepared position.
    /// Returns `false`, and writes nothing, if the position was not prepared.
    ///
    /// # Safety
    /// No other thread reads or writes this position of this head meanwhile.
    pub unsafe fn store(&self, at: KvPlace, head: usize, key: &[f32], value: &[f32]) -> bool {
        let page_positions = self.config.page_positions;
        let position = at.position as usize;
        let page = self
            .sequences
            .get(&at.sequence)
            .and_then(|s| s.layers.get(at.layer))
            .and_then(|list| list.page(position / page_positions));
        let Some(page) = page else { return false };
        let layout = &self.layouts[at.layer];
        let row = position % page_positions;
        let (tile, lane) = key_tile(row, layout.key_bytes * KEY_TILE);
        let tile_start = layout.keys(head).start + tile.start;
        let value_start = layout.values(head).start + row * layout.value_bytes;
        let format = self.config.format;
        format.store_key(key, lane, |at, bytes| {
            let part = tile_start + at..tile_start + at + bytes.len();
            // SAFETY: the pieces of different positions and heads are disjoint,
            // `prepare` made the page this sequence's own, and the caller
            // promises that no other thread touches this position.
            unsafe { self.pool.part_mut(page, part).copy_from_slice(bytes) }
        });
        let part = value_start..value_start + layout.value_bytes;
        // SAFETY: as above, of different positions' and heads' values.
        unsafe { format.store_value(value, self.pool.part_mut(page, part)) }
        true
    }

    fn pages_per_layer(&self) -> usize {
        let pages = (self.config.positions_max as usize).div_ceil(self.config.page_positions) + 1;
        pages.min(self.pool.total_pages())
    }

    fn sequence_mut(&mut self, id: SequenceId) -> Result<&mut Sequence, KvError> {
        self.sequences.get_mut(&id).ok_or(KvError::Unknown(id))
    }

    /// Whether every layer still holds what position `len` would look at.
    fn reaches(&self, sequence: &Sequence, len: u32) -> bool {
        let lists = sequence.layers.iter().zip(&self.shape);
        lists.into_iter().all(|(list, layer)| {
            let lowest = layer.window.map_or(0, |w| (len + 1).saturating_sub(w));
            list.first * self.config.page_positions <= lowest as usize
        })
    }
}

/// Where a key and a value go.
#[derive(Debug, Clone, Copy)]
pub struct KvPlace {
    /// The sequence.
    pub sequence: SequenceId,
    /// The layer, counted from the stage's first.
    pub layer: usize,
    /// The position in the sequence.
    pub position: u32,
}

fn check_len(id: SequenceId, sequence: &Sequence, asked: u32) -> Result<(), KvError> {
    if asked > sequence.len {
        return Err(KvError::Beyond {
            sequence: id,
            len: sequence.len,
            asked,
        });
    }
    Ok(())
}

/// Gives back the pages that hold no position below `len`.
fn drop_from(pool: &mut PagePool, sequence: &mut Sequence, len: u32, page_positions: usize) {
    let end = (len as usize).div_ceil(page_positions);
    for list in &mut sequence.layers {
        while list.end() > end {
            let Some(page) = list.pages.pop_back() else {
                break;
            };
            pool.drop_reference(page);
        }
    }
}

fn clear(pool: &mut PagePool, sequence: &mut Sequence) {
    sequence.len = 0;
    for list in &mut sequence.layers {
        list.first = 0;
        for page in list.pages.drain(..) {
            pool.drop_reference(page);
        }
    }
}

/// Replaces the shared pages from index `first` on by copies.
fn own(pool: &mut PagePool, list: &mut PageList, first: usize) {
    for index in first.max(list.first)..list.end() {
        let slot = index - list.first;
        let old = list.pages[slot];
        if pool.is_shared(old)
            && let Some(new) = pool.take()
        {
            pool.copy(old, new);
            pool.drop_reference(old);
            list.pages[slot] = new;
        }
    }
}

/// The keys and values of one KV head of one sequence in one layer.
pub struct HeadRows<'a> {
    pool: &'a PagePool,
    list: &'a PageList,
    layout: PageLayout,
    head: usize,
    page_positions: usize,
}

impl KvRuns for HeadRows<'_> {
    fn run(&self, position: usize) -> (usize, &[u8], &[u8]) {
        let index = position / self.page_positions;
        let first = index * self.page_positions;
        let Some(page) = self.list.page(index) else {
            return (first, &[], &[]);
        };
        // SAFETY: whoever made this value promised that the head's part of the
        // pages is not written meanwhile.
        unsafe {
            (
                first,
                self.pool.part(page, self.layout.keys(self.head)),
                self.pool.part(page, self.layout.values(self.head)),
            )
        }
    }
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
