//! llama.cpp's `llama-bench`, in each of its five forms: json, jsonl, csv, sql, md.
//!
//! A test times a prompt of `n_prompt` tokens or the writing of `n_gen`, after `n_depth` tokens of
//! context. All forms are brought to the names of its JSON; Markdown has rates alone.

use serde_json::{Map, Value};

use super::fields::{Fields, json_values};
use super::found::Found;
use super::no_lengths;
use super::warning::Warning;
use crate::error::{Error, Result};
use crate::input::{Input, Rows};
use crate::profile::Phase;
use crate::profile::point::Origin;

const TOOL: &str = "llama-bench";

type Records = Vec<(String, Value)>;

pub(super) fn read(input: &Input, warnings: &mut Vec<Warning>) -> Result<Vec<Found>> {
    let text = input.text().trim_start();
    let records = match text.as_bytes().first() {
        Some(b'[' | b'{') => json_values(input)?,
        Some(b'|') => markdown(input)?,
        _ if text.contains("INSERT INTO") => sql(input)?,
        _ => csv(input)?,
    };
    let mut all = Vec::new();
    for (place, value) in &records {
        all.extend(test(input, &Fields::of(input.path(), place.clone(), value)?, warnings)?);
    }
    Ok(all)
}

/// One test; `None` for one that is of neither phase alone.
fn test(input: &Input, of: &Fields<'_>, warnings: &mut Vec<Warning>) -> Result<Option<Found>> {
    of.is_of(TOOL, &["n_prompt", "n_gen"])?;
    let (prompt, written) = (of.tokens("n_prompt")?, of.tokens("n_gen")?);
    let depth = of.tokens("n_depth")?.unwrap_or_default();
    let source = format!("{}, {}", super::file_name(input), of.place);
    let (phase, tokens, counted, share) = match (prompt, written) {
        (None, None) => return Err(no_lengths(of, "n_prompt")),
        (Some(prompt), None) if depth == 0 => (Phase::Prefill, prompt, prompt, 1.0),
        (None, Some(written)) => {
            (Phase::Decode, depth + written / 2, written, 1.0 / f64::from(written))
        }
        _ => {
            warnings.push(Warning::Together { place: source });
            return Ok(None);
        }
    };
    let mut found = about(of)?;
    for ns in times_ns(of, counted)? {
        found.point(phase, tokens, ns * share / 1e6, Origin::Measured, &source);
    }
    Ok(Some(found))
}

/// Each repetition's time, or the mean of all.
fn times_ns(of: &Fields<'_>, counted: u32) -> Result<Vec<f64>> {
    if !of.has("avg_ns") {
        return Ok(vec![f64::from(counted) * 1e9 / of.positive("avg_ts")?]);
    }
    let mean = of.positive("avg_ns")?;
    if let Some(rate) = of.number("avg_ts")? {
        of.agrees("avg_ts", rate, f64::from(counted) * 1e9 / mean, 0.25)?;
    }
    let samples = of.numbers("samples_ns");
    Ok(if samples.is_empty() { vec![mean] } else { samples })
}

/// Who ran what.
fn about(of: &Fields<'_>) -> Result<Found> {
    let mut found = Found::at(&of.place);
    found.model = of.text("model_type").or_else(|| of.text("model_filename"));
    let backends = of.text("backends");
    let on_cpu = backends.as_ref().is_none_or(|name| name.contains("CPU") || name.contains("BLAS"));
    let [first, second] = if on_cpu { ["cpu_info", "gpu_info"] } else { ["gpu_info", "cpu_info"] };
    found.device = of.text(first).or_else(|| of.text(second));
    found.runtime = Some(format!("llama.cpp {}", backends.unwrap_or_default()).trim().to_owned());
    found.version = of.text("build_commit");
    found.threads = of.count("n_threads")?.map(|threads| threads as u32);
    found.weight_bytes = of.count("model_size")?;
    let words = |name: &String| name.split(' ').skip(2).collect::<Vec<_>>().join(" ");
    found.precision = found.model.as_ref().map(words).filter(|precision| !precision.is_empty());
    Ok(found)
}

/// Names and cells of one row.
fn record<'t>(
    names: impl IntoIterator<Item = &'t str>,
    cells: impl IntoIterator<Item = &'t str>,
) -> Value {
    let pairs = names.into_iter().zip(cells);
    let pairs = pairs.map(|(name, cell)| (name.trim().to_owned(), cell.into()));
    pairs.collect::<Map<_, _>>().into()
}

