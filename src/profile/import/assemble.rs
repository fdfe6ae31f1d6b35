//! A device profile of what was found.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::curves::{decode, fill, lengths, merged, prefill};
use super::{Found, ImportSpec, Imported, Warning};
use crate::error::{Error, Result};
use crate::family::FamilyName;
use crate::names;
use crate::profile::device::{DeviceProfile, FamilyLatency, Hardware, LevelLatency, Runtime};
use crate::profile::point::Point;
use crate::profile::{Phase, Provenance, REFERENCE_FAMILY};
use crate::units::Level;

type Levels = BTreeMap<(FamilyKey, Level), Vec<Point>>;
type FamilyKey = String;

/// The profile of all `found` in the files `paths` that `spec` asks for, joined with what is known.
pub(super) fn profile(
    paths: &[&Path],
    found: Vec<Found>,
    spec: &ImportSpec,
    known: Option<DeviceProfile>,
    mut warnings: Vec<Warning>,
) -> Result<Imported> {
    let subject = paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
    let subject = subject.join(", ");
    let found = asked_for(&subject, found, spec)?;
    let mut profile = device(&subject, &found, spec)?;
    let weight_bytes =
        spec.facts.weight_bytes.or_else(|| found.iter().find_map(|one| one.weight_bytes));
    let weight_bytes =
        weight_bytes.ok_or_else(|| missing(&subject, "the size of the weights", "weight-bytes"))?;
    let mut base_models = Vec::new();
    for (model, levels) in by_model(&subject, found, spec)? {
        let made = families(&subject, &model, levels, weight_bytes, spec, &mut warnings)?;
        profile.families.extend(made);
        base_models.push(model);
    }
    if let Some(known) = known {
        join(&mut profile, known)?;
    }
    Ok(Imported { profile, base_models, warnings })
}

fn missing(subject: &str, what: &str, key: &str) -> Error {
    let error = Error::new(subject, format!("does not say {what}"));
    error.allowed(format!("`--fact {key}=…`"))
}

/// Those that are asked for; an error that names what is there if none is.
fn asked_for(subject: &str, found: Vec<Found>, spec: &ImportSpec) -> Result<Vec<Found>> {
    let there: BTreeSet<String> = found
        .iter()
        .map(|one| {
            let names = [&one.model, &one.device, &one.runtime, &one.precision];
            names.map(|name| name.as_deref().unwrap_or("?")).join(" | ")
        })
        .collect();
    let asked: Vec<Found> = found.into_iter().filter(|one| spec.only.has(one)).collect();
    if asked.is_empty() {
        let there: Vec<_> = there.into_iter().collect();
        return Err(Error::new(subject, "nothing of what is asked for")
            .found(if there.is_empty() { "no times".to_owned() } else { there.join("; ") })
            .allowed("`--where` with a model, device, runtime and precision that are there"));
    }
    Ok(asked)
}

/// The one name that all of `found` have, or that is said by hand.
fn one(
    subject: &str,
    key: &str,
    said: Option<&String>,
    found: &[Found],
    name: impl Fn(&Found) -> Option<&String>,
) -> Result<Option<String>> {
    if let Some(said) = said {
        return Ok(Some(said.clone()));
    }
    let names: BTreeSet<&String> = found.iter().filter_map(name).collect();
    if names.len() > 1 {
        let names: Vec<_> = names.into_iter().map(String::as_str).collect();
        return Err(Error::new(subject, format!("several of key {key:?}, and nobody says which"))
            .found(names.join(", "))
            .allowed(format!("`--where {key}=…` with one of them, or `--fact`")));
    }
    Ok(names.into_iter().next().cloned())
}

fn device(subject: &str, found: &[Found], spec: &ImportSpec) -> Result<DeviceProfile> {
    let facts = &spec.facts;
    let cpu = one(subject, "device", facts.cpu.as_ref(), found, |it| it.device.as_ref())?;
    let cpu = cpu.ok_or_else(|| missing(subject, "which device it is", "cpu"))?;
    let name = one(subject, "runtime", facts.runtime.as_ref(), found, |it| it.runtime.as_ref())?;
    let name = name.ok_or_else(|| missing(subject, "what ran the model", "runtime"))?;
    let said = facts.precision.as_ref();
    let precision = one(subject, "precision", said, found, |it| it.precision.as_ref())?;
    let precision = precision.ok_or_else(|| missing(subject, "the precision", "precision"))?;
    let first = |it: fn(&Found) -> Option<u32>| found.iter().find_map(it);
    let memory = || found.iter().find_map(|it| it.memory_bytes);
    let version = || found.iter().find_map(|it| it.version.clone());
    Ok(DeviceProfile {
        schema: crate::profile::device::SCHEMA,
        name: spec.name.clone(),
        hardware: Hardware {
            cpu,
            cores: facts.cores.or_else(|| first(|it| it.cores)),
            memory_bytes: facts.memory_bytes.or_else(memory),
        },
        runtime: Runtime {
            name,
            version: facts.version.clone().or_else(version),
            threads: facts.threads.or_else(|| first(|it| it.threads)),
            precision,
        },
        power: None,
        noise: None,
        idle: None,
        heat: None,
        families: Vec::new(),
        tlms: Vec::new(),
        sub_models: spec.sub_models.clone(),
    })
}

