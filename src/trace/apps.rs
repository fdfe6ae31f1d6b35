//! The six apps of the study, their objectives and where their requests come from (its Table 3).

use serde::{Deserialize, Serialize};

use crate::request::{Limit, Slo};
use crate::units::Ratio;

/// An app that calls the service.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct App {
    /// Its name.
    pub name: &'static str,
    /// The objective that all its requests state.
    pub slo: Slo,
    /// The datasets its requests may come from, the first that is at hand.
    pub datasets: &'static [&'static str],
    /// Whether it draws from every dataset at hand where none of its own is.
    pub draws_from_any: bool,
    /// The dataset that the study draws from.
    pub studied_dataset: &'static str,
}

/// The apps in the order of the study's Table 3: the most relaxed objective first.
///
/// Octopus and Shortcuts stand for API calling and UI automation. The latter's data are the user's
/// own; without them it draws from the other half of the API calls, and as long as neither is at
/// hand both draw from all datasets: see [`StandIn`].
pub const APPS: [App; 6] = [
    app("Rewind", 100, 100, &["openbookqa"], "openbookqa"),
    app("GMail", 80, 90, &["arc-easy"], "arc-easy"),
    app("Octopus", 60, 80, &["api-calling"], "octopus").or_any(),
    app("Shortcuts", 40, 70, &["ui-automation", "api-calling-live"], "llamatouch").or_any(),
    app("Gboard", 20, 60, &["piqa"], "piqa"),
    app("XiaoAi", 20, 50, &["sciq"], "sciq"),
];

const fn app(
    name: &'static str,
    ttft_percent: u16,
    tpot_percent: u16,
    datasets: &'static [&'static str],
    studied_dataset: &'static str,
) -> App {
    let slo =
        Slo::Relative { ttft: Ratio::percent(ttft_percent), tpot: Ratio::percent(tpot_percent) };
    App { name, slo, datasets, draws_from_any: false, studied_dataset }
}

impl App {
    const fn or_any(self) -> Self {
        Self { draws_from_any: true, ..self }
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
}

/// An app whose requests come from other datasets than those meant for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StandIn {
    /// The app.
    pub app: &'static str,
    /// Where its requests come from.
    pub datasets: Vec<String>,
    /// The dataset of the study that they stand for.
    pub studied_dataset: &'static str,
}

impl StandIn {
    /// Every app that draws from others than its first dataset where those `at_hand` are.
    #[must_use]
    pub fn all(at_hand: &[&str]) -> Vec<Self> {
        let stand_in = |app: &App| {
            let datasets = app.drawn_from(at_hand);
            (datasets != app.datasets[..1]).then(|| Self {
                app: app.name,
                datasets: datasets.into_iter().map(str::to_owned).collect(),
                studied_dataset: app.studied_dataset,
            })
        };
        APPS.iter().filter_map(stand_in).collect()
    }
}

