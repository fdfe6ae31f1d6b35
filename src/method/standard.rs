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
    let size = SizeSpec::default();
    let method = |policy: PolicySpec, family: &str, answers: Option<&str>| MethodSpec {
        name: policy.kind().into(),
        family: family.into(),
        quality_family: answers.map(Into::into),
        compressor: None,
        margin: None,
        counts_wait: false,
        whole_prompt: None,
        policy,
    };
    let structured = |policy| MethodSpec {
        compressor: Some("structured".into()),
        ..method(policy, "width", None)
    };
    let and_prompt = |policy: PolicySpec, family: &str, answers: &str| MethodSpec {
        name: format!("{}+prompt", policy.kind()),
        compressor: Some(SCORE_HEAD.into()),
        ..method(policy, family, Some(answers))
    };
    vec![
        structured(PolicySpec::ElasticProfile {}),
        method(PolicySpec::Full {}, "width", None),
        structured(PolicySpec::RandomFeasible {}),
        structured(PolicySpec::Oracle {}),
        method(PolicySpec::Pfs(size), "zoo", Some("width")),
        and_prompt(PolicySpec::Pfs(size), "zoo", "width-score-head"),
        method(PolicySpec::Lpruner(size), "width-relayout", Some("width")),
        and_prompt(PolicySpec::Lpruner(size), "width-relayout", "width-score-head"),
        MethodSpec {
            name: "lpruner+lora".into(),
            ..method(PolicySpec::Lpruner(size), "width-lora", None)
        },
        MethodSpec {
            name: "lpruner+lora+prompt".into(),
            ..and_prompt(PolicySpec::Lpruner(size), "width-lora", "width-lora-score-head")
        },
        method(PolicySpec::LayerRemoval(size), "layer-removal", None),
        and_prompt(PolicySpec::LayerRemoval(size), "layer-removal", "layer-removal-score-head"),
        MethodSpec {
            name: "layer-removal-greedy".into(),
            ..method(PolicySpec::LayerRemoval(size), "layer-removal-greedy", None)
        },
        method(PolicySpec::Laco(size), "layer-merge", None),
        and_prompt(PolicySpec::Laco(size), "layer-merge", "layer-merge-score-head"),
        method(PolicySpec::Shortgpt(size), "layer-influence", None),
        and_prompt(PolicySpec::Shortgpt(size), "layer-influence", "layer-influence-score-head"),
        method(PolicySpec::Attndrop(size), "attn-drop", None),
        and_prompt(PolicySpec::Attndrop(size), "attn-drop", "attn-drop-score-head"),
        MethodSpec {
            compressor: Some(LINGUA.into()),
            ..method(PolicySpec::Lg2Cs(size), "contextual", Some("contextual-lingua"))
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
