//! `pliant elastify tlm`: the tiny language model's heads.

use pliant::Result;

use super::output::Form;
use super::tlm_decision::{DecideArgs, ProfileArgs, TrainArgs, run_decide, run_profile, run_train};
use super::tlm_lists::{OrderArgs, RecallArgs, run_order, run_recall};
use super::tlm_score::{CompareArgs, LabelArgs, TimeArgs, TrainArgs as TrainScoreArgs};
use super::tlm_score::{run_compare, run_label, run_time, run_train as run_train_score};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Train the decision-head on a quality table's estimate half
    TrainDecision(TrainArgs),
    /// Store a decision-head's answers to the items that traces replay
    Decide(DecideArgs),
    /// Time deciding on this machine, into a device profile
    Profile(ProfileArgs),
    /// Measure what the base model's answers suffer when spans of prompts are left out
    Label(LabelArgs),
    /// Train the score-head on such labels; continues where an interrupted run stopped
    TrainScore(TrainScoreArgs),
    /// Compare compressors on questions that are never scored
    Compare(CompareArgs),
    /// How often the right entry of a list is among those that a ranking keeps
    Recall(RecallArgs),
    /// Learn how far the lists of each dataset are shortened before its shots are
    OrderLists(OrderArgs),
    /// Time both heads beside the full model's prefill
    Time(TimeArgs),
}

pub fn run(command: Command, form: Form) -> Result<()> {
    match command {
        Command::TrainDecision(args) => run_train(args, form),
        Command::Decide(args) => run_decide(args, form),
        Command::Profile(args) => run_profile(&args, form),
        Command::Label(args) => run_label(&args, form),
        Command::TrainScore(args) => run_train_score(&args, form),
        Command::Compare(args) => run_compare(&args, form),
        Command::Recall(args) => run_recall(&args, form),
        Command::OrderLists(args) => run_order(&args, form),
        Command::Time(args) => run_time(&args, form),
    }
}
