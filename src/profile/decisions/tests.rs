use super::*;
use crate::policy::testing::decisions_manifest;

fn manifest(kind: DecisionKind) -> DecisionsManifest {
    DecisionsManifest {
        trunk_layers: 2,
        trained_on: BTreeMap::from([("sciq".into(), BTreeSet::from([1, 2]))]),
        date: "2026-01-01".into(),
        measures: BTreeMap::from([("loss".into(), 0.5)]),
        ..decisions_manifest(kind)
    }
}

fn plan(level: u16, ratio: u16) -> Plan {
    Plan { level: Level::percent(level), prompt_ratio: Ratio::percent(ratio) }
}

fn soft() -> Decisions {
    let mut decisions = Decisions::new(manifest(DecisionKind::Soft));
    let mut grid = PlanProbabilities::default();
    (grid[0][1], grid[8][9]) = (0.25, 0.75);
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
        message.split_once("head.").unwrap().1,
        @"decisions.csv: decides for an item that the head was trained on; found sciq item 2; allowed: other items"
    );
    let mut decisions = soft();
    decisions.save(folder.path(), "head").unwrap();
    decisions.manifest.trained_on.insert("sciq".into(), BTreeSet::from([3]));
    let json = serde_json::to_string(&decisions.manifest).unwrap();
    std::fs::write(folder.path().join("head.decisions.json"), json).unwrap();
    assert!(Decisions::load(folder.path(), "head").is_err());
}

#[test]
fn broken_tables_are_refused_with_their_place() {
    let refusal = |decisions: &Decisions, from: &str, to: &str| {
        let folder = tempfile::tempdir().unwrap();
        decisions.save(folder.path(), "head").unwrap();
        let path = folder.path().join("head.decisions.csv");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "nothing to replace");
        std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
        let message = Decisions::load(folder.path(), "head").unwrap_err().to_string();
        message.split_once("head.decisions.csv").unwrap().1.to_owned()
    };
    let refusals = [
        refusal(&soft(), "0.2500", "1.2500"),
        refusal(&soft(), "sciq,3,40,30", "sciq,3,40,40"),
        refusal(&soft(), "sciq,3,40,30", "sciq,4,40,30"),
        refusal(&hard(), "70/40", "75/40"),
        refusal(&hard(), "p100", "p110"),
    ];
    insta::assert_snapshot!(refusals.join("\n"));
}
