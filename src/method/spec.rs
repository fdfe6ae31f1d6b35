//! Methods: a family of sub-models, a prompt compressor and a policy, under one name.

mod check;

use serde::{Deserialize, Serialize};

use super::expected::Expect;
use crate::family::FamilyName;
use crate::plan::{Phases, Plan};
use crate::policy::{
    Adaptive, ExpectBy, ExternalSpec, Reading, RecordedSpec, SizeSpec, is_default,
};
use crate::schedule::ServiceOptions;
use crate::units::{Level, Ratio};

/// One method of a comparison, as an experiment file states it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MethodSpec {
    /// Name in tables and figures.
    pub name: String,
    /// Whose latencies: a family of the device profile.
    pub family: FamilyName,
    /// Whose answers: a quality table. Default: the family. It differs where two families are the
    /// same functions in different memory, such as `width-relayout` and `width`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality_family: Option<String>,
    /// How prompts are cut; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compressor: Option<String>,
    /// Share of each bound that a plan's forecast must leave unused, for machines whose times vary;
    /// absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margin: Option<Ratio>,
    /// The share of requests whose bounds plans are to meet, on a device whose times vary: plans
    /// leave as much room as its noise says. Absent: forecasts are taken as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meet: Option<Ratio>,
    /// How the machine's present speed is known. Absent: not at all.
    #[serde(default, skip_serializing_if = "is_default")]
    pub adaptive: Adaptive,
    /// Whether the time that a request has waited is taken off its bounds before a plan is chosen,
    /// for services under load.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub counts_wait: bool,
    /// Prompts come already shortened: what the quality table's compressor keeps at this ratio is
    /// the whole prompt. Absent: nothing was cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole_prompt: Option<Ratio>,
    /// The levels of the family that it has, the full one among them: a service of two sizes, say.
    /// Absent: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub levels: Vec<Level>,
    /// How many levels a plan may have: 2 if a larger one than answers may read the prompt, where
    /// that was measured. Absent: 1.
    #[serde(default, skip_serializing_if = "is_default")]
    pub phases: Phases,
    /// Whether level 100 % takes the times of the method's own family instead of the base model's,
    /// for runs that are compared with real ones: how a family lies in memory is part of its times.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own_full: bool,
    /// What expected accuracies come from. Absent: mean grades.
    #[serde(default, skip_serializing_if = "is_default")]
    pub expect: Expect,
    /// What accuracies are expected by. Absent: the request's dataset.
    #[serde(default, skip_serializing_if = "is_default")]
    pub expect_by: ExpectBy,
    /// How the service treats requests where this method serves, in place of the experiment's
    /// `[service]`: schedulers beside each other. Absent: as that says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceOptions>,
    /// How plans are chosen.
    pub policy: PolicySpec,
}

/// A policy and its parameters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum PolicySpec {
    /// The most accurate plan, by dataset, among those predicted to meet the objective.
    ElasticProfile {},
    /// Always the base model on the full prompt.
    Full {},
    /// Always that level on the full prompt: the one small model that a service has.
    Fixed {
        /// Which level, 1 to 100.
        level_percent: u16,
    },
    /// A plan drawn evenly from those predicted to meet the objective.
    RandomFeasible {},
    /// The lightest plan that meets the objective and answers this very item rightly.
    Oracle {},
    /// The plan that the TLM's decision-head answered for this very prompt and objective, checked.
    Elastilm {
        /// Name of its answers in the decisions beside the quality tables.
        decisions: String,
        /// Whose account of what happens to a decision that would miss the objective.
        #[serde(rename = "as", default, skip_serializing_if = "is_default")]
        reading: Reading,
    },
    /// The largest sub-model that fits. The study's baselines are this one rule over different
    /// families, and files may call it by their names.
    #[serde(alias = "pfs", alias = "lpruner", alias = "layer-removal")]
    #[serde(alias = "laco", alias = "shortgpt", alias = "attndrop")]
    LargestLevel(SizeSpec),
    /// As much of the prompt as TTFT allows, and as many neurons per token as TPOT does.
    Lg2Cs(SizeSpec),
    /// What a program of the user's answers.
    External(ExternalSpec),
    /// What was planned before, by whomever.
    Recorded(RecordedSpec),
}

impl MethodSpec {
    /// The table whose answers count.
    #[must_use]
    pub fn quality_family(&self) -> &str {
        self.quality_family.as_deref().unwrap_or(&self.family)
    }

    /// A method called `name` over the same plans, whose menu somebody is asked about who is no
    /// policy of ours; what they plan is then [recorded](Self::recorded).
    #[must_use]
    pub fn to_be_asked(&self, name: &str) -> Self {
        let policy = match self.policy.decisions() {
            Some(decisions) => PolicySpec::Elastilm {
                decisions: decisions.to_owned(),
                reading: Reading::default(),
            },
            None => PolicySpec::ElasticProfile {},
        };
        Self { name: name.to_owned(), policy, ..self.clone() }
    }

