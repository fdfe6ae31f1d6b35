//! Conversations that are over: their KV caches, for the next prompt that begins as they do.

use crate::engine::kv_cache::KvCache;
use crate::units::Level;

/// Fewer tokens are not worth keeping, or looking for.
const TOKENS_MIN: usize = 16;

/// A KV cache and the tokens that it has.
#[derive(Debug)]
pub(super) struct Conversation<C = KvCache> {
    pub cache: C,
    pub tokens: Vec<u32>,
}

/// The last conversations, each as one level read it, within a budget of bytes.
#[derive(Debug)]
pub(super) struct Conversations<C = KvCache> {
    /// The one that was used last at the end.
    kept: Vec<(Level, Conversation<C>)>,
    tokens_max: u64,
}

impl<C> Conversations<C> {
    pub fn new(bytes: u64, bytes_per_token: u64) -> Self {
        Self { kept: Vec::new(), tokens_max: bytes / bytes_per_token.max(1) }
    }

    /// How many tokens at the start of `prompt` the best of them has; never all of the prompt,
    /// whose last token is read for what follows it.
    pub fn shared(&self, level: Level, prompt: &[u32]) -> usize {
        self.best(level, prompt).map_or(0, |(_, shared)| shared)
    }

    fn best(&self, level: Level, prompt: &[u32]) -> Option<(usize, usize)> {
        let of_level = self.kept.iter().enumerate().filter(|(_, (of, _))| *of == level);
        let shared = of_level.map(|(at, (_, it))| (at, shared(&it.tokens, prompt)));
        shared.filter(|&(_, shared)| shared >= TOKENS_MIN).max_by_key(|&(at, shared)| (shared, at))
    }

    /// The one that shares most with `prompt`, cut to what it shares.
    pub fn take(&mut self, level: Level, prompt: &[u32]) -> Option<Conversation<C>> {
        let (at, shared) = self.best(level, prompt)?;
        let mut conversation = self.kept.remove(at).1;
        conversation.tokens.truncate(shared);
        Some(conversation)
    }

    /// Keeps a conversation, and lets go of those that were used longest ago until all fit. Hands
    /// its KV cache back where it is not worth it.
    pub fn keep(&mut self, level: Level, conversation: Conversation<C>) -> Option<C> {
        let tokens = conversation.tokens.len();
        if tokens < TOKENS_MIN || tokens as u64 > self.tokens_max {
            return Some(conversation.cache);
        }
        self.kept.push((level, conversation));
        let all = |kept: &[(Level, Conversation<C>)]| -> u64 {
            kept.iter().map(|(_, it)| it.tokens.len() as u64).sum()
        };
        while all(&self.kept) > self.tokens_max {
            self.kept.remove(0);
        }
        None
    }
}

/// How many tokens both begin with, not counting the last of `prompt`.
fn shared(cached: &[u32], prompt: &[u32]) -> usize {
    let readable = &prompt[..prompt.len().saturating_sub(1)];
    cached.iter().zip(readable).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn talk(cache: char, tokens: std::ops::Range<u32>) -> Conversation<char> {
        Conversation { cache, tokens: tokens.collect() }
    }

    #[test]
    fn the_conversation_that_shares_most_is_taken_and_no_other_levels() {
        let mut kept = Conversations::new(1000, 10);
        assert_eq!(kept.keep(Level::FULL, talk('a', 0..20)), None);
        assert_eq!(kept.keep(Level::FULL, talk('b', 0..30)), None);
        assert_eq!(kept.keep(Level::percent(20), talk('c', 0..40)), None);
        let prompt: Vec<u32> = (0..25).chain([99; 10]).collect();
        assert_eq!(kept.shared(Level::FULL, &prompt), 25);
        let taken = kept.take(Level::FULL, &prompt).unwrap();
        assert_eq!((taken.cache, taken.tokens.len()), ('b', 25));
        assert_eq!(kept.shared(Level::FULL, &prompt), 20);
        assert_eq!(kept.shared(Level::percent(50), &prompt), 0);
    }

    #[test]
    fn the_last_token_of_a_prompt_is_read_though_it_is_cached() {
        let mut kept = Conversations::new(1000, 10);
        kept.keep(Level::FULL, talk('a', 0..30));
        assert_eq!(kept.shared(Level::FULL, &(0..30).collect::<Vec<_>>()), 29);
        assert_eq!(kept.shared(Level::FULL, &(0..16).collect::<Vec<_>>()), 0);
    }

    /// Room for 50 tokens: the third drives the first out; one of 60 is not kept at all.
    #[test]
    fn the_budget_holds_and_the_oldest_goes_first() {
        let mut kept = Conversations::new(500, 10);
        for (name, start) in [('a', 0), ('b', 100), ('c', 200)] {
            assert_eq!(kept.keep(Level::FULL, talk(name, start..start + 20)), None);
        }
        assert_eq!(kept.shared(Level::FULL, &(0..20).collect::<Vec<_>>()), 0);
        assert_eq!(kept.shared(Level::FULL, &(100..120).collect::<Vec<_>>()), 19);
        assert_eq!(kept.keep(Level::FULL, talk('d', 0..60)), Some('d'));
        assert_eq!(Conversations::new(0, 10).keep(Level::FULL, talk('e', 0..20)), Some('e'));
    }
}
