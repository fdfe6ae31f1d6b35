//! Outcomes as Chrome trace events: a timeline for Perfetto, or `chrome://tracing`.
//!
//! A cell of the experiment is a process; what the service does is a thread of it, one slice a
//! request with its phases inside, and requests that wait are asynchronous slices beside it. Times
//! are in µs since the start of the trace.

use std::time::Duration;

use serde::Serialize;

use super::goodput::slo_name;
use super::metrics_table::groups;
use crate::outcome::Outcome;
use crate::request::Bounds;
use crate::results::StoredRun;
use crate::units::{Energy, Grade, SimTime, millis};

/// An event, in the names of the format.
#[derive(Debug, Default, Serialize)]
struct Event<'a> {
    name: &'a str,
    ph: &'static str,
    pid: usize,
    tid: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    ts: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dur: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cat: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id2: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    args: Option<serde_json::Value>,
}

/// The first seed of each cell among `runs` as one JSON document.
#[must_use]
pub fn trace_events(runs: &[StoredRun]) -> String {
    let mut lines = Lines::default();
    for (place, cell) in groups(runs, |run| &run.label).into_iter().enumerate() {
        lines.process(place + 1, cell[0]);
    }
    format!("{{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n{}\n]}}", lines.0.join(",\n"))
}

/// Events, one a line.
#[derive(Default)]
struct Lines(Vec<String>);

impl Lines {
    fn push(&mut self, event: &Event<'_>) {
        self.0.push(serde_json::to_string(event).expect("events are plain values"));
    }

    fn process(&mut self, pid: usize, run: &StoredRun) {
        let label = &run.label;
        let title = format!(
            "{} · α {} · {} · latencies of {}, answers of {} · seed {}",
            label.method, label.alpha, label.device, label.latency_of, label.base_model, run.seed
        );
        self.name("process_name", pid, 0, &title);
        let mut lanes: Vec<SimTime> = Vec::new();
        for outcome in &run.outcomes {
            let lane = lanes.iter().position(|&free| free <= outcome.start).unwrap_or_else(|| {
                lanes.push(SimTime::ZERO);
                self.name("thread_name", pid, lanes.len(), &service_name(lanes.len()));
                lanes.len() - 1
            });
            lanes[lane] = outcome.completion();
            self.request(pid, lane + 1, run, outcome);
        }
    }

    fn name(&mut self, what: &str, pid: usize, tid: usize, name: &str) {
        let args = Some(serde_json::json!({ "name": name }));
        self.push(&Event { name: what, ph: "M", pid, tid, args, ..Event::default() });
    }

    fn request(&mut self, pid: usize, tid: usize, run: &StoredRun, outcome: &Outcome) {
        let request = &outcome.request;
        if !outcome.queued().is_zero() {
            for (ph, at) in [("b", request.arrival), ("e", outcome.start)] {
                let id2 = Some(serde_json::json!({ "local": format!("{:#x}", request.id) }));
                let event = Event { name: "queue", ph, pid, tid, ..Event::default() };
                self.push(&Event { ts: Some(micros(at)), cat: Some("queue"), id2, ..event });
            }
        }
        let name = format!("{} {}", run.apps[usize::from(request.app.0)], request.id);
        let slice = |name, at, length: Duration, args| {
            let (ts, dur) = (Some(micros(at)), Some(length.as_nanos() as f64 / 1e3));
            Event { name, ph: "X", pid, tid, ts, dur, args, ..Event::default() }
        };
        let whole = outcome.completion() - outcome.start;
        self.push(&slice(&name, outcome.start, whole, Some(arguments(run, outcome))));
        let execution = &outcome.execution;
        let mut at = outcome.start;
        for (phase, length) in [
            ("decide", execution.decide),
            ("compress", execution.compress),
            ("switch", execution.switch),
            ("prefill", execution.prefill),
            ("decode", execution.decode),
        ] {
            if !length.is_zero() {
                self.push(&slice(phase, at, length, None));
            }
            at = at + length;
        }
    }
}

/// Only a service without queueing serves several requests at once.
fn service_name(lane: usize) -> String {
    if lane == 1 { "service".to_owned() } else { format!("service {lane}") }
}

