//! Keeps tokens drawn at random: what any cleverer choice has to beat.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// `budget` tokens of `full`, all from `region` on and a random subset before it.
///
/// Each token draws its rank once, so that the tokens kept at a smaller budget are among those
/// kept at a larger one.
pub(super) fn compress(
    full: &[u32],
    region: usize,
    budget: usize,
    stream: &mut ChaCha8Rng,
) -> Vec<u32> {
    let ranks: Vec<u64> = (0..region).map(|_| stream.random()).collect();
    super::keep_highest(full, region, budget, |index| ranks[index], u64::cmp)
}