fn csv(input: &Input) -> Result<Records> {
    let mut rows = Rows::new(input.path(), input.text(), 0);
    let header: Vec<String> = match rows.next_row()? {
        Some((_, header)) => header.iter().map(str::to_owned).collect(),
        None => return Err(Error::file(input.path(), "empty").allowed("a header and rows")),
    };
    let mut records = Vec::new();
    while let Some((line, row)) = rows.next_row()? {
        if row.len() != header.len() {
            return Err(Error::file(input.path(), "wrong number of cells")
                .at(format!("line {line}"))
                .found(row.len())
                .allowed(header.len()));
        }
        records.push((format!("line {line}"), record(header.iter().map(String::as_str), row)));
    }
    Ok(records)
}

/// `INSERT INTO test (a, b) VALUES ('1', 'it''s');`, one a line.
fn sql(input: &Input) -> Result<Records> {
    let lines = input.text().lines().enumerate();
    let inserts = lines.filter(|(_, line)| line.trim_start().starts_with("INSERT INTO"));
    inserts
        .map(|(nth, line)| {
            let place = format!("line {}", nth + 1);
            let row = || {
                let (names, values) = line.split_once('(')?.1.split_once(')')?;
                let values = values.split_once('(')?.1.rsplit_once(')')?.0;
                let values = quoted(values);
                Some(record(names.split(','), values.iter().map(String::as_str)))
            };
            let wrong = || {
                let error = Error::file(input.path(), "not a row of SQL").at(place.clone());
                error.allowed("INSERT INTO test (names) VALUES ('values');")
            };
            Ok((place.clone(), row().ok_or_else(wrong)?))
        })
        .collect()
}

/// The values of a list of SQL, quotes taken off.
fn quoted(list: &str) -> Vec<String> {
    let mut values = vec![String::new()];
    let mut inside = false;
    let mut letters = list.chars().peekable();
    while let Some(letter) = letters.next() {
        let value = values.last_mut().expect("one was begun");
        match letter {
            '\'' if inside && letters.peek() == Some(&'\'') => value.extend(letters.next()),
            '\'' => inside = !inside,
            ',' if !inside => values.push(String::new()),
            ' ' if !inside => {}
            other => value.push(other),
        }
    }
    values
}

/// A table with columns `model`, `size`, `backend`, `threads`, `test` and `t/s`.
fn markdown(input: &Input) -> Result<Records> {
    let mut lines = input.text().lines().enumerate().filter(|(_, line)| line.starts_with('|'));
    let cells = |line: &str| -> Vec<String> {
        line.trim().trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let header = lines.next().map(|(_, line)| cells(line)).unwrap_or_default();
    let rows = lines.filter(|(_, line)| !line.contains("---"));
    rows.map(|(nth, line)| {
        let place = format!("line {}", nth + 1);
        let row = record(header.iter().map(String::as_str), cells(line).iter().map(String::as_str));
        let fields = Fields::of(input.path(), place.clone(), &row)?;
        fields.is_of(TOOL, &["model", "test", "t/s"])?;
        Ok((place, of_markdown(&fields)?))
    })
    .collect()
}

fn of_markdown(row: &Fields<'_>) -> Result<Value> {
    let test = row.text("test").unwrap_or_default();
    let (what, depth) = test.split_once('@').unwrap_or((&test, ""));
    let number = |prefix: &str| {
        let part = what.split('+').find_map(|part| part.trim().strip_prefix(prefix));
        part.map_or(Some(0), |digits| digits.parse::<u32>().ok())
    };
    let depth = depth.trim().trim_start_matches('d');
    let depth = if depth.is_empty() { Some(0) } else { depth.parse().ok() };
    let (Some(prompt), Some(written), Some(depth)) = (number("pp"), number("tg"), depth) else {
        let wrong = row.wrong_at("test", "unknown test").found(&test);
        return Err(wrong.allowed("pp512, tg128, tg128 @ d512"));
    };
    let rate = row.text("t/s").unwrap_or_default();
    let rate = rate.split('±').next().unwrap_or_default().trim();
    let mut named = Map::new();
    named.insert("n_prompt".to_owned(), prompt.into());
    named.insert("n_gen".to_owned(), written.into());
    named.insert("n_depth".to_owned(), depth.into());
    named.insert("avg_ts".to_owned(), rate.into());
    for (theirs, ours) in [("model", "model_type"), ("backend", "backends")] {
        named.extend(row.text(theirs).map(|text| (ours.to_owned(), text.into())));
    }
    named.extend(row.number("threads")?.map(|threads| ("n_threads".to_owned(), threads.into())));
    named.extend(row.text("size").and_then(|size| Some(("model_size".to_owned(), bytes(&size)?))));
    Ok(named.into())
}

/// `1.91 GiB` in bytes.
fn bytes(size: &str) -> Option<Value> {
    let (number, unit) = size.split_once(' ')?;
    let number: f64 = number.parse().ok()?;
    let factor = match unit {
        "GiB" => f64::from(1 << 30),
        "MiB" => f64::from(1 << 20),
        _ => return None,
    };
    Some(((number * factor) as u64).into())
}
