use super::*;
use crate::method::testing::decisions_manifest;

fn manifest(kind: DecisionKind) -> DecisionsManifest {
    DecisionsManifest {
        trunk_layers: 2,
        trained_on: BTreeMap::from([("sciq".into(), BTreeSet::from([1, 2].map(ItemId::from)))]),
        date: "2026-01-01".into(),
        measures: BTreeMap::from([("loss".into(), 0.5)]),
        ..decisions_manifest(kind)
    }
}

fn plan(level: u16, ratio: u16) -> Plan {
    Plan::new(Level::percent(level), Ratio::percent(ratio))
}

fn soft() -> Decisions {
    let mut decisions = Decisions::new(manifest(DecisionKind::Soft));
    let mut grid = PlanProbabilities::default();
    (grid[0][1], grid[8][9]) = (Some(0.25), Some(0.75));
    let answer = Answer::Soft(Box::new(grid));
    decisions.insert("sciq", 3, Decision { answer, tlm_tokens: 40 });
    decisions
}

fn hard() -> Decisions {
    let mut decisions = Decisions::new(manifest(DecisionKind::Hard));
    let mut grid: PlanGrid = [[plan(20, 10); 6]; 9];
    grid[2][2] = plan(70, 40);
    let answer = Answer::Hard(Box::new(grid));
    decisions.insert("sciq", 3, Decision { answer, tlm_tokens: 40 });
    decisions
}

#[test]
fn both_kinds_round_trip_through_their_files() {
    for decisions in [soft(), hard()] {
        let folder = tempfile::tempdir().unwrap();
        decisions.save(folder.path(), "head").unwrap();
        assert_eq!(Decisions::load(folder.path(), "head").unwrap(), decisions);
    }
}

#[test]
fn a_soft_answer_gives_probabilities_and_a_hard_one_plans() {
    let (soft, hard) = (soft(), hard());
    let (soft, hard) = (soft.of("sciq", 3).unwrap(), hard.of("sciq", 3).unwrap());
    assert_eq!(soft.probability(plan(20, 20)), Some(0.25));
    assert_eq!(soft.probability(plan(100, 100)), Some(0.75));
    assert_eq!(soft.plan(0.4, 0.7), None);
    assert_eq!(hard.plan(0.4, 0.7), Some(plan(70, 40)));
    assert_eq!(hard.probability(plan(70, 40)), None);
}

#[test]
fn an_objective_between_two_tokens_is_read_as_the_tighter_one() {
    let hard = hard();
    let hard = hard.of("sciq", 3).unwrap();
    assert_eq!(hard.plan(0.49, 0.79), Some(plan(70, 40)));
    assert_eq!(hard.plan(0.39, 0.79), Some(plan(20, 10)));
    // Tighter than every token: the tightest.
    assert_eq!(hard.plan(0.01, 0.01), Some(plan(20, 10)));
    assert_eq!(hard.plan(0.399_999_999_9, 0.7), Some(plan(70, 40)), "rounding is forgiven");
}

#[test]
fn decisions_for_training_items_are_never_written_nor_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut decisions = soft();
    let decision = decisions.of("sciq", 3).unwrap().clone();
    decisions.insert("sciq", 2, decision);
    let message = decisions.save(folder.path(), "head").unwrap_err().to_string();
    insta::assert_snapshot!(
        message.split_once("decisions.").unwrap().1,
        @"soft.csv.gz: decides for an item that the head was trained on; found sciq item 2; allowed: other items"
    );
    let mut decisions = soft();
    decisions.save(folder.path(), "head").unwrap();
    decisions.manifest.trained_on.insert("sciq".into(), BTreeSet::from([ItemId::from(3)]));
    let file =
        ManifestFile { schema: SCHEMA, decisions: [("head".into(), decisions.manifest)].into() };
    let json = serde_json::to_string(&file).unwrap();
    std::fs::write(folder.path().join("decisions.json"), json).unwrap();
    let message = Decisions::load(folder.path(), "head").unwrap_err().to_string();
    assert!(message.contains("that the head was trained on; found sciq item 3"), "{message}");
}

#[test]
fn heads_share_a_file_and_saving_one_leaves_the_others_rows_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["b", "c", "a"] {
        soft().save(folder.path(), name).unwrap();
    }
    hard().save(folder.path(), "d").unwrap();
    let path = folder.path().join("decisions.soft.csv.gz");
    let before = std::fs::read(&path).unwrap();
    assert_eq!(Decisions::names(folder.path()).unwrap(), ["a", "b", "c", "d"]);
    soft().save(folder.path(), "b").unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), before, "the same rows are the same bytes");
    let names = |kind| -> Vec<String> {
        let rows = rows(&AnswerFiles(folder.path()).decisions(kind), DecisionKind::Soft).unwrap();
        rows.iter().map(|(_, row)| row[0].to_owned()).collect()
    };
    assert_eq!(names("soft"), ["a", "b", "c"]);
    let message = Decisions::load(folder.path(), "e").unwrap_err().to_string();
    assert!(message.ends_with("no such decisions; found e; allowed: a, b, c, d"), "{message}");
}

#[test]
fn broken_tables_are_refused_with_their_place() {
    let refusal = |decisions: &Decisions, from: &str, to: &str| {
        let folder = tempfile::tempdir().unwrap();
        decisions.save(folder.path(), "head").unwrap();
        let kind = decisions.manifest.kind;
        let path = AnswerFiles(folder.path()).decisions(kind.name());
        let text = String::from_utf8(text_of(kind, decisions.records("head")).unwrap()).unwrap();
        assert!(text.contains(from), "nothing to replace");
        std::fs::write(&path, files::pack(text.replacen(from, to, 1).as_bytes())).unwrap();
        let message = Decisions::load(folder.path(), "head").unwrap_err().to_string();
        message.split_once("decisions.").unwrap().1.to_owned()
    };
    let refusals = [
        refusal(&soft(), "0.25", "1.25"),
        refusal(&soft(), "head,sciq,3,40", "head,sciq,,40"),
        refusal(&soft(), "head,sciq,3,40", "head,sciq,3,0"),
        refusal(&hard(), "70/40", "75/40"),
        refusal(&hard(), "20/100,30/50", "20/110,30/50"),
    ];
    let header = |line: &str| {
        let (message, columns) = line.split_once("20/50").unwrap_or((line, ""));
        format!("{message}{}", if columns.is_empty() { "" } else { "…" })
    };
    insta::assert_snapshot!(refusals.map(|line| header(&line)).join("\n"), @r#"
    soft.csv.gz, line 2, column "20/20": not a probability; found "1.25"; allowed: 0 to 1, or nothing
    soft.csv.gz, line 2, column "item": no name of an item; found ""; allowed: 1 to 256 printed bytes
    soft.csv.gz, line 2: impossible item; found head,sciq,3,0; allowed: each item once, 1 to 65536 tokens
    hard.csv.gz, line 2, column "40/70": not a plan; found "75/40"; allowed: LEVEL/RATIO in percent: 20 to 100 / 10 to 100, whole tens
    hard.csv.gz, line 1: unexpected columns; found name,dataset,item,tlm_tokens,…
    "#);
}
