//! Curves through published points, and the points that a model fills in.

use std::collections::BTreeMap;

use super::Shape;
use super::warning::Warning;
use crate::error::Result;
use crate::profile::Phase;
use crate::profile::curve::{DecodeCurve, PrefillCurve};
use crate::profile::fit::{decode_through, median, prefill_through};
use crate::profile::point::{Origin, Point};

/// Lengths that are filled in where nobody published them.
const FILLED: [u32; 3] = [64, 256, 1024];

/// Points of one phase at one length each: medians, their sources joined.
pub(super) fn merged(points: &[Point]) -> Vec<Point> {
    let mut at = BTreeMap::<(u8, u32, Origin), Vec<&Point>>::new();
    for point in points {
        at.entry((point.phase as u8, point.tokens, point.origin)).or_default().push(point);
    }
    at.into_values()
        .map(|same| {
            let mut sources: Vec<&str> = Vec::new();
            for point in &same {
                if !sources.contains(&&*point.source) {
                    sources.push(&point.source);
                }
            }
            Point {
                ms: median(same.iter().map(|point| point.ms).collect()),
                repetitions: (same.len() > 1).then_some(same.len() as u32),
                source: sources.join("; "),
                ..same[0].clone()
            }
        })
        .collect()
}

/// Lengths and times of a phase: those measured, or those computed if none was.
pub(super) fn lengths(points: &[Point], phase: Phase) -> Vec<(u32, f64)> {
    let of = |origin: Origin| -> Vec<(u32, f64)> {
        let same = points.iter().filter(|point| point.phase == phase && point.origin == origin);
        same.map(|point| (point.tokens, point.ms)).collect()
    };
    let measured = of(Origin::Measured);
    if measured.is_empty() { of(Origin::Computed) } else { measured }
}

/// A curve, and the model that it follows where nobody measured.
pub(super) struct Drawn<C> {
    pub curve: C,
    pub model: String,
}

/// Time to first token through `points`, of which there is one.
pub(super) fn prefill(points: &[(u32, f64)], shape: Option<&Shape>) -> Result<Drawn<PrefillCurve>> {
    if let ([(tokens, ms)], Some(shape)) = (points, shape) {
        let like = shape.device.base(&shape.base_model)?.ttft_ms;
        let factor = ms / like.millis(*tokens);
        let model = shape.says("TTFT", factor, *tokens);
        return Ok(Drawn { curve: like.times(factor), model });
    }
    let model = match points.len() {
        1 => "TTFT in proportion to prompt tokens, through the one published length",
        2 => "a line through the two published lengths",
        _ => "the fit over the published lengths",
    };
    Ok(Drawn { curve: prefill_through(points), model: model.to_owned() })
}

/// Time per output token through `points`, of which there is one.
pub(super) fn decode(points: &[(u32, f64)], shape: Option<&Shape>) -> Result<Drawn<DecodeCurve>> {
    if let ([(tokens, ms)], Some(shape)) = (points, shape) {
        let like = shape.device.base(&shape.base_model)?.tpot_ms;
        let factor = ms / like.millis(*tokens);
        let model = shape.says("TPOT", factor, *tokens);
        return Ok(Drawn { curve: like.times(factor), model });
    }
    let model = match points.len() {
        1 => "TPOT is the published one at every context",
        _ => "the line over the published contexts",
    };
    Ok(Drawn { curve: decode_through(points), model: model.to_owned() })
}

impl Shape {
    fn says(&self, what: &str, factor: f64, tokens: u32) -> String {
        let (device, model) = (&self.device.name, &self.base_model);
        format!("{what} is {factor:.4} of {model}'s on {device}, as at {tokens} tokens")
    }
}

/// Adds the lengths that `points` do not reach, by `curve`, and says so.
pub(super) fn fill(
    points: &mut Vec<Point>,
    warnings: &mut Vec<Warning>,
    what: &str,
    phase: Phase,
    model: &str,
    curve: impl Fn(u32) -> f64,
) {
    let known = lengths(points, phase);
    let (Some(first), Some(last)) = (known.first(), known.last()) else { return };
    let missing: Vec<u32> =
        FILLED.into_iter().filter(|tokens| !(first.0..=last.0).contains(tokens)).collect();
    if missing.is_empty() {
        return;
    }
    points.extend(missing.iter().map(|&tokens| Point {
        phase,
        tokens,
        ms: curve(tokens),
        repetitions: None,
        origin: Origin::Modelled,
        source: model.to_owned(),
    }));
    let tokens: Vec<_> = missing.iter().map(ToString::to_string).collect();
    let phase = phase.name();
    let what = format!("{what}, {phase} at {} tokens", tokens.join(", "));
    warnings.push(Warning::Filled { what, model: model.to_owned() });
}
