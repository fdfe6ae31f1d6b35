//! Small files of each format, written here: the same model, timed by hand.
//!
//! A prompt of 100 tokens takes 200 ms, one of 300 takes 500: a line with 50 ms and 1.5 ms a token.
//! A token takes 20 ms at a context of 64.

use super::{Facts, Format, ImportSpec, Imported, Only, Pair, Shape, import};
use crate::error::Result;
use crate::input::Input;
use crate::profile::{DeviceProfile, LevelLatency, Origin, Phase, Provenance, SubModels};

fn pairs(texts: &[&str]) -> Vec<Pair> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

const WEIGHTS: &str = "weight-bytes=1000";

fn spec(format: Format, only: &[&str], facts: &[&str]) -> ImportSpec {
    ImportSpec {
        format,
        name: "phone".to_owned(),
        only: Only::of(&pairs(only)).unwrap(),
        facts: Facts::of(&pairs(facts)).unwrap(),
        shape: None,
        sub_models: None,
    }
}

fn of(spec: &ImportSpec, text: &str) -> Result<Imported> {
    import(&[Input::of("bench", text)], spec, None)
}

/// The only level that `text` has.
fn level(spec: &ImportSpec, text: &str) -> LevelLatency {
    let imported = of(spec, text).unwrap();
    assert_eq!(imported.profile.families.len(), 1, "{imported:?}");
    imported.profile.families[0].full().clone()
}

#[track_caller]
fn assert_ms(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
}

/// That the line and the constant above are what was found.
#[track_caller]
fn assert_is_the_model(level: &LevelLatency) {
    assert_ms(level.ttft_ms.intercept, 50.0);
    assert_ms(level.ttft_ms.per_token, 1.5);
    assert_ms(level.tpot_ms.millis(64), 20.0);
    assert_ms(level.tpot_ms.millis(2000), 20.0);
}

#[track_caller]
fn assert_refused(spec: &ImportSpec, text: &str, message: &str) {
    assert_eq!(of(spec, text).unwrap_err().to_string(), message);
}

const LLAMA_BENCH: &str = r#"[
 {"build_commit": "abc", "cpu_info": "Chip", "gpu_info": "", "backends": "CPU", "n_threads": 4,
  "model_type": "llama 1B Q4_0", "model_size": 900, "n_prompt": 100, "n_gen": 0, "n_depth": 0,
  "avg_ns": 210000000, "avg_ts": 480.0, "samples_ns": [190000000, 200000000, 240000000]},
 {"build_commit": "abc", "cpu_info": "Chip", "gpu_info": "", "backends": "CPU", "n_threads": 4,
  "model_type": "llama 1B Q4_0", "model_size": 900, "n_prompt": 300, "n_gen": 0, "n_depth": 0,
  "avg_ns": 500000000, "avg_ts": 600.0},
 {"build_commit": "abc", "cpu_info": "Chip", "gpu_info": "", "backends": "CPU", "n_threads": 4,
  "model_type": "llama 1B Q4_0", "model_size": 900, "n_prompt": 0, "n_gen": 128, "n_depth": 0,
  "avg_ns": 2560000000, "avg_ts": 50.0},
 {"build_commit": "abc", "cpu_info": "Chip", "gpu_info": "", "backends": "CPU", "n_threads": 4,
  "model_type": "llama 1B Q4_0", "model_size": 900, "n_prompt": 100, "n_gen": 128, "n_depth": 0,
  "avg_ns": 2760000000, "avg_ts": 82.6}
]"#;

