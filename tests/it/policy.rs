//! `pliant policy`: what it prints.

use std::path::Path;

use snapbox::str;

use pliant::method::{MethodSpec, standard_methods};
use pliant::profile::QualityTable;

use crate::support::pliant;

#[test]
fn list_shows_what_each_method_is_made_of() {
    let command = pliant(Path::new(".")).args(["policy", "list"]);
    command.assert().success().stdout_eq(str![[r"
 method                     latencies of          answers of                  compressor  policy
 elastic-profile            width                 width                       structured  elastic-profile
 full                       width                 width                       none        full
 random-feasible            width                 width                       structured  random-feasible
 oracle                     width                 width                       structured  oracle
 pfs                        zoo                   width                       none        largest-level
 pfs+prompt                 zoo                   width-score-head            score-head  largest-level
 lpruner                    width-relayout        width                       none        largest-level
 lpruner+prompt             width-relayout        width-score-head            score-head  largest-level
 lpruner+lora               width-lora            width-lora                  none        largest-level
 lpruner+lora+prompt        width-lora            width-lora-score-head       score-head  largest-level
 layer-removal              layer-removal         layer-removal               none        largest-level
 layer-removal+prompt       layer-removal         layer-removal-score-head    score-head  largest-level
 layer-removal-greedy       layer-removal-greedy  layer-removal-greedy        none        largest-level
 laco                       layer-merge           layer-merge                 none        largest-level
 laco+prompt                layer-merge           layer-merge-score-head      score-head  largest-level
 shortgpt                   layer-influence       layer-influence             none        largest-level
 shortgpt+prompt            layer-influence       layer-influence-score-head  score-head  largest-level
 attndrop                   attn-drop             attn-drop                   none        largest-level
 attndrop+prompt            attn-drop             attn-drop-score-head        score-head  largest-level
 lg2-cs                     contextual            contextual-lingua           lingua      lg2-cs
 elastilm                   width-lora            width-lora-score-head       score-head  elastilm
 elastilm-no-reorder        width                 width-original-score-head   score-head  elastilm
 elastilm-no-lora           width                 width-score-head            score-head  elastilm
 elastilm-no-score-head     width-lora            width-lora-truncate         truncate    elastilm
 elastilm-no-decision-head  width-lora            width-lora-score-head       score-head  random-feasible

elastic-profile
  rule: among plans whose predicted TTFT and TPOT meet the objective, the one of largest accuracy on the dataset's estimate items; ties: the shortest predicted time to the last token; none feasible: the smallest predicted relative excess
  sees: latency profile, answers on estimate items, resident level

full
  rule: always the base model on the full prompt
  sees: nothing

fixed
  rule: always that level on the full prompt
  sees: nothing

random-feasible
  rule: evenly among plans whose predicted TTFT and TPOT meet the objective; none feasible: the smallest predicted relative excess
  sees: latency profile, resident level

oracle
  rule: among plans that meet the objective and answer this very item rightly, the shortest time to the last token; no such plan: as elastic-profile
  sees: latency profile, resident level, and the right answers to every item

largest-level
  rule: the largest level of its family whose predicted TTFT, switching to it included, and TPOT meet the objective on the full prompt, or with a compressor on as much of it as fits; none feasible: the smallest predicted relative excess
  sees: latency profile, resident level

lg2-cs
  rule: among plans whose predicted TTFT, compressing included, and TPOT meet the objective, the largest prompt ratio, then the most neurons per token; none feasible: the smallest predicted relative excess
  sees: latency profile, resident level

elastilm
  rule: the decision-head's answer to the request's own prompt: of plans whose predicted TTFT and TPOT meet the objective, the one most probably answered rightly (soft), or the plan it names for the objective (hard); a decision that would miss the objective gives way to a random plan that meets it (as published: to the largest level that does with the prompt ratio it names); none feasible: the smallest predicted relative excess
  sees: latency profile, resident level, and the request's prompt through the TLM

external
  rule: what the program answers; no answer in time or no candidate: the run ends
  sees: latency profile, answers on estimate items, resident level, outcomes

recorded
  rule: what a file says was planned for the request, by a policy in Python, say; no plan: the run ends
  sees: the request's number

"]]);
}

#[test]
fn describe_says_the_rule_and_how_to_write_the_method_down() {
    let command = pliant(Path::new(".")).args(["policy", "describe", "lpruner"]);
    command.assert().success().stdout_eq(str![[r#"
lpruner

rule: the largest level of its family whose predicted TTFT, switching to it included, and TPOT meet the objective on the full prompt, or with a compressor on as much of it as fits; none feasible: the smallest predicted relative excess
sees: latency profile, resident level

[[methods]]
name = "lpruner"
family = "width-relayout"
quality_family = "width"

[methods.policy]
kind = "largest-level"

"#]]);
}

#[test]
fn every_method_is_in_the_json_with_its_rule() {
    let output = pliant(Path::new(".")).args(["policy", "list", "--json"]).assert().success();
    let methods: serde_json::Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    let methods = methods.as_array().unwrap();
    assert_eq!(methods.len(), 25);
    assert!(methods.iter().all(|method| method["rule"].is_string() && method["sees"].is_string()));
}

#[test]
fn a_name_that_is_no_method_is_refused_with_those_that_are() {
    let command = pliant(Path::new(".")).args(["policy", "describe", "best"]);
    command.assert().code(2).stderr_eq(str![[r"
pliant: argument METHOD: no such method; found best; allowed: elastic-profile, full, random-feasible, oracle, pfs, pfs+prompt, lpruner, lpruner+prompt, lpruner+lora, lpruner+lora+prompt, layer-removal, layer-removal+prompt, layer-removal-greedy, laco, laco+prompt, shortgpt, shortgpt+prompt, attndrop, attndrop+prompt, lg2-cs, elastilm, elastilm-no-reorder, elastilm-no-lora, elastilm-no-score-head, elastilm-no-decision-head

"]]);
}

/// A named method answers from a committed table, or from one of what was asked for. Those that
/// still want measuring are known by name.
#[test]
fn named_methods_have_measured_tables() {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("device-profiles/quality/smollm2-135m-instruct");
    let has_table = |method: &MethodSpec| {
        let table = method.quality_family();
        let none = std::collections::BTreeMap::default();
        QualityTable::load_asked(&folder, table, &[], &none).unwrap().rows() > 0
    };
    let lacking = standard_methods().into_iter().filter(|method| !has_table(method));
    let lacking: Vec<String> = lacking.map(|method| method.name).collect();
    assert_eq!(lacking, ["laco+prompt"]);
}
