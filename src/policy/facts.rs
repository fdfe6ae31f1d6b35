//! What a trace says of each request, with names resolved once.

use crate::error::{Error, Result};
use crate::profile::{MAX_TOKENS, RowId};
use crate::request::Request;

/// What a trace says of one request beyond its [`RequestView`](crate::request::RequestView).
///
/// A service knows all of it before it decides: the compressor measures the text, and an app
/// states how many tokens it wants. The right answer is not here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The item's place among those that lengths and decisions are known of.
    pub row: RowId,
    /// Length of the full prompt.
    pub prompt_tokens: u32,
    /// Tokens to generate.
    pub output_tokens: u32,
    /// The first tokens of the full prompt that need not be read again.
    pub cached_tokens: u32,
}

/// [`Facts`] of every request of a trace, by request id.
#[derive(Debug, Clone)]
pub(crate) struct Annotations(Vec<(u64, Facts)>);

impl Annotations {
    /// Sorts the facts of requests by id.
    ///
    /// # Errors
    /// If two requests have one id.
    pub(crate) fn new(mut facts: Vec<(u64, Facts)>) -> Result<Self> {
        facts.sort_unstable_by_key(|&(id, _)| id);
        match facts.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            Some(pair) => Err(Error::new("trace", "two requests have one id").found(pair[0].0)),
            None => Ok(Self(facts)),
        }
    }

    /// The facts of the request with this id, if it is of the trace.
    pub fn get(&self, id: u64) -> Option<&Facts> {
        // Ids mostly count up from the first, so look there before searching.
        let first = self.0.first()?.0;
        let guess = usize::try_from(id.checked_sub(first)?).ok()?;
        if let Some((_, facts)) = self.0.get(guess).filter(|entry| entry.0 == id) {
            return Some(facts);
        }
        let place = self.0.binary_search_by_key(&id, |&(id, _)| id).ok()?;
        Some(&self.0[place].1)
    }
}

/// Refuses lengths that no model has: latency curves are times up to [`MAX_TOKENS`] of context.
pub(crate) fn check_lengths(request: &Request) -> Result<()> {
    let (prompt, output) = (request.prompt_tokens, request.output_tokens);
    let longest = MAX_TOKENS / 2;
    if prompt > 0 && prompt.max(output) <= longest {
        return Ok(());
    }
    Err(Error::new("trace", "impossible length")
        .at(format!("request {}", request.id))
        .found(format!("{prompt} prompt and {output} output tokens"))
        .allowed(format!("1 to {longest} prompt tokens, at most {longest} output tokens")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::testing::Bench;

    #[test]
    fn facts_are_found_by_id_in_any_numbering() {
        let bench = Bench::elastic();
        let facts = *bench.method.menu(&bench.trace).unwrap().facts.get(7).unwrap();
        let of = |output_tokens| Facts { output_tokens, ..facts };
        let annotations = Annotations::new(vec![(9, of(9)), (5, of(5)), (6, of(6))]).unwrap();
        for id in [5, 6, 9] {
            assert_eq!(annotations.get(id), Some(&of(id as u32)));
        }
        for id in [0, 4, 7, 10, u64::MAX] {
            assert_eq!(annotations.get(id), None);
        }
    }
}