#[test]
fn llama_bench_says_the_same_in_each_of_its_forms() {
    let spec = spec(Format::LlamaBench, &[], &[]);
    let imported = of(&spec, LLAMA_BENCH).unwrap();
    let known = &imported.profile;
    assert_eq!((&*known.hardware.cpu, &*known.runtime.name), ("Chip", "llama.cpp CPU"));
    assert_eq!((known.runtime.version.as_deref(), known.runtime.threads), (Some("abc"), Some(4)));
    assert_eq!((&*known.runtime.precision, known.hardware.memory_bytes), ("Q4_0", None));
    assert_eq!(imported.base_models, ["llama-1b-q4-0"]);
    let from_json = known.families[0].full().clone();
    assert_is_the_model(&from_json);
    assert_eq!(from_json.resident_bytes, 900);
    // The median of the three repetitions stands, and that they are three.
    let first = &from_json.points[0];
    assert_eq!((first.phase, first.tokens, first.repetitions), (Phase::Prefill, 100, Some(3)));
    assert_ms(first.ms, 200.0);
    // The fourth test times both phases, and says nothing of either.
    assert!(imported.warnings[0].to_string().contains("times prompt and answer together"));

    let lines: Vec<String> = serde_json::from_str::<Vec<serde_json::Value>>(LLAMA_BENCH)
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_is_the_model(&level(&spec, &lines.join("\n")));

    let csv = "cpu_info,backends,model_type,model_size,n_prompt,n_gen,n_depth,avg_ns,avg_ts\n\
        Chip,CPU,llama 1B Q4_0,900,100,0,0,200000000,500\n\
        Chip,CPU,llama 1B Q4_0,900,300,0,0,500000000,600\n\
        Chip,CPU,llama 1B Q4_0,900,0,128,0,2560000000,50\n";
    assert_is_the_model(&level(&spec, csv));

    let insert = "INSERT INTO test (cpu_info, backends, model_type, model_size, n_prompt, n_gen, \
        avg_ns) VALUES ";
    let sql = format!(
        "CREATE TABLE IF NOT EXISTS test (cpu_info TEXT);\n\n\
         {insert}('it''s a (small) Chip, 2', 'CPU', 'llama 1B Q4_0', '900', '100', '0', '200000000');\n\
         {insert}('it''s a (small) Chip, 2', 'CPU', 'llama 1B Q4_0', '900', '300', '0', '500000000');\n\
         {insert}('it''s a (small) Chip, 2', 'CPU', 'llama 1B Q4_0', '900', '0', '128', '2560000000');\n"
    );
    let from_sql = of(&spec, &sql).unwrap().profile;
    assert_eq!(from_sql.hardware.cpu, "it's a (small) Chip, 2");
    assert_is_the_model(from_sql.families[0].full());

    let md = "| model | size | params | backend | threads | test | t/s |\n\
        | --- | ---: | ---: | --- | ---: | ---: | ---: |\n\
        | llama 1B Q4_0 | 1.50 MiB | 1.24 B | CPU | 4 | pp100 | 500.00 ± 3.10 |\n\
        | llama 1B Q4_0 | 1.50 MiB | 1.24 B | CPU | 4 | pp300 | 600.00 ± 3.10 |\n\
        | llama 1B Q4_0 | 1.50 MiB | 1.24 B | CPU | 4 | tg128 | 50.00 ± 0.10 |\n\n\
        build: abc (1)\n";
    let from_md = level(&with_cpu(), md);
    assert_is_the_model(&from_md);
    assert_eq!(from_md.resident_bytes, 1_572_864);
}

/// Markdown does not say on what it ran.
fn with_cpu() -> ImportSpec {
    spec(Format::LlamaBench, &[], &["cpu=Chip"])
}

#[test]
fn a_token_deep_in_a_context_stands_at_it() {
    let md = "| model | size | backend | test | t/s |\n| --- | --- | --- | --- | --- |\n\
        | a 1B Q8_0 | 1 GiB | CPU | pp100 | 500 |\n| a 1B Q8_0 | 1 GiB | CPU | tg128 | 50 |\n\
        | a 1B Q8_0 | 1 GiB | CPU | tg128 @ d1000 | 25 |\n";
    let level = level(&with_cpu(), md);
    // 20 ms at 64, 40 ms at 1064.
    assert_ms(level.tpot_ms.per_context_token, 0.02);
    assert_ms(level.tpot_ms.millis(1064), 40.0);
    // One length alone: in proportion.
    assert_ms(level.ttft_ms.millis(1000), 2000.0);
    let filled: Vec<_> = level.points.iter().filter(|it| it.origin == Origin::Modelled).collect();
    let of = |phase| filled.iter().filter(move |it| it.phase == phase).map(|it| it.tokens);
    assert_eq!(of(Phase::Prefill).collect::<Vec<_>>(), [64, 256, 1024]);
    assert_eq!(of(Phase::Decode).count(), 0, "64 to 1064 are reached");
}

