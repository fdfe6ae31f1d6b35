//! Zoos of tiny models in files.

use super::*;
use crate::engine::model::DenseModel;
use crate::engine::reference::{random_model, random_model_of, write_gguf};
use crate::model::manifest::Manifest;

/// Two thirds of the layers of [`random_model`].
fn smaller() -> DenseModel {
    random_model_of(&ModelConfig { layers: 2, ..random_model(0).config }, true, 2)
}

fn put(folder: &Path, name: &str, model: &DenseModel, words: &str) -> PathBuf {
    let path = folder.join(name);
    write_gguf(&path, model, words);
    path
}

fn zoo<const N: usize>(paths: [PathBuf; N]) -> Result<ZooManifest> {
    ZooManifest::new(Some("tiny"), &paths.map(Some), "pliant elastify zoo".into())
}

/// Of 32 values a row: embedding 50, final norm 1; per layer two norms, 96 rows of Q and O each, 48
/// of K and V each, 3 · 96 of the MLP: 578. 51 + 3 · 578 = 1785, 51 + 2 · 578 = 1207: 68 %.
#[test]
fn levels_are_shares_of_the_largest_members_parameters() {
    let folder = tempfile::tempdir().unwrap();
    let large = put(folder.path(), "large.gguf", &random_model(1), "a");
    let small = put(folder.path(), "small.gguf", &smaller(), "a");
    let zoo = zoo([large, small]).unwrap();
    let found: Vec<_> = zoo.members.iter().map(|m| (m.level.as_percent(), m.parameters)).collect();
    assert_eq!(found, [(68, 32 * 1207), (100, 32 * 1785)]);
    assert_eq!(zoo.members[0].describe(), "68 %: small, 0.0M parameters, F32");
    assert_eq!(zoo.identity().config, random_model(1).config);
    let layers: Vec<_> = zoo.members.iter().map(|m| m.sub_model().layers.len()).collect();
    assert_eq!(layers, [2, 3]);
}

/// Some files have the embedding once more as the head, quantised otherwise: it is the same model.
#[test]
fn a_tied_head_counts_once_and_a_head_of_its_own_counts() {
    let folder = tempfile::tempdir().unwrap();
    let plain = DenseModel { head: None, ..random_model(1) };
    let mut again = plain.embedding.clone();
    for number in &mut again {
        *number *= 1.02;
    }
    let other = plain.embedding.iter().rev().copied().collect();
    let parameters = |head: Option<Vec<f32>>| {
        let model = DenseModel { head, ..plain.clone() };
        let path = put(folder.path(), "model.gguf", &model, "a");
        Gguf::open(&path).unwrap().parameters().unwrap()
    };
    let tied = parameters(None);
    assert_eq!(parameters(Some(again)), tied);
    assert_eq!(parameters(Some(other)), tied + plain.embedding.len() as u64);
}

/// The name of a base model is of one file only.
#[test]
fn a_zoo_is_not_named_after_a_model_that_it_is_not_of() {
    let folder = tempfile::tempdir().unwrap();
    let large = put(folder.path(), "large.gguf", &random_model(1), "a");
    let refused = |name: &str| {
        let zoo = ZooManifest::new(Some(name), &[Some(large.clone())], String::new());
        zoo.unwrap_err().to_string().split_once("large.gguf").unwrap().1.to_owned()
    };
    let message = refused("smollm2-135m-instruct");
    assert!(message.starts_with(": not the file of smollm2-135m-instruct; found sha256"));
}

#[test]
fn a_zoo_is_read_back_with_files_beside_it_and_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("zoo.json");
    let large = put(folder.path(), "large.gguf", &random_model(1), "a");
    let small = put(folder.path(), "small.gguf", &smaller(), "a");
    zoo([small, large]).unwrap().save(&path).unwrap();
    let Manifest::Zoo(zoo) = Manifest::load(&path).unwrap() else { panic!("a zoo") };
    assert_eq!(zoo.members[1].file, Some("large.gguf".into()));
    let files = zoo.open(&path, None).unwrap();
    assert_eq!(files[0].config().unwrap(), smaller().config);
    put(folder.path(), "small.gguf", &random_model(9), "a");
    let message = zoo.open(&path, None).unwrap_err().to_string();
    assert!(message.contains("small.gguf: not the model that the zoo was made from"), "{message}");
}

#[test]
fn a_member_with_another_tokenizer_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let large = put(folder.path(), "large.gguf", &random_model(1), "a");
    let small = put(folder.path(), "small.gguf", &smaller(), "b");
    let message = zoo([large, small]).unwrap_err().to_string();
    let message = message.replace(&folder.path().display().to_string(), "FOLDER");
    assert!(
        message.starts_with(
            "FOLDER/small.gguf, keys \"tokenizer.ggml.*\": tokenizer of another family; found sha256"
        ) && message.ends_with(", that of FOLDER/large.gguf"),
        "{message}"
    );
}

#[test]
fn an_empty_zoo_and_two_members_of_one_level_are_refused() {
    assert_eq!(zoo([]).unwrap_err().to_string(), "zoo: no member; allowed: one GGUF file or more");
    let folder = tempfile::tempdir().unwrap();
    let one = put(folder.path(), "one.gguf", &random_model(1), "a");
    let two = put(folder.path(), "two.gguf", &random_model(2), "a");
    let message = zoo([one, two]).unwrap_err().to_string();
    assert!(
        message
            .starts_with("zoo, key \"members\": two members of one level, or out of order; found"),
        "{message}"
    );
}

#[test]
fn a_manifest_is_a_zoo_or_a_ladder_by_its_family_and_refused_as_what_it_says_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("family.json");
    let refusal = |json: &str| {
        std::fs::write(&path, json).unwrap();
        Manifest::load(&path).unwrap_err().to_string()
    };
    let ladder = refusal("{\"ladder\": {\"family\": \"width\"}}");
    assert!(ladder.contains("not an elastic manifest: missing field"), "{ladder}");
    let zoo = refusal("{\"family\": \"zoo\", \"size\": 1}");
    assert!(zoo.contains("not an elastic manifest: unknown field `size`"), "{zoo}");
}

#[test]
fn a_member_of_dimensions_that_no_model_has_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let large = put(folder.path(), "large.gguf", &random_model(1), "a");
    let mut zoo = zoo([large]).unwrap();
    zoo.members[0].config.intermediate = 1 << 40;
    let path = folder.path().join("zoo.json");
    std::fs::write(&path, serde_json::to_vec(&zoo).unwrap()).unwrap();
    let message = Manifest::load(&path).unwrap_err().to_string();
    assert!(message.contains("key \"config.intermediate\": dimension out of range"), "{message}");
}
