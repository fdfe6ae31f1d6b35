//! Traces of other projects: one file per format reads it, one rule attaches what it lacks.
//!
//! Public traces say when a model was called and how many tokens came in and went out. They have no
//! apps, no objectives and no prompts, so these are drawn ([`ItemRule`]), seeded, and the trace's
//! header says how. Columns are matched by their names. Whatever is odd is a typed [`Warning`], in
//! the result and in the header; nothing is repaired or clipped in silence. See
//! `docs/trace-formats.md`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use self::prefixes::{PrefixCache, Turn};
use super::apps::{Apps, LevelOrder};
use super::synth::{ItemPool, SynthSpec};
use super::{Arrivals, Trace};
use crate::error::{Error, Result};
use crate::input::Input;
use crate::request::{Request, Slo};
use crate::rng::stream;
use crate::units::SimTime;

mod attach;
mod azure;
mod burstgpt;
mod elastilm;
mod mooncake;
mod part;
mod plain;
mod prefixes;
mod scale;
mod table;
mod time;
mod warning;

pub use attach::ItemRule;
pub use part::Part;
pub use time::{Columns, TimeUnit};
pub use warning::Warning;

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
    /// Any CSV with a time and two lengths a row.
    Csv,
    /// The traces of the study's authors.
    ElastilmJson,
    /// Pliant's own.
    Native,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 7] = [
        Self::Azure,
        Self::Burstgpt,
        Self::Mooncake,
        Self::Vidur,
        Self::Csv,
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
            Self::Csv => "csv",
            Self::ElastilmJson => "elastilm-json",
            Self::Native => "native",
        }
    }
}

/// How a file becomes a trace.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportSpec {
    /// What it is written as.
    pub format: Format,
    /// What it calls its columns.
    pub columns: Columns,
    /// Which of its requests to take.
    pub part: Part,
    /// What times are multiplied with: 0.5 doubles the load.
    pub time_scale: f64,
    /// What prompt and output lengths are multiplied with.
    pub length_scale: f64,
    /// How many tokens of earlier prompts and answers the service holds, so that a prompt that goes
    /// on from them is not read anew; 0: prompts are independent.
    pub cache_tokens: u64,
    /// How prompts are found.
    pub items: ItemRule,
    /// Who calls.
    pub apps: Apps,
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
            columns: Columns::default(),
            part: Part::default(),
            time_scale: 1.0,
            length_scale: 1.0,
            cache_tokens: 0,
            items: ItemRule::default(),
            apps: synth.apps,
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

/// Imports the file `input`, with items drawn from `pools`.
///
/// # Errors
/// If the file is not of the format (the error names line, column, found and allowed), `spec` is
/// out of range, an app or dataset has no items, or nothing is left to import.
pub fn import(input: &Input, spec: &ImportSpec, pools: &[ItemPool]) -> Result<Imported> {
    scale::check(spec)?;
    let columns = &spec.columns;
    let source = match spec.format {
        Format::Azure => azure::read(input, columns)?,
        Format::Burstgpt => burstgpt::read(input, columns)?,
        Format::Mooncake => mooncake::read(input, columns)?,
        Format::Vidur => plain::vidur(input, columns)?,
        Format::Csv => plain::csv(input, columns)?,
        Format::ElastilmJson => elastilm::read(input, &spec.apps)?,
        Format::Native => {
            let mut trace = scale::native(input, spec)?;
            trace.provenance.splice(0..0, origin(input, spec));
            return Ok(Imported { trace, warnings: Vec::new() });
        }
    };
    if source.body.is_empty() {
        let error = Error::file(input.path(), "no request to import");
        return Err(match source.warnings.iter().find(|one| one.is_of_empty_requests()) {
            Some(warning) => error.found(warning),
            None => error.found("no row").allowed("one or more"),
        });
    }
    let mut imported = assemble(source, spec, pools)?;
    let mut header = origin(input, spec);
    header.append(&mut imported.trace.provenance);
    header.extend(imported.warnings.iter().map(|warning| format!("warning: {warning}")));
    imported.trace.provenance = header;
    Ok(imported)
}