const AI_HUB: &str = "\
precisions:
  w4a16:
    components:
      Tiny-1B:
        performance_metrics:
          Phone 1:
            genie:
              llm_metrics:
                - context_length: 4096
                  time_to_first_token_range_milliseconds:
                    min: 32.0
                    max: 1024.0
                  tokens_per_second: 50
          Phone 2:
            genie:
              llm_metrics:
                - context_length: 4096
                  time_to_first_token_range_milliseconds:
                    min: 32.0
                    max: 900.0
                  tokens_per_second: 50
";

#[test]
fn a_time_that_is_the_shortest_by_the_number_of_chunks_was_computed_and_fits_nothing() {
    let of_phone = |phone| spec(Format::AiHub, &[phone], &[WEIGHTS]);
    let first = level(&of_phone("device=Phone 1"), AI_HUB);
    let longest = first.points.iter().find(|it| it.tokens == 4096).unwrap();
    assert_eq!((longest.origin, longest.phase), (Origin::Computed, Phase::Prefill));
    // 32 ms for 128 tokens, 20 ms a token at every context.
    assert_ms(first.ttft_ms.per_token, 0.25);
    assert_ms(first.ttft_ms.intercept, 0.0);
    assert_ms(first.tpot_ms.millis(4000), 20.0);
    assert_eq!(first.ttft_ms.tokens.map(|range| (range.min, range.max)), Some((128, 128)));
    // 900 ms is no whole number of times 32: that was measured, and there is a line through both.
    let second = level(&of_phone("device=Phone 2"), AI_HUB);
    assert!(second.points.iter().all(|it| it.origin != Origin::Computed));
    assert_ms(second.ttft_ms.per_token, (900.0 - 32.0) / (4096.0 - 128.0));
}

#[test]
fn where_a_file_has_several_somebody_says_which() {
    assert_refused(
        &spec(Format::AiHub, &[], &[WEIGHTS]),
        AI_HUB,
        "bench: several of key \"device\", and nobody says which; found Phone 1, Phone 2; \
         allowed: `--where device=…` with one of them, or `--fact`",
    );
    assert_refused(
        &spec(Format::AiHub, &["device=Phone 3"], &[WEIGHTS]),
        AI_HUB,
        "bench: nothing of what is asked for; found Tiny-1B | Phone 1 | genie | w4a16; Tiny-1B | \
         Phone 2 | genie | w4a16; allowed: `--where` with a model, device, runtime and precision \
         that are there",
    );
    assert_refused(
        &spec(Format::AiHub, &["device=Phone 1"], &[]),
        AI_HUB,
        "bench: does not say the size of the weights; allowed: `--fact weight-bytes=…`",
    );
}

#[test]
fn what_contradicts_itself_or_is_another_tools_is_refused_by_place() {
    let llama = spec(Format::LlamaBench, &[], &[]);
    assert_refused(
        &llama,
        "[{\"prompt\": 3, \"tokens\": 4}]",
        "bench, entry 1: not written by llama-bench; found keys prompt, tokens; allowed: keys \
         n_prompt, n_gen",
    );
    // 100 tokens in 200 ms are 500 a second: a rate of 0.5 is one of a millisecond.
    assert_refused(
        &llama,
        "[{\"n_prompt\": 100, \"n_gen\": 0, \"avg_ns\": 200000000, \"avg_ts\": 0.5}]",
        "bench, entry 1, key \"avg_ts\": contradicts what stands beside it; found 0.5; allowed: \
         about 500.000000, in the units of the names",
    );
    assert_refused(
        &llama,
        "[{\"n_prompt\": 0, \"n_gen\": 0, \"avg_ns\": 5}]",
        "bench, entry 1, key \"n_prompt\": no length: nobody knows of how many tokens the times \
         are; allowed: tokens above 0, or `--fact prompt-tokens=N` where they are known otherwise",
    );
    assert_refused(
        &llama,
        "[{\"n_prompt\": 100, \"n_gen\": 0, \"avg_ns\": -5}]",
        "bench, entry 1, key \"avg_ns\": not above 0; found -5; allowed: a number above 0",
    );
    let refused = of(&spec(Format::AiHub, &[], &[]), "[1, 2").unwrap_err().to_string();
    assert!(refused.starts_with("bench, line 1: not YAML of the kind "), "{refused}");
    let refused = of(&llama, "{\"n_prompt\": ").unwrap_err().to_string();
    assert!(refused.starts_with("bench, line 1: not JSON: "), "{refused}");
    assert_refused(
        &spec(Format::AiHub, &[], &[]),
        "models: {}\n",
        "bench, document 1: not written by ai-hub-models; found keys models; allowed: keys \
         precisions",
    );
}

