//! Apps that call the service, their objectives and where their requests come from.
//!
//! A set of apps is data: `[[trace.apps]]` of an experiment, or a file with `[[apps]]`. The six of
//! the study (its Table 3) are the default.

use std::fmt;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::objective;
use super::summary::bounds;
use crate::error::{Error, Result};
use crate::input::read_toml;
use crate::limits;
use crate::request::{Limit, Slo, Terms};
use crate::units::Ratio;

/// An app that calls the service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct App {
    /// Its name.
    pub name: String,
    /// The objective that all its requests state.
    #[serde(with = "objective")]
    pub slo: Slo,
    /// The datasets its requests may come from, the first that is at hand.
    #[serde(default)]
    pub datasets: Vec<String>,
    /// Whether it draws from every dataset at hand where none of its own is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub draws_from_any: bool,
    /// The dataset that the study draws from, where it is not the first of `datasets`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub studied_dataset: Option<String>,
    /// How many requests it makes without skew, relative to the other apps.
    #[serde(default = "App::weight", skip_serializing_if = "App::is_even")]
    pub weight: f64,
    /// Tokens to generate for each of its requests; absent: the trace's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u32>,
    /// The class of its requests: the higher, the sooner.
    #[serde(default, skip_serializing_if = "App::is_lowest")]
    pub priority: u8,
    /// After how long it gives a request up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_after_ms: Option<u64>,
    /// Whether its newer request takes the place of its older ones, as a keyboard's does.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub supersedes: bool,
}

impl App {
    fn weight() -> f64 {
        1.0
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
    fn is_even(weight: &f64) -> bool {
        weight.total_cmp(&1.0).is_eq()
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
    fn is_lowest(priority: &u8) -> bool {
        *priority == 0
    }

    /// What its requests ask of the service.
    #[must_use]
    pub fn terms(&self) -> Terms {
        Terms {
            priority: self.priority,
            cancel_after: self.cancel_after_ms.map(Duration::from_millis),
            supersedes: self.supersedes,
            cached_tokens: 0,
        }
    }

    /// The dataset that its requests are to resemble.
    #[must_use]
    pub fn studied_dataset(&self) -> &str {
        let own = self.datasets.first().map_or("any dataset", String::as_str);
        self.studied_dataset.as_deref().unwrap_or(own)
    }

    /// Which of the datasets `at_hand` it draws from, evenly; none if it cannot call.
    pub(super) fn drawn_from<'a>(&self, at_hand: &[&'a str]) -> Vec<&'a str> {
        let own = self.datasets.iter().find_map(|own| at_hand.iter().find(|name| *name == own));
        match own {
            Some(name) => vec![name],
            None if self.draws_from_any => at_hand.to_vec(),
            None => Vec::new(),
        }
    }

    fn check(&self, place: &str) -> Result<()> {
        let wrong = |key: &str, allowed: &str| {
            let error = Error::new("apps", "bad value").at(format!("{place}, key \"{key}\""));
            Err(error.allowed(allowed))
        };
        if self.name.trim() != self.name || self.name.is_empty() {
            return wrong("name", "a name without spaces around it");
        }
        if self.datasets.is_empty() && !self.draws_from_any {
            return wrong("datasets", "one or more, or draws_from_any = true");
        }
        if !(self.weight > 0.0 && self.weight.is_finite()) {
            return wrong("weight", "a number above 0");
        }
        if let Some(tokens) = self.output_tokens {
            limits::TOKENS.check(
                "apps",
                &format!("{place}, key \"output_tokens\""),
                tokens.into(),
            )?;
        }
        let key = |name: &str| format!("{place}, key \"{name}\"");
        limits::PRIORITY.check("apps", &key("priority"), self.priority.into())?;
        let patience = self.cancel_after_ms.unwrap_or(limits::TIME_MS.min);
        limits::TIME_MS.check("apps", &key("cancel_after_ms"), patience)?;
        Ok(())
    }

    /// What its requests ask of the service, in words, each after a comma.
    fn write_terms(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.priority > 0 {
            write!(f, ", class {}", self.priority)?;
        }
        if let Some(millis) = self.cancel_after_ms {
            write!(f, ", gives up after {millis} ms")?;
        }
        if self.supersedes {
            write!(f, ", the newest alone")?;
        }
        Ok(())
    }
}

