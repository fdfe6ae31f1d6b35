//! The methods that have a name: the study's, what its own is without each of its parts, and fairer
//! forms of its baselines.

use super::{Expect, MethodSpec, PolicySpec};
use crate::family::Family;
use crate::plan::Phases;
use crate::policy::{Adaptive, ExpectBy, Reading, SizeSpec};
use crate::profile::{LINGUA, SCORE_HEAD};

/// The methods of the study's comparison, in the order of its tables, and fairer forms of its
/// baselines: with the elastic method's own compressor (`+prompt`), and with its recovered
/// sub-models (`+lora`), which share weights, so that nothing is left to re-lay out.
#[must_use]
pub fn standard_methods() -> Vec<MethodSpec> {
    let method =
        |name: &str, policy: PolicySpec, family: Family, answers: Option<&str>| MethodSpec {
            name: name.into(),
            family: family.into(),
            quality_family: answers.map(Into::into),
            compressor: None,
            margin: None,
            meet: None,
            adaptive: Adaptive::None,
            counts_wait: false,
            whole_prompt: None,
            levels: Vec::new(),
            phases: Phases::One,
            own_full: false,
            expect: Expect::Grades,
            expect_by: ExpectBy::Dataset,
            service: None,
            policy,
        };
    let structured = |name: &str, policy| MethodSpec {
        compressor: Some("structured".into()),
        ..method(name, policy, Family::Width, None)
    };
    let largest = |name: &str, family: Family, answers: Option<&str>| {
        method(name, PolicySpec::LargestLevel(SizeSpec::default()), family, answers)
    };
    let and_prompt = |name: &str, family: Family, answers: &str| MethodSpec {
        compressor: Some(SCORE_HEAD.into()),
        ..largest(name, family, Some(answers))
    };
    vec![
        structured("elastic-profile", PolicySpec::ElasticProfile {}),
        method("full", PolicySpec::Full {}, Family::Width, None),
        structured("random-feasible", PolicySpec::RandomFeasible {}),
        structured("oracle", PolicySpec::Oracle {}),
        largest("pfs", Family::Zoo, Some("width")),
        and_prompt("pfs+prompt", Family::Zoo, "width-score-head"),
        largest("lpruner", Family::WidthRelayout, Some("width")),
        and_prompt("lpruner+prompt", Family::WidthRelayout, "width-score-head"),
        largest("lpruner+lora", Family::WidthLora, None),
        and_prompt("lpruner+lora+prompt", Family::WidthLora, "width-lora-score-head"),
        largest("layer-removal", Family::LayerRemoval, None),
        and_prompt("layer-removal+prompt", Family::LayerRemoval, "layer-removal-score-head"),
        largest("layer-removal-greedy", Family::LayerRemovalGreedy, None),
        largest("laco", Family::LayerMerge, None),
        and_prompt("laco+prompt", Family::LayerMerge, "layer-merge-score-head"),
        largest("shortgpt", Family::LayerInfluence, None),
        and_prompt("shortgpt+prompt", Family::LayerInfluence, "layer-influence-score-head"),
        largest("attndrop", Family::AttnDrop, None),
        and_prompt("attndrop+prompt", Family::AttnDrop, "attn-drop-score-head"),
        MethodSpec {
            compressor: Some(LINGUA.into()),
            ..method(
                "lg2-cs",
                PolicySpec::Lg2Cs(SizeSpec::default()),
                Family::Contextual,
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
    let method = |name: &str, family: Family, answers: &str, compressor: &str| MethodSpec {
        name: name.into(),
        family: family.into(),
        quality_family: Some(format!("{answers}-{compressor}")),
        compressor: Some(compressor.into()),
        margin: None,
        meet: None,
        adaptive: Adaptive::None,
        counts_wait: false,
        whole_prompt: None,
        levels: Vec::new(),
        phases: Phases::One,
        own_full: false,
        expect: Expect::Grades,
        expect_by: ExpectBy::Dataset,
        service: None,
        policy: PolicySpec::Elastilm {
            decisions: format!("{answers}-{compressor}"),
            reading: Reading::Described,
        },
    };
    [
        method("elastilm", Family::WidthLora, "width-lora", SCORE_HEAD),
        // The base model's own order is as fast as any other.
        method("elastilm-no-reorder", Family::Width, "width-original", SCORE_HEAD),
        method("elastilm-no-lora", Family::Width, "width", SCORE_HEAD),
        method("elastilm-no-score-head", Family::WidthLora, "width-lora", "truncate"),
        MethodSpec {
            policy: PolicySpec::RandomFeasible {},
            ..method("elastilm-no-decision-head", Family::WidthLora, "width-lora", SCORE_HEAD)
        },
    ]
}
