//! What an adapter adds: `(x·Aᵀ)·Bᵀ` where rows are read, `(h·A)·B` where they are written.

/// The two small matrices beside a large one.
#[derive(Debug, Clone, Copy)]
pub struct Low<'a> {
    /// Beside a matrix that is read: `[parts · rank, depth]`, a part for each kind of row. Beside
    /// one that is written: `[units, rank]`.
    pub a: &'a [f32],
    /// Beside a matrix that is read: `[rows, rank]`. Beside one that is written: `[rank, columns]`.
    pub b: &'a [f32],
    /// Columns of the product in between.
    pub rank: usize,
}

/// Which part of A the rows of a matrix go with: kinds of rows that follow each other again and
/// again.
#[derive(Debug, Clone, Copy)]
pub struct Kinds<'a> {
    /// Where each kind ends; the last end is where the first kind begins anew.
    pub ends: &'a [usize],
}

impl Kinds<'_> {
    /// The kind of `row`.
    #[inline(always)]
    pub(super) fn of(self, row: usize) -> usize {
        let [.., period] = *self.ends else { return 0 };
        let place = row % period;
        self.ends.iter().position(|&end| place < end).unwrap_or(0)
    }
}
