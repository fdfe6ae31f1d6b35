//! What a reader finds in a file: who ran what, and how long it took.

use crate::family::{Family, FamilyName};
use crate::profile::Phase;
use crate::profile::point::{Origin, Point};
use crate::units::Level;

/// One model on one device, as a file spells them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    /// Where in the file, for messages.
    pub place: String,
    pub model: Option<String>,
    pub device: Option<String>,
    pub runtime: Option<String>,
    pub precision: Option<String>,
    pub version: Option<String>,
    pub threads: Option<u32>,
    pub cores: Option<u32>,
    pub memory_bytes: Option<u64>,
    pub weight_bytes: Option<u64>,
    pub family: FamilyName,
    pub level: Level,
    pub points: Vec<Point>,
}

impl Found {
    /// Nothing yet, of the whole model.
    pub fn at(place: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            model: None,
            device: None,
            runtime: None,
            precision: None,
            version: None,
            threads: None,
            cores: None,
            memory_bytes: None,
            weight_bytes: None,
            family: Family::Width.into(),
            level: Level::FULL,
            points: Vec::new(),
        }
    }

    /// Adds a point that was timed once, or so often as its source says.
    pub fn point(&mut self, phase: Phase, tokens: u32, ms: f64, origin: Origin, source: &str) {
        let source = source.to_owned();
        self.points.push(Point { phase, tokens, ms, repetitions: None, origin, source });
    }
}