const APPLE: &str = r#"{"id": "A", "task": "short-chat", "runtime": "core-ai",
 "device": {"modelIdentifier": "iPhone18,1", "physicalMemoryMB": 8000, "processorCount": 6},
 "model": {"id": "core-ai/tiny", "quantization": "INT4", "onDiskSizeMB": 2},
 "metrics": {"firstTokenLatencyMS": 200, "promptTokenCount": 100, "generatedTokenCount": 28,
  "decodeTokensPerSecond": 50, "interTokenLatencyP50MS": 19.5, "decodeRateRollingWindow": []}}"#;

#[test]
fn a_run_of_apple_silicon_llm_bench_is_a_point_of_each_phase() {
    let spec = spec(Format::AppleSilicon, &[], &[]);
    let imported = of(&spec, APPLE).unwrap();
    let profile = &imported.profile;
    assert_eq!(profile.hardware.cores, Some(6));
    assert_eq!(profile.hardware.memory_bytes, Some(8_000_000_000));
    assert_eq!(imported.base_models, ["core-ai-tiny"]);
    let full = profile.families[0].full();
    assert_eq!(full.resident_bytes, 2_000_000);
    let measured = full.points.iter().filter(|point| point.origin == Origin::Measured);
    let measured: Vec<_> = measured.map(|point| (point.phase, point.tokens, point.ms)).collect();
    assert_eq!(measured, [(Phase::Prefill, 100, 200.0), (Phase::Decode, 114, 20.0)]);
    assert_eq!(full.points[0].source, "bench, run A");
    let Provenance::Published { sources, filled } = &profile.families[0].provenance else {
        panic!("{profile:?}")
    };
    assert_eq!(sources.as_slice(), ["bench, run A"]);
    assert_eq!(filled.len(), 3, "both phases and the switch, nothing by hand: {filled:?}");
    // Gaps of 19.5 s at 50 tokens a second are milliseconds by another name.
    let wrong = APPLE.replace("19.5", "19500");
    assert!(of(&spec, &wrong).unwrap_err().to_string().contains("contradicts"));
    let silent = APPLE.replace("\"promptTokenCount\": 100", "\"promptTokenCount\": 0");
    assert!(of(&spec, &silent).unwrap_err().to_string().contains("no length"));
}

#[test]
fn of_a_sustained_run_the_first_seconds_are_of_a_cool_device() {
    // 40 tokens a second for five seconds, then 20: 200 tokens are written by then.
    let series = [vec!["40"; 5], vec!["20"; 30]].concat().join(", ");
    let text = APPLE.replace("Window\": []", &format!("Window\": [{series}]"));
    let refused = of(&spec(Format::AppleSilicon, &[], &[]), &text).unwrap_err().to_string();
    assert!(refused.contains("no length"), "its prompts are counted together: {refused}");
    let level = level(&spec(Format::AppleSilicon, &[], &["prompt-tokens=50"]), &text);
    let decode = level.points.iter().find(|it| it.phase == Phase::Decode).unwrap();
    assert_eq!((decode.tokens, decode.ms), (150, 25.0));
}