/// Which file a trace comes from, and how times and lengths were treated.
fn origin(input: &Input, spec: &ImportSpec) -> Vec<String> {
    let ImportSpec { format, time_scale, length_scale, part, .. } = spec;
    let name = input.path().file_name().unwrap_or_default().to_string_lossy();
    vec![
        format!(
            "imported by pliant {} from {name} ({}, sha256 {})",
            env!("CARGO_PKG_VERSION"),
            format.name(),
            input.sha256()
        ),
        format!("time scale {time_scale}, length scale {length_scale}{part}"),
    ]
}

/// What a format's reader finds.
#[derive(Debug)]
struct Source {
    body: Body,
    warnings: Vec<Warning>,
}

#[derive(Debug)]
enum Body {
    /// Times and lengths, sorted by time, what prompts go on from, and the file's time at the start
    /// of the trace.
    Timed { calls: Vec<Call>, turns: Vec<Turn>, start: i64 },
    /// Apps and objectives, in their order of arrival.
    Ordered(Vec<Ask>),
}

impl Body {
    fn is_empty(&self) -> bool {
        match self {
            Self::Timed { calls, .. } => calls.is_empty(),
            Self::Ordered(asks) => asks.is_empty(),
        }
    }
}

/// A call with its time and lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Call {
    /// Since some origin of the file's.
    nanos: i64,
    prompt_tokens: u32,
    output_tokens: u32,
    /// Its place among the turns, if the file says what its prompt goes on from.
    turn: Option<u32>,
}

/// A call of a known app.
#[derive(Debug, Clone, Copy)]
struct Ask {
    /// Index of the apps.
    app: usize,
    slo: Slo,
}

/// Times from this on count from 1970, and not from the start of a trace: ten years.
const EPOCH_NS: i64 = 10 * 365 * 86_400 * 1_000_000_000;

/// Calls on their way from a file.
#[derive(Debug, Default)]
struct Calls {
    kept: Vec<Call>,
    turns: Vec<Turn>,
    without_tokens: warning::Counted,
    unsorted: warning::Counted,
    latest: i64,
    /// Whether times are dates or the like, so that the first one's is the start of the trace.
    are_dates: bool,
}

impl Calls {
    /// Of a format whose times are dates.
    fn dated() -> Self {
        Self { are_dates: true, ..Self::default() }
    }

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

    /// The place of `turn`, which some call is to have.
    fn turn(&mut self, turn: Turn) -> u32 {
        self.turns.push(turn);
        u32::try_from(self.turns.len() - 1).expect("files have fewer rows")
    }

    /// A warning if times that are not whole milliseconds follow each other within ten of them.
    fn perhaps_seconds(&self) -> Option<Warning> {
        let gaps = self.kept.len().checked_sub(1).filter(|&gaps| gaps > 0)?;
        let first = self.kept.iter().map(|call| call.nanos).min()?;
        let mean_gap_ms = (self.latest - first) as f64 / 1e6 / gaps as f64;
        (mean_gap_ms < 10.0).then_some(Warning::PerhapsSeconds { mean_gap_ms })
    }

