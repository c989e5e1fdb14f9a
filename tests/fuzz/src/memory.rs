//! How much memory the current thread has allocated, and the most that it had at one time.
//!
//! Counts what goes through Rust's allocator. What C libraries allocate for themselves is not seen: their targets
//! measure it in another way.

#![expect(
    unsafe_code,
    reason = "the trait of an allocator is unsafe; this one hands everything to the system's"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static NOW: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// The system's allocator, counted by thread. A test executable makes it its own with `#[global_allocator]`.
pub struct Counting;

fn count(bytes: isize) {
    // Not there any more while a thread ends, and not needed then.
    let _ = NOW.try_with(|now| {
        now.set(now.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(now.get())));
    });
}

// SAFETY: every call goes to `System` with the arguments as they came; counting allocates nothing, because both
// thread-locals are const and need no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller keeps the contract of `dealloc`; `pointer` came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both exist while it is copied; counted as if they always did.
        count(size as isize);
        // SAFETY: the caller keeps the contract of `realloc`; `pointer` came from `System`.
        let moved = unsafe { System.realloc(pointer, layout, size) };
        count(-(layout.size() as isize));
        moved
    }
}

/// What a piece of work gives, and the most bytes that this thread had allocated for it at one time.
pub(crate) fn peak_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = NOW.get();
    PEAK.set(before);
    let done = work();
    (done, usize::try_from(PEAK.get() - before).unwrap_or(0))
}

/// Whether the executable counts at all.
pub(crate) fn is_counting() -> bool {
    peak_of(|| std::hint::black_box(vec![0u8; 4096]).len()).1 >= 4096
}
