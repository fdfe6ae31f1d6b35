//! The gate: what each app may ask for, and whether what comes can still be met.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::reason::Reason;
use super::scheduler::Job;
use crate::error::{Error, Result};
use crate::limits::Bounded;
use crate::request::AppId;
use crate::units::SimTime;

const HOUR_NS: u64 = 3_600_000_000_000;

/// Who is let in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Admit {
    /// All for whom there is room.
    #[default]
    All,
    /// Those whose objective some plan meets, behind what is to be served before them.
    IfFeasible,
}

/// Who goes when one more comes than may wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenFull {
    /// Whoever comes.
    #[default]
    Refuse,
    /// The last of the lowest class that waits, for one of a higher class.
    ShedLowest,
}

/// What each app may ask for. An app that asks for more is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// Requests that may be in the service at once; absent: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_once: Option<u32>,
    /// Requests let in per hour in the long run; absent: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_hour: Option<u32>,
    /// Of these, how many may come one right after the other.
    #[serde(default = "Quota::burst")]
    pub burst: u32,
}

impl Quota {
    fn burst() -> u32 {
        1
    }

    /// Refuses what is out of range or says nothing, under `key` of the file called `subject`.
    pub(crate) fn check(&self, subject: &str, key: &str) -> Result<()> {
        const COUNT: Bounded = Bounded { name: "requests", min: 1, max: 1_000_000_000 };
        let named =
            [("at_once", self.at_once), ("per_hour", self.per_hour), ("burst", Some(self.burst))];
        for (name, count) in named {
            let key = format!("key \"{key}.{name}\"");
            count.map_or(Ok(0), |count| COUNT.check(subject, &key, count.into()))?;
        }
        if self.at_once.is_none() && self.per_hour.is_none() {
            let error = Error::new(subject, "says nothing").at(format!("key \"{key}\""));
            return Err(error.allowed("at_once, per_hour, or both"));
        }
        Ok(())
    }

    /// What one request uses up of an app's time, and how far ahead of time an app may be.
    fn pace(&self) -> Option<(Duration, Duration)> {
        let each = Duration::from_nanos(HOUR_NS / u64::from(self.per_hour?));
        Some((each, each.saturating_mul(self.burst - 1)))
    }
}

/// What apps have used of their quota.
#[derive(Debug)]
pub(super) struct Gate {
    quota: Option<Quota>,
    /// Of apps that have one of their own.
    own: BTreeMap<AppId, Quota>,
    apps: BTreeMap<AppId, Used>,
}

#[derive(Debug, Default)]
struct Used {
    at_once: u32,
    /// When an app at its steady rate would make its next request (the generic cell rate
    /// algorithm, ITU-T I.371).
    next: SimTime,
}

impl Gate {
    pub fn new(quota: Option<Quota>) -> Self {
        Self { quota, own: BTreeMap::new(), apps: BTreeMap::new() }
    }

    /// Gives `app` a quota of its own, or that which all have.
    pub fn set_quota(&mut self, app: AppId, quota: Option<Quota>) {
        match quota {
            Some(quota) => drop(self.own.insert(app, quota)),
            None => drop(self.own.remove(&app)),
        }
    }

    fn quota(&self, app: AppId) -> Option<&Quota> {
        self.own.get(&app).or(self.quota.as_ref())
    }

    /// Why the app may not ask for more just now, if so.
    pub fn refuses(&self, now: SimTime, app: AppId) -> Option<Reason> {
        let (quota, used) = (self.quota(app)?, self.apps.get(&app)?);
        if quota.at_once.is_some_and(|most| used.at_once >= most) {
            return Some(Reason::AppAtOnce);
        }
        let (_, ahead) = quota.pace()?;
        (used.next > now.saturating_add(ahead)).then_some(Reason::AppRate)
    }

    pub fn enter(&mut self, now: SimTime, app: AppId) {
        let Some(quota) = self.quota(app).copied() else { return };
        let used = self.apps.entry(app).or_default();
        used.at_once += 1;
        if let Some((each, _)) = quota.pace() {
            used.next = used.next.max(now).saturating_add(each);
        }
    }

    /// One that entered leaves; before its app had a quota it was not counted.
    pub fn leave(&mut self, app: AppId) {
        if let Some(used) = self.apps.get_mut(&app) {
            used.at_once = used.at_once.saturating_sub(1);
        }
    }
}

/// Whether some plan meets the objective of `job` at `now`, once `backlog` is served.
pub(super) fn is_feasible(job: &Job, now: SimTime, backlog: Duration) -> bool {
    let done = |needs| now.saturating_add(backlog).saturating_add(needs);
    job.needs.until_due.is_some_and(|needs| done(needs) <= job.due)
}
