//! Experiments over items of which only the answers that methods ask for were measured.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use pliant::experiment::{
    Backend, Experiment, ExperimentSpec, RunOptions, Silent, run, unanswered,
};
use pliant::files::read_by_name;
use pliant::method::PolicySpec;
use pliant::profile::Split;
use pliant::results::AnsweredItems;

use crate::bench_files;
use crate::support::bench_experiment;

/// Items from here on have no whole row if they are of the replay half.
const FIRST_ASKED: u32 = 20;

/// The bench's files, whole.
struct Bench {
    folder: tempfile::TempDir,
    /// `dataset,item,level,ratio` → the grade.
    truth: BTreeMap<String, String>,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        bench_files::write(folder.path());
        let text = fs::read_to_string(folder.path().join("quality/tiny/structured.csv")).unwrap();
        let row = |line: &str| {
            let (key, grade) = line.strip_prefix("width,").unwrap().rsplit_once(',').unwrap();
            (key.to_owned(), grade.to_owned())
        };
        Self { truth: text.lines().skip(1).map(row).collect(), folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("quality/tiny").join(name)
    }

    /// Takes the rows of later items of the replay half out of the table, and marks their lengths
    /// as those of further ones.
    fn take_out_later_items(&self) {
        let is_later = |dataset: &str, item: &str| {
            let item: u32 = item.parse().unwrap();
            item >= FIRST_ASKED && Split::of(dataset, item) == Split::Replay
        };
        let text = fs::read_to_string(self.path("structured.csv")).unwrap();
        let keep = |row: &&str| {
            let fields: Vec<&str> = row.split(',').collect();
            fields[0] == "family" || !is_later(fields[1], fields[2])
        };
        let kept: String = text.split_inclusive('\n').filter(keep).collect();
        assert!(kept.len() < text.len());
        fs::write(self.path("structured.csv"), kept).unwrap();
        let text = fs::read_to_string(self.path("structured.tokens.csv")).unwrap();
        let mark = |row: &str| {
            let fields: Vec<&str> = row.splitn(4, ',').collect();
            if fields[0] != "dataset" && is_later(fields[0], fields[1]) {
                return format!("{},{},1,{}", fields[0], fields[1], fields[3]);
            }
            row.to_owned()
        };
        let marked: String = text.split_inclusive('\n').map(mark).collect();
        fs::write(self.path("structured.tokens.csv"), marked).unwrap();
    }

    /// The bench's experiment without its oracle, and with the largest level that fits instead.
    fn experiment(&self, answers: AnsweredItems) -> Experiment {
        let mut experiment = bench_experiment(self.folder.path());
        let spec = &mut experiment.spec;
        spec.answers = answers;
        spec.methods[2].name = "largest".into();
        spec.methods[2].policy = PolicySpec::LargestLevel(pliant::policy::SizeSpec::default());
        experiment
    }

    /// Measures what `experiment` asks for: looks it up. Returns how many cells those are.
    fn measure(&self, experiment: &Experiment) -> usize {
        let lacking = unanswered(experiment).unwrap();
        assert_eq!(lacking.len(), 1);
        assert_eq!((&*lacking[0].table, &*lacking[0].base_model), ("width", "tiny"));
        let (mut asked, mut cells) = (String::new(), 0);
        for ((dataset, item), plans) in &lacking[0].plans {
            assert!(item.number() >= Some(FIRST_ASKED), "others are whole");
            for (level, ratio) in plans {
                let (level, ratio) = (level.as_percent(), ratio.as_percent());
                let key = format!("{dataset},{item},{level},{ratio}");
                writeln!(asked, "width,{key},1,{}", self.truth[&key]).unwrap();
                cells += 1;
            }
        }
        let text = fs::read_to_string(self.path("structured.csv")).unwrap();
        let mut all = String::from("family,dataset,item,level,ratio,asked,grade\n");
        for row in text.lines().skip(1) {
            let (key, grade) = row.rsplit_once(',').unwrap();
            writeln!(all, "{key},,{grade}").unwrap();
        }
        fs::write(self.path("structured.csv"), all + &asked).unwrap();
        cells
    }

    fn run(&self, experiment: &Experiment, out: &str) -> pliant::Result<String> {
        let out = self.folder.path().join(out);
        let options = RunOptions {
            out: &out,
            force: false,
            draw: false,
            threads: 2,
            progress: &Silent,
            witness: None,
        };
        run(experiment, Backend::CostModel, &options)?;
        let read = |name: &str| String::from_utf8(read_by_name(&out.join(name)).unwrap()).unwrap();
        Ok(["metrics.csv", "seeds.csv.gz", "paired.csv"].map(read).concat())
    }
}

