//! `pliant policy`: what it prints.

use std::path::Path;

use snapbox::str;

use crate::support::pliant;

#[test]
fn list_shows_what_each_method_is_made_of() {
    let command = pliant(Path::new(".")).args(["policy", "list"]);
    command.assert().success().stdout_eq(str![[r"
 method                     latencies of          answers of                 compressor  policy
 elastic-profile            width                 width                      structured  elastic-profile
 full                       width                 width                      none        full
 random-feasible            width                 width                      structured  random-feasible
 oracle                     width                 width                      structured  oracle
 pfs                        zoo                   width                      none        pfs
 lpruner                    width-relayout        width                      none        lpruner
 layer-removal              layer-removal         layer-removal              none        layer-removal
 layer-removal-greedy       layer-removal-greedy  layer-removal-greedy       none        layer-removal
 laco                       layer-merge           layer-merge                none        laco
 shortgpt                   layer-influence       layer-influence            none        shortgpt
 attndrop                   attn-drop             attn-drop                  none        attndrop
 elastilm                   width-lora            width-lora-score-head      score-head  elastilm
 elastilm-no-reorder        width                 width-original-score-head  score-head  elastilm
 elastilm-no-lora           width                 width-score-head           score-head  elastilm
 elastilm-no-score-head     width-lora            width-lora-truncate        truncate    elastilm
 elastilm-no-decision-head  width-lora            width-lora-score-head      score-head  random-feasible

"]]);
}

#[test]
fn describe_says_the_rule_and_how_to_write_the_method_down() {
    let command = pliant(Path::new(".")).args(["policy", "describe", "lpruner"]);
    command.assert().success().stdout_eq(str![[r#"
lpruner

rule: full prompt; the largest level whose predicted TTFT, re-layout included, and TPOT meet the objective; none feasible: the smallest predicted relative excess
sees: latency profile, resident level

[[methods]]
name = "lpruner"
family = "width-relayout"
quality_family = "width"

[methods.policy]
kind = "lpruner"

"#]]);
}

#[test]
fn every_method_is_in_the_json_with_its_rule() {
    let output = pliant(Path::new(".")).args(["policy", "list", "--json"]).assert().success();
    let methods: serde_json::Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    let methods = methods.as_array().unwrap();
    assert_eq!(methods.len(), 16);
    assert!(methods.iter().all(|method| method["rule"].is_string() && method["sees"].is_string()));
}

#[test]
fn a_name_that_is_no_method_is_refused_with_those_that_are() {
    let command = pliant(Path::new(".")).args(["policy", "describe", "best"]);
    command.assert().code(2).stderr_eq(str![[r"
pliant: argument METHOD: no such method; found best; allowed: elastic-profile, full, random-feasible, oracle, pfs, lpruner, layer-removal, layer-removal-greedy, laco, shortgpt, attndrop, elastilm, elastilm-no-reorder, elastilm-no-lora, elastilm-no-score-head, elastilm-no-decision-head

"]]);
}
