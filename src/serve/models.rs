//! The names under which the model is served: the base model, for which the service chooses, and
//! one alias for each level, which pins it.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::fault::Fault;
use crate::service::ModelCard;
use crate::units::Level;

/// The base model and its aliases.
#[derive(Debug, Clone)]
pub struct Models {
    base: String,
    levels: Vec<Level>,
    context: u32,
    executor: &'static str,
}

/// What stands between the name of the base model and a level in percent.
const PINS: char = '@';

impl Models {
    /// The names of what `card` describes.
    #[must_use]
    pub fn of(card: &ModelCard) -> Self {
        let (base, levels) = (card.base_model.clone(), card.levels.clone());
        Self { base, levels, context: card.context, executor: card.executor }
    }

    /// The name under which the service chooses.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The name that pins `level`.
    #[must_use]
    pub fn alias(&self, level: Level) -> String {
        format!("{}{PINS}{}", self.base, level.as_percent())
    }

    /// The level that `name` pins, if it does.
    ///
    /// # Errors
    /// If there is no such model: 404.
    pub fn level_of(&self, name: &str) -> Result<Option<Level>, Fault> {
        if name == self.base {
            return Ok(None);
        }
        let level = self.levels.iter().find(|level| self.alias(**level) == name);
        level.map(|level| Some(*level)).ok_or_else(|| {
            let first = self.levels.first().map_or_else(String::new, |level| self.alias(*level));
            let allowed = format!("{}, or one of its levels, such as {first}", self.base);
            let message = format!("model: there is none of that name; allowed: {allowed}");
            let fault = Fault::new(StatusCode::NOT_FOUND, "model_not_found", message);
            Fault { param: Some("model".to_owned()), ..fault }
        })
    }

    /// The list of all, as clients expect it.
    #[must_use]
    pub fn list(&self) -> Value {
        let aliases = self.levels.iter().map(|&level| self.entry(Some(level)));
        let data: Vec<Value> = std::iter::once(self.entry(None)).chain(aliases).collect();
        json!({ "object": "list", "data": data })
    }

    /// The entry of the model `name`.
    ///
    /// # Errors
    /// As [`level_of`](Self::level_of).
    pub fn one(&self, name: &str) -> Result<Value, Fault> {
        self.level_of(name).map(|level| self.entry(level))
    }

    fn entry(&self, level: Option<Level>) -> Value {
        json!({
            "id": level.map_or_else(|| self.base.clone(), |level| self.alias(level)),
            "object": "model",
            // When it was made is not known; clients want a number.
            "created": 0,
            "owned_by": "pliant",
            "pliant": {
                "level": level.map(Level::as_percent),
                "context": self.context,
                "executor": self.executor,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_model_is_chosen_for_and_each_alias_pins_its_level() {
        let levels = vec![Level::percent(20), Level::FULL];
        let (base, executor) = ("tiny".to_owned(), "canned text");
        let models = Models { base, levels, context: 64, executor };
        let listed = models.list();
        let ids = listed["data"].as_array().unwrap().iter().map(|entry| entry["id"].clone());
        assert_eq!(ids.collect::<Vec<_>>(), ["tiny", "tiny@20", "tiny@100"]);
        assert_eq!(models.level_of("tiny"), Ok(None));
        assert_eq!(models.level_of("tiny@20"), Ok(Some(Level::percent(20))));
        let fault = models.level_of("tiny@30").unwrap_err();
        assert_eq!((fault.status.as_u16(), fault.param.as_deref()), (404, Some("model")));
        assert!(fault.message.ends_with("tiny, or one of its levels, such as tiny@20"));
    }
}
