//! The methods that have a name: the study's, what its own is without each of its parts, and fairer forms
//! of its baselines.

use super::{MethodSpec, PolicySpec};
use crate::policy::{Reading, SizeSpec};
use crate::profile::{LINGUA, SCORE_HEAD};

/// The methods of the study's comparison, in the order of its tables, and fairer forms of its baselines:
/// with the elastic method's own compressor (`+prompt`), and with its recovered sub-models (`+lora`), which
/// share weights, so that nothing is left to re-lay out.
#[must_use]
pub fn standard_methods() -> Vec<MethodSpec> {
    let method = |name: &str, policy: PolicySpec, family: &str, answers: Option<&str>| MethodSpec {
        name: name.into(),
        family: family.into(),
        quality_family: answers.map(Into::into),
        compressor: None,
        margin: None,
        counts_wait: false,
        whole_prompt: None,
        policy,
    };
    let structured = |name: &str, policy| MethodSpec {
        compressor: Some("structured".into()),
        ..method(name, policy, "width", None)
    };
    let largest = |name: &str, family: &str, answers: Option<&str>| {
        method(name, PolicySpec::LargestLevel(SizeSpec::default()), family, answers)
    };
    let and_prompt = |name: &str, family: &str, answers: &str| MethodSpec {
        compressor: Some(SCORE_HEAD.into()),
        ..largest(name, family, Some(answers))
    };
    vec![
        structured("elastic-profile", PolicySpec::ElasticProfile {}),
        method("full", PolicySpec::Full {}, "width", None),
        structured("random-feasible", PolicySpec::RandomFeasible {}),
        structured("oracle", PolicySpec::Oracle {}),
        largest("pfs", "zoo", Some("width")),
        and_prompt("pfs+prompt", "zoo", "width-score-head"),
        largest("lpruner", "width-relayout", Some("width")),
        and_prompt("lpruner+prompt", "width-relayout", "width-score-head"),
        largest("lpruner+lora", "width-lora", None),
        and_prompt("lpruner+lora+prompt", "width-lora", "width-lora-score-head"),
        largest("layer-removal", "layer-removal", None),
        and_prompt("layer-removal+prompt", "layer-removal", "layer-removal-score-head"),
        largest("layer-removal-greedy", "layer-removal-greedy", None),
        largest("laco", "layer-merge", None),
        and_prompt("laco+prompt", "layer-merge", "layer-merge-score-head"),
        largest("shortgpt", "layer-influence", None),
        and_prompt("shortgpt+prompt", "layer-influence", "layer-influence-score-head"),
        largest("attndrop", "attn-drop", None),
        and_prompt("attndrop+prompt", "attn-drop", "attn-drop-score-head"),
        MethodSpec {
            compressor: Some(LINGUA.into()),
            ..method(
                "lg2-cs",
                PolicySpec::Lg2Cs(SizeSpec::default()),
                "contextual",
                Some("contextual-lingua"),
            )
        },
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
        margin: None,
        counts_wait: false,
        whole_prompt: None,
        policy: PolicySpec::Elastilm {
            decisions: format!("{family}-{compressor}"),
            reading: Reading::Described,
        },
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
