//! A table of address ranges that a signal handler can search.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

/// A fixed number of ranges, changed under a lock and searched without one.
///
/// Invariants:
/// 1. Only a holder of `changing` stores to `version`, `start` and `end`.
/// 2. `version` is odd exactly while `start` and `end` may disagree, and grows
///    with every change, so a search that read the same even number before and
///    after the two has read a pair that was registered.
/// 3. A free slot has the empty range 0..0.
///
/// A search that meets a slot being changed passes over it: who asks about an
/// address holds the range around it registered meanwhile.
pub(super) struct Ranges<const SLOTS: usize> {
    slots: [Slot; SLOTS],
    changing: Mutex<()>,
}

struct Slot {
    version: AtomicUsize,
    start: AtomicUsize,
    end: AtomicUsize,
    torn: AtomicBool,
}

impl Slot {
    const fn new() -> Self {
        Self {
            version: AtomicUsize::new(0),
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            torn: AtomicBool::new(false),
        }
    }

    fn set(&self, start: usize, end: usize) {
        self.version.fetch_add(1, SeqCst);
        self.start.store(start, SeqCst);
        self.end.store(end, SeqCst);
        self.torn.store(false, SeqCst);
        self.version.fetch_add(1, SeqCst);
    }

    fn range(&self) -> Option<(usize, usize)> {
        let before = self.version.load(SeqCst);
        let range = (self.start.load(SeqCst), self.end.load(SeqCst));
        let after = self.version.load(SeqCst);
        (before == after && before.is_multiple_of(2)).then_some(range)
    }
}

impl<const SLOTS: usize> Ranges<SLOTS> {
    pub(super) const fn new() -> Self {
        Self {
            slots: [const { Slot::new() }; SLOTS],
            changing: Mutex::new(()),
        }
    }

    /// Registers `start..end` and returns its slot; `None` when all are taken.
    pub(super) fn insert(&self, start: usize, end: usize) -> Option<usize> {
        let _changing = self.changing.lock().unwrap_or_else(|e| e.into_inner());
        let free = |slot: &Slot| slot.end.load(SeqCst) == 0;
        let at = self.slots.iter().position(free)?;
        self.slots[at].set(start, end);
        Some(at)
    }

    pub(super) fn remove(&self, at: usize) {
        let _changing = self.changing.lock().unwrap_or_else(|e| e.into_inner());
        self.slots[at].set(0, 0);
    }

    /// The slot whose range holds `address`, and the range's end. Takes no
    /// lock and allocates nothing.
    pub(super) fn find(&self, address: usize) -> Option<(usize, usize)> {
        self.slots.iter().enumerate().find_map(|(at, slot)| {
            let (start, end) = slot.range()?;
            (start <= address && address < end).then_some((at, end))
        })
    }

    pub(super) fn mark_torn(&self, at: usize) {
        self.slots[at].torn.store(true, SeqCst);
    }

    pub(super) fn is_torn(&self, at: usize) -> bool {
        self.slots[at].torn.load(SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_found_until_removed() {
        let ranges = Ranges::<2>::new();
        let first = ranges.insert(10, 20).unwrap();
        let second = ranges.insert(20, 30).unwrap();
        assert_eq!(ranges.insert(30, 40), None);
        assert_eq!(ranges.find(9), None);
        assert_eq!(ranges.find(19), Some((first, 20)));
        assert_eq!(ranges.find(20), Some((second, 30)));
        ranges.mark_torn(first);
        assert!(ranges.is_torn(first) && !ranges.is_torn(second));
        ranges.remove(first);
        assert_eq!(ranges.find(19), None);
        let again = ranges.insert(40, 50).unwrap();
        assert!(!ranges.is_torn(again));
    }

    /// While one slot changes all the time, a search must never see a mixture
    /// of two of its ranges, nor miss the range that stays.
    #[test]
    fn ranges_never_mix() {
        let ranges = Ranges::<4>::new();
        let stays = ranges.insert(1, 2).unwrap();
        std::thread::scope(|scope| {
            let changer = scope.spawn(|| {
                for _ in 0..20_000 {
                    let low = ranges.insert(100, 200).unwrap();
                    ranges.remove(low);
                    let high = ranges.insert(300, 400).unwrap();
                    ranges.remove(high);
                }
            });
            while !changer.is_finished() {
                assert_eq!(ranges.find(1), Some((stays, 2)));
                assert_eq!(ranges.find(250), None);
            }
        });
    }
}