/// Points by base model, family and level.
fn by_model(
    subject: &str,
    found: Vec<Found>,
    spec: &ImportSpec,
) -> Result<BTreeMap<String, Levels>> {
    let mut all = BTreeMap::<String, Levels>::new();
    let models: BTreeSet<_> = found.iter().map(|one| one.model.clone()).collect();
    if spec.facts.base_model.is_some() && models.len() > 1 {
        let names = models.iter().flatten().map(String::as_str).collect::<Vec<_>>();
        return Err(Error::new(subject, "several models, and one name for all of them")
            .found(names.join(", "))
            .allowed("`--where model=…` with one of them"));
    }
    for one in found {
        let name = spec.facts.base_model.clone().or_else(|| one.model.as_deref().map(slug));
        let name = name.ok_or_else(|| missing(subject, "which model it is", "base-model"))?;
        names::check(&name, || {
            Error::new(subject, "a model's name cannot be part of a file name")
        })?;
        let levels = all.entry(name).or_default();
        levels.entry((one.family.to_string(), one.level)).or_default().extend(one.points);
    }
    Ok(all)
}

/// A model's name as profiles spell it.
fn slug(name: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    let spelt: String = name.to_lowercase().chars().map(letter).collect();
    spelt.trim_matches('-').to_owned()
}

/// Every family of one base model, the reference first.
fn families(
    subject: &str,
    model: &str,
    levels: Levels,
    weight_bytes: u64,
    spec: &ImportSpec,
    warnings: &mut Vec<Warning>,
) -> Result<Vec<FamilyLatency>> {
    let mut all = Vec::<FamilyLatency>::new();
    for ((name, level), points) in levels {
        let place = format!("{model}, {name} {level}");
        let made = level_of(subject, &place, level, &points, weight_bytes, spec, warnings)?;
        if all.last().is_none_or(|last| *last.family != *name) {
            let family: FamilyName = name.parse()?;
            all.push(empty(model, family));
        }
        all.last_mut().expect("just there").levels.push(made);
    }
    for family in &mut all {
        family.provenance = published(&family.levels, spec);
    }
    all.sort_by_key(|family| *family.family != *REFERENCE_FAMILY);
    Ok(all)
}

fn empty(model: &str, family: FamilyName) -> FamilyLatency {
    FamilyLatency {
        base_model: model.to_owned(),
        family,
        decide_ms: 0.0,
        compress_ms_per_token: 0.0,
        memory: None,
        members: Vec::new(),
        provenance: Provenance::Published { sources: Vec::new(), filled: Vec::new() },
        levels: Vec::new(),
    }
}

/// One level, with its points.
fn level_of(
    subject: &str,
    place: &str,
    level: Level,
    points: &[Point],
    weight_bytes: u64,
    spec: &ImportSpec,
    warnings: &mut Vec<Warning>,
) -> Result<LevelLatency> {
    let mut points = merged(points);
    let timed = |phase: Phase, what: &str| {
        let lengths = lengths(&points, phase);
        let nothing = || {
            let error = Error::new(subject, format!("no {what} was timed")).at(place);
            error.allowed("one length or more of each phase")
        };
        if lengths.is_empty() { Err(nothing()) } else { Ok(lengths) }
    };
    let ttft = prefill(&timed(Phase::Prefill, "prompt")?, spec.shape.as_ref())?;
    let tpot = decode(&timed(Phase::Decode, "output token")?, spec.shape.as_ref())?;
    let switches = lengths(&points, Phase::Switch);
    fill(&mut points, warnings, place, Phase::Prefill, &ttft.model, |n| ttft.curve.millis(n));
    fill(&mut points, warnings, place, Phase::Decode, &tpot.model, |n| tpot.curve.millis(n));
    let share = f64::from(level.as_percent()) / 100.0;
    Ok(LevelLatency {
        level,
        unit_parameter_share: share,
        parameter_share: share,
        switch_ms: switches.first().map_or(0.0, |switch| switch.1),
        resident_bytes: (weight_bytes as f64 * share) as u64,
        ttft_ms: ttft.curve,
        tpot_ms: tpot.curve,
        points,
    })
}

/// Who published the points, and what was filled in.
fn published(levels: &[LevelLatency], spec: &ImportSpec) -> Provenance {
    let points = || levels.iter().flat_map(|level| &level.points);
    let distinct = |modelled: bool| {
        let mut names: Vec<String> = Vec::new();
        for point in points().filter(|it| (it.origin.name() == "modelled") == modelled) {
            if !names.contains(&point.source) {
                names.push(point.source.clone());
            }
        }
        names
    };
    let mut sources: Vec<String> = spec.facts.source.iter().cloned().collect();
    sources.extend(distinct(false));
    let mut filled = distinct(true);
    filled.extend(spec.facts.said.iter().cloned());
    if levels.iter().all(|level| level.switch_ms == 0.0) {
        filled.push("no switch was published: it costs nothing".to_owned());
    }
    Provenance::Published { sources, filled }
}

/// Keeps what is known of other base models of the same device.
fn join(profile: &mut DeviceProfile, known: DeviceProfile) -> Result<()> {
    if known.hardware.cpu != profile.hardware.cpu || known.runtime.name != profile.runtime.name {
        return Err(Error::new(format!("device profile {}", known.name), "is of another device")
            .found(format!("{}, {}", profile.hardware.cpu, profile.runtime.name))
            .allowed(format!("{}, {}, as it says", known.hardware.cpu, known.runtime.name)));
    }
    let is_new = |family: &FamilyLatency| {
        profile.families.iter().any(|new| new.base_model == family.base_model)
    };
    let old: Vec<_> = known.families.into_iter().filter(|family| !is_new(family)).collect();
    profile.families.splice(0..0, old);
    profile.families.sort_by(|a, b| a.base_model.cmp(&b.base_model));
    profile.hardware = known.hardware;
    profile.runtime = known.runtime;
    profile.power = known.power;
    profile.noise = known.noise;
    profile.idle = known.idle;
    profile.heat = known.heat;
    profile.tlms = known.tlms;
    profile.sub_models = profile.sub_models.take().or(known.sub_models);
    Ok(())
}
