//! Ladders made from scores; their manifests written, read back, and refused.

use serde_json::{Value, json};

use super::*;
use crate::elastify::greedy::GreedyRemoval;
use crate::elastify::importance::score_sequence;
use crate::elastify::influence::influence;
use crate::elastify::merge_search::search;
use crate::elastify::network::Network;
use crate::elastify::removal::remove_each;
use crate::engine::reference::random_model;
use crate::model::family::lora::{AdapterFile, Adapters};
use crate::model::family::merge::MergeSpec;
use crate::model::recorded::{
    AllocationRule, AllocationSpec, CorpusInfo, GroupRule, ImportanceRule, ModelIdentity,
};

const SPEC: LadderSpec = LadderSpec {
    unit_order: UnitOrder::Importance,
    importance_rule: ImportanceRule::TokenTaylor,
    group_rule: GroupRule::RemovalLoss,
    allocation: AllocationSpec {
        rule: AllocationRule::Global { neuron_floor: 0.1, group_floor: 1 },
        neuron_block: 16,
        group_share_low: 0.77,
        anchor_share: 0.2,
    },
};

fn identity() -> ModelIdentity {
    ModelIdentity {
        base_model: "tiny".into(),
        model_sha256: "00".into(),
        quantisation: "F32".into(),
        config: random_model(1).config,
    }
}

fn corpus() -> CorpusInfo {
    CorpusInfo { description: "made up".into(), sha256: "11".into(), tokens: 12, sequences: 2 }
}

/// Scores of a random model on two sequences.
fn scores() -> Scores {
    let network = Network::new(random_model(1)).unwrap();
    let mut scores = Scores::new(identity(), corpus());
    for tokens in [[1, 2, 3, 4, 5, 6], [9, 8, 7, 6, 5, 4]] {
        scores.add_taylor(&score_sequence(&network, &tokens).unwrap(), tokens.len());
        scores.add_removal(&remove_each(&network, &tokens).unwrap(), tokens.len());
    }
    scores
}

pub(crate) fn manifest() -> ElasticManifest {
    from_scores(&scores(), Family::Width, SPEC, &Level::LADDER, "pliant elastify".into()).unwrap()
}

/// What reading `manifest` back says.
fn load(manifest: &ElasticManifest) -> Result<ElasticManifest, String> {
    load_edited(manifest, |_| ())
}

/// The same when somebody has been at the file.
fn load_edited(
    manifest: &ElasticManifest,
    edit: impl Fn(&mut Value),
) -> Result<ElasticManifest, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("elastic.json");
    manifest.save(&path).unwrap();
    let mut value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    edit(&mut value);
    std::fs::write(&path, serde_json::to_vec(&value).unwrap()).unwrap();
    ElasticManifest::load(&path)
        .map_err(|e| e.to_string().replace(&path.display().to_string(), "FILE"))
}

#[test]
fn a_manifest_reads_back_as_written_with_one_line_per_entry() {
    let manifest = manifest();
    assert_eq!(load(&manifest).unwrap(), manifest);
    assert_eq!(manifest.unit_parameter_share.last(), Some(&1.0));
    assert!(manifest.base_loss > 0.0);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("elastic.json");
    manifest.save(&path).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    // Eleven fields on a line each, of which one is a list of tables with a bracket of its own.
    assert_eq!(text.lines().count(), 2 + 11 + manifest.levels.len() + 1);
}

#[test]
fn manifests_share_the_file_of_an_order_and_name_the_original_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let spelt = |name: &str| {
        let text = std::fs::read_to_string(path(name)).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["order"].clone()
    };
    let mut original = manifest();
    original.order = LayerOrder::original(&original.model.config);
    original.save(&path("original.json")).unwrap();
    assert_eq!(spelt("original.json"), json!("original"));
    assert_eq!(ElasticManifest::load(&path("original.json")).unwrap(), original);
    let manifest = manifest();
    manifest.save(&path("first.json")).unwrap();
    manifest.save(&path("second.json")).unwrap();
    let sha256 = manifest.order_sha256();
    let file = format!("order-{}.json", &sha256[..8]);
    assert_eq!(spelt("second.json"), json!({"file": file.clone(), "sha256": sha256.clone()}));
    assert_eq!(crate::digest::sha256_file(&path(&file)).unwrap(), sha256);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 4, "one order, three manifests");
    assert_eq!(ElasticManifest::load(&path("second.json")).unwrap(), manifest);
}