/// What is shown of a request that is clicked.
fn arguments(run: &StoredRun, outcome: &Outcome) -> serde_json::Value {
    let Outcome { request, plan, execution, .. } = outcome;
    let mut arguments = serde_json::json!({
        "slo": slo_name(request.slo),
        "slo_met": outcome.slo_met(),
        "correct": execution.correct.map(Grade::is_right),
        "level": plan.level.to_string(),
        "prompt_ratio": plan.prompt_ratio.to_string(),
        "prompt_tokens": request.prompt_tokens,
        "kept_tokens": execution.kept_tokens,
        "output_tokens": request.output_tokens,
        "item": format!("{} {}", run.datasets[usize::from(request.dataset.0)], request.item),
        "ttft_ms": millis(outcome.ttft()),
        "tpot_ms": outcome.tpot().map(millis),
        "e2e_ms": millis(outcome.end_to_end()),
        "energy_mj": execution.energy().map(Energy::as_millijoules_f64),
    });
    if let Some(answer) = plan.smaller_answer_level() {
        arguments["answer_level"] = answer.to_string().into();
    }
    match outcome.bounds {
        Bounds::Latency { ttft, tpot } => {
            arguments["ttft_bound_ms"] = millis(ttft).into();
            arguments["tpot_bound_ms"] = millis(tpot).into();
        }
        Bounds::EndToEnd(bound) => arguments["e2e_bound_ms"] = millis(bound).into(),
        Bounds::Energy(bound) => arguments["energy_bound_mj"] = bound.as_millijoules_f64().into(),
    }
    arguments
}

fn micros(instant: SimTime) -> f64 {
    instant.as_nanos() as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::run;

    fn events(runs: &[StoredRun]) -> Vec<serde_json::Value> {
        let document: serde_json::Value = serde_json::from_str(&trace_events(runs)).unwrap();
        document["traceEvents"].as_array().unwrap().clone()
    }

    /// The second request arrives at 30 ms, waits for 20, and has its phases from 50 ms on: they
    /// start at 50, 51, 53, 56 and 90 ms and end at 100.
    #[test]
    fn a_request_that_waits_is_a_wait_a_slice_and_its_phases_in_microseconds() {
        let events = events(&[run("full", 0)]);
        assert_eq!(events.len(), 2 + 4 * 6 + 2);
        let shown: Vec<String> = events[8..16]
            .iter()
            .map(|event| {
                format!("{} {} {} {}", event["ph"], event["name"], event["ts"], event["dur"])
            })
            .collect();
        assert_eq!(
            shown,
            [
                "\"b\" \"queue\" 30000.0 null",
                "\"e\" \"queue\" 50000.0 null",
                "\"X\" \"Mail 1\" 50000.0 50000.0",
                "\"X\" \"decide\" 50000.0 1000.0",
                "\"X\" \"compress\" 51000.0 2000.0",
                "\"X\" \"switch\" 53000.0 3000.0",
                "\"X\" \"prefill\" 56000.0 34000.0",
                "\"X\" \"decode\" 90000.0 10000.0",
            ]
        );
        assert_eq!(events[10]["args"]["slo_met"], false);
        assert_eq!(events[10]["args"]["ttft_ms"], 60.0);
        assert_eq!(events[10]["args"]["level"], "30 %");
        assert_eq!(events[10]["args"]["ttft_bound_ms"], 50.0);
        assert_eq!(events[10]["args"]["energy_mj"], 100.0);
    }

    #[test]
    fn each_cell_is_a_process_and_only_its_first_seed_is_shown() {
        let events = events(&[run("full", 0), run("full", 1), run("oracle", 0)]);
        let names: Vec<_> = events.iter().filter(|event| event["name"] == "process_name").collect();
        assert_eq!(names.len(), 2);
        assert_eq!(names[1]["pid"], 2);
        let title = names[1]["args"]["name"].as_str().unwrap();
        assert!(title.starts_with("oracle · α 0.25 · phone"), "{title}");
    }

    /// Without queueing the second request starts at 30 ms, while the first is being served.
    #[test]
    fn requests_that_are_served_at_once_have_a_lane_each() {
        let mut overlapping = run("full", 0);
        overlapping.outcomes[1].start = overlapping.outcomes[1].request.arrival;
        let lanes: Vec<_> = events(&[overlapping])
            .into_iter()
            .filter(|event| event["args"].get("slo").is_some())
            .map(|event| event["tid"].as_u64().unwrap())
            .collect();
        assert_eq!(lanes, [1, 2, 1, 1]);
    }
}
