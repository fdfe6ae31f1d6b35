//! `pliant device`: profiles of what others have published.

use std::fs;
use std::path::Path;

use pliant::input::Input;
use pliant::profile::import::{Facts, Format, ImportSpec, Only, import};
use pliant::profile::{DeviceProfile, Origin, Phase};

use crate::support::{pliant, shared_data};

const PERF: &str = "precisions:\n  w4a16:\n    components:\n      Tiny:\n        \
    performance_metrics:\n          Phone:\n            genie:\n              llm_metrics:\n                \
    - context_length: 4096\n                  time_to_first_token_range_milliseconds:\n                    \
    min: 32.0\n                    max: 1024.0\n                  tokens_per_second: 50\n";

/// A folder with `perf.yaml`.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("perf.yaml"), PERF).unwrap();
    folder
}

const IMPORT: [&str; 9] = [
    "device",
    "import",
    "perf.yaml",
    "--format",
    "ai-hub",
    "--out",
    "phones/mine",
    "--fact",
    "weight-bytes=1000",
];

#[test]
fn an_import_writes_a_profile_and_says_what_it_filled_in() {
    let folder = folder();
    pliant(folder.path())
        .args(IMPORT)
        .assert()
        .success()
        .stdout_eq(
            "phones/mine: tiny width 100 %: TTFT 32.0 ms at 128, 256 at 1024 tokens; TPOT 20.0 ms at \
             128, 20.0 at 1024; points: 2 measured, 1 computed, 6 modelled\n",
        )
        .stderr_eq(
            "warning: tiny, width 100 %, prefill at 64, 256, 1024 tokens: modelled, TTFT in proportion \
             to prompt tokens, through the one published length\n\
             warning: tiny, width 100 %, decode at 64, 256, 1024 tokens: modelled, TPOT is the \
             published one at every context\n",
        );
    let profile = DeviceProfile::load(&folder.path().join("phones/mine")).unwrap();
    assert_eq!((&*profile.name, profile.hardware.cores), ("mine", None));
    assert_eq!(profile.family("tiny", "width").unwrap().provenance.label(), "published");
}

#[test]
fn json_carries_points_and_typed_warnings() {
    let folder = folder();
    let output = pliant(folder.path()).args(IMPORT).arg("--json").output().unwrap();
    let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["families"][0]["level"][0]["point"][0]["origin"], "measured");
    assert_eq!(result["warnings"][0]["kind"], "filled");
}

#[test]
fn what_cannot_be_imported_ends_with_exit_code_2_and_writes_nothing() {
    let folder = folder();
    fs::write(folder.path().join("other.json"), "{\"speed\": 3}").unwrap();
    let refused = |arguments: &[&str], message: &str| {
        pliant(folder.path()).args(arguments).assert().code(2).stdout_eq("").stderr_eq(message);
    };
    let other = ["device", "import", "other.json", "--format", "llama-bench", "--out", "phones/x"];
    refused(
        &other,
        "pliant: other.json, entry 1: not written by llama-bench; found keys speed; allowed: keys \
         n_prompt, n_gen\n",
    );
    let wrong = [&IMPORT[..], &["--fact", "cores=many"]].concat();
    refused(
        &wrong,
        "pliant: argument --fact, cores: not a whole number above 0; found many; allowed: 1, 2, 3, …\n",
    );
    let unknown = [&IMPORT[..], &["--where", "colour=red"]].concat();
    refused(
        &unknown,
        "pliant: argument --where: unknown key; found colour; allowed: device, model, runtime, \
         precision\n",
    );
    let like = [&IMPORT[..], &["--sub-models-like", "nothing"]].concat();
    refused(
        &like,
        "pliant: argument --sub-models-like: not a device and a model; found nothing; allowed: a \
         folder, a slash and the name of a base model\n",
    );
    assert!(!folder.path().join("phones").exists());
}

fn spec(format: Format, only: &[&str], facts: &[&str]) -> ImportSpec {
    let pairs = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>();
    ImportSpec {
        format,
        name: "phone".to_owned(),
        only: Only::of(&pairs(only)).unwrap(),
        facts: Facts::of(&pairs(facts)).unwrap(),
        shape: None,
        sub_models: None,
    }
}

#[test]
fn every_perf_file_has_one_measured_prompt() {
    let Some(folder) = shared_data(Path::new("phones/ai-hub-models")) else { return };
    let mut imported = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "yaml") {
            continue;
        }
        let input = [Input::read(&path).unwrap()];
        let only = ["device=Snapdragon 8 Elite QRD", "precision=w4a16"];
        let spec = spec(Format::AiHub, &only, &["weight-bytes=1"]);
        // Not every model was run at that precision on that device.
        let Ok(one) = import(&input, &spec, None) else { continue };
        imported += 1;
        let points = &one.profile.families[0].full().points;
        let prefill = points.iter().filter(|point| point.phase == Phase::Prefill);
        let measured = prefill.filter(|point| point.origin == Origin::Measured);
        assert_eq!(measured.count(), 1, "{}", path.display());
    }
    assert!(imported > 15, "{imported}");
}

#[test]
fn every_cool_run_of_apple_silicon_llm_bench_with_a_length_is_imported() {
    let Some(folder) = shared_data(Path::new("phones/apple-silicon-llm-bench")) else { return };
    let (mut imported, mut without) = (0, 0);
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if !path.to_string_lossy().contains("-short-chat-") {
            continue;
        }
        let input = [Input::read(&path).unwrap()];
        let facts = ["weight-bytes=1", "version=27", "precision=4 bits"];
        match import(&input, &spec(Format::AppleSilicon, &[], &facts), None) {
            Ok(_) => imported += 1,
            Err(error) if error.to_string().contains("no length") => without += 1,
            Err(error) => panic!("{}: {error}", path.display()),
        }
    }
    assert!(imported > 90, "{imported}");
    assert!(without > 5, "LiteRT-LM counts no prompt tokens: {without}");
}

#[test]
fn a_committed_phone_is_what_its_source_says() {
    let name = Path::new("phones/ai-hub-models/llama_v3_2_1b_instruct__perf.yaml");
    let Some(path) = shared_data(name) else { return };
    let only = ["device=Snapdragon 8 Elite Gen 5 QRD", "precision=w4a16"];
    let facts = ["base-model=llama-3.2-1b", "weight-bytes=620000000"];
    let input = [Input::read(&path).unwrap()];
    let made = import(&input, &spec(Format::AiHub, &only, &facts), None).unwrap().profile;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("device-profiles");
    let committed = DeviceProfile::load_stated(&root.join("snapdragon-8-elite-gen5")).unwrap();
    let full = |profile: &DeviceProfile| profile.base("llama-3.2-1b").unwrap().clone();
    assert_eq!(full(&made), full(&committed));
}