#[test]
fn an_order_listed_in_the_manifest_is_read_as_ever() {
    let manifest = manifest();
    let listed = load_edited(&manifest, |m| m["order"] = json!(manifest.order)).unwrap();
    assert_eq!(listed, manifest);
}

#[test]
fn an_order_that_is_not_there_or_not_the_named_one_is_one_clear_error() {
    let manifest = manifest();
    let refused = |edit: &dyn Fn(&mut Value)| load_edited(&manifest, edit).unwrap_err();
    assert_eq!(
        refused(&|m| m["order"] = json!("random")),
        "FILE, key \"order\": unknown order of units; found random; allowed: \"original\", a file \
         with its hash, or the list of each layer's units"
    );
    let misspelt = refused(&|m| m["order"] = json!({"path": "a", "sha256": "b"}));
    assert!(misspelt.starts_with("FILE, key \"order\": names no file with an order"), "{misspelt}");
    let missing = refused(&|m| m["order"]["file"] = json!("none.json"));
    assert!(missing.contains("none.json: cannot read the order of units that FILE names"));
    let other = refused(&|m| m["order"]["sha256"] = json!("00"));
    assert!(other.contains(": not the order of units that the manifest names; found sha256 "));
    assert!(other.ends_with("; allowed: sha256 00, as FILE says"), "{other}");
    let huge = refused(&|m| {
        (m["order"], m["model"]["config"]["layers"]) = (json!("original"), json!(1 << 20));
    });
    let expected =
        "FILE, key \"model.config\": out of range; found 103809024; allowed: 1 to 67108864";
    assert_eq!(huge, expected);
}

#[test]
fn layer_removal_and_original_order_leave_every_unit_in_place() {
    let scores = scores();
    for (family, unit_order) in
        [(Family::LayerRemoval, UnitOrder::Importance), (Family::Width, UnitOrder::Original)]
    {
        let spec = LadderSpec { unit_order, ..SPEC };
        let manifest = from_scores(&scores, family, spec, &Level::LADDER, String::new()).unwrap();
        assert!(manifest.order.iter().all(|layer| layer.neurons.is_sorted()));
    }
    let original = LadderSpec { unit_order: UnitOrder::Original, ..SPEC };
    let original =
        from_scores(&scores, Family::Width, original, &Level::LADDER, String::new()).unwrap();
    assert_eq!(original.levels, manifest().levels);
}

#[test]
fn a_manifest_that_contradicts_itself_is_refused() {
    let refused = |change: &dyn Fn(&mut ElasticManifest)| {
        let mut manifest = manifest();
        change(&mut manifest);
        load(&manifest).unwrap_err()
    };
    assert_eq!(
        refused(&|m| m.order[1].neurons[3] = m.order[1].neurons[4]),
        "FILE, key \"order[1].neurons\": no permutation; allowed: each of 0 to 95 once"
    );
    assert_eq!(
        refused(&|m| m.order.truncate(1)),
        "FILE, key \"order\": wrong length; found 1; allowed: 3"
    );
    let message = refused(&|m| m.levels[8].layers[0].groups = 4);
    assert!(
        message.starts_with("FILE, key \"levels[8]\": shape of layer 0 out of range"),
        "{message}"
    );
    let message = refused(&|m| m.levels[4].layers[2].neurons = 0);
    assert!(
        message.starts_with("FILE, key \"levels[4]\": shape of layer 2 out of range"),
        "{message}"
    );
    assert_eq!(
        refused(&|m| m.levels[1].level = Level::percent(20)),
        "FILE, key \"levels[1]\": levels out of order; found 20 %"
    );
}

