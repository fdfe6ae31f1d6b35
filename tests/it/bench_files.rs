//! A device, answers and prompt lengths made by a rule, as files: the input of test experiments.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use pliant::profile::PromptLengths;

const DATASETS: [&str; 4] = ["arc-easy", "openbookqa", "piqa", "sciq"];
const ITEMS: u32 = 40;
const LEVELS: [u32; 3] = [20, 50, 100];

/// Two methods on one device, two skews, three seeds.
pub const EXPERIMENT: &str = r#"
description = "two methods on a bench device"
seeds = 3
quality = "quality"

[trace]
kind = "synth"
items = "quality/tiny/structured.tokens.csv"
alphas = [0.0, 0.25]
requests = 60

[[devices]]
dir = "bench"
latency_of = "large"
base_model = "tiny"

[[methods]]
name = "elastic-profile"
family = "width"
compressor = "structured"
policy = { kind = "elastic-profile" }

[[methods]]
name = "full"
family = "width"
policy = { kind = "full" }

[[methods]]
name = "oracle"
family = "width"
compressor = "structured"
policy = { kind = "oracle" }
"#;

/// Writes `bench/`, `quality/` and `experiment.toml` into `folder`.
pub fn write(folder: &Path) {
    fs::create_dir_all(folder.join("bench")).unwrap();
    fs::write(folder.join("bench/device.toml"), device()).unwrap();
    let answers = folder.join("quality/tiny");
    fs::create_dir_all(&answers).unwrap();
    fs::write(answers.join("structured.csv"), table()).unwrap();
    let mut lengths = PromptLengths::default();
    for dataset in DATASETS {
        for item in 0..ITEMS {
            let full = 200 + 10 * item;
            let kept: Vec<u32> = (1..=10).map(|tenth| full * tenth / 10).collect();
            lengths.insert(dataset, item, kept);
        }
    }
    lengths.save(&answers, "structured").unwrap();
    fs::write(folder.join("experiment.toml"), EXPERIMENT).unwrap();
}

/// TTFT and TPOT in proportion to the level; 20 ms a prompt token and 50 ms an output token.
fn device() -> String {
    let mut text = String::from(
        "schema = 1\nname = \"bench\"\n\
         [hardware]\ncpu = \"none\"\ncores = 1\nmemory_bytes = 1\n\
         [runtime]\nname = \"none\"\nversion = \"1\"\nthreads = 1\nprecision = \"f32\"\n\
         [[family]]\nbase_model = \"large\"\nfamily = \"width\"\ndecide_ms = 1\n\
         compress_ms_per_token = 0.01\n\
         provenance = { kind = \"modelled\", formula = \"c·n·w\", anchors = [\"none\"], assumptions = [] }\n",
    );
    for level in LEVELS {
        let share = f64::from(level) / 100.0;
        write!(
            text,
            "[[family.level]]\nlevel_percent = {level}\nunit_parameter_share = {share}\n\
             parameter_share = {share}\nswitch_ms = 0.5\nresident_bytes = 1\n\
             ttft_ms = {{ intercept = 0, per_token = {}, per_token_squared = 0 }}\n\
             tpot_ms = {{ intercept = {}, per_context_token = 0 }}\n",
            20.0 * share,
            50.0 * share,
        )
        .unwrap();
    }
    text
}

/// Larger levels and ratios answer more items: right where a number of the item's own is small.
fn table() -> String {
    let mut text = String::from("family,dataset,item,level,ratio,grade\n");
    for (place, dataset) in (0..).zip(DATASETS) {
        for item in 0..ITEMS {
            for level in LEVELS {
                for tenth in 1..=10 {
                    let right = (item * 37 + place * 11) % 100 < level * 4 / 10 + 4 * tenth;
                    let (ratio, grade) = (10 * tenth, u8::from(right));
                    writeln!(text, "width,{dataset},{item},{level},{ratio},{grade}").unwrap();
                }
            }
        }
    }
    text
}
