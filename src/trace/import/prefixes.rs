//! What of each prompt earlier ones left in a prefix cache.
//!
//! A file says it by blocks (Mooncake: prompts that begin alike have the same first block ids) or
//! by sessions (BurstGPT: a turn's prompt goes on from the last one and its answer). The cache
//! holds so many tokens; what was used longest ago goes first.

use std::collections::BTreeMap;

use super::Call;

/// Tokens of a block of Mooncake's `hash_ids`.
const BLOCK_TOKENS: u32 = 512;

/// How a call's prompt goes on from others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Turn {
    /// Its blocks, in order.
    Blocks(Vec<u64>),
    /// The number of its session.
    Session(u64),
}

/// Blocks or sessions, and how many tokens of each are held.
#[derive(Debug)]
pub(super) struct PrefixCache {
    room: u64,
    held: u64,
    clock: u64,
    /// By block or session: tokens, and when it was used last.
    entries: BTreeMap<u64, (u32, u64)>,
    by_age: BTreeMap<u64, u64>,
}

impl PrefixCache {
    /// An empty cache for `room` tokens.
    pub fn new(room: u64) -> Self {
        Self { room, held: 0, clock: 0, entries: BTreeMap::new(), by_age: BTreeMap::new() }
    }

    /// How many of the first tokens of `call`'s prompt are held, fewer than all; from now on what
    /// it leaves is held, too.
    pub fn serve(&mut self, call: &Call, turn: &Turn) -> u32 {
        let most = call.prompt_tokens.saturating_sub(1);
        match turn {
            Turn::Blocks(ids) => {
                let known = ids.iter().map_while(|&id| self.use_of(id)).sum::<u32>();
                let mut left = call.prompt_tokens;
                for &id in ids {
                    self.hold(id, left.min(BLOCK_TOKENS));
                    left = left.saturating_sub(BLOCK_TOKENS);
                }
                known.min(most)
            }
            &Turn::Session(id) => {
                // A prompt that is shorter than what was said is no continuation of it.
                let known = self.use_of(id).filter(|&tokens| tokens <= most);
                self.hold(id, call.prompt_tokens.saturating_add(call.output_tokens));
                known.unwrap_or(0)
            }
        }
    }

    /// The tokens that are held of `id`, used now.
    fn use_of(&mut self, id: u64) -> Option<u32> {
        let (tokens, _) = *self.entries.get(&id)?;
        self.hold(id, tokens);
        Some(tokens)
    }

    /// Holds `tokens` of `id`, used now; what was used longest ago makes room.
    fn hold(&mut self, id: u64, tokens: u32) {
        self.clock += 1;
        if let Some((before, at)) = self.entries.insert(id, (tokens, self.clock)) {
            self.held -= u64::from(before);
            self.by_age.remove(&at);
        }
        self.held += u64::from(tokens);
        self.by_age.insert(self.clock, id);
        while self.held > self.room
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            let (tokens, _) = self.entries.remove(&oldest).expect("it is held");
            self.held -= u64::from(tokens);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(prompt_tokens: u32, output_tokens: u32) -> Call {
        Call { nanos: 0, prompt_tokens, output_tokens, turn: None }
    }

    fn blocks<const N: usize>(ids: [u64; N]) -> Turn {
        Turn::Blocks(ids.into())
    }

    #[test]
    fn blocks_count_from_the_first_that_is_held_to_the_first_that_is_not() {
        let mut cache = PrefixCache::new(10_000);
        assert_eq!(cache.serve(&call(1100, 9), &blocks([1, 2, 3])), 0);
        assert_eq!(cache.serve(&call(1100, 9), &blocks([1, 2, 4])), 1024, "of 1, 2, not of 4");
        assert_eq!(cache.serve(&call(1100, 9), &blocks([7, 2, 3])), 0, "they begin otherwise");
        assert_eq!(cache.serve(&call(1100, 9), &blocks([1, 2, 3])), 1099, "one is read");
    }

    #[test]
    fn a_turn_goes_on_from_prompt_and_answer_of_the_last() {
        let mut cache = PrefixCache::new(10_000);
        let session = |id| Turn::Session(id);
        assert_eq!(cache.serve(&call(100, 20), &session(1)), 0);
        assert_eq!(cache.serve(&call(150, 30), &session(1)), 120);
        assert_eq!(cache.serve(&call(150, 30), &session(2)), 0, "another's");
        assert_eq!(cache.serve(&call(90, 30), &session(1)), 0, "shorter than what was said");
    }

    /// Room for 1,500 tokens: two blocks of 512 and one of 76, and no more.
    #[test]
    fn what_was_used_longest_ago_makes_room() {
        let mut cache = PrefixCache::new(1500);
        cache.serve(&call(512, 1), &blocks([1]));
        cache.serve(&call(512, 1), &blocks([2]));
        cache.serve(&call(512, 1), &blocks([1]));
        cache.serve(&call(512, 1), &blocks([3]));
        assert_eq!(cache.serve(&call(512, 1), &blocks([2])), 0, "3 came, 1 had been used since");
        assert_eq!(cache.serve(&call(512, 1), &blocks([3])), 511);
        assert_eq!(PrefixCache::new(0).serve(&call(5, 1), &Turn::Session(1)), 0);
    }
}
