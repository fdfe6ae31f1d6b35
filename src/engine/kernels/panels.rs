//! Tokens side by side.

use pulp::{Arch, Simd, WithSimd};

use super::threads::{Places, Threads};

/// Values of tokens, row-major.
#[derive(Debug, Clone, Copy)]
pub struct Tokens<'a> {
    /// `[count, depth]`.
    pub values: &'a [f32],
    /// Values of a token.
    pub depth: usize,
}

impl<'a> Tokens<'a> {
    /// How many.
    #[must_use]
    pub fn count(&self) -> usize {
        self.values.len() / self.depth
    }

    /// The values of one.
    #[must_use]
    pub fn row(&self, token: usize) -> &'a [f32] {
        &self.values[token * self.depth..][..self.depth]
    }
}

/// Vectors that a panel is wide.
pub(super) const WIDE: usize = 2;

/// Some tokens, value by value: `[depth, width]`. What is behind the last token is 0.
#[derive(Debug, Clone, Copy)]
pub(super) struct Panel<'a> {
    pub(super) values: &'a [f32],
    pub(super) width: usize,
    /// The first token in it, and how many there are.
    pub(super) first: usize,
    pub(super) count: usize,
}

/// Tokens in panels of two vectors; the last has one if that is enough.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) tokens: usize,
    pub(super) lanes: usize,
}

impl Shape {
    pub(super) fn new(tokens: usize) -> Self {
        Self { tokens, lanes: lanes() }
    }

    pub(super) fn full(self) -> usize {
        WIDE * self.lanes
    }

    pub(super) fn panels(self) -> usize {
        self.tokens.div_ceil(self.full())
    }

    /// Tokens that the panels before this one have room for: all of them.
    pub(super) fn first(self, panel: usize) -> usize {
        panel * self.full()
    }

    pub(super) fn count(self, panel: usize) -> usize {
        (self.tokens - self.first(panel)).min(self.full())
    }

    pub(super) fn width(self, panel: usize) -> usize {
        self.count(panel).next_multiple_of(self.lanes)
    }

    /// Values of all panels of that `depth`.
    pub(super) fn len(self, depth: usize) -> usize {
        self.tokens.next_multiple_of(self.lanes) * depth
    }

    pub(super) fn panel(self, values: &[f32], depth: usize, panel: usize) -> Panel<'_> {
        let (first, width) = (self.first(panel), self.width(panel));
        let values = &values[first * depth..][..width * depth];
        Panel { values, width, first, count: self.count(panel) }
    }

    /// Where a panel lies.
    pub(super) fn place(self, depth: usize, panel: usize) -> (usize, usize) {
        (self.first(panel) * depth, self.width(panel) * depth)
    }
}

/// Puts `tokens` into panels.
pub(super) fn pack(threads: &impl Threads, tokens: Tokens<'_>, out: &mut Vec<f32>) -> Shape {
    pack_beside(threads, &[tokens], out)
}

/// Puts tokens into panels, of which each of `parts` has some values: the first the first ones.
pub(super) fn pack_beside(
    threads: &impl Threads,
    parts: &[Tokens<'_>],
    out: &mut Vec<f32>,
) -> Shape {
    let shape = Shape::new(parts[0].count());
    let depth = parts.iter().map(|part| part.depth).sum();
    out.resize(shape.len(depth), 0.0);
    if shape.tokens == 1 {
        out.clear();
        for part in parts {
            out.extend_from_slice(part.values);
        }
        return shape;
    }
    let places = Places::new(out);
    threads.each(shape.panels(), &|panel| {
        let (mut from, _) = shape.place(depth, panel);
        for part in parts {
            let len = part.depth * shape.width(panel);
            // SAFETY: panels and the parts in them lie one behind the other.
            pack_one(*part, shape, panel, unsafe { places.get(from, len) });
            from += len;
        }
    });
    shape
}

/// Values of a token that are moved at once: a line of the cache.
const STEP: usize = 16;

fn pack_one(tokens: Tokens<'_>, shape: Shape, panel: usize, out: &mut [f32]) {
    let (first, count, width) = (shape.first(panel), shape.count(panel), shape.width(panel));
    if count < width {
        out.fill(0.0);
    }
    for from in (0..tokens.depth).step_by(STEP) {
        let to = tokens.depth.min(from + STEP);
        for token in 0..count {
            let row = &tokens.row(first + token)[from..to];
            for (k, &value) in row.iter().enumerate() {
                out[(from + k) * width + token] = value;
            }
        }
    }
}

/// Values that a register of this machine holds.
pub(super) fn lanes() -> usize {
    struct Lanes;
    impl WithSimd for Lanes {
        type Output = usize;
        fn with_simd<S: Simd>(self, _: S) -> usize {
            S::F32_LANES
        }
    }
    Arch::new().dispatch(Lanes)
}
