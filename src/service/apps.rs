//! Apps that may call the service: their objectives, classes, quotas and keys, as a file states
//! them.
//!
//! A file of [`trace::Apps`](crate::trace::Apps) is one of these too: where an app's requests come
//! from means nothing here and is read over.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::input::read_toml;
use crate::request::Slo;
use crate::schedule::Quota;
use crate::trace::{App, Apps};
use crate::units::Ratio;

/// Shortest key that is let pass for one.
const KEY_LETTERS_MIN: usize = 8;

/// An app that may call.
#[derive(Debug, Clone, PartialEq)]
pub struct AppEntry {
    /// Its name.
    pub name: String,
    /// The objective of calls that state none.
    pub slo: Slo,
    /// The class of calls that state none.
    pub priority: u8,
    /// After how long calls that state no time-out are given up.
    pub timeout: Option<Duration>,
    /// Whether its newer call takes the place of its older ones.
    pub supersedes: bool,
    /// Most tokens of an answer where a call does not say; how many one is expected to have where a
    /// call lets it have more.
    pub output_tokens: Option<u32>,
    /// What it may ask for.
    pub quota: Option<Quota>,
    /// What it proves itself with.
    pub key: Option<String>,
}

/// The apps that may call a service. There is at least one, and no two have one name or one key.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceApps(Vec<AppEntry>);

impl Default for ServiceApps {
    /// The six of the study, without quotas and keys.
    fn default() -> Self {
        Self(
            Apps::default()
                .all()
                .iter()
                .cloned()
                .map(|app| AppEntry::of(app, None, None))
                .collect(),
        )
    }
}

impl AppEntry {
    /// The name of the app that calls without one are taken to be of.
    pub const DEFAULT: &str = "default";

    /// What is asked of calls without an app where no file says otherwise: to be as quick as the
    /// whole model.
    #[must_use]
    pub fn unnamed() -> Self {
        Self {
            name: Self::DEFAULT.to_owned(),
            slo: Slo::Relative { ttft: Ratio::ONE, tpot: Ratio::ONE },
            priority: 0,
            timeout: None,
            supersedes: false,
            output_tokens: None,
            quota: None,
            key: None,
        }
    }

    fn of(app: App, quota: Option<Quota>, key: Option<String>) -> Self {
        let terms = app.terms();
        Self {
            name: app.name,
            slo: app.slo,
            priority: terms.priority,
            timeout: terms.cancel_after,
            supersedes: terms.supersedes,
            output_tokens: app.output_tokens,
            quota,
            key,
        }
    }
}

/// What the file says of an app beside what [`App`] has.
#[derive(Debug, Deserialize)]
struct Extra {
    quota: Option<Quota>,
    key: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AppsFile {
    apps: Vec<toml::Table>,
}

impl ServiceApps {
    /// The shipped example, as a file states it.
    pub const EXAMPLE: &str = Apps::STUDY;

    /// Reads a file of `[[apps]]`.
    ///
    /// # Errors
    /// If it cannot be read, is not TOML, has an unknown or missing key or a value out of range, no
    /// app, or two of one name or key.
    pub fn load(path: &Path) -> Result<Self> {
        let file: AppsFile = read_toml(path)?;
        Self::of_tables(&path.display().to_string(), file.apps)
    }

    fn of_tables(subject: &str, tables: Vec<toml::Table>) -> Result<Self> {
        let mut apps: Vec<AppEntry> = Vec::new();
        for (index, mut table) in tables.into_iter().enumerate() {
            let place = format!("app {}", index + 1);
            let wrong = |what: &str| Error::new(subject, what).at(place.clone());
            let extra = ["quota", "key"].map(|key| table.remove_entry(key));
            let extra: toml::Table = extra.into_iter().flatten().collect();
            let extra: Extra =
                extra.try_into().map_err(|cause| wrong("bad value").caused_by(cause))?;
            if table.get("datasets").is_none() {
                table.entry("draws_from_any").or_insert(true.into());
            }
            let app: App = table.try_into().map_err(|cause| wrong("bad value").caused_by(cause))?;
            let app =
                Apps::try_from(vec![app]).map_err(|cause| wrong("refused").caused_by(cause))?;
            let app = app.all()[0].clone();
            if let Some(quota) = &extra.quota {
                quota.check(&format!("{subject}, {place}"), "quota")?;
            }
            let entry = AppEntry::of(app, extra.quota, extra.key);
            entry.check(&wrong, &apps)?;
            apps.push(entry);
        }
        if apps.is_empty() {
            return Err(Error::new(subject, "no app").allowed("one or more [[apps]]"));
        }
        Ok(Self(apps))
    }

