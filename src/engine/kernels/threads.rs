//! Who does the pieces of a product.

/// Runs pieces of work that touch nothing in common.
pub trait Threads {
    /// Calls `work` once with each number below `pieces`, on any threads, and returns when all are
    /// done.
    fn each(&self, pieces: usize, work: &(dyn Fn(usize) + Send + Sync));
}

/// The calling thread.
#[derive(Debug, Clone, Copy)]
pub struct Alone;

impl Threads for Alone {
    fn each(&self, pieces: usize, work: &(dyn Fn(usize) + Send + Sync)) {
        (0..pieces).for_each(work);
    }
}

/// Memory that pieces of work write to, each in places of its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places {
    start: *mut f32,
    len: usize,
}

// SAFETY: whoever writes promises that no other piece of work touches the place.
unsafe impl Send for Places {}
// SAFETY: as above.
unsafe impl Sync for Places {}

impl Places {
    pub(super) fn new(values: &mut [f32]) -> Self {
        Self { start: values.as_mut_ptr(), len: values.len() }
    }

    /// Writes `value` to a place.
    ///
    /// # Safety
    /// No other piece of work touches it, and the memory is still there.
    ///
    /// # Panics
    /// If there is no such place.
    #[inline(always)]
    pub(super) unsafe fn set(&self, place: usize, value: f32) {
        assert!(place < self.len, "a place within the memory");
        // SAFETY: within the memory, and nobody else's as the caller promises.
        unsafe { *self.start.add(place) = value };
    }

    /// The `len` places from `from` on.
    ///
    /// # Safety
    /// No other piece of work touches them as long as the slice lives, which is not longer than
    /// what [`new`](Self::new) was given.
    ///
    /// # Panics
    /// If there are not so many.
    #[expect(clippy::mut_from_ref, reason = "places are disjoint, as the caller promises")]
    pub(super) unsafe fn get(&self, from: usize, len: usize) -> &mut [f32] {
        assert!(from <= self.len && len <= self.len - from, "places within the memory");
        // SAFETY: within the memory, and nobody else's as the caller promises.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(from), len) }
    }
}