/// The ladder as recovery leaves it.
fn with_adapters() -> ElasticManifest {
    let mut manifest = manifest();
    let below = manifest.levels.iter().filter(|sub_model| sub_model.level < Level::FULL);
    let file = |level: Level| AdapterFile {
        level,
        rank: 8,
        file: format!("adapters/width-lora-{}.safetensors", level.as_percent()).into(),
        sha256: "22".into(),
    };
    let files = below.map(|sub_model| file(sub_model.level)).collect();
    manifest.payload = Payload::WidthLora(Adapters { files, recovery: None });
    manifest
}

#[test]
fn every_level_below_the_base_model_has_an_adapter_in_width_lora_and_none_elsewhere() {
    assert_eq!(load(&with_adapters()).unwrap(), with_adapters());
    let refused = |change: &dyn Fn(&mut Vec<AdapterFile>)| {
        let mut manifest = with_adapters();
        let Payload::WidthLora(adapters) = &mut manifest.payload else { unreachable!() };
        change(&mut adapters.files);
        load(&manifest).unwrap_err()
    };
    assert_eq!(
        load_edited(&with_adapters(), |m| m["ladder"]["family"] = json!("width")).unwrap_err(),
        "FILE, key \"adapters\": of another family; found family width; allowed: family width-lora"
    );
    assert_eq!(
        refused(&|files| drop(files.remove(3))),
        "FILE, key \"adapters\": level without an adapter; found 50 %; allowed: an adapter for \
         every level below 100 %"
    );
    assert_eq!(
        refused(&|files| files[0].level = Level::percent(10)),
        "FILE, key \"adapters\": adapter of a level that the ladder lacks; found 10 %"
    );
    assert_eq!(
        refused(&|files| files.swap(2, 3)),
        "FILE, key \"adapters\": levels out of order; found 40 %"
    );
    let mut control = with_adapters();
    control.levels.retain(|sub_model| sub_model.level == Level::FULL);
    control.unit_parameter_share = vec![1.0];
    let Payload::WidthLora(adapters) = &mut control.payload else { unreachable!() };
    adapters.files.truncate(1);
    adapters.files[0].level = Level::FULL;
    assert_eq!(load(&control).unwrap(), control, "the tuned base model is a ladder of one");
    assert_eq!(
        of_family(&scores(), Family::WidthLora, &Level::LADDER).unwrap_err().to_string(),
        "family width-lora: not made from scores alone; allowed: family width, then `pliant \
         elastify recover`"
    );
}

#[test]
fn a_measurement_resumes_where_it_stopped_and_refuses_other_inputs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scores.json");
    let resume = |model, corpus| {
        Scores::resume(&path, model, corpus)
            .map_err(|e| e.to_string().replace(&path.display().to_string(), "FILE"))
    };
    assert_eq!(resume(identity(), corpus()).unwrap().taylor.sequences, 0);
    scores().save(&path).unwrap();
    let resumed = resume(identity(), corpus()).unwrap();
    assert_eq!((resumed.taylor.sequences, resumed.removal.sequences), (2, 2));
    assert_eq!(resumed.taylor.neurons.token_taylor.len(), identity().config.layers);
    let other = ModelIdentity { model_sha256: "ff".into(), ..identity() };
    assert_eq!(
        resume(other, corpus()).unwrap_err(),
        "FILE, key \"model_sha256\": begun with other inputs; found 00; \
         allowed: ff, or another --scores file"
    );
    assert!(resume(identity(), CorpusInfo { tokens: 7, ..corpus() }).is_err());
}

#[test]
fn a_ladder_needs_a_measurement() {
    let empty = Scores::new(identity(), corpus());
    let message = of_family(&empty, Family::Width, &Level::LADDER).unwrap_err().to_string();
    assert!(message.starts_with("scores: not measured yet; found 0 sequences"), "{message}");
}

