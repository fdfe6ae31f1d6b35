//! Traces of other projects: one file per format reads it, one rule attaches what it lacks.
//!
//! Public traces say when a model was called and how many tokens came in and went out. They have no
//! apps, no objectives and no prompts, so these are drawn ([`ItemRule`]), seeded, and the trace's
//! header says how. Columns are matched by their names. Whatever is odd is a typed [`Warning`], in
//! the result and in the header; nothing is repaired or clipped in silence. See
//! `docs/trace-formats.md`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::apps::{APPS, LevelOrder};
use super::synth::{ItemPool, SynthSpec};
use super::{Arrivals, Trace};
use crate::digest;
use crate::error::{Error, Result};
use crate::request::{Request, Slo};
use crate::rng::stream;
use crate::units::SimTime;

mod attach;
mod azure;
mod burstgpt;
mod elastilm;
mod mooncake;
mod scale;
mod table;
mod vidur;
mod warning;

pub use attach::ItemRule;
pub use warning::Warning;

/// The latest time a file may name: a hundred years.
const SECONDS_MAX: f64 = 100.0 * 365.0 * 24.0 * 3600.0;

/// What a file is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Azure LLM inference traces of 2023, 2024 and 2025.
    Azure,
    /// BurstGPT, release 1 or 2.
    Burstgpt,
    /// Mooncake's JSON lines.
    Mooncake,
    /// Vidur's processed traces.
    Vidur,
    /// The traces of the study's authors.
    ElastilmJson,
    /// Pliant's own, as CSV or in columns.
    Native,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 6] = [
        Self::Azure,
        Self::Burstgpt,
        Self::Mooncake,
        Self::Vidur,
        Self::ElastilmJson,
        Self::Native,
    ];

    /// The name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Azure => "azure",
            Self::Burstgpt => "burstgpt",
            Self::Mooncake => "mooncake",
            Self::Vidur => "vidur",
            Self::ElastilmJson => "elastilm-json",
            Self::Native => "native",
        }
    }
}

/// How a file becomes a trace.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ImportSpec {
    /// What it is written as.
    pub format: Format,
    /// What times are multiplied with: 0.5 doubles the load.
    pub time_scale: f64,
    /// What prompt and output lengths are multiplied with.
    pub length_scale: f64,
    /// How many of the earliest requests to take; absent: all.
    pub limit: Option<usize>,
    /// How prompts are found.
    pub items: ItemRule,
    /// Skew α of the apps.
    pub alpha: f64,
    /// Which app is level 1.
    pub level_order: LevelOrder,
    /// Arrivals where the file has none.
    pub arrivals: Arrivals,
    /// Their mean rate.
    pub arrivals_per_hour: f64,
    /// Tokens to generate where the file does not say.
    pub output_tokens: u32,
    /// Seed of everything that is drawn.
    pub seed: u64,
}

impl ImportSpec {
    /// Everything as the file says, the rest as [`SynthSpec`] has it.
    #[must_use]
    pub fn new(format: Format) -> Self {
        let synth = SynthSpec::default();
        Self {
            format,
            time_scale: 1.0,
            length_scale: 1.0,
            limit: None,
            items: ItemRule::default(),
            alpha: synth.alpha,
            level_order: synth.level_order,
            arrivals: synth.arrivals,
            arrivals_per_hour: synth.arrivals_per_hour,
            output_tokens: synth.output_tokens,
            seed: synth.seed,
        }
    }
}

/// A trace and what is odd about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// The trace; its header tells where it comes from and repeats the warnings.
    pub trace: Trace,
    /// What a reader of results should know.
    pub warnings: Vec<Warning>,
}

/// Reads the file `path`, with items drawn from `pools`.
///
/// # Errors
/// If the file cannot be read or is not of the format (the error names line, column, found and
/// allowed), `spec` is out of range, or an app or dataset has no items.
pub fn import(path: &Path, spec: &ImportSpec, pools: &[ItemPool]) -> Result<Imported> {
    scale::check(spec)?;
    let mut imported = match spec.format {
        Format::Azure => assemble(azure::read(path)?, spec, pools)?,
        Format::Burstgpt => assemble(burstgpt::read(path)?, spec, pools)?,
        Format::Mooncake => assemble(mooncake::read(path)?, spec, pools)?,
        Format::Vidur => assemble(vidur::read(path)?, spec, pools)?,
        Format::ElastilmJson => assemble(elastilm::read(path)?, spec, pools)?,
        Format::Native => Imported { trace: scale::native(path, spec)?, warnings: Vec::new() },
    };
    if imported.trace.requests.is_empty() {
        return Err(Error::file(path, "no request to import"));
    }
    let mut header = origin(path, spec)?;
    header.append(&mut imported.trace.provenance);
    header.extend(imported.warnings.iter().map(|warning| format!("warning: {warning}")));
    imported.trace.provenance = header;
    Ok(imported)
}

/// Which file a trace comes from, and how times and lengths were treated.
fn origin(path: &Path, spec: &ImportSpec) -> Result<Vec<String>> {
    let ImportSpec { format, time_scale, length_scale, limit, .. } = spec;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut scales = format!("time scale {time_scale}, length scale {length_scale}");
    if let Some(limit) = limit {
        scales.extend([", at most the first ", &limit.to_string(), " requests"]);
    }
    Ok(vec![
        format!(
            "imported by pliant {} from {name} ({}, sha256 {})",
            env!("CARGO_PKG_VERSION"),
            format.name(),
            digest::sha256_file(path)?
        ),
        scales,
    ])
}

