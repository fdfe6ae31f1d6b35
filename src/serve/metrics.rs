//! Counters in the text form that Prometheus reads (version 0.0.4). Those of apps are the
//! service's own; what is counted here is what it does not see: responses, and how times spread.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::service::{Counted, Done, State, Status};

/// The type of the text.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Upper ends of the classes of times, in seconds.
const ENDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// How times spread.
#[derive(Debug, Default)]
struct Histogram {
    /// By class; the last is that of times longer than every end.
    counts: [u64; ENDS.len() + 1],
    sum: f64,
}

impl Histogram {
    fn observe(&mut self, length: Duration) {
        let seconds = length.as_secs_f64();
        self.counts[ENDS.partition_point(|end| *end < seconds)] += 1;
        self.sum += seconds;
    }
}

/// What is counted here.
#[derive(Debug, Default)]
pub(super) struct Metrics(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// By route and status.
    responses: BTreeMap<(&'static str, u16), u64>,
    /// By level in percent and prompt ratio in thousandths.
    plans: BTreeMap<(u16, u16), u64>,
    /// Time to the first token, per token, in the queue.
    times: [Histogram; 3],
    connections: u64,
}

impl Metrics {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A response went out.
    pub fn responded(&self, route: &'static str, status: u16) {
        *self.lock().responses.entry((route, status)).or_default() += 1;
    }

    /// A call was answered.
    pub fn answered(&self, done: &Done) {
        let mut inner = self.lock();
        let plan = (done.plan.level.as_percent(), done.plan.prompt_ratio.thousandths());
        *inner.plans.entry(plan).or_default() += 1;
        let [ttft, tpot, queue] = &mut inner.times;
        ttft.observe(done.ttft);
        done.tpot.into_iter().for_each(|each| tpot.observe(each));
        queue.observe(done.plan.queue_wait);
    }

    /// A connection begins, or ends.
    pub fn connected(&self, begins: bool) {
        let mut inner = self.lock();
        let now = inner.connections;
        inner.connections = if begins { now + 1 } else { now.saturating_sub(1) };
    }

    /// All of it, with what the service counts.
    pub fn text(&self, status: &Status) -> String {
        let inner = self.lock();
        let mut text = Text::default();
        let ready = u8::from(status.state == State::Ready);
        text.gauge("pliant_ready", "Whether calls are answered.", ready);
        text.gauge("pliant_up_seconds", "Since the service began.", status.up.as_secs_f64());
        text.gauge("pliant_waiting", "Calls that wait.", status.queue.len());
        text.gauge("pliant_running", "Calls that run.", u8::from(status.running.is_some()));
        text.gauge("pliant_connections", "Connections that are open.", inner.connections);
        if let Some(level) = status.resident {
            let help = "The level that is resident, in percent.";
            text.gauge("pliant_resident_level_percent", help, level.as_percent());
        }
        apps(&mut text, &status.apps);
        text.family("pliant_http_responses_total", "counter", "Responses by route and status.");
        for ((route, status), count) in &inner.responses {
            let labels = [("route", (*route).to_owned()), ("status", status.to_string())];
            text.sample("pliant_http_responses_total", &labels, count);
        }
        text.family("pliant_plans_total", "counter", "Answers by their plan.");
        for ((level, ratio), count) in &inner.plans {
            let ratio = f64::from(*ratio) / 1000.0;
            let labels = [("level", level.to_string()), ("prompt_ratio", ratio.to_string())];
            text.sample("pliant_plans_total", &labels, count);
        }
        for ((name, help), histogram) in TIMES.iter().zip(&inner.times) {
            text.histogram(name, help, histogram);
        }
        text.0
    }
}

const TIMES: [(&str, &str); 3] = [
    ("pliant_ttft_seconds", "From a call's arrival to its first token."),
    ("pliant_tpot_seconds", "Time per token after the first, mean of each answer."),
    ("pliant_queue_wait_seconds", "From a call's arrival until it was taken up."),
];

/// Counters of apps: name, what they say, and where they are.
type OfApp = (&'static str, &'static str, fn(&Counted) -> u64);

const OF_APPS: [OfApp; 8] = [
    ("calls", "Calls, refused ones included.", |app| app.calls),
    ("finished", "Calls that were answered.", |app| app.finished),
    ("slo_met", "Answers within their objective.", |app| app.met),
    ("slo_missed", "Answers that missed it.", |app| app.missed),
    ("prompt_tokens", "Tokens of prompts before cutting.", |app| app.prompt_tokens_before),
    ("prompt_tokens_read", "Tokens of prompts after it.", |app| app.prompt_tokens_after),
    ("cached_tokens", "Of these, those a KV cache had.", |app| app.cached_tokens),
    ("output_tokens", "Tokens of answers.", |app| app.output_tokens),
];

fn apps(text: &mut Text, apps: &BTreeMap<String, Counted>) {
    for (name, help, value) in OF_APPS {
        let name = format!("pliant_{name}_total");
        text.family(&name, "counter", help);
        for (app, counted) in apps {
            text.sample(&name, &[("app", app.clone())], value(counted));
        }
    }
    text.family("pliant_left_total", "counter", "Calls gone without an answer, by reason.");
    for (app, counted) in apps {
        for (reason, count) in &counted.left {
            let labels = [("app", app.clone()), ("reason", (*reason).to_owned())];
            text.sample("pliant_left_total", &labels, count);
        }
    }
}

/// The text, family by family.
#[derive(Debug, Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}").expect("memory takes it");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, String)], value: impl Display) {
        let label = |(name, value): &(&str, String)| {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            format!("{name}=\"{value}\"")
        };
        let labels: Vec<String> = labels.iter().map(label).collect();
        let labels = labels.join(",");
        let labels = if labels.is_empty() { labels } else { format!("{{{labels}}}") };
        writeln!(self.0, "{name}{labels} {value}").expect("memory takes it");
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "gauge", help);
        self.sample(name, &[], value);
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.family(name, "histogram", help);
        let mut below = 0;
        for (end, count) in ENDS.iter().zip(&histogram.counts) {
            below += count;
            self.sample(&format!("{name}_bucket"), &[("le", end.to_string())], below);
        }
        let all: u64 = histogram.counts.iter().sum();
        self.sample(&format!("{name}_bucket"), &[("le", "+Inf".to_owned())], all);
        self.sample(&format!("{name}_sum"), &[], histogram.sum);
        self.sample(&format!("{name}_count"), &[], all);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of 4 ms, 5 ms and a minute: none up to 2.5 ms, two up to 5 ms, which counts as within, two
    /// up to 30 s, three in all.
    #[test]
    fn classes_of_times_add_up_to_all_of_them() {
        let mut histogram = Histogram::default();
        for millis in [4, 5, 60_000] {
            histogram.observe(Duration::from_millis(millis));
        }
        let mut text = Text::default();
        text.histogram("t", "A time.", &histogram);
        for line in [
            "# HELP t A time.",
            "# TYPE t histogram",
            "t_bucket{le=\"0.0025\"} 0",
            "t_bucket{le=\"0.005\"} 2",
            "t_bucket{le=\"30\"} 2",
            "t_bucket{le=\"+Inf\"} 3",
            "t_sum 60.009",
            "t_count 3",
        ] {
            assert!(text.0.lines().any(|found| found == line), "{line}\n{}", text.0);
        }
    }

    #[test]
    fn names_of_apps_cannot_break_a_line() {
        let mut text = Text::default();
        text.sample("n", &[("app", "a\"\\\n".to_owned())], 1);
        assert_eq!(text.0, "n{app=\"a\\\"\\\\\\n\"} 1\n");
    }
}
