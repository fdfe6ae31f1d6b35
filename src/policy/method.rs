//! Methods: a family of sub-models, a prompt compressor and a policy, under one name.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The compressor that is the TLM's score-head.
pub(super) const SCORE_HEAD: &str = "score-head";

/// One method of a comparison, as an experiment file states it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MethodSpec {
    /// Name in tables and figures.
    pub name: String,
    /// Whose latencies: a family of the device profile.
    pub family: String,
    /// Whose answers: a quality table. Default: the family. It differs where two families are the
    /// same functions in different memory, such as `width-relayout` and `width`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality_family: Option<String>,
    /// How prompts are cut; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compressor: Option<String>,
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
    /// A plan drawn evenly from those predicted to meet the objective.
    RandomFeasible {},
    /// The lightest plan that meets the objective and answers this very item rightly.
    Oracle {},
    /// The plan that the TLM's decision-head answered for this very prompt and objective, checked.
    Elastilm {
        /// Name of its answers, beside the quality tables: `<decisions>.decisions.csv`.
        decisions: String,
    },
    /// The largest sub-model that meets the objective on the full prompt; switching re-lays the
    /// weights out.
    Lpruner {},
    /// The most layers that meet the objective on the full prompt.
    LayerRemoval {},
}

/// A policy in words, for `pliant policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Description {
    /// How it chooses, ties and the case without a feasible plan included.
    pub rule: &'static str,
    /// What it knows besides a request's length, objective and dataset.
    pub sees: &'static str,
}

impl MethodSpec {
    /// The table whose answers count.
    #[must_use]
    pub fn quality_family(&self) -> &str {
        self.quality_family.as_deref().unwrap_or(&self.family)
    }

    /// Refuses a method that contradicts itself.
    ///
    /// # Errors
    /// If the policy never cuts a prompt but a compressor is named.
    pub fn check(&self) -> Result<()> {
        match &self.compressor {
            Some(compressor) if !self.policy.cuts_prompts() => {
                Err(Error::new(format!("method {}", self.name), "needs no compressor")
                    .at("key \"compressor\"")
                    .found(compressor)
                    .allowed("no such key: the policy always reads the full prompt"))
            }
            _ => Ok(()),
        }
    }
}

impl PolicySpec {
    /// The name of its kind in files.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::ElasticProfile {} => "elastic-profile",
            Self::Full {} => "full",
            Self::RandomFeasible {} => "random-feasible",
            Self::Oracle {} => "oracle",
            Self::Elastilm { .. } => "elastilm",
            Self::Lpruner {} => "lpruner",
            Self::LayerRemoval {} => "layer-removal",
        }
    }

    /// The name of the decisions that it follows, if it follows any.
    #[must_use]
    pub fn decisions(&self) -> Option<&str> {
        match self {
            Self::Elastilm { decisions } => Some(decisions),
            _ => None,
        }
    }

    /// Whether it may choose a prompt ratio below 100 %.
    #[must_use]
    pub fn cuts_prompts(&self) -> bool {
        match self {
            Self::ElasticProfile {}
            | Self::RandomFeasible {}
            | Self::Oracle {}
            | Self::Elastilm { .. } => true,
            Self::Full {} | Self::Lpruner {} | Self::LayerRemoval {} => false,
        }
    }

    /// The policy in words.
    #[must_use]
    pub fn description(&self) -> Description {
        match self {
            Self::ElasticProfile {} => Description {
                rule: "among plans whose predicted TTFT and TPOT meet the objective, the one of \
                       largest accuracy on the dataset's estimate items; ties: the shortest \
                       predicted time to the last token; none feasible: the smallest predicted \
                       relative excess",
                sees: "latency profile, answers on estimate items, resident level",
            },
            Self::Full {} => {
                Description { rule: "always the base model on the full prompt", sees: "nothing" }
            }
            Self::RandomFeasible {} => Description {
                rule: "evenly among plans whose predicted TTFT and TPOT meet the objective; none \
                       feasible: the smallest predicted relative excess",
                sees: "latency profile, resident level",
            },
            Self::Oracle {} => Description {
                rule: "among plans that meet the objective and answer this very item rightly, the \
                       shortest time to the last token; no such plan: as elastic-profile",
                sees: "latency profile, resident level, and the right answers to every item",
            },
            Self::Elastilm { .. } => Description {
                rule: "the decision-head's answer to the request's own prompt: of plans whose \
                       predicted TTFT and TPOT meet the objective, the one most probably answered \
                       rightly (soft), or the plan it names for the objective (hard); a decision \
                       that would miss the objective gives way to a random plan that meets it; \
                       none feasible: the smallest predicted relative excess",
                sees: "latency profile, resident level, and the request's prompt through the TLM",
            },
            Self::Lpruner {} => Description {
                rule: "full prompt; the largest level whose predicted TTFT, re-layout included, \
                       and TPOT meet the objective; none feasible: the smallest predicted \
                       relative excess",
                sees: "latency profile, resident level",
            },
            Self::LayerRemoval {} => Description {
                rule: "full prompt; the most layers whose predicted TTFT and TPOT meet the \
                       objective; none feasible: the smallest predicted relative excess",
                sees: "latency profile, resident level",
            },
        }
    }
}

/// The methods of the study's comparison that exist so far, in the order of its tables.
#[must_use]
pub fn standard_methods() -> Vec<MethodSpec> {
    let method = |policy: PolicySpec, family: &str, answers: Option<&str>| MethodSpec {
        name: policy.kind().into(),
        family: family.into(),
        quality_family: answers.map(Into::into),
        compressor: policy.cuts_prompts().then(|| "structured".into()),
        policy,
    };
    vec![
        method(PolicySpec::ElasticProfile {}, "width", None),
        method(PolicySpec::Full {}, "width", None),
        method(PolicySpec::RandomFeasible {}, "width", None),
        method(PolicySpec::Oracle {}, "width", None),
        method(PolicySpec::Lpruner {}, "width-relayout", Some("width")),
        method(PolicySpec::LayerRemoval {}, "layer-removal", None),
    ]
    .into_iter()
    .chain(elastilm_methods())
    .collect()
}

/// The study's method and what it is without each of its parts (its Figure 18c).
fn elastilm_methods() -> [MethodSpec; 5] {
    let method = |name: &str, family: &str, compressor: &str| MethodSpec {
        name: name.into(),
        // The base model's own order is as fast as any other.
        family: if family == "width-original" { "width" } else { family }.into(),
        quality_family: Some(format!("{family}-{compressor}")),
        compressor: Some(compressor.into()),
        policy: PolicySpec::Elastilm { decisions: format!("{family}-{compressor}") },
    };
    [
        method("elastilm", "width-lora", SCORE_HEAD),
        method("elastilm-no-reorder", "width-original", SCORE_HEAD),
        method("elastilm-no-lora", "width", SCORE_HEAD),
        method("elastilm-no-score-head", "width-lora", "truncate"),
        MethodSpec {
            policy: PolicySpec::RandomFeasible {},
            ..method("elastilm-no-decision-head", "width-lora", SCORE_HEAD)
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn kinds_are_the_names_in_files_and_standard_methods_are_sound() {
        for method in standard_methods() {
            method.check().unwrap();
            let text = toml::to_string(&method).unwrap();
            assert!(text.contains(&format!("kind = \"{}\"", method.policy.kind())), "{text}");
            assert_eq!(toml::from_str::<MethodSpec>(&text).unwrap(), method);
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