    /// These apps, for tests.
    #[cfg(test)]
    pub(crate) fn of(apps: Vec<AppEntry>) -> Self {
        Self(apps)
    }

    /// All of them, in order.
    #[must_use]
    pub fn all(&self) -> &[AppEntry] {
        &self.0
    }

    /// The app called `name`; for an empty name the one called `default`, or a stand-in.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<AppEntry> {
        let wanted = if name.is_empty() { AppEntry::DEFAULT } else { name };
        let found = self.0.iter().find(|app| app.name == wanted).cloned();
        found.or_else(|| (wanted == AppEntry::DEFAULT).then(AppEntry::unnamed))
    }
}

impl AppEntry {
    fn check(&self, wrong: &dyn Fn(&str) -> Error, before: &[Self]) -> Result<()> {
        if before.iter().any(|other| other.name == self.name) {
            return Err(wrong("a name appears twice").found(&self.name));
        }
        let Some(key) = &self.key else { return Ok(()) };
        if key.len() < KEY_LETTERS_MIN || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            let found = format!("{} bytes", key.len());
            let allowed = "8 or more letters, digits and marks of ASCII";
            return Err(wrong("not a key").found(found).allowed(allowed));
        }
        match before.iter().find(|other| other.key.as_ref() == Some(key)) {
            Some(other) => {
                Err(wrong("a key appears twice").found(format!("that of {}", other.name)))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIL: &str = "[[apps]]\nname = \"Mail\"\nslo = { ttft_ratio = 0.5, tpot_ratio = 0.5 }\n";

    fn read(text: &str) -> Result<ServiceApps, String> {
        let file: AppsFile = toml::from_str(text).map_err(|error| error.to_string())?;
        ServiceApps::of_tables("apps.toml", file.apps).map_err(|error| error.to_string())
    }

    #[test]
    fn the_shipped_example_is_the_studys_apps() {
        assert_eq!(read(ServiceApps::EXAMPLE).unwrap(), ServiceApps::default());
        assert_eq!(ServiceApps::default().all().len(), 6);
    }

    #[test]
    fn an_app_has_a_quota_and_a_key_beside_what_traces_know() {
        let text = format!(
            "{MAIL}priority = 2\ncancel_after_ms = 400\nsupersedes = true\nkey = \"sk-mail-1\"\n\
             quota = {{ at_once = 2, per_hour = 60, burst = 3 }}\n"
        );
        let apps = read(&text).unwrap();
        let mail = apps.named("Mail").unwrap();
        assert_eq!((mail.priority, mail.supersedes), (2, true));
        assert_eq!(mail.timeout, Some(Duration::from_millis(400)));
        assert_eq!(mail.quota, Some(Quota { at_once: Some(2), per_hour: Some(60), burst: 3 }));
        assert_eq!(mail.key.as_deref(), Some("sk-mail-1"));
        assert!(apps.named("Other").is_none());
        assert_eq!(apps.named(""), Some(AppEntry::unnamed()));
    }

    #[test]
    fn wrong_apps_are_named() {
        let message = |text: &str| read(text).unwrap_err();
        assert_eq!(message("apps = []"), "apps.toml: no app; allowed: one or more [[apps]]");
        let twice = message(&format!("{MAIL}{MAIL}"));
        assert_eq!(twice, "apps.toml, app 2: a name appears twice; found Mail");
        let short = message(&format!("{MAIL}key = \"abc\"\n"));
        assert!(short.starts_with("apps.toml, app 1: not a key; found 3 bytes"), "{short}");
        let other = MAIL.replace("Mail", "Post");
        let key = "key = \"12345678\"\n";
        let both = message(&format!("{MAIL}{key}{other}{key}"));
        assert_eq!(both, "apps.toml, app 2: a key appears twice; found that of Mail");
        assert!(message(&format!("{MAIL}colour = 1\n")).contains("unknown field `colour`"));
        let quota = message(&format!("{MAIL}quota = {{ at_once = 0 }}\n"));
        assert!(quota.contains("app 1") && quota.contains("out of range; found 0"), "{quota}");
        let class = message(&format!("{MAIL}priority = 8\n"));
        assert!(class.contains("found 8; allowed: 0 to 7"), "{class}");
    }
}
