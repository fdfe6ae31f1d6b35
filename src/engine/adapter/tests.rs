//! Adapters written, read back, and refused.

use super::*;
use crate::engine::model::LayerOrder;
use crate::engine::reference::{identity_order, random_model};

fn sub_model(config: &ModelConfig) -> SubModel {
    let shape = |groups, neurons| LayerShape { groups, neurons };
    assert_eq!(config.layers, 3);
    SubModel { level: Level::percent(50), layers: vec![shape(3, 48), shape(1, 16), shape(0, 8)] }
}

/// Values that f16 holds exactly, different everywhere.
fn adapter() -> Adapter {
    let config = random_model(1).config;
    let sub_model = sub_model(&config);
    let mut adapter = Adapter::zero(&target(&config, &sub_model));
    let mut next = 0;
    for layer in &mut adapter.layers {
        for matrix in Projection::ALL {
            let Some(pair) = layer.place(matrix) else { continue };
            for value in pair.a.iter_mut().chain(&mut pair.b) {
                next = (next + 7) % 2048;
                *value = next as f32 / 1024.0 - 1.0;
            }
        }
    }
    adapter
}

fn target<'a>(config: &'a ModelConfig, sub_model: &'a SubModel) -> AdapterTarget<'a> {
    AdapterTarget { base_model_sha256: "aa", order_sha256: "bb", config, sub_model, rank: 2 }
}

fn file(folder: &tempfile::TempDir) -> std::path::PathBuf {
    folder.path().join("adapters/width-lora-50.safetensors")
}

fn save(adapter: &Adapter) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder);
    let result = adapter.save(&path);
    assert_eq!(path.exists(), result.is_ok());
    result.map_err(|error| error.to_string().replace(&path.display().to_string(), "FILE"))
}

fn check(adapter: &Adapter, target: &AdapterTarget<'_>) -> String {
    adapter.check(Path::new("FILE"), target).unwrap_err().to_string()
}

/// What reading a file of `tensors` under the metadata of [`adapter`] says.
fn load_with(change: impl Fn(&str, Dtype, Vec<usize>) -> Option<(Dtype, Vec<usize>)>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder);
    adapter().save(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let views = tensors.iter().filter_map(|(name, view)| {
        let (dtype, shape) = change(name, view.dtype(), view.shape().to_vec())?;
        Some((name.to_owned(), TensorView::new(dtype, shape, view.data()).unwrap()))
    });
    let bytes = safetensors::serialize(views, header.metadata().clone()).unwrap();
    std::fs::write(&path, bytes).unwrap();
    let error = Adapter::load(&path).unwrap_err().to_string();
    error.replace(&path.display().to_string(), "FILE")
}

#[test]
fn an_adapter_reads_back_as_written_and_is_written_the_same_twice() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder);
    let adapter = adapter();
    adapter.save(&path).unwrap();
    assert_eq!(Adapter::load(&path).unwrap(), adapter);
    let bytes = std::fs::read(&path).unwrap();
    adapter.save(&path).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    // Layer 0 by hand, rank 2: q, o 2·(32 + 96) each, k, v 2·(32 + 48), gate, up, down 2·(32 + 48).
    let layer = Adapter { layers: vec![adapter.layers[0].clone()], ..adapter };
    assert_eq!(layer.values(), 2 * 256 + 5 * 160);
}