#[test]
fn the_answers_that_methods_ask_for_show_what_whole_rows_show() {
    let bench = Bench::new();
    let whole = bench.run(&bench.experiment(AnsweredItems::Whole), "whole").unwrap();
    bench.take_out_later_items();
    let asked = bench.experiment(AnsweredItems::Asked);
    let cells = bench.measure(&asked);
    assert!(bench.run(&asked, "asked").unwrap() == whole);
    let later = bench.truth.keys().filter(|key| {
        let fields: Vec<&str> = key.split(',').collect();
        let item: u32 = fields[1].parse().unwrap();
        item >= FIRST_ASKED && Split::of(fields[0], item) == Split::Replay
    });
    let all = later.count();
    assert!(4 * cells < all, "{cells} of {all} cells");
    assert!(unanswered(&asked).unwrap()[0].plans.is_empty());
    let other = Experiment {
        spec: ExperimentSpec { first_seed: 99, ..asked.spec.clone() },
        ..asked.clone()
    };
    bench.run(&other, "another seed").unwrap();
}

#[test]
fn whole_items_are_replayed_as_if_nothing_else_had_been_asked_for() {
    let bench = Bench::new();
    bench.take_out_later_items();
    let whole = bench.experiment(AnsweredItems::Whole);
    let before = bench.run(&whole, "before").unwrap();
    bench.measure(&bench.experiment(AnsweredItems::Asked));
    assert!(bench.run(&whole, "after").unwrap() == before);
    let manifest = |out: &str| {
        let path = bench.folder.path().join(out).join("manifest.toml");
        fs::read_to_string(path).unwrap().contains("asked")
    };
    assert!(!manifest("after"), "its inputs are those that it reads");
}

#[test]
fn a_plan_without_an_answer_ends_the_run_and_is_named() {
    let bench = Bench::new();
    bench.take_out_later_items();
    let experiment = bench.experiment(AnsweredItems::Asked);
    let message = bench.run(&experiment, "out").unwrap_err().to_string();
    let (_, message) = message.split_once("answers, ").unwrap();
    let (place, rest) = message.split_once(": ").unwrap();
    assert!(place.ends_with(", quality table width"), "{place}");
    let (what, allowed) = rest.split_once("; allowed: ").unwrap();
    assert!(what.starts_with("not measured yet; found level "), "{what}");
    assert_eq!(allowed, "plans measured before, or by `pliant profile asked EXPERIMENT.toml`");
    assert!(!bench.folder.path().join("out/manifest.toml").exists());
}

#[test]
fn a_method_that_counts_waits_is_asked_as_if_it_had_none() {
    let bench = Bench::new();
    bench.take_out_later_items();
    let mut experiment = bench.experiment(AnsweredItems::Asked);
    experiment.spec.methods[0].counts_wait = true;
    bench.measure(&experiment);
    bench.run(&experiment, "out").unwrap();
}

#[test]
fn a_table_that_is_not_named_after_its_family_must_be_begun_first() {
    let bench = Bench::new();
    let text = fs::read_to_string(bench.path("structured.csv")).unwrap();
    fs::write(bench.path("structured.csv"), text.replace("width,", "other,")).unwrap();
    let mut experiment = bench.experiment(AnsweredItems::Asked);
    for method in &mut experiment.spec.methods {
        method.quality_family = Some("other".into());
    }
    insta::assert_snapshot!(
        unanswered(&experiment).unwrap_err(),
        @"quality table other, method elastic-profile: is of an unknown family; found no manifest of the table, and another name than the method's family; allowed: a table begun by `pliant profile quality`, or called FAMILY-COMPRESSOR"
    );
}

#[test]
fn who_looks_at_every_answer_needs_whole_rows_and_whole_rows_are_not_asked_for() {
    let bench = Bench::new();
    let mut experiment = bench.experiment(AnsweredItems::Asked);
    experiment.spec.methods[2].policy = PolicySpec::Oracle {};
    let refused = bench.run(&experiment, "out").unwrap_err();
    let whole = bench.experiment(AnsweredItems::Whole);
    let whole = Experiment { path: Path::new("mine.toml").into(), ..whole };
    let whole = unanswered(&whole).unwrap_err();
    let refusals = [refused, whole].map(|error| error.to_string());
    insta::assert_snapshot!(refusals.join("\n"), @r#"
    method largest: needs every plan's answer; found answers = "asked"; allowed: answers = "whole"
    mine.toml, key "answers": replays whole items only; allowed: answers = "asked"
    "#);
}
