//! The bounded pool of pages, with reference counts.

use super::{KvConfig, KvError, LayerKv};
use crate::platform::advise;
use bytemuck::{Pod, Zeroable};
use outrigger_kernels::{cpu::kv::KEY_TILE, team::SharedBuffer};
use std::ops::Range;

/// A page's number in its pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageId(u32);

/// A cache line's bytes: pages begin at a multiple of it.
const LINE_BYTES: usize = 64;

/// The unit of the pool's memory. Its alignment is the one that the system's
/// allocator gives of itself: memory of a higher one is not taken zeroed from
/// the system, but written with zeros, and so becomes resident as a whole.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(16))]
struct Unit([u8; 16]);

const LINE_UNITS: usize = LINE_BYTES / size_of::<Unit>();

/// Where one layer's heads lie in a page: all heads' keys, then all heads'
/// values, each head's as [`outrigger_kernels::cpu::kv`] lays them out.
#[derive(Debug, Clone, Copy)]
pub(super) struct PageLayout {
    pub(super) key_bytes: usize,
    pub(super) value_bytes: usize,
    positions: usize,
    heads: usize,
}

impl PageLayout {
    pub(super) fn new(layer: &LayerKv, config: &KvConfig) -> Result<Self, KvError> {
        let positions = config.page_positions;
        if positions == 0 || !positions.is_multiple_of(KEY_TILE) {
            return Err(KvError::PagePositions(positions));
        }
        let row = |values| {
            config.format.row_bytes(values).ok_or(KvError::HeadSize {
                format: config.format.name(),
                values,
            })
        };
        Ok(Self {
            key_bytes: row(layer.key_len)?,
            value_bytes: row(layer.value_len)?,
            positions: config.page_positions,
            heads: layer.heads,
        })
    }

    /// Bytes of `head`'s keys in a page.
    pub(super) fn keys(&self, head: usize) -> Range<usize> {
        let len = self.positions * self.key_bytes;
        head * len..(head + 1) * len
    }

    /// Bytes of `head`'s values in a page.
    pub(super) fn values(&self, head: usize) -> Range<usize> {
        let base = self.heads * self.positions * self.key_bytes;
        let len = self.positions * self.value_bytes;
        base + head * len..base + (head + 1) * len
    }

    fn bytes(&self) -> Option<usize> {
        self.key_bytes
            .checked_add(self.value_bytes)?
            .checked_mul(self.heads)?
            .checked_mul(self.positions)
    }
}

/// Bytes of a page that fits every layer.
pub(super) fn page_bytes(layers: &[LayerKv], config: &KvConfig) -> Result<usize, KvError> {
    let too_large = KvError::TooLarge {
        positions: config.positions_max,
    };
    let mut largest = 0;
    for layer in layers {
        let bytes = PageLayout::new(layer, config)?
            .bytes()
            .ok_or(too_large.clone())?;
        largest = largest.max(bytes);
    }
    largest
        .checked_next_multiple_of(LINE_BYTES)
        .ok_or(too_large)
}

pub(super) struct PagePool {
    memory: SharedBuffer<Unit>,
    /// Units before the first that begins a line.
    lead: usize,
    page_units: usize,
    /// Pages from this one on have never been handed out, so that untouched
    /// memory stays untouched.
    fresh: u32,
    /// Pages below `fresh` that came back.
    free: Vec<PageId>,
    references: Vec<u32>,
}

impl PagePool {
    /// A pool of as many pages as `bytes_max` holds; `None` if the system does
    /// not have the memory.
    pub(super) fn new(page_bytes: usize, bytes_max: usize) -> Option<Self> {
        let page_units = page_bytes / size_of::<Unit>();
        let pages = bytes_max
            .checked_div(page_bytes)
            .unwrap_or(0)
            .min(u32::MAX as usize);
        let mut free = Vec::new();
        free.try_reserve_exact(pages).ok()?;
        let units = pages.checked_mul(page_units)?.checked_add(LINE_UNITS)?;
        let memory = SharedBuffer::<Unit>::try_zeroed(units)?;
        // SAFETY: nobody else has the memory yet.
        advise::large_pages(bytemuck::cast_slice(unsafe { memory.get(0..units) }));
        let past_line = memory.as_ptr().addr() % LINE_BYTES / size_of::<Unit>();
        Some(Self {
            lead: (LINE_UNITS - past_line) % LINE_UNITS,
            memory,
            page_units,
            fresh: 0,
            free,
            references: vec![0; pages],
        })
    }

    pub(super) fn free_pages(&self) -> usize {
        self.free.len() + self.total_pages() - self.fresh as usize
    }

    pub(super) fn total_pages(&self) -> usize {
        self.references.len()
    }

    pub(super) fn take(&mut self) -> Option<PageId> {
        let page = match self.free.pop() {
            Some(page) => page,
            None if (self.fresh as usize) < self.total_pages() => {
                self.fresh += 1;
                PageId(self.fresh - 1)
            }
            None => return None,
        };
        self.references[page.0 as usize] = 1;
        Some(page)
    }

    pub(super) fn share(&mut self, page: PageId) {
        self.references[page.0 as usize] += 1;
    }

    pub(super) fn drop_reference(&mut self, page: PageId) {
        let count = &mut self.references[page.0 as usize];
        *count -= 1;
        if *count == 0 {
            self.free.push(page);
        }
    }

    pub(super) fn is_shared(&self, page: PageId) -> bool {
        self.references[page.0 as usize] > 1
    }

    fn units(&self, page: PageId) -> Range<usize> {
        let first = self.lead + page.0 as usize * self.page_units;
        first..first + self.page_units
    }

    pub(super) fn copy(&mut self, from: PageId, to: PageId) {
        let (from, to) = (self.units(from), self.units(to));
        self.memory.as_mut_slice().copy_within(from, to.start);
    }

    pub(super) fn page_mut(&mut self, page: PageId) -> &mut [u8] {
        let units = self.units(page);
        bytemuck::cast_slice_mut(&mut self.memory.as_mut_slice()[units])
    }

    /// Part of a page, for reading.
    ///
    /// # Safety
    /// No thread writes these bytes while the result lives.
    pub(super) unsafe fn part(&self, page: PageId, part: Range<usize>) -> &[u8] {
        let (start, len) = self.bytes(page, part);
        // SAFETY: `bytes` found the part inside the buffer; the caller promises
        // that nobody writes it.
        unsafe { std::slice::from_raw_parts(start, len) }
    }

    /// Part of a page, for writing.
    ///
    /// # Safety
    /// No other reference to these bytes exists while the result lives.
    #[allow(clippy::mut_from_ref)] // the caller keeps the parts disjoint
    pub(super) unsafe fn part_mut(&self, page: PageId, part: Range<usize>) -> &mut [u8] {
        let (start, len) = self.bytes(page, part);
        // SAFETY: `bytes` found the part inside the buffer; the caller promises
        // exclusivity.
        unsafe { std::slice::from_raw_parts_mut(start, len) }
    }

    /// The address and the length of part of a page.
    fn bytes(&self, page: PageId, part: Range<usize>) -> (*mut u8, usize) {
        assert!(part.start <= part.end && part.end <= self.page_units * size_of::<Unit>());
        let units = self.units(page);
        assert!(units.end <= self.memory.len());
        let offset = units.start * size_of::<Unit>() + part.start;
        // SAFETY: the page lies inside the buffer by the second assertion, and
        // the part inside the page by the first.
        let start = unsafe { self.memory.as_ptr().cast::<u8>().add(offset) };
        (start, part.len())
    }
}
