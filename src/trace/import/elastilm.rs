//! The traces of the study's authors: `trace_0.json`, `trace_0.25.json`, `trace_-0.25.json`.
//!
//! One JSON list; a request is `[prompt, options, answer, [TTFT, TPOT], number, dataset]`. Source:
//! <https://github.com/yinwangsong/ElastiLM>. The files have defects, which are reported as
//! [`Warning`]s: only the order of requests, their datasets and their objectives are taken over.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use super::super::apps::Apps;
use super::{Ask, Body, Source, Warning};
use crate::error::{Error, Result};
use crate::input::Input;
use crate::request::Slo;
use crate::units::Ratio;

/// Requests of the study's trace.
const STATED_REQUESTS: u64 = 600;

/// The files' names of datasets, and the study's.
const DATASETS: [(&str, &str); 6] = [
    ("OBQA", "openbookqa"),
    ("ARC_E", "arc-easy"),
    ("octopus", "octopus"),
    ("llamatouch", "llamatouch"),
    ("PIQA", "piqa"),
    ("SCIQ", "sciq"),
];

/// One request as the file has it.
#[derive(Debug)]
struct Entry<'a> {
    prompt: &'a str,
    answer: &'a Value,
    slo: Slo,
    number: u64,
    dataset: &'a str,
    app: usize,
}

pub(super) fn read(input: &Input, apps: &Apps) -> Result<Source> {
    let path = input.path();
    let wrong = |cause: serde_json::Error| {
        Error::file(path, "not a JSON list of requests")
            .at(format!("line {}, column {}", cause.line(), cause.column()))
            .caused_by(cause)
    };
    let list: Vec<Value> = serde_json::from_str(input.text()).map_err(wrong)?;
    let entries = (1..)
        .zip(&list)
        .map(|(nth, value)| Place { path, nth, apps }.entry(value))
        .collect::<Result<Vec<_>>>()?;
    let asks = entries.iter().map(|entry| Ask { app: entry.app, slo: entry.slo }).collect();
    Ok(Source { body: Body::Ordered(asks), warnings: warnings(&entries) })
}

/// Where a request stands.
#[derive(Debug, Clone, Copy)]
struct Place<'a> {
    path: &'a Path,
    nth: usize,
    apps: &'a Apps,
}

impl Place<'_> {
    fn entry(self, value: &Value) -> Result<Entry<'_>> {
        let fields = value.as_array().filter(|fields| fields.len() == 6).ok_or_else(|| {
            self.wrong("request", value, "[prompt, options, answer, [TTFT, TPOT], number, dataset]")
        })?;
        let text = |index: usize, name| {
            let text = fields[index].as_str();
            text.ok_or_else(|| self.wrong(name, &fields[index], "a text"))
        };
        let dataset = text(5, "dataset")?;
        let studied = DATASETS.iter().find(|(name, _)| *name == dataset).ok_or_else(|| {
            let names = DATASETS.map(|(name, _)| name).join(", ");
            self.wrong("dataset", &fields[5], &names)
        })?;
        let app = self.apps.all().iter().position(|app| app.studied_dataset() == studied.1);
        Ok(Entry {
            prompt: text(0, "prompt")?,
            answer: &fields[2],
            slo: self.slo(&fields[3])?,
            number: fields[4]
                .as_u64()
                .ok_or_else(|| self.wrong("number", &fields[4], "a whole number from 0"))?,
            dataset,
            app: app.ok_or_else(|| {
                let allowed = format!("an app with studied_dataset = \"{}\"", studied.1);
                self.wrong("dataset", &fields[5], &allowed)
            })?,
        })
    }

    fn slo(self, value: &Value) -> Result<Slo> {
        let share =
            |value: &Value| value.as_f64().and_then(Ratio::new).filter(|r| r.as_f64() > 0.0);
        match value.as_array().map(Vec::as_slice) {
            Some([ttft, tpot]) => share(ttft).zip(share(tpot)),
            _ => None,
        }
        .map(|(ttft, tpot)| Slo::Relative { ttft, tpot })
        .ok_or_else(|| self.wrong("objective", value, "two numbers in (0, 1]"))
    }

    fn wrong(self, field: &str, found: &Value, allowed: &str) -> Error {
        Error::file(self.path, "bad value")
            .at(format!("request {}, {field}", self.nth))
            .found(found)
            .allowed(allowed)
    }
}

