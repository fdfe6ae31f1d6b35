//! Runs on a tiny random model: training, resuming, refusing.

use std::path::Path;

use super::text::RecoveryText;
use super::trainer::{LevelRun, RunIdentity, Trainer, train_level};
use super::{LevelFiles, finished_in};
use crate::elastify::ladders;
use crate::engine::adapter::Adapter;
use crate::engine::model::{DenseModel, LayerShape, SubModel};
use crate::engine::reference::{identity_order, random_model};
use crate::model::family::Payload;
use crate::model::family::lora::{AdapterFile, Adapters, LevelRecord, Recipe, Recovery};
use crate::prompt::Tokenize;
use crate::units::Level;

/// One token per letter of the alphabet's first half, and one for everything else.
struct Letters;

impl Tokenize for Letters {
    fn encode(&self, text: &str) -> Vec<u32> {
        let token = |letter: char| (letter as u32).wrapping_sub(u32::from('a')).min(49);
        text.chars().map(token).collect()
    }
}

/// A text that repeats itself: easily learned by heart.
fn text(folder: &Path, words: &str) -> RecoveryText {
    let path = folder.join("text.txt");
    std::fs::write(&path, format!("{words}\n\n").repeat(12)).unwrap();
    RecoveryText::of_file(&path, &Letters, 12).unwrap()
}

struct Scene {
    folder: tempfile::TempDir,
    model: DenseModel,
    text: RecoveryText,
    threads: rayon::ThreadPool,
    recipe: Recipe,
}

impl Scene {
    fn new(recipe: Recipe) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = text(folder.path(), "the cat sat on the mat");
        let threads = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        Self { folder, model: random_model(1), text, threads, recipe }
    }

    fn sub_model() -> SubModel {
        let shape = |groups, neurons| LayerShape { groups, neurons };
        let layers = vec![shape(2, 48), shape(0, 16), shape(1, 0)];
        SubModel { level: Level::percent(50), layers }
    }

    fn identity(&self) -> RunIdentity {
        RunIdentity {
            model_sha256: "model".into(),
            order_sha256: "order".into(),
            sub_model: Self::sub_model(),
            corpus_sha256: self.text.info().sha256.clone(),
            recipe: self.recipe,
        }
    }

    fn files(&self, name: &str) -> LevelFiles {
        LevelFiles::new(&self.folder.path().join(name), Level::percent(50))
    }

    fn with_run<T>(&self, identity: RunIdentity, work: impl FnOnce(&LevelRun<'_>) -> T) -> T {
        let order = identity_order(&self.model.config);
        work(&LevelRun {
            model: &self.model,
            order: &order,
            identity,
            text: &self.text,
            threads: &self.threads,
            checkpoint_steps: 4,
            held_out_steps: 5,
        })
    }

    fn train(&self, name: &str) -> crate::Result<LevelRecord> {
        self.with_run(self.identity(), |run| train_level(run, &self.files(name), &mut |_| ()))
    }
}

fn recipe(steps: usize) -> Recipe {
    Recipe {
        rank: 2,
        alpha: 4.0,
        steps,
        sequences: 2,
        sequence_tokens: 12,
        loss_share: 0.7,
        learning_rate: 1e-2,
        second_ratio: 1.0,
        warmup_steps: 2,
        ..Recipe::default()
    }
}

#[test]
fn training_lowers_the_loss_of_a_text_that_can_be_learned_by_heart() {
    let scene = Scene::new(recipe(60));
    let record = scene.train("run").unwrap();
    assert!(record.held_out_after < 0.5 * record.held_out_before, "{record:?}");
    assert_eq!(record.tokens, 60 * 2 * 12);
    let files = scene.files("run");
    let adapter = Adapter::load(&files.adapter).unwrap();
    assert_eq!((adapter.rank, adapter.level), (2, Level::percent(50)));
    assert!(!files.checkpoint.exists());
    let curve = std::fs::read_to_string(&files.curve).unwrap();
    assert_eq!(curve.lines().count(), 1 + 1 + 60);
}

