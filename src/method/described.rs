//! Policies in words.

use serde::Serialize;

use super::spec::PolicySpec;
use crate::policy::{SizeRule, SizeSpec};

/// A policy in words, for `pliant policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Description {
    /// How it chooses, ties and the case without a feasible plan included.
    pub rule: &'static str,
    /// What it knows besides a request's length, objective and dataset.
    pub sees: &'static str,
}

impl PolicySpec {
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
            Self::Fixed { .. } => {
                Description { rule: "always that level on the full prompt", sees: "nothing" }
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
                       that would miss the objective gives way to a random plan that meets it \
                       (as published: to the largest level that does with the prompt ratio it \
                       names); none feasible: the smallest predicted relative excess",
                sees: "latency profile, resident level, and the request's prompt through the TLM",
            },
            Self::External(_) => Description {
                rule: "what the program answers; no answer in time or no candidate: the run ends",
                sees: "latency profile, answers on estimate items, resident level, outcomes",
            },
            Self::Recorded(_) => Description {
                rule: "what a file says was planned for the request, by a policy in Python, say; \
                       no plan: the run ends",
                sees: "the request's number",
            },
            Self::LargestLevel(size) => {
                Description { rule: largest_level_rule(size.rule), sees: size_sees(*size) }
            }
            Self::Lg2Cs(size) if size.is_nominal() => Description {
                rule: "the largest prompt ratio at most the objective's share of TTFT, the largest \
                       level at most its share of TPOT; none: the smallest",
                sees: size_sees(*size),
            },
            Self::Lg2Cs(size) => Description {
                rule: "among plans whose predicted TTFT, compressing included, and TPOT meet the \
                       objective, the largest prompt ratio, then the most neurons per token; none \
                       feasible: the smallest predicted relative excess",
                sees: size_sees(*size),
            },
        }
    }
}

fn size_sees(size: SizeSpec) -> &'static str {
    if size.is_nominal() {
        "the objective as shares of the base model's latency"
    } else {
        "latency profile, resident level"
    }
}

fn largest_level_rule(rule: SizeRule) -> &'static str {
    match rule {
        SizeRule::Profile => {
            "the largest level of its family whose predicted TTFT, switching to it included, and \
             TPOT meet the objective on the full prompt, or with a compressor on as much of it as \
             fits; none feasible: the smallest predicted relative excess"
        }
        SizeRule::Nominal => {
            "full prompt; the largest level at most the smaller share of the objective; none: the \
             smallest"
        }
        SizeRule::NeverFull => {
            "full prompt; the largest level below the full one at most the smaller share of the \
             objective; none: the smallest"
        }
        SizeRule::TtftOnly => {
            "full prompt; the largest level at most the objective's share of TTFT; none: the \
             smallest"
        }
        SizeRule::OneLayerLost => {
            "full prompt; the largest level of at most int(share · layers − 1) layers, share being \
             the objective's smaller one; none: the smallest"
        }
    }
}