#[test]
fn a_sweep_over_contexts_is_fitted_and_its_remarks_are_left_out() {
    let cell = |tokens: u32, ttft: u32, rate: f64| {
        format!(
            "{{\"model\": \"T\", \"quant\": \"int4\", \"device\": \"phone\", \"runtime\": \"NPU\", \
             \"context_tokens\": {tokens}, \"ttft_ms\": {ttft}, \"decode_tps\": {rate}, \
             \"prefill_tps_from_ttft\": {}}}",
            f64::from(tokens) * 1000.0 / f64::from(ttft)
        )
    };
    let mut text = [cell(100, 200, 50.0), cell(300, 500, 40.0)].join("\n");
    text += "\n{\"model\": \"T\", \"note\": \"fails at 4000\"}\n";
    let spec = spec(Format::AppleSilicon, &[], &[WEIGHTS]);
    let imported = of(&spec, &text).unwrap();
    let full = imported.profile.families[0].full();
    assert_ms(full.ttft_ms.per_token, 1.5);
    // 20 ms at 100, 25 ms at 300.
    assert_ms(full.tpot_ms.millis(200), 22.5);
    assert_eq!(imported.warnings[0].to_string(), "bench, line 3: no times of one answer, left out");
}

#[test]
fn mlperf_counts_the_first_token_into_a_rate_of_all_and_it_is_taken_out() {
    let run = |rate: &str| {
        format!(
            "{{\"Model Name\": \"T\", \"Device Type\": \"NPU\", \"Execution Provider Name\": \
             \"QNN\", \"category_results\": {{\"Overall\": {{}}, \"Code\": {{\
             \"Avg Time to First Token\": 0.2, {rate}, \"Avg Input Tokens\": 100, \
             \"Avg Generated Tokens\": 21}}}}}}"
        )
    };
    let spec = spec(Format::MlperfClient, &[], &["precision=int4", WEIGHTS]);
    let later = level(&spec, &run("\"Avg 2nd+ Token Generation Rate\": 50"));
    assert_ms(later.ttft_ms.millis(100), 200.0);
    assert_ms(later.tpot_ms.millis(110), 20.0);
    // 21 tokens at 35 a second take 600 ms, 200 of them the first: 400 ms for 20 others.
    let whole = level(&spec, &run("\"Avg Token Generation Rate\": 35"));
    assert_ms(whole.tpot_ms.millis(110), 20.0);
    let decode = whole.points.iter().find(|it| it.phase == Phase::Decode).unwrap();
    assert_eq!(decode.origin, Origin::Computed);
    let refused = of(&spec, &run("\"Avg Token Generation Rate\": 200")).unwrap_err().to_string();
    assert!(refused.contains("contradicts what stands beside it; found 200"), "{refused}");
}

#[test]
fn onnxruntime_genai_times_one_sequence_at_a_time() {
    let record = |batch: u32| {
        format!(
            "[{{\"config\": {{\"backend\": \"onnxruntime-genai\", \"batch_size\": {batch}, \
             \"precision\": \"int4\", \"model_info\": {{\"full_name\": \"T\"}}, \
             \"prompt_length\": 100, \"tokens_generated\": 20}}, \"metadata\": {{\"device\": \
             \"cpu\", \"package_version\": \"0.5\"}}, \"metrics\": {{\
             \"prompt_processing_latency_ms\": 200, \"prompt_processing_throughput_tps\": 500, \
             \"token_generation_latency_ms\": 20, \"token_generation_throughput_tps\": 50}}}}]"
        )
    };
    let spec = spec(Format::OrtGenai, &[], &[WEIGHTS]);
    let level = level(&spec, &record(1));
    assert_ms(level.ttft_ms.millis(100), 200.0);
    assert_ms(level.tpot_ms.millis(110), 20.0);
    assert_refused(
        &spec,
        &record(4),
        "bench, entry 1, key \"config\", key \"batch_size\": several sequences at a time; found 4; \
         allowed: 1",
    );
}

const SLICES: &str = "family,level,phase,tokens,repetition,ms\n\
    width,50,prefill,1000,0,400\nwidth,50,decode,1000,0,60\n\
    width,100,prefill,1000,0,1000\nwidth,100,decode,1000,0,100\n";

