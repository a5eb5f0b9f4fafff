//! Memory that the members of a team write side by side.

use bytemuck::Zeroable;
use std::{cell::UnsafeCell, mem::ManuallyDrop, ops::Range};

/// A fixed-size buffer whose disjoint parts different threads may write at the
/// same time.
///
/// The borrow checker cannot see that row 3 belongs to thread 1 until the next
/// barrier, so access is `unsafe`; who writes what is said at each call.
pub struct SharedBuffer<T> {
    cells: Vec<UnsafeCell<T>>,
}

// SAFETY: the buffer hands out references only through `unsafe` methods whose
// callers promise that a part which is written is not read or written elsewhere
// at the same time; `T` itself may cross threads.
unsafe impl<T: Send + Sync> Sync for SharedBuffer<T> {}

impl<T: Zeroable> SharedBuffer<T> {
    /// A buffer of `len` zeroed elements. The memory is asked for zeroed, so
    /// that parts which are never touched never become resident.
    pub fn zeroed(len: usize) -> Self {
        Self::from_vec(bytemuck::allocation::zeroed_vec(len))
    }

    /// As [`zeroed`](Self::zeroed), or `None` if the system does not have the
    /// memory: for sizes that someone else chose.
    pub fn try_zeroed(len: usize) -> Option<Self> {
        let zeroed = bytemuck::allocation::try_zeroed_vec(len).ok()?;
        Some(Self::from_vec(zeroed))
    }
}

impl<T> SharedBuffer<T> {
    /// The elements of `values`, without copying them.
    pub fn from_vec(values: Vec<T>) -> Self {
        let mut values = ManuallyDrop::new(values);
        let (len, capacity) = (values.len(), values.capacity());
        let first = values.as_mut_ptr().cast::<UnsafeCell<T>>();
        Self {
            // SAFETY: the parts are those of a vector that is not used any
            // more, and `UnsafeCell<T>` has the layout of `T`.
            cells: unsafe { Vec::from_raw_parts(first, len, capacity) },
        }
    }

    /// The elements as a vector, without copying them.
    pub fn into_vec(self) -> Vec<T> {
        let mut cells = ManuallyDrop::new(self.cells);
        let (len, capacity) = (cells.len(), cells.capacity());
        let first = cells.as_mut_ptr().cast::<T>();
        // SAFETY: as in `from_vec`, the other way round.
        unsafe { Vec::from_raw_parts(first, len, capacity) }
    }

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
    fn a_vector_goes_in_and_out_where_it_is() {
        let values = vec![1, 2, 3];
        let address = values.as_ptr();
        let values = SharedBuffer::from_vec(values).into_vec();
        assert_eq!((values.as_ptr(), &values[..]), (address, &[1, 2, 3][..]));
    }

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