/// The apps that call one service, the most relaxed objective first.
///
/// There is at least one, and no two have one name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<App>", into = "Vec<App>")]
pub struct Apps(Vec<App>);

/// A file of apps.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AppsFile {
    apps: Apps,
}

impl Default for Apps {
    fn default() -> Self {
        static STUDY: LazyLock<Apps> = LazyLock::new(|| {
            let file: AppsFile = toml::from_str(Apps::STUDY).expect("the shipped file is sound");
            file.apps
        });
        STUDY.clone()
    }
}

impl Apps {
    /// The six apps of the study, as a file states them.
    pub const STUDY: &str = include_str!("apps.toml");

    /// Reads a file of `[[apps]]`.
    ///
    /// # Errors
    /// If it cannot be read, is not TOML, has an unknown or missing key, no app, or two of one
    /// name.
    pub fn load(path: &Path) -> Result<Self> {
        read_toml::<AppsFile>(path).map(|file| file.apps)
    }

    /// The apps as a file states them.
    ///
    /// # Panics
    /// Never: apps are plain values.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let file = std::collections::BTreeMap::from([("apps", self.all())]);
        toml::to_string(&file).expect("apps are plain values")
    }

    /// Whether these are the study's.
    #[must_use]
    pub fn are_the_studys(&self) -> bool {
        *self == Self::default()
    }

    /// All of them, in order.
    #[must_use]
    pub fn all(&self) -> &[App] {
        &self.0
    }

    /// What the requests of each app are proportional to under skew `alpha`: weight · e^(α·level),
    /// relative to the heaviest level, so that none overflows.
    ///
    /// # Panics
    /// If `alpha` is not finite.
    pub(super) fn weights(&self, order: LevelOrder, alpha: f64) -> Vec<f64> {
        assert!(alpha.is_finite(), "a skew is a finite number");
        let apps = self.0.len();
        let heaviest = if alpha > 0.0 { apps as f64 } else { 1.0 };
        let skewed = |index| (alpha * (order.level(index, apps) as f64 - heaviest)).exp();
        self.0.iter().enumerate().map(|(index, app)| app.weight * skewed(index)).collect()
    }

    /// How many of `requests` each app makes under skew `alpha`.
    ///
    /// Shares ∝ weight · e^(α·level) are rounded by largest remainder (equal remainders: the
    /// earlier app first), so that the counts add up to `requests`.
    ///
    /// # Panics
    /// If `alpha` is not finite.
    #[must_use]
    pub fn counts(&self, order: LevelOrder, requests: u32, alpha: f64) -> Vec<u32> {
        let weights = self.weights(order, alpha);
        let total: f64 = weights.iter().sum();
        let exact: Vec<f64> =
            weights.iter().map(|weight| f64::from(requests) * weight / total).collect();
        let mut counts: Vec<u32> = exact.iter().map(|share| share.floor() as u32).collect();
        let mut by_remainder: Vec<usize> = (0..counts.len()).collect();
        by_remainder.sort_by(|&a, &b| exact[b].fract().total_cmp(&exact[a].fract()));
        let missing = requests.saturating_sub(counts.iter().sum());
        for &index in by_remainder.iter().take(missing as usize) {
            counts[index] += 1;
        }
        counts
    }
}

impl fmt::Display for Apps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "apps:")?;
        for (index, app) in self.0.iter().enumerate() {
            let (first, second) = bounds(app.slo);
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma} {} ({first}", app.name)?;
            if !second.is_empty() {
                write!(f, ", {second}")?;
            }
            if !App::is_even(&app.weight) {
                write!(f, ", weight {}", app.weight)?;
            }
            app.write_terms(f)?;
            write!(f, ")")?;
        }
        Ok(())
    }
}

impl TryFrom<Vec<App>> for Apps {
    type Error = Error;