const SAID: [&str; 5] =
    ["base-model=tiny", "cpu=Chip", "runtime=R", "precision=int4", "weight-bytes=2000"];

#[test]
fn our_own_samples_may_be_of_several_levels() {
    let imported = of(&spec(Format::Samples, &[], &SAID), SLICES).unwrap();
    let levels = &imported.profile.families[0].levels;
    assert_eq!(levels.iter().map(|it| it.level.as_percent()).collect::<Vec<_>>(), [50, 100]);
    assert_eq!(levels[0].resident_bytes, 1000);
    assert_ms(levels[0].tpot_ms.millis(5), 60.0);
    let without = SLICES.replace("width,50,decode,1000,0,60\n", "");
    assert_refused(
        &spec(Format::Samples, &[], &SAID),
        &without,
        "bench, tiny, width 50 %: no output token was timed; allowed: one length or more of each phase",
    );
}

/// A device whose TTFT is 100 ms + 1 ms a token and whose TPOT is 10 ms + 0.01 ms a token.
fn shaped() -> DeviceProfile {
    let samples = "family,level,phase,tokens,repetition,ms\n\
        width,100,prefill,100,0,200\nwidth,100,prefill,1100,0,1200\n\
        width,100,decode,0,0,10\nwidth,100,decode,1000,0,20\n";
    of(&spec(Format::Samples, &[], &SAID), samples).unwrap().profile
}

#[test]
fn one_length_may_take_the_shape_of_another_models_curve() {
    let one = "family,level,phase,tokens,repetition,ms\n\
        width,100,prefill,100,0,100\nwidth,100,decode,1000,0,40\n";
    let shape = Some(Shape { device: shaped(), base_model: "tiny".to_owned() });
    let spec = ImportSpec { shape, ..spec(Format::Samples, &[], &SAID) };
    let level = level(&spec, one);
    // Half of its 200 ms at 100 tokens, so half everywhere; twice its 20 ms at 1000 of context.
    assert_ms(level.ttft_ms.millis(1100), 600.0);
    assert_ms(level.tpot_ms.millis(0), 20.0);
    let filled = level.points.iter().find(|it| it.origin == Origin::Modelled).unwrap();
    assert_eq!(filled.source, "TTFT is 0.5000 of tiny's on phone, as at 100 tokens");
}

#[test]
fn models_join_those_that_the_device_has_and_replace_their_own() {
    let known = shaped();
    let other = [&["base-model=other"], &SAID[1..]].concat();
    let spec = |facts: &[&str]| spec(Format::Samples, &[], facts);
    let input = [Input::of("bench", SLICES)];
    let both = import(&input, &spec(&other), Some(known.clone())).unwrap().profile;
    let names: Vec<_> = both.families.iter().map(|family| &*family.base_model).collect();
    assert_eq!(names, ["other", "tiny"]);
    let replaced = import(&input, &spec(&SAID), Some(known.clone())).unwrap().profile;
    assert_eq!(replaced.families.len(), 1);
    assert_eq!(replaced.families[0].levels.len(), 2);
    let elsewhere = [&["cpu=Other chip"], &SAID[..1], &SAID[2..]].concat();
    let refused = import(&input, &spec(&elsewhere), Some(known)).unwrap_err().to_string();
    assert_eq!(
        refused,
        "device profile phone: is of another device; found Other chip, R; allowed: Chip, R, as it \
         says"
    );
}

#[test]
fn a_profile_is_what_is_read_back_with_its_points() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("phone");
    let like = SubModels { like: "other".to_owned(), base_model: "big".to_owned() };
    let spec = ImportSpec { sub_models: Some(like), ..spec(Format::Samples, &[], &SAID) };
    let profile = of(&spec, SLICES).unwrap().profile;
    profile.save(&folder).unwrap();
    assert_eq!(DeviceProfile::load_stated(&folder).unwrap(), profile);
    assert!(DeviceProfile::load(&folder).is_err(), "the other device is not there");
}