    /// The method called `name` over the same plans that takes those that were `recorded`.
    #[must_use]
    pub fn recorded(&self, name: &str, recorded: RecordedSpec) -> Self {
        let decisions = self.policy.decisions().map(str::to_owned);
        Self {
            name: name.to_owned(),
            margin: None,
            meet: None,
            adaptive: Adaptive::default(),
            counts_wait: false,
            expect: Expect::default(),
            expect_by: ExpectBy::default(),
            policy: PolicySpec::Recorded(RecordedSpec { decisions, ..recorded }),
            ..self.clone()
        }
    }

    /// How its requests are treated in an experiment whose `service` is this.
    #[must_use]
    pub fn served_by(&self, service: ServiceOptions) -> ServiceOptions {
        self.service.unwrap_or(service)
    }
}

impl PolicySpec {
    /// One of each kind, as a method would have it that says nothing more of it.
    #[must_use]
    pub fn examples() -> [Self; 10] {
        let command = vec!["python3".to_owned(), "my_policy.py".to_owned()];
        [
            Self::ElasticProfile {},
            Self::Full {},
            Self::Fixed { level_percent: 20 },
            Self::RandomFeasible {},
            Self::Oracle {},
            Self::LargestLevel(SizeSpec::default()),
            Self::Lg2Cs(SizeSpec::default()),
            Self::Elastilm {
                decisions: "width-lora-score-head".into(),
                reading: Reading::default(),
            },
            Self::External(ExternalSpec::of(command)),
            Self::Recorded(RecordedSpec::of("plans.csv".into())),
        ]
    }