    /// Sorts, and puts what was noticed before `more` warnings of the format's own.
    fn finish(mut self, unused: Vec<String>, more: Vec<Warning>) -> Source {
        self.kept.sort_by_key(|call| call.nanos);
        let first = self.kept.first().map_or(0, |call| call.nanos);
        let since_epoch = !self.are_dates && first >= EPOCH_NS;
        let start = if self.are_dates || since_epoch { first } else { 0 };
        let names = (!unused.is_empty()).then_some(Warning::Unused { names: unused });
        let without = |requests, first_line| Warning::WithoutTokens { requests, first_line };
        let unsorted = |requests, first_line| Warning::Unsorted { requests, first_line };
        let epoch = || Warning::SinceEpoch {
            first: Timestamp::from_nanosecond(first.into())
                .map_or_else(|_| String::new(), |at| at.to_string()),
        };
        let general = [
            names,
            self.without_tokens.warning(without),
            self.unsorted.warning(unsorted),
            since_epoch.then(epoch),
        ];
        let warnings = general.into_iter().flatten().chain(more).collect();
        let body = Body::Timed { calls: self.kept, turns: self.turns, start };
        Source { body, warnings }
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

/// Gives calls their apps, objectives and items.
fn assemble(source: Source, spec: &ImportSpec, pools: &[ItemPool]) -> Result<Imported> {
    let Source { body, mut warnings } = source;
    let mut drawer = attach::Drawer::new(spec, pools)?;
    let trace = match body {
        Body::Timed { calls, turns, start } => {
            timed((calls, &turns), start, spec, &mut drawer, &mut warnings)?
        }
        Body::Ordered(asks) => ordered(asks, spec, &mut drawer)?,
    };
    Ok(Imported { trace, warnings })
}

/// A trace of calls whose times are known, those of `start` at its beginning.
fn timed(
    (calls, turns): (Vec<Call>, &[Turn]),
    start: i64,
    spec: &ImportSpec,
    drawer: &mut attach::Drawer<'_>,
    warnings: &mut Vec<Warning>,
) -> Result<Trace> {
    let since = |call: &Call| (call.nanos - start) as u64;
    let mut calls = spec.part.of(calls, since, spec.seed)?;
    let mut trace = Trace { provenance: drawer.provenance(spec.items), ..Trace::default() };
    if start > 0 {
        trace.provenance.push("time 0 is the first arrival".to_owned());
    }
    let cached = cached_shares(&calls, turns, spec.cache_tokens);
    if spec.cache_tokens > 0 {
        warnings.retain(|warning| !matches!(warning, Warning::SharedPrefixesIgnored { .. }));
        let go_on = cached.iter().filter(|share| **share > 0.0).count();
        trace.provenance.push(format!(
            "cached_tokens: the service holds {} tokens of earlier prompts and answers; {go_on} \
             prompts go on from them",
            spec.cache_tokens
        ));
    }
    warnings.extend(scale::lengths(&mut calls, spec.length_scale)?);
    let mut lengths = attach::Lengths::default();
    for ((id, call), share) in (0..).zip(calls).zip(cached) {
        let drawn = drawer.draw(spec.items, call.prompt_tokens)?;
        lengths.note(call.prompt_tokens, drawn.item.prompt_tokens);
        let since = scale::time(spec.part.since_from(since(&call)), spec.time_scale)?;
        let slo = spec.apps.all()[drawn.app].slo;
        let arrival = SimTime::from_nanos(since);
        drawer.push(&mut trace, id, arrival, drawn, call.output_tokens, slo);
        let request = trace.requests.last_mut().expect("it was just added");
        request.terms.cached_tokens = (share * f64::from(request.prompt_tokens)) as u32;
    }
    warnings.extend(lengths.warning(drawer.longest_item()));
    Ok(trace)
}

/// The share of each call's prompt, below 1, that a cache for `room` tokens holds of earlier ones.
fn cached_shares(calls: &[Call], turns: &[Turn], room: u64) -> Vec<f64> {
    let mut cache = PrefixCache::new(room);
    let mut share = |call: &Call| {
        let cached = call.turn.map_or(0, |turn| cache.serve(call, &turns[turn as usize]));
        f64::from(cached) / f64::from(call.prompt_tokens)
    };
    calls.iter().map(&mut share).collect()
}

/// A trace of calls whose order alone is known.
fn ordered(asks: Vec<Ask>, spec: &ImportSpec, drawer: &mut attach::Drawer<'_>) -> Result<Trace> {
    let asks = spec.part.of(asks, |_| 0, spec.seed)?;
    let mut rng = stream(spec.seed, "import/arrivals");
    let arrivals = spec.arrivals.draw(spec.arrivals_per_hour, asks.len() as u32, &mut rng)?;
    let mut trace =
        Trace { provenance: drawer.provenance(ItemRule::AppMix {}), ..Trace::default() };
    trace.provenance.push(format!(
        "{} arrivals per hour ({}), seed {}; output_tokens is {} throughout",
        spec.arrivals_per_hour, spec.arrivals, spec.seed, spec.output_tokens
    ));
    for ((id, ask), arrival) in (0..).zip(asks).zip(arrivals) {
        let drawn = drawer.item_of(ask.app)?;
        let arrival = SimTime::from_nanos(scale::time(arrival.as_nanos(), spec.time_scale)?);
        drawer.push(&mut trace, id, arrival, drawn, spec.output_tokens, ask.slo);
    }
    Ok(trace)
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