    fn try_from(apps: Vec<App>) -> Result<Self> {
        limits::APPS.check("apps", "number of apps", apps.len() as u64)?;
        for (index, app) in apps.iter().enumerate() {
            app.check(&format!("app {}", index + 1))?;
            if apps[..index].iter().any(|other| other.name == app.name) {
                let error = Error::new("apps", "a name appears twice");
                return Err(error.at(format!("app {}", index + 1)).found(&app.name));
            }
        }
        Ok(Self(apps))
    }
}

impl From<Apps> for Vec<App> {
    fn from(apps: Apps) -> Self {
        apps.0
    }
}

/// An app whose requests come from other datasets than those meant for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StandIn {
    /// The app.
    pub app: String,
    /// Where its requests come from.
    pub datasets: Vec<String>,
    /// The dataset that they stand for.
    pub studied_dataset: String,
}

impl StandIn {
    /// Every app of `apps` that draws from others than its first dataset where those `at_hand` are.
    #[must_use]
    pub fn all(apps: &Apps, at_hand: &[&str]) -> Vec<Self> {
        let stand_in = |app: &App| {
            let datasets = app.drawn_from(at_hand);
            let is_meant = app.datasets.first().is_none_or(|own| datasets == [own]);
            (!is_meant).then(|| Self {
                app: app.name.clone(),
                datasets: datasets.into_iter().map(str::to_owned).collect(),
                studied_dataset: app.studied_dataset().to_owned(),
            })
        };
        apps.all().iter().filter_map(stand_in).collect()
    }
}

impl fmt::Display for StandIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { app, datasets, studied_dataset } = self;
        write!(
            f,
            "{app} draws from {} in place of {studied_dataset}, which is not at hand",
            datasets.join(", ")
        )
    }
}

/// What kind of objective the apps state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Objective {
    /// What each app states: for the study's, the pair ⟨ζ of TTFT, ζ of TPOT⟩ of its Table 3.
    #[default]
    Latency,
    /// One share of the base model's end-to-end time: the mean of the app's pair of shares.
    EndToEnd,
    /// The same share of its energy.
    Energy,
}

impl Objective {
    /// The name in files and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::EndToEnd => "end-to-end",
            Self::Energy => "energy",
        }
    }

    /// The objective of `app` in this kind.
    ///
    /// # Errors
    /// If it is not the app's own and the app states no pair of shares to take the mean of.
    ///
    /// # Panics
    /// Never: a mean of two shares is one.
    pub fn of(self, app: &App) -> Result<Slo> {
        if self == Self::Latency {
            return Ok(app.slo);
        }
        let Slo::Relative { ttft, tpot } = app.slo else {
            return Err(Error::new("objective", "needs apps that state ttft_ratio and tpot_ratio")
                .found(format!("{} and the app {}", self.name(), app.name))
                .allowed("latency: what each app states"));
        };
        let mean = f64::from(ttft.thousandths() + tpot.thousandths()) / 2000.0;
        let mean = Ratio::new(mean).expect("a mean of two shares is one");
        Ok(match self {
            Self::Energy => Slo::Energy(Limit::Share(mean)),
            _ => Slo::EndToEnd(Limit::Share(mean)),
        })
    }
}

/// Which app is level 1 when a trace is skewed: app of level i gets a share ∝ e^(αi).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LevelOrder {
    /// The lower, the tighter: level 1 is `XiaoAi`, so a positive α relaxes the trace.
    #[default]
    Paper,
    /// The order of Table 3, as the study's published code has it: level 1 is Rewind, so a
    /// positive α tightens the trace.
    Artifact,
}

impl LevelOrder {
    /// The SLO level, from 1, of the app at `index` of `apps` many.
    #[must_use]
    pub fn level(self, index: usize, apps: usize) -> usize {
        match self {
            Self::Paper => apps - index,
            Self::Artifact => index + 1,
        }
    }

    /// The name in files and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Paper => "paper",
            Self::Artifact => "artifact",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relative(ttft: u16, tpot: u16) -> Slo {
        Slo::Relative { ttft: Ratio::percent(ttft), tpot: Ratio::percent(tpot) }
    }