/// Scores with everything measured that any family is made from.
fn all_scores() -> Scores {
    let network = Network::new(random_model(1)).unwrap();
    let mut scores = scores();
    let texts: [&[u32]; 2] = [&[1, 2, 3, 4, 5, 6], &[9, 8, 7, 6, 5, 4]];
    for tokens in texts {
        scores.influence.add(&influence(&network, tokens).unwrap(), tokens.len());
    }
    scores.greedy = GreedyRemoval::start(&network, &texts).unwrap();
    for _ in 0..3 {
        scores.greedy.remove_next(&network, &texts).unwrap();
    }
    let spec = MergeSpec { layers: 2, interval: 2, similarity_floor: -1.0 };
    scores.merge = Some(search(&network, &texts, spec, &[2, 1], &mut |_| {}).unwrap());
    scores
}

const LEVELS: [Level; 3] = [Level::percent(40), Level::percent(70), Level::percent(100)];

fn of_family(scores: &Scores, family: Family, levels: &[Level]) -> Result<ElasticManifest> {
    from_scores(scores, family, SPEC, levels, String::new())
}

#[test]
fn families_of_whole_layers_keep_as_many_as_the_level_says_and_read_back() {
    let scores = all_scores();
    for family in [Family::LayerRemovalGreedy, Family::LayerInfluence, Family::LayerMerge] {
        let manifest = of_family(&scores, family, &LEVELS).unwrap();
        let kept = |sub_model: &SubModel| sub_model.layers.iter().filter(|s| s.neurons > 0).count();
        assert_eq!(manifest.levels.iter().map(kept).collect::<Vec<_>>(), [1, 2, 3], "{family:?}");
        let sums = LEVELS.map(|level| !manifest.payload.merged(level).is_empty());
        let merges = family == Family::LayerMerge;
        assert_eq!(sums, [merges, merges, false], "{family:?}");
        assert!((manifest.base_loss - scores.base_loss()).abs() < 1e-5, "{family:?}");
        let read = load(&manifest).unwrap();
        assert_eq!((read.levels, read.payload), (manifest.levels, manifest.payload), "{family:?}");
    }
    let mut unmerged = all_scores();
    unmerged.merge.as_mut().unwrap().models.clear();
    let whole = of_family(&unmerged, Family::LayerMerge, &[Level::FULL]).unwrap();
    assert_eq!(load(&whole).unwrap().layer_importance, [1.0; 3]);
    let greedy = of_family(&scores, Family::LayerRemovalGreedy, &LEVELS).unwrap();
    let last = *scores.greedy.removed.last().unwrap();
    assert!(greedy.levels[0].layers[last].neurons > 0, "the last to go is the first to stay");
}

#[test]
fn relayout_has_the_units_of_width_and_another_name() {
    let scores = all_scores();
    let width = of_family(&scores, Family::Width, &Level::LADDER).unwrap();
    let relayout = of_family(&scores, Family::WidthRelayout, &Level::LADDER).unwrap();
    assert_eq!((&relayout.levels, &relayout.order), (&width.levels, &width.order));
}

