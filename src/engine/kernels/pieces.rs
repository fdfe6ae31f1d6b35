//! How products are divided among threads, and the memory they are made in.

use std::cell::RefCell;
use std::ops::Range;

use super::panels::Shape;
use super::threads::Threads;

/// Rows of the largest tile.
pub(super) const ROWS: usize = 12;
/// Tiles of a piece of work, and panels that share their rows.
const TILES: usize = 4;
pub(super) const PANELS: usize = 8;
/// Pieces of one token's work, whatever the number of threads.
pub(super) const PIECES: usize = 16;
/// Rows of one token's tile.
pub(super) const ONE: usize = 4;

/// Memory that products are made in; kept from one to the next.
#[derive(Debug)]
pub struct Scratch {
    /// Tokens in panels.
    pub(super) x: Vec<f32>,
    /// What adapters have in between.
    pub(super) low: Vec<f32>,
    /// What units give, in panels.
    pub(super) h: Vec<f32>,
    /// Sums of some units.
    pub(super) sums: Vec<f32>,
}

impl Scratch {
    /// Nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { x: Vec::new(), low: Vec::new(), h: Vec::new(), sums: Vec::new() }
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

/// Calls `work` with ranges of rows and of panels, until all were done.
pub(super) fn each_piece(
    threads: &impl Threads,
    rows: usize,
    shape: Shape,
    work: impl Fn(usize, usize, Range<usize>) + Send + Sync,
) {
    let step = ROWS * TILES;
    let chunks = rows.div_ceil(step);
    let groups = shape.panels().div_ceil(PANELS);
    threads.each(chunks * groups, &|piece| {
        let (group, chunk) = (piece / chunks, piece % chunks);
        let panels = group * PANELS..((group + 1) * PANELS).min(shape.panels());
        work(chunk * step, rows.min((chunk + 1) * step), panels);
    });
}

/// Calls `work` with ranges of rows, until all were done.
pub(super) fn each_part(
    threads: &impl Threads,
    rows: usize,
    work: impl Fn(usize, usize) + Send + Sync,
) {
    let step = rows.div_ceil(PIECES).next_multiple_of(ONE);
    threads.each(rows.div_ceil(step), &|piece| work(piece * step, rows.min((piece + 1) * step)));
}

/// Calls `work` with memory of this thread for `len` floats.
pub(super) fn with_floats<T>(len: usize, work: impl FnOnce(&mut [f32]) -> T) -> T {
    thread_local! {
        static FLOATS: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
    }
    FLOATS.with_borrow_mut(|floats| {
        if floats.len() < len {
            floats.resize(len, 0.0);
        }
        work(&mut floats[..len])
    })
}