    fn counts(order: LevelOrder, requests: u32, alpha: f64) -> Vec<u32> {
        Apps::default().counts(order, requests, alpha)
    }

    /// Table 3 of the study.
    #[test]
    fn the_shipped_apps_are_those_of_the_study() {
        let apps = Apps::default();
        let stated: Vec<_> =
            apps.all().iter().map(|app| (&*app.name, app.slo, app.studied_dataset())).collect();
        assert_eq!(
            stated,
            [
                ("Rewind", relative(100, 100), "openbookqa"),
                ("GMail", relative(80, 90), "arc-easy"),
                ("Octopus", relative(60, 80), "octopus"),
                ("Shortcuts", relative(40, 70), "llamatouch"),
                ("Gboard", relative(20, 60), "piqa"),
                ("XiaoAi", relative(20, 50), "sciq"),
            ]
        );
        assert!(apps.are_the_studys());
    }

    fn message(text: &str) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let message = Apps::load(file.path()).unwrap_err().to_string();
        message.strip_prefix(&file.path().display().to_string()).unwrap().to_owned()
    }

    #[test]
    fn bad_apps_are_named() {
        let mail = "[[apps]]\nname = \"Mail\"\ndatasets = [\"sciq\"]\n";
        let pair = "slo = { ttft_ratio = 0.5, tpot_ratio = 0.5 }\n";
        assert!(message(mail).contains("missing field `slo`"));
        let twice = format!("{mail}{pair}{mail}{pair}");
        assert!(message(&twice).ends_with("apps, app 2: a name appears twice; found Mail"));
        assert!(message("apps = []").contains("number of apps: out of range; found 0"));
        let two = format!("{mail}slo = {{ e2e_ms = 5, energy_mj = 9 }}\n");
        assert!(message(&two).contains("not one objective"), "{}", message(&two));
        let none = format!("{mail}{pair}weight = 0.0\n");
        assert!(message(&none).ends_with("key \"weight\": bad value; allowed: a number above 0"));
        assert!(message(&format!("{mail}{pair}colour = 1\n")).contains("unknown field `colour`"));
        let high = message(&format!("{mail}{pair}priority = 8\n"));
        assert!(high.ends_with("key \"priority\": out of range; found 8; allowed: 0 to 7"));
    }

    #[test]
    fn weights_share_out_requests_and_the_skew_multiplies_them() {
        let app = |name: &str, weight| App {
            name: name.to_owned(),
            weight,
            ..Apps::default().all()[0].clone()
        };
        let apps = Apps::try_from(vec![app("a", 3.0), app("b", 1.0)]).unwrap();
        assert_eq!(apps.counts(LevelOrder::Paper, 8, 0.0), [6, 2]);
        // Level 2 is a: e^(2 ln 3) · 3 to e^(ln 3) · 1, that is 27 to 3.
        assert_eq!(apps.counts(LevelOrder::Paper, 10, 3_f64.ln()), [9, 1]);
    }

    #[test]
    fn what_an_app_asks_of_the_service_is_in_its_table_and_its_words() {
        let text = "[[apps]]\nname = \"Keys\"\nslo = { e2e_ms = 90 }\ndraws_from_any = true\n\
                    priority = 2\ncancel_after_ms = 400\nsupersedes = true\n";
        let apps = toml::from_str::<AppsFile>(text).unwrap().apps;
        let cancel_after = Some(Duration::from_millis(400));
        let terms = Terms { priority: 2, cancel_after, supersedes: true, cached_tokens: 0 };
        assert_eq!(apps.all()[0].terms(), terms);
        let words =
            "apps: Keys (end-to-end 90 ms, class 2, gives up after 400 ms, the newest alone)";
        assert_eq!(apps.to_string(), words);
        assert_eq!(toml::from_str::<AppsFile>(&apps.to_toml()).unwrap().apps, apps);
        assert_eq!(Apps::default().all()[0].terms(), Terms::default());
    }

    /// e^(0.25·i) for i = 1…6 is 1.2840, 1.6487, 2.1170, 2.7183, 3.4903, 4.4817; their sum is
    /// 15.7401. Of 600: 48.946, 62.848, 80.699, 103.617, 133.050, 170.839. The floors add up to
    /// 596; the four largest remainders are those of levels 1, 2, 6 and 3.
    #[test]
    fn six_hundred_requests_stay_six_hundred_under_skew() {
        let (paper, artifact) = (LevelOrder::Paper, LevelOrder::Artifact);
        assert_eq!(counts(artifact, 600, 0.25), [49, 63, 81, 103, 133, 171]);
        assert_eq!(counts(paper, 600, 0.25), [171, 133, 103, 81, 63, 49]);
        assert_eq!(counts(artifact, 600, -0.25), [171, 133, 103, 81, 63, 49]);
        assert_eq!(counts(paper, 600, -0.25), [49, 63, 81, 103, 133, 171]);
    }

    /// ⟨20 %, 50 %⟩ and ⟨80 %, 90 %⟩ have the means 35 % and 85 %.
    #[test]
    fn one_share_of_the_whole_answer_is_the_mean_of_the_two_of_its_phases() {
        let end_to_end = |percent| Slo::EndToEnd(Limit::Share(Ratio::percent(percent)));
        let apps = Apps::default();
        let apps = apps.all();
        assert_eq!(Objective::EndToEnd.of(&apps[5]).unwrap(), end_to_end(35));
        assert_eq!(Objective::EndToEnd.of(&apps[1]).unwrap(), end_to_end(85));
        let energy = Slo::Energy(Limit::Share(Ratio::percent(35)));
        assert_eq!(Objective::Energy.of(&apps[5]).unwrap(), energy);
        assert_eq!(Objective::Latency.of(&apps[5]).unwrap(), apps[5].slo);
        let slo = Slo::EndToEnd(Limit::Share(Ratio::ONE));
        let other = App { slo, ..apps[0].clone() };
        let message = Objective::Energy.of(&other).unwrap_err().to_string();
        assert!(message.contains("found energy and the app Rewind"), "{message}");
    }

    #[test]
    fn without_skew_every_app_calls_equally_often() {
        assert_eq!(counts(LevelOrder::Paper, 600, 0.0), [100; 6]);
        assert_eq!(counts(LevelOrder::Artifact, 600, 0.0), [100; 6]);
        assert_eq!(counts(LevelOrder::Paper, 8, 0.0), [2, 2, 1, 1, 1, 1]);
    }

    #[test]
    fn an_app_draws_from_the_first_of_its_datasets_at_hand() {
        let four = ["arc-easy", "openbookqa", "piqa", "sciq"];
        let study = Apps::default();
        let shortcuts = &study.all()[3];
        assert_eq!(shortcuts.drawn_from(&four), four);
        let calls = [&four[..], &["api-calling", "api-calling-live"]].concat();
        assert_eq!(shortcuts.drawn_from(&calls), ["api-calling-live"]);
        let screens = [&calls[..], &["ui-automation"]].concat();
        assert_eq!(shortcuts.drawn_from(&screens), ["ui-automation"]);
        assert!(study.all()[0].drawn_from(&["sciq"]).is_empty());
        assert_eq!(StandIn::all(&study, &screens), []);
        let said: Vec<_> = StandIn::all(&study, &calls).iter().map(StandIn::to_string).collect();
        assert_eq!(
            said,
            ["Shortcuts draws from api-calling-live in place of llamatouch, which is not at hand"]
        );
    }

    #[test]
    fn extreme_skews_leave_one_app() {
        assert_eq!(counts(LevelOrder::Paper, 600, 1e6), [600, 0, 0, 0, 0, 0]);
        assert_eq!(counts(LevelOrder::Paper, 600, -1e6), [0, 0, 0, 0, 0, 600]);
    }

    proptest::proptest! {
        #[test]
        fn counts_always_add_up(requests in 0..2_000_000_u32, alpha in -20.0..20.0_f64) {
            for order in [LevelOrder::Paper, LevelOrder::Artifact] {
                proptest::prop_assert_eq!(counts(order, requests, alpha).iter().sum::<u32>(), requests);
            }
        }
    }
}