#[test]
fn an_adapter_for_its_own_sub_model_is_accepted_and_any_other_refused() {
    let model = random_model(1);
    let config = &model.config;
    let own = sub_model(config);
    let adapter = adapter();
    let target = target(config, &own);
    adapter.check(Path::new("FILE"), &target).unwrap();
    assert_eq!(
        check(&adapter, &AdapterTarget { base_model_sha256: "cc", ..target }),
        "FILE: adapter of another base model; found sha256 aa; allowed: sha256 cc"
    );
    assert_eq!(
        check(&adapter, &AdapterTarget { order_sha256: "cc", ..target }),
        "FILE: adapter of another order of units; found sha256 bb; allowed: sha256 cc"
    );
    assert_eq!(
        check(&adapter, &AdapterTarget { rank: 8, ..target }),
        "FILE: adapter of another rank; found 2; allowed: 8"
    );
    let other = SubModel { level: Level::percent(60), ..own.clone() };
    assert_eq!(
        check(&adapter, &AdapterTarget { sub_model: &other, ..target }),
        "FILE: adapter of another level; found 50 %; allowed: 60 %"
    );
    let mut other = own.clone();
    other.layers[1].neurons = 32;
    assert_eq!(
        check(&adapter, &AdapterTarget { sub_model: &other, ..target }),
        "FILE, layer 1: adapter of another shape; found 32 query rows, 16 key rows, 16 neurons, \
         width 32; allowed: 32 query rows, 16 key rows, 32 neurons, width 32"
    );
    other.layers.pop();
    assert_eq!(
        check(&adapter, &AdapterTarget { sub_model: &other, ..target }),
        "FILE: adapter of another shape; found 3 layers; allowed: 2 layers"
    );
}

#[test]
fn matrices_that_contradict_each_other_are_not_written() {
    let mut wrong = adapter();
    wrong.layers[1].down.as_mut().unwrap().a.pop();
    assert_eq!(
        save(&wrong).unwrap_err(),
        "FILE, layer 1, down: shapes of an adapter contradict each other; found 31 and 64 values \
         of rank 2; allowed: 32 and 64 values of rank 2"
    );
    let mut wrong = adapter();
    wrong.layers[0].k = None;
    assert_eq!(
        save(&wrong).unwrap_err(),
        "FILE, layer 0, v: shapes of an adapter contradict each other; found 64 and 96 values of \
         rank 2; allowed: 0 and 0 values of rank 2"
    );
    let mut wrong = adapter();
    wrong.layers[0].q.as_mut().unwrap().b[3] = f32::NAN;
    assert_eq!(
        save(&wrong).unwrap_err(),
        "FILE, tensor \"0.q.b\": adapter not written; found a value that is not finite in f16"
    );
}

#[test]
fn tensors_that_contradict_the_metadata_are_refused() {
    let keep = |dtype, shape| Some((dtype, shape));
    assert_eq!(
        load_with(|name, dtype, shape| {
            if name == "0.gate.b" {
                Some((dtype, vec![shape[1], shape[0]]))
            } else {
                keep(dtype, shape)
            }
        }),
        "FILE, tensor \"0.gate.b\": tensor contradicts the adapter's metadata; found F16 [2, 48]; \
         allowed: F16 [48, 2]"
    );
    assert_eq!(
        load_with(|name, dtype, shape| {
            keep(if name == "1.o.a" { Dtype::BF16 } else { dtype }, shape)
        }),
        "FILE, tensor \"1.o.a\": tensor contradicts the adapter's metadata; found BF16 [32, 2]; \
         allowed: F16 [32, 2]"
    );
    assert_eq!(
        load_with(|name, dtype, shape| if name == "2.up.a" { None } else { keep(dtype, shape) }),
        "FILE, tensor \"2.up.a\": tensor is missing; allowed: F16 [2, 32]"
    );
}

#[test]
fn what_is_no_adapter_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder);
    let load = || Adapter::load(&path).unwrap_err().to_string();
    assert!(load().contains("width-lora-50.safetensors: cannot read"), "{}", load());
    files::write_whole(&path, b"nothing of the kind").unwrap();
    assert!(load().contains(": not an adapter: "), "{}", load());
    let empty: [(&str, TensorView<'_>); 0] = [];
    files::write_whole(&path, &safetensors::serialize(empty, None).unwrap()).unwrap();
    let message = "not an adapter; found no metadata of its own; allowed: the key \"pliant\"";
    assert!(load().contains(message), "{}", load());
}

#[test]
fn the_hash_of_an_order_is_that_of_its_json() {
    let order = [LayerOrder { groups: vec![1, 0], neurons: vec![2, 0, 1] }];
    let json = r#"[{"groups":[1,0],"neurons":[2,0,1]}]"#;
    assert_eq!(order_sha256(&order), crate::digest::sha256(json.as_bytes()));
    assert_ne!(order_sha256(&order), order_sha256(&identity_order(&random_model(1).config)));
}