#[test]
fn levels_that_a_family_cannot_reach_are_refused() {
    let scores = all_scores();
    let refusal = |scores: &Scores, family, levels: &[Level]| {
        of_family(scores, family, levels).unwrap_err().to_string()
    };
    let mut strict = all_scores();
    strict.merge.as_mut().unwrap().models.truncate(1);
    let empty = Scores::new(identity(), corpus());
    // Of nine thirds, 20 % is one: no sub-layer but an attention is so small, and those go first.
    let refusals = [
        refusal(&scores, Family::AttnDrop, &Level::LADDER),
        refusal(&scores, Family::LayerInfluence, &[Level::percent(10), Level::FULL]),
        refusal(&strict, Family::LayerMerge, &LEVELS),
        refusal(&empty, Family::LayerMerge, &LEVELS),
        refusal(&empty, Family::AttnDrop, &LEVELS),
        refusal(&empty, Family::LayerRemovalGreedy, &LEVELS),
    ];
    insta::assert_snapshot!(refusals.join("\n"), @r#"
    family attn-drop: level keeps no layer; found 20 %; allowed: 30 %, 40 %, 50 %, 60 %, 70 %, 80 %, 90 %, 100 %; ask for them with --levels
    family layer-influence: level keeps no layer; found 10 %; allowed: 100 %; ask for them with --levels
    family layer-merge: level out of reach; found level 40 %, 1 layers; allowed: as many layers as the search left: 3, 2; ask for those levels with --levels, or search with a lower --similarity-floor
    scores, key "merge": mergers not searched yet; allowed: a search; run `pliant elastify score --family layer-merge`
    scores, key "influence": influence not measured; found 0 layers, 0 sequences; allowed: 3 layers, 1 sequence or more; run `pliant elastify score --family layer-influence`
    scores, key "greedy": greedy removal not measured to its end; found 0 layers removed; allowed: 3; run `pliant elastify score --family layer-removal-greedy`
    "#);
}

#[test]
fn merged_layers_belong_to_their_family_and_to_kept_places() {
    let scores = all_scores();
    let manifest = of_family(&scores, Family::LayerMerge, &LEVELS).unwrap();
    let refused = |edit: &dyn Fn(&mut Value)| load_edited(&manifest, edit).unwrap_err();
    let refusals = [
        refused(&|m| m["ladder"]["family"] = json!("layer-influence")),
        refused(&|m| drop(m.as_object_mut().unwrap().remove("merge"))),
        refused(&|m| m["merged"][0]["level"] = json!(0.3)),
        refused(&|m| m["merged"][0]["layers"][0]["place"] = json!(7)),
        refused(&|m| m["merged"][0]["layers"][0]["parts"][0]["layer"] = json!(3)),
    ];
    insta::assert_snapshot!(refusals.join("\n"), @r#"
    FILE, key "merge": of another family; found family layer-influence; allowed: family layer-merge
    FILE, key "merge": missing in family layer-merge
    FILE, key "merged[0]": level that the ladder lacks; found 30 %
    FILE, key "merged[0]": merged layer of another model; found place 7, 1 parts; allowed: the place of a kept layer, parts of the model's layers
    FILE, key "merged[0]": merged layer of another model; found place 0, 1 parts; allowed: the place of a kept layer, parts of the model's layers
    "#);
}

#[test]
fn a_predictor_belongs_to_one_family_which_has_it() {
    let manifest = manifest();
    let refused = |edit: &dyn Fn(&mut Value)| load_edited(&manifest, edit).unwrap_err();
    assert_eq!(
        refused(&|m| m["ladder"]["family"] = json!("contextual")),
        "FILE, key \"predictor\": missing in family contextual"
    );
    let predictor = json!({
        "file": "p.safetensors", "sha256": "00", "rank": 2, "held_out_tokens": 4, "captured": []
    });
    assert_eq!(
        refused(&|m| m["predictor"] = predictor.clone()),
        "FILE, key \"predictor\": of another family; found family width; allowed: family contextual"
    );
    assert!(refused(&|m| m["ladder"]["family"] = json!("zoo")).contains("names models, not units"));
}

/// Dimensions come from the file, and memory is asked for by them.
#[test]
fn dimensions_that_no_model_has_are_refused_before_memory_is_asked_for() {
    let manifest = manifest();
    let claims = 1_u64 << 63;
    let refusal = load_edited(&manifest, |m| m["model"]["config"]["intermediate"] = json!(claims));
    assert_eq!(
        refusal.unwrap_err(),
        "FILE, key \"config.intermediate\": dimension out of range; found 9223372036854775808; \
         allowed: 1 to 1048576"
    );
    let refusal = load_edited(&manifest, |m| m["model"]["config"]["intermediate"] = json!(1 << 20));
    assert!(refusal.unwrap_err().contains("no permutation"));
    let refusal = load_edited(&manifest, |m| m["model"]["config"]["kv_heads"] = json!(0));
    assert!(refusal.unwrap_err().contains("dimension out of range"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scores.json");
    let mut scores = scores();
    scores.model.config.layers = 1 << 50;
    scores.save(&path).unwrap();
    let refusal = Scores::load(&path).unwrap_err().to_string();
    assert!(refusal.contains("key \"config.layers\": dimension out of range"), "{refusal}");
}