#[test]
fn a_killed_run_goes_on_to_the_bytes_of_one_that_was_not() {
    let scene = Scene::new(recipe(11));
    let whole = scene.train("whole").unwrap();
    let files = scene.files("killed");
    scene.with_run(scene.identity(), |run| {
        // Killed after step 7: the checkpoint of step 4 is what is left.
        let mut trainer = Trainer::open(run, &files).unwrap();
        for _ in 0..7 {
            trainer.advance(&mut |_| ()).unwrap();
        }
    });
    assert!(files.checkpoint.exists() && !files.adapter.exists());
    let resumed = scene.train("killed").unwrap();
    let bytes = |name: &str| std::fs::read(scene.files(name).adapter).unwrap();
    assert_eq!(bytes("whole"), bytes("killed"));
    assert_eq!(whole.held_out_before.to_bits(), resumed.held_out_before.to_bits());
    assert_eq!(whole.held_out_after.to_bits(), resumed.held_out_after.to_bits());
    let steps = |name: &str| {
        let curve = std::fs::read_to_string(scene.files(name).curve).unwrap();
        let losses = |line: &str| line.rsplit_once(',').unwrap().0.to_owned();
        curve.lines().map(losses).collect::<Vec<_>>()
    };
    assert_eq!(steps("whole"), steps("killed"));
}

#[test]
fn a_finished_level_is_not_trained_again() {
    let scene = Scene::new(recipe(3));
    let record = scene.train("run").unwrap();
    let mut steps = 0;
    let again = scene.with_run(scene.identity(), |run| {
        train_level(run, &scene.files("run"), &mut |_| steps += 1)
    });
    assert_eq!((again.unwrap(), steps), (record, 0));
}

/// A checkout has no record of a level: its manifest names the recipe and what came of it.
#[test]
fn a_level_is_finished_if_the_manifest_says_so_and_its_adapter_is_there() {
    let scene = Scene::new(recipe(3));
    let record = scene.train("adapters").unwrap();
    let files = scene.files("adapters");
    let path = scene.folder.path().join("width-lora.json");
    let mut manifest = ladders::tests::manifest();
    let level = record.level;
    let run = RunIdentity {
        model_sha256: manifest.model.model_sha256.clone(),
        order_sha256: manifest.order_sha256(),
        sub_model: manifest.level(level).unwrap().clone(),
        ..scene.identity()
    };
    assert_eq!(finished_in(&path, &run).unwrap(), None, "no manifest");
    manifest.levels.retain(|sub_model| sub_model.level == level);
    manifest.unit_parameter_share.truncate(1);
    let (rank, sha256) = (scene.recipe.rank, record.adapter_sha256.clone());
    let file = AdapterFile { level, rank, file: files.adapter.clone(), sha256 };
    let (corpus, levels) = (scene.text.info().clone(), vec![record.clone()]);
    let recovery = Some(Recovery { corpus, recipe: scene.recipe, levels });
    manifest.payload = Payload::WidthLora(Adapters { files: vec![file], recovery });
    manifest.save(&path).unwrap();
    assert_eq!(finished_in(&path, &run).unwrap(), Some(record));
    let other = RunIdentity { recipe: recipe(4), ..run.clone() };
    let message = finished_in(&path, &other).unwrap_err().to_string();
    assert!(message.contains("width-lora.json: made with another recipe"), "{message}");
    let elsewhere = SubModel { level: Level::percent(60), ..run.sub_model.clone() };
    let elsewhere = RunIdentity { sub_model: elsewhere, ..run.clone() };
    assert_eq!(finished_in(&path, &elsewhere).unwrap(), None, "a level of no record");
    std::fs::write(&files.adapter, "x").unwrap();
    let message = finished_in(&path, &run).unwrap_err().to_string();
    assert!(message.contains("not the adapter of its record"), "{message}");
    std::fs::remove_file(&files.adapter).unwrap();
    assert_eq!(finished_in(&path, &run).unwrap(), None, "it has to be trained again");
}

