//! A plan: how the service will answer one request.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::units::{Level, Ratio};

/// ⟨sub-model level, prompt ratio⟩ within the family and compressor of a method; in two phases
/// ⟨level of the prompt, prompt ratio, level of the answer⟩.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Plan {
    /// Which sub-model reads the prompt, and so makes the first token.
    pub level: Level,
    /// Which share of the prompt's tokens it is asked to read. A compressor that may not drop the
    /// question can keep more; time is billed on what it keeps.
    pub prompt_ratio: Ratio,
    /// Which one makes the tokens after the first, if that is a smaller one.
    #[serde(rename = "answer_level", skip_serializing_if = "Option::is_none")]
    smaller: Option<Level>,
}

impl Plan {
    /// The base model on the full prompt.
    pub const FULL: Self = Self::new(Level::FULL, Ratio::ONE);

    /// One sub-model reads and answers.
    #[must_use]
    pub const fn new(level: Level, prompt_ratio: Ratio) -> Self {
        Self { level, prompt_ratio, smaller: None }
    }

    /// The same prompt, answered by `level`; a plan of one level if that reads it, too.
    ///
    /// # Errors
    /// If it is above the level that reads: what the larger one has beyond the smaller would find
    /// no keys and values in the cache.
    pub fn answered_by(self, level: Level) -> crate::error::Result<Self> {
        if level > self.level {
            return Err(Error::new("plan", ABOVE)
                .found(format!("a prompt read at {}, answered at {level}", self.level))
                .allowed(format!("an answer level up to {}", self.level)));
        }
        Ok(Self { smaller: (level < self.level).then_some(level), ..self })
    }

    /// Which sub-model makes the tokens after the first.
    #[must_use]
    pub fn answer_level(&self) -> Level {
        self.smaller.unwrap_or(self.level)
    }

    /// The smaller level of the answer, of a plan that has two.
    #[must_use]
    pub const fn smaller_answer_level(&self) -> Option<Level> {
        self.smaller
    }

    /// Which level is in memory once so many tokens are there: the first one is the prompt's.
    #[must_use]
    pub fn resident_after(&self, output_tokens: u32) -> Level {
        if output_tokens > 1 { self.answer_level() } else { self.level }
    }
}

/// How many levels a plan may have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Phases {
    /// One, which reads and answers: as the study describes.
    #[default]
    One,
    /// Or two: a larger one reads the prompt.
    Two,
}

impl TryFrom<u8> for Phases {
    type Error = String;

    fn try_from(phases: u8) -> Result<Self, String> {
        match phases {
            1 => Ok(Self::One),
            2 => Ok(Self::Two),
            _ => Err(format!("{phases} phases; allowed: 1, or 2 for a level each")),
        }
    }
}

impl From<Phases> for u8 {
    fn from(phases: Phases) -> Self {
        match phases {
            Phases::One => 1,
            Phases::Two => 2,
        }
    }
}

/// What is wrong with a plan, or an answer to one, whose answer is not the smaller level's.
pub(crate) const ABOVE: &str = "an answer level above the prompt level";

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { level, prompt_ratio, smaller } = self;
        match smaller {
            None => write!(f, "⟨{level}, {prompt_ratio}⟩"),
            Some(answer) => write!(f, "⟨{level}, {prompt_ratio}, {answer}⟩"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_answered_by_the_level_that_reads_is_one_of_one_level() {
        let one = Plan::new(Level::percent(50), Ratio::percent(80));
        assert_eq!(one.answered_by(Level::percent(50)).unwrap(), one);
        assert_eq!((one.answer_level(), one.smaller_answer_level()), (one.level, None));
        assert_eq!(one.to_string(), "⟨50 %, 80 %⟩");
        assert_eq!(serde_json::to_string(&one).unwrap(), r#"{"level":0.5,"prompt_ratio":0.8}"#);
    }

    #[test]
    fn the_answers_level_is_in_memory_once_it_made_a_token() {
        let two =
            Plan::new(Level::percent(90), Ratio::ONE).answered_by(Level::percent(20)).unwrap();
        assert_eq!(two.to_string(), "⟨90 %, 100 %, 20 %⟩");
        assert_eq!([1, 2].map(|tokens| two.resident_after(tokens).as_percent()), [90, 20]);
    }

    #[test]
    fn an_answer_level_above_the_prompt_level_is_refused() {
        insta::assert_snapshot!(
            Plan::new(Level::percent(20), Ratio::ONE).answered_by(Level::percent(90)).unwrap_err(),
            @"plan: an answer level above the prompt level; found a prompt read at 20 %, answered at 90 %; allowed: an answer level up to 20 %"
        );
    }
}
