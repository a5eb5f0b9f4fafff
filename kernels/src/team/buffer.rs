//! Memory that the members of a team write side by side.

use bytemuck::Zeroable;
use std::{cell::UnsafeCell, ops::Range};

/// A fixed-size buffer whose disjoint parts different threads may write at the
/// same time.
///
/// The borrow checker cannot see that row 3 belongs to thread 1 until the next
/// barrier, so access is `unsafe`; who writes what is said at each call.
pub struct SharedBuffer<T> {
    cells: Box<[UnsafeCell<T>]>,
}

// SAFETY: the buffer hands out references only through `unsafe` methods whose
// callers promise that a part which is written is not read or written elsewhere
// at the same time; `T` itself may cross threads.
unsafe impl<T: Send + Sync> Sync for SharedBuffer<T> {}

impl<T: Zeroable> SharedBuffer<T> {
    /// A buffer of `len` zeroed elements. The memory is asked for zeroed, so
    /// that parts which are never touched never become resident.
    pub fn zeroed(len: usize) -> Self {
        let values: Box<[T]> = bytemuck::allocation::zeroed_slice_box(len);
        let raw = Box::into_raw(values) as *mut [UnsafeCell<T>];
        Self {
            // SAFETY: `raw` comes from `Box::into_raw` just above, and
            // `UnsafeCell<T>` has the layout of `T`.
            cells: unsafe { Box::from_raw(raw) },
        }
    }
}

impl<T> SharedBuffer<T> {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Whether the buffer has no elements.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// The address of the first element, for parts that are no whole elements.
    /// Reading and writing through it follows the rules of [`get`](Self::get)
    /// and [`get_mut`](Self::get_mut).
    pub fn as_ptr(&self) -> *mut T {
        UnsafeCell::raw_get(self.cells.as_ptr())
    }

    /// Reads a part.
    ///
    /// # Safety
    /// No thread writes any element of `range` while the result lives.
    ///
    /// # Panics
    /// If `range` is not inside the buffer.
    pub unsafe fn get(&self, range: Range<usize>) -> &[T] {
        let cells = &self.cells[range];
        // SAFETY: the cells are valid elements, and the caller promises that
        // none of them is written meanwhile.
        unsafe { std::slice::from_raw_parts(cells.as_ptr().cast::<T>(), cells.len()) }
    }

    /// Writes a part.
    ///
    /// # Safety
    /// No other reference to any element of `range` exists while the result
    /// lives.
    ///
    /// # Panics
    /// If `range` is not inside the buffer.
    #[allow(clippy::mut_from_ref)] // the caller keeps the parts disjoint
    pub unsafe fn get_mut(&self, range: Range<usize>) -> &mut [T] {
        let cells = &self.cells[range];
        let first = UnsafeCell::raw_get(cells.as_ptr());
        // SAFETY: the cells are valid elements, `UnsafeCell` allows writing
        // through a shared reference, and the caller promises exclusivity.
        unsafe { std::slice::from_raw_parts_mut(first, cells.len()) }
    }

    /// The whole buffer, through an exclusive reference to it.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        // SAFETY: `&mut self` rules out every other reference.
        unsafe { self.get_mut(0..self.cells.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_independent() {
        let mut buffer = SharedBuffer::<u32>::zeroed(10);
        std::thread::scope(|scope| {
            for part in 0..5 {
                let buffer = &buffer;
                scope.spawn(move || {
                    // SAFETY: each thread takes its own two elements.
                    let own = unsafe { buffer.get_mut(part * 2..part * 2 + 2) };
                    own.fill(part as u32);
                });
            }
        });
        assert_eq!(buffer.as_mut_slice(), [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]);
    }
}