#[test]
fn files_of_another_run_are_refused_and_left_alone() {
    let scene = Scene::new(recipe(8));
    let files = scene.files("run");
    scene.with_run(scene.identity(), |run| {
        let mut trainer = Trainer::open(run, &files).unwrap();
        (0..4).for_each(|_| trainer.advance(&mut |_| ()).unwrap());
    });
    let checkpoint = std::fs::read(&files.checkpoint).unwrap();
    let refusal = |change: &dyn Fn(&mut RunIdentity)| {
        let mut identity = scene.identity();
        change(&mut identity);
        let outcome = scene.with_run(identity, |run| train_level(run, &files, &mut |_| ()));
        let message = outcome.unwrap_err().to_string();
        message
            .split_once("checkpoint.partial: ")
            .unwrap()
            .1
            .split("; or")
            .next()
            .unwrap()
            .to_owned()
    };
    assert_eq!(
        refusal(&|identity| identity.model_sha256 = "other".into()),
        "made with another base model; found sha256 model; allowed: sha256 other"
    );
    assert_eq!(
        refusal(&|identity| identity.recipe.rank = 4),
        "made with another rank; found 2; allowed: 4"
    );
    assert!(
        refusal(&|identity| identity.sub_model.level = Level::percent(60))
            .starts_with("made with another level; found level 50 %")
    );
    assert!(
        refusal(&|identity| identity.corpus_sha256 = "other".into())
            .starts_with("made with another corpus")
    );
    assert!(
        refusal(&|identity| identity.recipe.learning_rate = 0.5)
            .starts_with("made with another recipe")
    );
    assert!(
        refusal(&|identity| identity.sub_model.layers[0].neurons = 32)
            .starts_with("made with another allocation of units")
    );
    assert_eq!(std::fs::read(&files.checkpoint).unwrap(), checkpoint);
    assert!(!files.adapter.exists());
    std::fs::write(&files.checkpoint, "PK").unwrap();
    assert!(scene.train("run").unwrap_err().to_string().contains("not a checkpoint"));
    // A finished level is not trained over by another recipe either.
    let scene = Scene { recipe: Recipe { seed: 9, ..scene.recipe }, ..scene };
    std::fs::remove_file(&files.checkpoint).unwrap();
    scene.train("run").unwrap();
    let scene = Scene { recipe: recipe(8), ..scene };
    assert!(scene.train("run").unwrap_err().to_string().contains("made with another recipe"));
}

#[test]
fn a_loss_that_is_not_a_number_stops_the_run_and_keeps_the_last_checkpoint() {
    let mut scene = Scene::new(recipe(9));
    let files = scene.files("run");
    scene.with_run(scene.identity(), |run| {
        let mut trainer = Trainer::open(run, &files).unwrap();
        (0..4).for_each(|_| trainer.advance(&mut |_| ()).unwrap());
    });
    let checkpoint = std::fs::read(&files.checkpoint).unwrap();
    scene.model.layers[0].gate[3] = f32::NAN;
    let message = scene.train("run").unwrap_err().to_string();
    assert!(
        message.starts_with(
            "recovery, level 50 %, step 5: the loss is not a number; found loss NaN, gradient norm"
        ),
        "{message}"
    );
    assert!(message.ends_with("checkpoint.partial is the last good state"), "{message}");
    assert_eq!(std::fs::read(&files.checkpoint).unwrap(), checkpoint);
    assert!(!files.adapter.exists());
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    let mut scene = Scene::new(recipe(5));
    scene.train("two").unwrap();
    scene.threads = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    scene.train("one").unwrap();
    let bytes = |name: &str| std::fs::read(scene.files(name).adapter).unwrap();
    assert_eq!(bytes("two"), bytes("one"));
}