/// The defects of a file, those of a dataset in the order of Table 3.
fn warnings(entries: &[Entry<'_>]) -> Vec<Warning> {
    let found = entries.len() as u64;
    let mut warnings = Vec::new();
    if found != STATED_REQUESTS {
        warnings.push(Warning::OtherNumber { found, stated: STATED_REQUESTS });
    }
    let numbers: BTreeMap<u64, &str> =
        entries.iter().map(|entry| (entry.number, entry.dataset)).collect();
    if found > 0 && numbers.keys().copied().eq(0..found) {
        let datasets: Vec<_> = numbers.into_values().collect();
        let distinct = datasets.iter().collect::<BTreeSet<_>>().len();
        let by_dataset = datasets.chunk_by(|a, b| a == b).count() == distinct;
        warnings.push(Warning::CounterForTime { requests: found, by_dataset });
    }
    for (dataset, _) in DATASETS {
        let of: Vec<_> = entries.iter().filter(|entry| entry.dataset == dataset).collect();
        if of.len() > 1 {
            warnings.extend(dataset_warnings(dataset, &of));
        }
    }
    warnings
}

fn dataset_warnings(name: &str, entries: &[&Entry<'_>]) -> Vec<Warning> {
    let (dataset, requests) = (name.to_owned(), entries.len() as u64);
    let mut warnings = Vec::new();
    let prompts: BTreeSet<_> = entries.iter().map(|entry| entry.prompt).collect();
    if prompts.len() == 1 {
        let (dataset, prompt) = (dataset.clone(), entries[0].prompt.to_owned());
        warnings.push(Warning::ConstantPrompt { dataset, requests, prompt });
    } else if prompts.len() < entries.len() {
        let (dataset, distinct) = (dataset.clone(), prompts.len() as u64);
        warnings.push(Warning::RepeatedPrompts { dataset, requests, distinct });
    }
    let leaked = entries.iter().filter(|entry| entry.answer.as_str() == Some(entry.prompt)).count();
    if leaked > 0 {
        let (dataset, leaked) = (dataset.clone(), leaked as u64);
        warnings.push(Warning::AnswerInPrompt { dataset, requests: leaked, of: requests });
    }
    // Two requests may well agree by chance, twenty may not.
    if entries.len() >= 20 && entries.iter().all(|entry| entry.answer == entries[0].answer) {
        let answer = entries[0].answer.to_string();
        warnings.push(Warning::ConstantAnswer { dataset, requests, answer });
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    fn message(text: &str) -> String {
        testing::message(|input, _| read(input, &Apps::default()), text)
    }

    const GOOD: &str = r#"["What?", ["a", "b"], 1, [0.2, 0.6], 0, "PIQA"]"#;

    #[test]
    fn order_app_and_objective_are_read_and_defects_are_named() {
        let octopus = |number| format!(r#"["photo", ["a"], "G", [0.6, 0.8], {number}, "octopus"]"#);
        let touch = r#"["Mail", ["Mail"], "Mail", [0.4, 0.7], 3, "llamatouch"]"#;
        let other = r#"["Maps", ["Maps"], "Maps", [0.4, 0.7], 4, "llamatouch"]"#;
        let text = format!("[{},{other},{GOOD},{touch},{}]", octopus(2), octopus(1));
        let source = testing::source(|input, _| read(input, &Apps::default()), &text);
        let apps = Apps::default();
        let Body::Ordered(asks) = &source.body else { panic!("no arrivals in this format") };
        assert_eq!(
            asks.iter().map(|ask| apps.all()[ask.app].name.as_str()).collect::<Vec<_>>(),
            ["Octopus", "Shortcuts", "Gboard", "Shortcuts", "Octopus"]
        );
        assert_eq!(asks[2].slo, apps.all()[4].slo);
        assert_eq!(
            source.warnings,
            [
                Warning::OtherNumber { found: 5, stated: 600 },
                Warning::CounterForTime { requests: 5, by_dataset: true },
                Warning::ConstantPrompt {
                    dataset: "octopus".into(),
                    requests: 2,
                    prompt: "photo".into()
                },
                Warning::AnswerInPrompt { dataset: "llamatouch".into(), requests: 2, of: 2 },
            ]
        );
    }

    #[test]
    fn bad_requests_are_named() {
        let wrong = |from: &str, to: &str| message(&format!("[{GOOD},{}]", GOOD.replace(from, to)));
        assert_eq!(
            wrong("PIQA", "MMLU"),
            "request 2, dataset: bad value; found \"MMLU\"; allowed: OBQA, ARC_E, octopus, \
             llamatouch, PIQA, SCIQ"
        );
        assert_eq!(
            wrong("0.2", "1.2"),
            "request 2, objective: bad value; found [1.2,0.6]; allowed: two numbers in (0, 1]"
        );
        assert!(wrong(", 0,", ", -1,").contains("request 2, number: bad value; found -1"));
        assert!(wrong("\"What?\", ", "").contains("request 2, request: bad value"));
        assert!(message("{").contains("not a JSON list of requests: "));
        let input = Input::of("trace.json", format!("[{GOOD}]"));
        let apps: Vec<_> = Apps::default().all()[..2].to_vec();
        let message = read(&input, &apps.try_into().unwrap()).unwrap_err().to_string();
        assert!(message.ends_with("allowed: an app with studied_dataset = \"piqa\""), "{message}");
    }
}
