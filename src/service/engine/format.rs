//! Turns in the format of a real model: its chat template and its tokenizer.

use super::super::call::Role;
use super::super::cut::Turn;
use super::super::reader::Format;
use crate::engine::chat::ChatTemplate;
use crate::engine::tokenizer::Tokenizer;
use crate::error::Result;
use crate::prompt::Tokenize as _;

#[derive(Debug)]
pub(super) struct EngineFormat {
    template: ChatTemplate,
    tokenizer: Tokenizer,
}

impl EngineFormat {
    pub fn new(tokenizer: Tokenizer) -> Result<Self> {
        Ok(Self { template: ChatTemplate::of(&tokenizer)?, tokenizer })
    }
}

impl Format for EngineFormat {
    fn tokens(&self, turns: &[Turn<'_>], is_chat: bool) -> Result<Vec<u32>> {
        if !is_chat {
            let text: String = turns.iter().map(|turn| &*turn.content).collect();
            return Ok(self.tokenizer.encode(&text));
        }
        let role = |turn: &Turn<'_>| turn.role.unwrap_or(Role::User).name();
        let messages: Vec<_> = turns.iter().map(|turn| (role(turn), &*turn.content)).collect();
        self.template.tokens(&messages, &self.tokenizer)
    }

    fn count(&self, text: &str) -> u32 {
        self.tokenizer.encode(text).len() as u32
    }
}
