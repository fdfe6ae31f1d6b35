//! Base models by name and by file: what is refused, in one message, with nothing written.

use std::fs;
use std::path::{Path, PathBuf};

use pliant::assets::{self, BaseModel, Package, Store};
use pliant::engine::generate::generate;
use pliant::engine::{EngineOptions, gguf::Gguf};
use pliant::model::{ElasticModel, ElasticSource, manifest_folder};
use pliant::prompt::Tokenize as _;
use pliant::units::Level;
use snapbox::str;

use crate::support::{pliant, skipped};

const SECOND: &str = "qwen2.5-coder-0.5b-instruct";

/// What `pliant` says and how it ends, in `folder` with an empty cache.
fn refused(folder: &Path, arguments: &str, said: impl snapbox::IntoData) {
    let mut command = pliant(folder).env("PLIANT_CACHE", folder.join("cache"));
    command = command.args(arguments.split(' '));
    command.assert().code(2).stdout_eq("").stderr_eq(said);
}

/// A GGUF file of `architecture` and nothing else.
fn write_gguf(path: &Path, architecture: &str) {
    let text = |text: &str| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
    let counts = [0u64, 1].map(u64::to_le_bytes).concat();
    let key = text("general.architecture");
    let header = [&b"GGUF"[..], &3u32.to_le_bytes(), &counts, &key, &8u32.to_le_bytes()].concat();
    fs::write(path, [header, text(architecture)].concat()).unwrap();
}

#[test]
fn an_unknown_base_model_is_one_error_that_names_the_known_ones() {
    let folder = tempfile::tempdir().unwrap();
    for command in
        ["ask hi", "profile quality", "profile latency --device d", "elastify", "elastify recover"]
    {
        refused(
            folder.path(),
            &format!("{command} --base-model gemma"),
            str![[r"
pliant: base model: unknown; found gemma; allowed: smollm2-135m-instruct, qwen2.5-coder-0.5b-instruct

"]],
        );
    }
    for command in ["elastify all", "elastify tlm decide --name n", "elastify tlm train-score"] {
        refused(
            folder.path(),
            &format!("{command} --base-model gemma"),
            str![[r"
error: invalid value 'gemma' for '--base-model <NAME>': base model: unknown; found gemma; allowed: smollm2-135m-instruct, qwen2.5-coder-0.5b-instruct

For more information, try '--help'.

"]],
        );
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_base_model_that_is_not_fetched_says_how_to_fetch_it() {
    let folder = tempfile::tempdir().unwrap();
    refused(
        folder.path(),
        &format!("ask hi --base-model {SECOND}"),
        str![[r"
pliant: qwen2.5-coder-0.5b-instruct: not fetched; found no such file of 491400064 bytes: [..]/cache/models/qwen2.5-coder-0.5b-instruct.gguf; allowed: run `pliant assets fetch qwen2.5-coder-0.5b-instruct`

"]],
    );
}

#[test]
fn a_file_of_another_hash_is_not_taken_for_the_model_that_was_named() {
    let folder = tempfile::tempdir().unwrap();
    write_gguf(&folder.path().join("other.gguf"), "llama");
    for command in ["ask hi", "elastify", "profile quality", "elastify recover"] {
        let arguments = format!("{command} --base-model {SECOND} --model other.gguf");
        refused(
            folder.path(),
            &arguments,
            str![[r"
pliant: other.gguf: not the file of qwen2.5-coder-0.5b-instruct; found sha256 [..]; allowed: sha256 1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32

"]],
        );
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn an_architecture_that_the_engine_does_not_run_is_named_with_those_that_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    write_gguf(&folder.path().join("model.gguf"), "gemma3");
    for command in ["ask hi", "profile latency --device d", "elastify recover"] {
        refused(
            folder.path(),
            &format!("{command} --model model.gguf"),
            str![[r#"
pliant: model.gguf, key "general.architecture": unsupported architecture; found gemma3; allowed: llama, qwen2

"#]],
        );
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn the_offline_stage_of_a_second_base_model_is_printed_as_commands_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["elastify", "all", "--dry-run", "--base-model", SECOND];
    let said = pliant(folder.path()).args(arguments).assert().success();
    let commands = String::from_utf8_lossy(&said.get_output().stdout).into_owned();
    assert!(commands.contains(&format!("pliant assets fetch {SECOND}\n")), "{commands}");
    assert!(!commands.contains("smollm2"), "{commands}");
}

/// The second base model's file, or `None`, said, where it was not fetched.
fn second() -> Option<PathBuf> {
    let file = Store::of_user().unwrap().base_model(BaseModel::named(SECOND).unwrap()).ok();
    if file.is_none() {
        skipped(&format!("`pliant assets fetch {SECOND}`"));
    }
    file
}

#[test]
fn the_second_base_model_is_what_the_documents_say() {
    let Some(file) = second() else { return };
    let gguf = Gguf::open(&file).unwrap();
    let config = gguf.config().unwrap();
    assert_eq!((config.layers, config.hidden, config.intermediate), (24, 896, 4864));
    assert_eq!((config.heads, config.kv_heads, config.head_dim), (14, 2, 64));
    assert_eq!(gguf.quantisation_label(), "Q5_0 + Q8_0 + Q6_K + Q4_K dequantised to f32");
    assert_eq!(gguf.parameters().unwrap(), 494_032_768, "its head is its embedding, counted once");
}

/// The committed ladder opens by its hash alone, and its full model answers as the base model does.
#[test]
fn the_second_base_model_answers_by_its_own_ladder() {
    if second().is_none() {
        return;
    }
    if assets::main_file(Package::OnnxRuntime).is_err() {
        skipped("`pliant assets fetch onnxruntime`");
        return;
    }
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join(manifest_folder(SECOND));
    let source = ElasticSource {
        manifest: manifest.join("width.json"),
        gguf: None,
        threads: 1,
        options: EngineOptions::default(),
    };
    let mut model = ElasticModel::open(&source).unwrap();
    assert_eq!(model.identity().base_model, SECOND);
    let tokens = model.tokenizer.encode("def add(a, b):\n    return");
    let answer = generate(&mut model.engine, Level::FULL, &tokens, 4, None).unwrap();
    assert_eq!(model.tokenizer.decode(&answer.tokens), " a + b\n\n");
}
