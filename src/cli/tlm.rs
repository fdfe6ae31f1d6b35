//! `pliant elastify tlm`: the tiny language model's heads.

use pliant::Result;

use super::tlm_decision::{DecideArgs, ProfileArgs, TrainArgs, run_decide, run_profile, run_train};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Train the decision-head on a quality table's estimate half
    TrainDecision(TrainArgs),
    /// Store a decision-head's answers to the items that traces replay
    Decide(DecideArgs),
    /// Time deciding on this machine, into a device profile
    Profile(ProfileArgs),
}

pub fn run(command: Command) -> Result<()> {
    match command {
        Command::TrainDecision(args) => run_train(args),
        Command::Decide(args) => run_decide(args),
        Command::Profile(args) => run_profile(args),
    }
}
