//! Manifests written, read back, and refused.

use super::*;
use crate::elastify::allocation::AllocationRule;
use crate::elastify::importance::score_sequence;
use crate::elastify::network::Network;
use crate::elastify::removal::remove_each;
use crate::engine::reference::random_model;
use crate::units::Level;

const SPEC: LadderSpec = LadderSpec {
    family: Family::Width,
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

fn manifest() -> ElasticManifest {
    ElasticManifest::new(&scores(), SPEC, "pliant elastify".into()).unwrap()
}

/// What reading `manifest` back says.
fn load(manifest: &ElasticManifest) -> Result<ElasticManifest, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("elastic.json");
    manifest.save(&path).unwrap();
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
    let layers = manifest.order.len();
    // Eight fields on a line each and three that are lists, with brackets of their own.
    assert_eq!(text.lines().count(), 2 + 11 + manifest.levels.len() + layers + 2);
}

#[test]
fn layer_removal_and_original_order_leave_every_unit_in_place() {
    let scores = scores();
    for (family, unit_order) in
        [(Family::LayerRemoval, UnitOrder::Importance), (Family::Width, UnitOrder::Original)]
    {
        let spec = LadderSpec { family, unit_order, ..SPEC };
        let manifest = ElasticManifest::new(&scores, spec, String::new()).unwrap();
        assert!(manifest.order.iter().all(|layer| layer.neurons.is_sorted()));
    }
    let original = LadderSpec { unit_order: UnitOrder::Original, ..SPEC };
    let original = ElasticManifest::new(&scores, original, String::new()).unwrap();
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
    manifest.ladder.family = Family::WidthLora;
    let below = manifest.levels.iter().filter(|sub_model| sub_model.level < Level::FULL);
    let file = |level: Level| AdapterFile {
        level,
        rank: 8,
        file: format!("adapters/width-lora-{}.safetensors", level.as_percent()).into(),
        sha256: "22".into(),
    };
    manifest.adapters = below.map(|sub_model| file(sub_model.level)).collect();
    manifest
}

#[test]
fn every_level_below_the_base_model_has_an_adapter_in_width_lora_and_none_elsewhere() {
    assert_eq!(load(&with_adapters()).unwrap(), with_adapters());
    let refused = |change: &dyn Fn(&mut ElasticManifest)| {
        let mut manifest = with_adapters();
        change(&mut manifest);
        load(&manifest).unwrap_err()
    };
    assert_eq!(
        refused(&|m| m.ladder.family = Family::Width),
        "FILE, key \"adapters\": adapters in a family without them; found family width, level \
         20 %; allowed: family width-lora"
    );
    assert_eq!(
        refused(&|m| drop(m.adapters.remove(3))),
        "FILE, key \"adapters\": level without an adapter; found 50 %; allowed: an adapter for \
         every level below 100 %"
    );
    assert_eq!(
        refused(&|m| m.adapters[0].level = Level::percent(10)),
        "FILE, key \"adapters\": adapter of a level that the ladder lacks; found 10 %"
    );
    assert_eq!(
        refused(&|m| m.adapters.swap(2, 3)),
        "FILE, key \"adapters\": levels out of order; found 40 %"
    );
    let mut control = with_adapters();
    control.levels.retain(|sub_model| sub_model.level == Level::FULL);
    control.unit_parameter_share = vec![1.0];
    control.adapters.truncate(1);
    control.adapters[0].level = Level::FULL;
    assert_eq!(load(&control).unwrap(), control, "the tuned base model is a ladder of one");
    let spec = LadderSpec { family: Family::WidthLora, ..SPEC };
    assert_eq!(
        ElasticManifest::new(&scores(), spec, String::new()).unwrap_err().to_string(),
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
    let message = ElasticManifest::new(&empty, SPEC, String::new()).unwrap_err().to_string();
    assert!(message.starts_with("scores: not measured yet; found 0 sequences"), "{message}");
}
