//! What the parser allocates, counted.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use outrigger_runtime::gguf::{Header, parse};

/// Bytes of memory that the parser may hold per byte of the file. The worst
/// are keys of one byte (a name kept twice, a slot in a growing list and one
/// in a hash table) and arrays of empty arrays.
const MEMORY_PER_BYTE: usize = 16;
/// What an error message may take on top.
const MEMORY_FOR_ERROR: usize = 4096;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, counting what each thread holds.
struct Counting;

fn count(allocated: usize, freed: usize) {
    let held = HELD.get().wrapping_add(allocated);
    PEAK.set(PEAK.get().max(held));
    HELD.set(held.wrapping_sub(freed));
}

// SAFETY: every call is passed on unchanged; counting allocates nothing, since
// the thread's counters are constants that need no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller's contract is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: the caller's contract is the same.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both are held while one is copied to the other.
        count(size, layout.size());
        // SAFETY: the caller's contract is the same.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Parses, and checks what that needed in memory.
pub(crate) fn read(file: &[u8]) -> Result<Header, String> {
    HELD.set(0);
    PEAK.set(0);
    let parsed = parse(file);
    let peak = PEAK.get();
    let bound = MEMORY_PER_BYTE * file.len() + MEMORY_FOR_ERROR;
    assert!(
        peak <= bound,
        "{peak} bytes held for a file of {}",
        file.len()
    );
    parsed.map_err(|error| error.to_string())
}