impl std::fmt::Display for StandIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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
    /// The pair ⟨ζ of TTFT, ζ of TPOT⟩ of the study's Table 3.
    #[default]
    Latency,
    /// One share of the base model's end-to-end time: the mean of the app's two.
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
    /// # Panics
    /// If the app states no pair of shares: all of [`APPS`] do.
    #[must_use]
    pub fn of(self, app: &App) -> Slo {
        let Slo::Relative { ttft, tpot } = app.slo else { panic!("apps state pairs of shares") };
        let mean = f64::from(ttft.thousandths() + tpot.thousandths()) / 2000.0;
        let mean = Ratio::new(mean).expect("a mean of two shares is one");
        match self {
            Self::Latency => app.slo,
            Self::EndToEnd => Slo::EndToEnd(Limit::Share(mean)),
            Self::Energy => Slo::Energy(Limit::Share(mean)),
        }
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
    /// The SLO level, 1 to 6, of the app at `index` of [`APPS`].
    #[must_use]
    pub fn level(self, index: usize) -> usize {
        match self {
            Self::Paper => APPS.len() - index,
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

    /// What the requests of each of [`APPS`] are proportional to under skew `alpha`: e^(α·level),
    /// relative to the heaviest level, so that none overflows.
    ///
    /// # Panics
    /// If `alpha` is not finite.
    pub(super) fn weights(self, alpha: f64) -> [f64; APPS.len()] {
        assert!(alpha.is_finite(), "a skew is a finite number");
        let heaviest = if alpha > 0.0 { APPS.len() as f64 } else { 1.0 };
        std::array::from_fn(|index| (alpha * (self.level(index) as f64 - heaviest)).exp())
    }

    /// How many of `requests` each of [`APPS`] makes under skew `alpha`.
    ///
    /// Shares ∝ e^(α·level) are rounded by largest remainder (equal remainders: the earlier app
    /// first), so that the counts add up to `requests`.
    ///
    /// # Panics
    /// If `alpha` is not finite.
    #[must_use]
    pub fn counts(self, requests: u32, alpha: f64) -> [u32; APPS.len()] {
        let weights = self.weights(alpha);
        let total: f64 = weights.iter().sum();
        let exact = weights.map(|weight| f64::from(requests) * weight / total);
        let mut counts = exact.map(|share| share.floor() as u32);
        let mut by_remainder: [usize; APPS.len()] = std::array::from_fn(|index| index);
        by_remainder.sort_by(|&a, &b| exact[b].fract().total_cmp(&exact[a].fract()));
        let missing = requests.saturating_sub(counts.iter().sum());
        for &index in by_remainder.iter().take(missing as usize) {
            counts[index] += 1;
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// e^(0.25·i) for i = 1…6 is 1.2840, 1.6487, 2.1170, 2.7183, 3.4903, 4.4817; their sum is
    /// 15.7401. Of 600: 48.946, 62.848, 80.699, 103.617, 133.050, 170.839. The floors add up to
    /// 596; the four largest remainders are those of levels 1, 2, 6 and 3.
    #[test]
    fn six_hundred_requests_stay_six_hundred_under_skew() {
        let paper = LevelOrder::Paper;
        let artifact = LevelOrder::Artifact;
        assert_eq!(artifact.counts(600, 0.25), [49, 63, 81, 103, 133, 171]);
        assert_eq!(paper.counts(600, 0.25), [171, 133, 103, 81, 63, 49]);
        assert_eq!(artifact.counts(600, -0.25), [171, 133, 103, 81, 63, 49]);
        assert_eq!(paper.counts(600, -0.25), [49, 63, 81, 103, 133, 171]);
    }

    /// ⟨20 %, 50 %⟩ and ⟨80 %, 90 %⟩ have the means 35 % and 85 %.
    #[test]
    fn one_share_of_the_whole_answer_is_the_mean_of_the_two_of_its_phases() {
        let end_to_end = |percent| Slo::EndToEnd(Limit::Share(Ratio::percent(percent)));
        assert_eq!(Objective::EndToEnd.of(&APPS[5]), end_to_end(35));
        assert_eq!(Objective::EndToEnd.of(&APPS[1]), end_to_end(85));
        let energy = Slo::Energy(Limit::Share(Ratio::percent(35)));
        assert_eq!(Objective::Energy.of(&APPS[5]), energy);
        assert_eq!(Objective::Latency.of(&APPS[5]), APPS[5].slo);
    }

    #[test]
    fn without_skew_every_app_calls_equally_often() {
        assert_eq!(LevelOrder::Paper.counts(600, 0.0), [100; 6]);
        assert_eq!(LevelOrder::Artifact.counts(600, 0.0), [100; 6]);
        assert_eq!(LevelOrder::Paper.counts(8, 0.0), [2, 2, 1, 1, 1, 1]);
    }

    #[test]
    fn an_app_draws_from_the_first_of_its_datasets_at_hand() {
        let four = ["arc-easy", "openbookqa", "piqa", "sciq"];
        let [.., shortcuts, _, _] = &APPS;
        assert_eq!(shortcuts.drawn_from(&four), four);
        let calls = [&four[..], &["api-calling", "api-calling-live"]].concat();
        assert_eq!(shortcuts.drawn_from(&calls), ["api-calling-live"]);
        let screens = [&calls[..], &["ui-automation"]].concat();
        assert_eq!(shortcuts.drawn_from(&screens), ["ui-automation"]);
        assert!(APPS[0].drawn_from(&["sciq"]).is_empty());
        assert_eq!(StandIn::all(&screens), []);
        let said: Vec<_> = StandIn::all(&calls).iter().map(StandIn::to_string).collect();
        assert_eq!(
            said,
            ["Shortcuts draws from api-calling-live in place of llamatouch, which is not at hand"]
        );
    }

    #[test]
    fn extreme_skews_leave_one_app() {
        assert_eq!(LevelOrder::Paper.counts(600, 1e6), [600, 0, 0, 0, 0, 0]);
        assert_eq!(LevelOrder::Paper.counts(600, -1e6), [0, 0, 0, 0, 0, 600]);
    }

    proptest::proptest! {
        #[test]
        fn counts_always_add_up(requests in 0..2_000_000_u32, alpha in -20.0..20.0_f64) {
            for order in [LevelOrder::Paper, LevelOrder::Artifact] {
                proptest::prop_assert_eq!(order.counts(requests, alpha).iter().sum::<u32>(), requests);
            }
        }
    }
}