    /// The name of its kind in files.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::ElasticProfile {} => "elastic-profile",
            Self::Full {} => "full",
            Self::Fixed { .. } => "fixed",
            Self::RandomFeasible {} => "random-feasible",
            Self::Oracle {} => "oracle",
            Self::Elastilm { .. } => "elastilm",
            Self::LargestLevel(_) => "largest-level",
            Self::Lg2Cs(_) => "lg2-cs",
            Self::External(_) => "external",
            Self::Recorded(_) => "recorded",
        }
    }

    /// The plan of a policy that always has the same.
    #[must_use]
    pub fn always(&self) -> Option<Plan> {
        match *self {
            Self::Full {} => Some(Plan::FULL),
            Self::Fixed { level_percent } => {
                Some(Plan::new(Level::percent(level_percent), Ratio::ONE))
            }
            _ => None,
        }
    }

    /// The parameters of a policy that picks the largest sub-model that fits.
    fn size(&self) -> Option<SizeSpec> {
        match *self {
            Self::LargestLevel(size) | Self::Lg2Cs(size) => Some(size),
            _ => None,
        }
    }

    /// Whether it looks at forecasts of ours, which bounds are held against.
    fn forecasts(&self) -> bool {
        let nominal = self.size().is_some_and(SizeSpec::is_nominal);
        let asks_none = self.is_external() || matches!(self, Self::Recorded(_));
        !nominal && self.always().is_none() && !asks_none
    }

    /// Whether it chooses by the accuracies that estimate items let expect.
    fn expects_accuracies(&self) -> bool {
        matches!(self, Self::ElasticProfile {} | Self::Oracle {} | Self::External(_))
    }

    /// The name of the decisions that it follows, if it follows any.
    #[must_use]
    pub fn decisions(&self) -> Option<&str> {
        match self {
            Self::Elastilm { decisions, .. } => Some(decisions),
            Self::Recorded(recorded) => recorded.decisions.as_deref(),
            _ => None,
        }
    }

    /// Whether another program decides.
    #[must_use]
    pub fn is_external(&self) -> bool {
        matches!(self, Self::External(_))
    }

    /// Whether it is asked for every request, whatever it said of one that was alike.
    #[must_use]
    pub fn is_always_asked(&self) -> bool {
        matches!(self, Self::External(_) | Self::Recorded(_))
    }

    /// Whether it may choose a prompt ratio below 100 %, given a compressor.
    #[must_use]
    pub fn cuts_prompts(&self) -> bool {
        match self {
            Self::Full {} | Self::Fixed { .. } => false,
            Self::Lg2Cs(_) => true,
            _ => self.size().is_none_or(|size| !size.is_nominal()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::standard_methods;
    use super::*;
    use crate::policy::SizeRule;

    #[test]
    fn a_margin_is_a_share_below_one_of_a_policy_that_forecasts() {
        let method = |kind: &str, margin: &str| -> MethodSpec {
            let policy = format!("policy = {{ kind = '{kind}' }}");
            toml::from_str(&format!("name = 'a'\nfamily = 'width'\nmargin = {margin}\n{policy}"))
                .unwrap()
        };
        method("elastic-profile", "0.1").check().unwrap();
        let none = method("full", "0.1").check().unwrap_err().to_string();
        assert!(none.contains("method a, key \"margin\": needs no margin"), "{none}");
        let nominal =
            method("largest-level', rule = 'nominal", "0.1").check().unwrap_err().to_string();
        assert!(nominal.contains("needs no margin"), "{nominal}");
        let all = method("oracle", "1.0").check().unwrap_err().to_string();
        assert!(all.contains("leaves no time"), "{all}");
    }

    #[test]
    fn accuracies_are_pooled_for_policies_that_expect_some() {
        let method = |kind: &str| -> MethodSpec {
            let policy = format!("policy = {{ kind = '{kind}' }}");
            toml::from_str(&format!("name = 'a'\nfamily = 'width'\nexpect = 'pooled'\n{policy}"))
                .unwrap()
        };
        method("elastic-profile").check().unwrap();
        insta::assert_snapshot!(
            method("full").check().unwrap_err(),
            @r#"method a, key "expect": expects no accuracies; found pooled; allowed: no such key: the policy looks at no expected accuracy"#
        );
    }

    #[test]
    fn accuracies_are_expected_by_app_only_where_a_table_is_looked_at() {
        let method = |kind: &str| -> MethodSpec {
            let policy = format!("policy = {{ kind = '{kind}' }}");
            toml::from_str(&format!("name = 'a'\nfamily = 'width'\nexpect_by = 'app'\n{policy}"))
                .unwrap()
        };
        method("elastic-profile").check().unwrap();
        insta::assert_snapshot!(
            method("largest-level").check().unwrap_err(),
            @r#"method a, key "expect_by": no table by app to look at; found app; allowed: no such key: policies elastic-profile and oracle look at it"#
        );
    }

    #[test]
    fn levels_have_the_base_model_and_no_decisions() {
        let method = |levels: &str, policy: &str| -> MethodSpec {
            let policy = format!("policy = {{ {policy} }}");
            toml::from_str(&format!("name = 'a'\nfamily = 'f'\nlevels = {levels}\n{policy}"))
                .unwrap()
        };
        let sizes = "kind = 'largest-level'";
        method("[0.4, 1.0]", sizes).check().unwrap();
        let head = "kind = 'elastilm', decisions = 'd'";
        let refusals = [
            method("[0.4]", sizes).check().unwrap_err().to_string(),
            method("[0.4, 1.0]", head).check().unwrap_err().to_string(),
        ];
        insta::assert_snapshot!(refusals.join("\n"), @r#"
        method a, key "levels": the base model is not among them; found 40 %; allowed: levels with 1.0
        method a, key "levels": decisions were made for all levels; found 40 %, 100 %; allowed: no such key
        "#);
    }

    #[test]
    fn two_levels_are_for_policies_that_choose_by_forecasts_of_ours() {
        let read = |kind: &str, phases: &str| {
            let policy = format!("policy = {{ kind = '{kind}' }}");
            toml::from_str::<MethodSpec>(&format!(
                "name = 'a'\nfamily = 'width'\nphases = {phases}\n{policy}"
            ))
        };
        read("elastic-profile", "2").unwrap().check().unwrap();
        read("lg2-cs", "1").unwrap().check().unwrap();
        let refusals = [
            read("lg2-cs", "2").unwrap().check().unwrap_err().to_string(),
            read("oracle", "3").unwrap_err().message().to_owned(),
        ];
        insta::assert_snapshot!(refusals.join("\n"), @r#"
        method a, key "phases": answers with the level that reads; found 2; allowed: 1: the policy has plans of one level
        3 phases; allowed: 1, or 2 for a level each
        "#);
    }

    #[test]
    fn a_wait_is_counted_by_policies_that_forecast() {
        let method = |kind: &str| -> MethodSpec {
            let policy = format!("policy = {{ kind = '{kind}' }}");
            toml::from_str(&format!("name = 'a'\nfamily = 'width'\ncounts_wait = true\n{policy}"))
                .unwrap()
        };
        method("largest-level").check().unwrap();
        method("lg2-cs', rule = 'nominal").check().unwrap_err();
        insta::assert_snapshot!(
            method("full").check().unwrap_err(),
            @r#"method a, key "counts_wait": has no bounds to count in; found true; allowed: no such key: the policy asks no forecast of ours"#
        );
    }

    #[test]
    fn a_method_is_read_from_toml_and_stray_keys_are_refused() {
        let text = "name = 'a'\nfamily = 'width'\npolicy = { kind = 'elastic-profile' }";
        let method: MethodSpec = toml::from_str(text).unwrap();
        assert_eq!(method.policy, PolicySpec::ElasticProfile {});
        assert_eq!((method.quality_family(), &method.compressor), ("width", &None));
        let stray = text.replace("profile' }", "profile', seed = 1 }");
        let message = toml::from_str::<MethodSpec>(&stray).unwrap_err().message().to_owned();
        insta::assert_snapshot!(message, @"unknown field `seed`, there are no fields");
    }

    fn read(policy: &str) -> std::result::Result<MethodSpec, toml::de::Error> {
        toml::from_str(&format!("name = 'a'\nfamily = 'f'\npolicy = {{ {policy} }}"))
    }

    #[test]
    fn a_baseline_takes_a_rule_and_no_other_key() {
        let plain = read("kind = 'largest-level'").unwrap();
        assert_eq!(plain.policy, PolicySpec::LargestLevel(SizeSpec::default()));
        let lost = read("kind = 'largest-level', rule = 'one-layer-lost', layers = 30").unwrap();
        lost.check().unwrap();
        assert!(lost.policy.description().rule.contains("layers − 1"));
        assert!(lost.policy.description().sees.starts_with("the objective as shares"));
        let nominal = read("kind = 'largest-level', rule = 'nominal'").unwrap();
        assert!(nominal.policy.description().rule.contains("smaller share"));
        let refusals = [
            read("kind = 'largest-level', size = 3").unwrap_err().message().to_owned(),
            read("kind = 'largest-level', rule = 'guess'").unwrap_err().message().to_owned(),
            read("kind = 'largest-level', rule = 'one-layer-lost'")
                .unwrap()
                .check()
                .unwrap_err()
                .to_string(),
            read("kind = 'lg2-cs', rule = 'ttft-only'").unwrap().check().unwrap_err().to_string(),
        ];
        insta::assert_snapshot!(refusals.join("\n"), @r#"
        unknown field `size`, expected one of `rule`, `layers`, `as`
        unknown variant `guess`, expected one of `profile`, `nominal`, `never-full`, `ttft-only`, `one-layer-lost`
        method a, key "policy.layers": the rule counts layers; allowed: the base model's, 1 or more
        method a, key "policy.rule": not a rule of two shares; found TtftOnly; allowed: profile, nominal
        "#);
    }

    #[test]
    fn the_names_of_the_studys_baselines_are_names_of_their_one_rule() {
        for kind in ["pfs", "lpruner", "layer-removal", "laco", "shortgpt", "attndrop"] {
            let method = read(&format!("kind = '{kind}', rule = 'nominal'")).unwrap();
            assert_eq!(method.policy, PolicySpec::LargestLevel(SizeSpec::of(SizeRule::Nominal)));
        }
        let published = read("kind = 'pfs', as = 'published'").unwrap_err().message().to_owned();
        insta::assert_snapshot!(published, @"key `as` of a baseline is `rule` now, by what published code does: `never-full` (PFS), `ttft-only` (LPruner), `one-layer-lost` with `layers` (layer removal, ShortGPT), `nominal` (LaCo, AttnDrop, LG2-CS)");
    }

    #[test]
    fn kinds_are_the_names_in_files_and_standard_methods_are_sound() {
        for method in standard_methods() {
            method.check().unwrap();
            let text = toml::to_string(&method).unwrap();
            assert!(text.contains(&format!("kind = \"{}\"", method.policy.kind())), "{text}");
            assert_eq!(toml::from_str::<MethodSpec>(&text).unwrap(), method);
        }
    }

    /// A kind that `PolicySpec::kind` names and no example is of would not be listed.
    #[test]
    fn every_kind_of_policy_has_an_example_with_a_rule() {
        let examples = PolicySpec::examples();
        let source = include_str!("spec.rs");
        let kinds = source.split("pub fn kind(").nth(1).unwrap().split("\n    }\n").next().unwrap();
        let named = kinds.matches("=> \"").count();
        assert_eq!(examples.len(), named);
        for (place, policy) in examples.iter().enumerate() {
            assert!(kinds.contains(&format!("=> \"{}\"", policy.kind())));
            assert!(examples[..place].iter().all(|other| other.kind() != policy.kind()));
            assert!(!policy.description().rule.is_empty());
        }
    }

    #[test]
    fn a_compressor_that_would_never_run_is_refused() {
        let mut method = standard_methods().remove(1);
        method.compressor = Some("structured".into());
        insta::assert_snapshot!(
            method.check().unwrap_err(),
            @r#"method full, key "compressor": needs no compressor; found structured; allowed: no such key: the policy always reads the full prompt"#
        );
    }
}
