use super::*;

const GOOD: &str = r#"
schema = 1
name = "bench"
[hardware]
cpu = "two cores"
cores = 2
memory_bytes = 1024
[runtime]
name = "none"
version = "1"
threads = 2
precision = "f32"
[[family]]
base_model = "tiny"
family = "width"
decide_ms = 0
compress_ms_per_token = 0
provenance = { kind = "modelled", formula = "c·n·w", anchors = ["a"], assumptions = [] }
[[family.level]]
level_percent = 50
unit_parameter_share = 0.5
parameter_share = 0.6
switch_ms = 0.5
resident_bytes = 10
ttft_ms = { intercept = 1, per_token = 0.5, per_token_squared = 0 }
tpot_ms = { intercept = 6, per_context_token = 0 }
[[family.level]]
level_percent = 100
unit_parameter_share = 1
parameter_share = 1
switch_ms = 0.5
resident_bytes = 20
ttft_ms = { intercept = 1, per_token = 1, per_token_squared = 0 }
tpot_ms = { intercept = 10, per_context_token = 0 }
"#;

fn load(text: &str) -> Result<DeviceProfile> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(FILE), text).unwrap();
    DeviceProfile::load(folder.path())
}

/// The message of loading `GOOD` with `from` replaced by `to`, without the folder's name.
fn refusal(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "nothing to replace");
    let message = load(&GOOD.replacen(from, to, 1)).unwrap_err().to_string();
    message.split_once(FILE).unwrap().1.to_owned()
}

#[test]
fn power_is_read_and_one_that_draws_nothing_is_refused() {
    let with_power = |active: &str| {
        let provenance = r#"provenance = { kind = "published", sources = ["a meter"] }"#;
        let power = format!("[power]\nidle_watts = 0.5\nactive_watts = {active}\n{provenance}\n");
        load(&GOOD.replacen("[[family]]", &format!("{power}[[family]]"), 1))
    };
    assert_eq!(with_power("2.5").unwrap().power.unwrap().draw().active().as_milliwatts(), 2500);
    for nothing in ["0", "-3", "nan"] {
        let message = with_power(nothing).unwrap_err().to_string();
        assert!(message.contains("power, key \"active_watts\": not a power"), "{message}");
    }
}

#[test]
fn a_profile_round_trips_through_its_file() {
    let profile = load(GOOD).unwrap();
    let folder = tempfile::tempdir().unwrap();
    profile.save(folder.path()).unwrap();
    assert_eq!(DeviceProfile::load(folder.path()).unwrap(), profile);
}

#[test]
fn levels_answer_with_times_and_shares() {
    let profile = load(GOOD).unwrap();
    let family = profile.family("tiny", "width").unwrap();
    let half = family.level(Level::percent(50)).unwrap();
    assert_eq!(half.ttft(20), Duration::from_millis(11));
    assert_eq!(half.tpot(99), Duration::from_millis(6));
    assert_eq!(half.switch(), Duration::from_micros(500));
    // (1 + 256) / (1 + 512) and 6 / 10.
    assert_eq!(family.time_shares()[0], TimeShare { ttft: 257.0 / 513.0, tpot: 0.6 });
    assert_eq!(profile.base("tiny").unwrap().level, Level::FULL);
}

#[test]
fn what_is_missing_is_named_with_what_is_there() {
    let profile = load(GOOD).unwrap();
    insta::assert_snapshot!(
        profile.family("tiny", "zoo").unwrap_err(),
        @"device profile bench: no such family; found tiny/zoo; allowed: tiny/width"
    );
    let family = profile.family("tiny", "width").unwrap();
    insta::assert_snapshot!(
        family.level(Level::percent(30)).unwrap_err(),
        @"latency profile tiny/width: no such level; found 30 %; allowed: 50 %, 100 %"
    );
}

#[test]
fn contradictions_are_refused_with_their_place() {
    let refusals = [
        refusal("schema = 1", "schema = 2"),
        refusal("cores = 2", "cores = 2\ncoers = 3"),
        refusal("level_percent = 100", "level_percent = 90"),
        refusal("level_percent = 100", "level_percent = 50"),
        refusal("level_percent = 50", "level_percent = 500"),
        refusal("parameter_share = 0.6", "parameter_share = 1.6"),
        refusal("per_token = 0.5", "per_token = -0.5"),
        refusal("intercept = 6", "intercept = nan"),
        refusal("intercept = 6", "intercept = 0"),
        refusal("switch_ms = 0.5", "switch_ms = -1"),
    ];
    insta::assert_snapshot!(refusals.join("\n"), @r#"
    , key "schema": unknown version; found 2; allowed: 1
    , line 7: unknown field `coers`, expected one of `cpu`, `cores`, `memory_bytes`
    , family tiny/width: the last level is not the base model; found 90 %; allowed: 100 %
    , family tiny/width: levels out of order; found 50 % before 50 %; allowed: rising levels, each once
    , line 20: level_percent 500 out of range; allowed: 1 to 100
    , family tiny/width, level 50 %, key "parameter_share": share out of range; found 1.6; allowed: more than 0, at most 1
    , family tiny/width, level 50 %, key "ttft_ms.per_token": not a length of time; found -0.5; allowed: 0 or more milliseconds, at most a day
    , family tiny/width, level 50 %, key "tpot_ms.intercept": not a length of time; found NaN; allowed: 0 or more milliseconds, at most a day
    , family tiny/width, level 50 %, key "tpot_ms": impossible latency curve; found 0 ms at 1 token, 0 ms at 1048576; allowed: more than 0 ms, at most 3600000 ms
    , family tiny/width, level 50 %, key "switch_ms": not a length of time; found -1; allowed: 0 or more milliseconds, at most a day
    "#);
}
