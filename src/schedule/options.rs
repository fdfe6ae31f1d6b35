//! How a service treats the requests that reach it: what experiments state under `[service]`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::discipline::Discipline;
use super::gate::{Admit, Quota, WhenFull};
use crate::error::{Error, Result};
use crate::limits::{Bounded, TIME_MS};

/// Keys that have no meaning without a queue.
const OF_QUEUES: &str = "preempt, queue_max, admit";

/// How the service treats the requests that reach it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct ServiceOptions {
    /// Order of service.
    pub discipline: Discipline,
    /// Whether every request starts at its arrival, without queueing.
    pub ideal_isolation: bool,
    /// Whether an app waits for its answer, and thinks, before it sends its next request.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub closed_loop: bool,
    /// After each such wait, in ms, a request counts as of the next higher class.
    #[serde(skip_serializing_if = "is_usual_ageing")]
    pub ageing_ms: u64,
    /// Whether a request of a higher class interrupts.
    #[serde(skip_serializing_if = "is_default")]
    pub preempt: Preempt,
    /// Tokens, over all that were interrupted, whose KV cache stays; absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused_tokens: Option<u64>,
    /// After how long, in ms from its arrival, the service gives a request up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// How many may wait while one is served; absent: any number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_max: Option<u32>,
    /// Who goes when one more comes.
    #[serde(skip_serializing_if = "is_default")]
    pub when_full: WhenFull,
    /// Who is let in.
    #[serde(skip_serializing_if = "is_default")]
    pub admit: Admit,
    /// What each app may ask for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
}

/// Whether, and when, a running request makes way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preempt {
    /// It runs to its end.
    #[default]
    None,
    /// At its next token, for a higher class.
    Token,
}

impl Default for ServiceOptions {
    fn default() -> Self {
        Self {
            discipline: Discipline::default(),
            ideal_isolation: false,
            closed_loop: false,
            ageing_ms: Self::AGEING_MS,
            preempt: Preempt::default(),
            paused_tokens: None,
            timeout_ms: None,
            queue_max: None,
            when_full: WhenFull::default(),
            admit: Admit::default(),
            quota: None,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_usual_ageing(ageing_ms: &u64) -> bool {
    *ageing_ms == ServiceOptions::AGEING_MS
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl ServiceOptions {
    /// What waiting counts for where nobody says: as much as a class every half a minute.
    const AGEING_MS: u64 = 30_000;

    /// Classes as they are: nobody ages within the time that can be simulated.
    pub const STRICT: u64 = TIME_MS.max;

    /// Whether requests are served in order, each to its end, all of them: what a replay by columns
    /// can do.
    #[must_use]
    pub fn serves_all_in_turn(&self) -> bool {
        let Self { discipline, ideal_isolation, .. } = *self;
        let ageing_ms = self.ageing_ms;
        let in_turn = Self { discipline, ideal_isolation, ageing_ms, ..Self::default() };
        *self == in_turn && !discipline.has_classes()
    }

    /// Whether the service does more than to serve all that come: refuses, gives up, interrupts or
    /// knows classes. Measures of that are taken only then.
    #[must_use]
    pub fn is_managed(&self) -> bool {
        !Self { closed_loop: false, ..*self }.serves_all_in_turn()
    }

    /// Whether a request may be interrupted, or leave before its end, whatever it says of itself.
    pub(crate) fn may_interrupt(&self) -> bool {
        self.preempt != Preempt::None || self.timeout_ms.is_some()
    }

    pub(super) fn ageing(&self) -> Duration {
        Duration::from_millis(self.ageing_ms)
    }

    pub(super) fn timeout(&self) -> Option<Duration> {
        self.timeout_ms.map(Duration::from_millis)
    }

    /// Refuses what is out of range, or makes no sense together, in the file called `subject`.
    ///
    /// # Errors
    /// Says which key it is, and what is allowed.
    pub fn check(&self, subject: &str) -> Result<()> {
        const POSITIVE_MS: Bounded = Bounded { min: 1, ..TIME_MS };
        let range = |key, bounds: Bounded, value| bounds.check(subject, key, value).map(drop);
        range("key \"service.ageing_ms\"", POSITIVE_MS, self.ageing_ms)?;
        if let Some(timeout) = self.timeout_ms {
            range("key \"service.timeout_ms\"", POSITIVE_MS, timeout)?;
        }
        if let Some(quota) = &self.quota {
            quota.check(subject, "service.quota")?;
        }
        let wrong = |key: &str, found: &str, allowed: &str| {
            let error = Error::new(subject, "keys contradict each other");
            Err(error.at(format!("key \"service.{key}\"")).found(found).allowed(allowed))
        };
        let queues = self.preempt != Preempt::None || self.queue_max.is_some();
        if self.ideal_isolation && (queues || self.admit != Admit::All) {
            let allowed = format!("false, or none of {OF_QUEUES}");
            return wrong("ideal_isolation", "true, where nobody waits", &allowed);
        }
        if self.preempt == Preempt::Token && !self.discipline.has_classes() {
            let allowed = "discipline = \"priority\" or \"priority-edf\"";
            return wrong("preempt", "\"token\" and no classes", allowed);
        }
        if self.paused_tokens.is_some() && self.preempt == Preempt::None {
            return wrong("paused_tokens", "preempt = \"none\"", "preempt = \"token\"");
        }
        if self.when_full == WhenFull::ShedLowest && self.queue_max.is_none() {
            return wrong("when_full", "\"shed-lowest\" and no bound", "queue_max");
        }
        Ok(())
    }
}