/// What a format's reader finds.
#[derive(Debug)]
struct Source {
    body: Body,
    warnings: Vec<Warning>,
}

#[derive(Debug)]
enum Body {
    /// Times and lengths, sorted by time. Whether the first one's time is the start of the trace:
    /// where the file's times are dates.
    Timed { calls: Vec<Call>, from_first: bool },
    /// Apps and objectives, in their order of arrival.
    Ordered(Vec<Ask>),
}

/// A call with its time and lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Call {
    /// Since some origin of the file's.
    nanos: i64,
    prompt_tokens: u32,
    output_tokens: u32,
}

/// A call of a known app.
#[derive(Debug, Clone, Copy)]
struct Ask {
    /// Index of [`APPS`].
    app: usize,
    slo: Slo,
}

/// Calls on their way from a file.
#[derive(Debug, Default)]
struct Calls {
    kept: Vec<Call>,
    without_tokens: warning::Counted,
    unsorted: warning::Counted,
    latest: i64,
}

impl Calls {
    fn push(&mut self, line: u64, call: Call) {
        if call.prompt_tokens == 0 || call.output_tokens == 0 {
            self.without_tokens.add(line);
            return;
        }
        if !self.kept.is_empty() && call.nanos < self.latest {
            self.unsorted.add(line);
        }
        self.latest = if self.kept.is_empty() { call.nanos } else { self.latest.max(call.nanos) };
        self.kept.push(call);
    }

    /// Sorts, and puts what was noticed before `more` warnings of the format's own.
    fn finish(mut self, from_first: bool, unused: Vec<String>, more: Vec<Warning>) -> Source {
        self.kept.sort_by_key(|call| call.nanos);
        let names = (!unused.is_empty()).then_some(Warning::Unused { names: unused });
        let without = |requests, first_line| Warning::WithoutTokens { requests, first_line };
        let unsorted = |requests, first_line| Warning::Unsorted { requests, first_line };
        let general =
            [names, self.without_tokens.warning(without), self.unsorted.warning(unsorted)];
        let warnings = general.into_iter().flatten().chain(more).collect();
        Source { body: Body::Timed { calls: self.kept, from_first }, warnings }
    }
}

#[cfg(test)]
impl Source {
    fn calls(&self) -> &[Call] {
        match &self.body {
            Body::Timed { calls, .. } => calls,
            Body::Ordered(_) => panic!("a format without times"),
        }
    }
}

/// A cell of seconds in nanoseconds, to the nearest.
fn seconds(row: &table::Row<'_>, column: usize) -> Result<i64> {
    let seconds = row.cell(column).and_then(|cell| cell.parse::<f64>().ok());
    seconds
        .filter(|seconds| (0.0..=SECONDS_MAX).contains(seconds))
        .map(|seconds| (seconds * 1e9).round() as i64)
        .ok_or_else(|| row.wrong(column, format!("seconds from 0 to {SECONDS_MAX}")))
}

/// Gives calls their apps, objectives and items.
fn assemble(source: Source, spec: &ImportSpec, pools: &[ItemPool]) -> Result<Imported> {
    let Source { body, mut warnings } = source;
    let mut drawer = attach::Drawer::new(spec, pools)?;
    let mut trace = Trace::default();
    match body {
        Body::Timed { mut calls, from_first } => {
            calls.truncate(spec.limit.unwrap_or(usize::MAX));
            let start = calls.first().filter(|_| from_first).map_or(0, |first| first.nanos);
            trace.provenance = drawer.provenance(spec.items);
            if from_first {
                trace.provenance.push("time 0 is the first arrival".to_owned());
            }
            warnings.extend(scale::lengths(&mut calls, spec.length_scale));
            let mut lengths = attach::Lengths::default();
            for (id, call) in (0..).zip(calls) {
                let drawn = drawer.draw(spec.items, call.prompt_tokens)?;
                lengths.note(call.prompt_tokens, drawn.item.prompt_tokens);
                let since = scale::time((call.nanos - start) as u64, spec.time_scale)?;
                let slo = APPS[drawn.app].slo;
                drawer.push(
                    &mut trace,
                    id,
                    SimTime::from_nanos(since),
                    drawn,
                    call.output_tokens,
                    slo,
                );
            }
            warnings.extend(lengths.warning(drawer.longest_item()));
        }
        Body::Ordered(mut asks) => {
            asks.truncate(spec.limit.unwrap_or(usize::MAX));
            let mut rng = stream(spec.seed, "import/arrivals");
            let arrivals =
                spec.arrivals.draw(spec.arrivals_per_hour, asks.len() as u32, &mut rng)?;
            trace.provenance = drawer.provenance(ItemRule::AppMix {});
            trace.provenance.push(format!(
                "{} arrivals per hour ({}), seed {}; output_tokens is {} throughout",
                spec.arrivals_per_hour, spec.arrivals, spec.seed, spec.output_tokens
            ));
            for ((id, ask), arrival) in (0..).zip(asks).zip(arrivals) {
                let drawn = drawer.item_of(ask.app)?;
                let since = scale::time(arrival.as_nanos(), spec.time_scale)?;
                let arrival = SimTime::from_nanos(since);
                drawer.push(&mut trace, id, arrival, drawn, spec.output_tokens, ask.slo);
            }
        }
    }
    Ok(Imported { trace, warnings })
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
