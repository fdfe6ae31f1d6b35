//! What cutting a prompt costs: the default compressor's time per token of the full prompt.

use crate::engine::stopwatch::timed;
use crate::prompt::{Compressor, Dataset, Tokenize, compress};
use crate::units::{PROMPT_RATIOS, Ratio, millis};

/// Items per dataset that are cut to every ratio.
const ITEMS: usize = 20;

/// Mean ms per token of the full prompt, tokenizing included, over all ratios below 100 %.
#[must_use]
pub fn ms_per_token(tokenizer: &dyn Tokenize, datasets: &[Dataset]) -> f64 {
    let (mut total_ms, mut tokens) = (0.0, 0);
    for dataset in datasets {
        for item in dataset.items.iter().take(ITEMS) {
            for ratio in PROMPT_RATIOS.into_iter().filter(|&ratio| ratio < Ratio::ONE) {
                let cut =
                    || compress(Compressor::Structured, dataset, item, ratio, tokenizer, None, 0);
                let (prompt, time) = timed(cut);
                total_ms += millis(time);
                tokens += prompt.full_tokens;
            }
        }
    }
    if tokens == 0 { 0.0 } else { total_ms / tokens as f64 }
}
