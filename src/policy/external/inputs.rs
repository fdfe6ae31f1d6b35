//! The files that an external policy's answers depend on, as far as they can be known.

use std::fs;
use std::path::{Path, PathBuf};

use super::ExternalSpec;
use crate::error::{Error, Result};

/// Most files of one policy.
const FILES_MAX: usize = 1000;

/// Folders that hold what others made.
const FOREIGN: [&str; 4] = ["__pycache__", "node_modules", "site-packages", "target"];

impl ExternalSpec {
    /// The arguments that are files, and what else the program reads: `inputs`, and what is in
    /// those of them that are folders; where none are stated, the sources beside and below each
    /// argument, by its ending. Sorted.
    ///
    /// # Errors
    /// If one of `inputs` does not exist, or there are too many files.
    pub fn files(&self) -> Result<Vec<PathBuf>> {
        let wrong = |path: &Path, problem: &str| {
            Error::file(path, problem).at("key \"inputs\" of an external policy")
        };
        let arguments = self.arguments();
        let mut files: Vec<PathBuf> = arguments.clone();
        let inputs = self.inputs.iter().flatten();
        for input in inputs {
            if !input.exists() {
                return Err(wrong(input, "does not exist"));
            }
            collect(input, &|_| true, &mut files);
        }
        if self.inputs.is_none() {
            for argument in &arguments {
                let Some(ending) = argument.extension() else { continue };
                let folder = argument.parent().filter(|folder| !folder.as_os_str().is_empty());
                let is_source = |path: &Path| path.extension() == Some(ending);
                below(folder.unwrap_or(Path::new(".")), &is_source, &mut files);
            }
        }
        if files.len() > FILES_MAX {
            let error = wrong(&files[0], "the policy has too many files");
            return Err(error.found("more").allowed(format!("{FILES_MAX}; name those it reads")));
        }
        // `./mine.py`, found from `mine.py`, is that file.
        let plain = |path: PathBuf| path.strip_prefix(".").map_or(path.clone(), Path::to_owned);
        let mut files: Vec<_> = files.into_iter().map(plain).collect();
        files.sort();
        files.dedup();
        Ok(files)
    }

    /// In words: what [`files`](Self::files) covers.
    ///
    /// # Errors
    /// As [`files`](Self::files).
    pub fn covered(&self) -> Result<String> {
        let count = match self.files()?.len() {
            0 => return Ok("its command line alone".to_owned()),
            1 => "1 file".to_owned(),
            count => format!("{count} files"),
        };
        if self.inputs.is_some() {
            return Ok(format!("{count}, as its `inputs` state"));
        }
        let arguments = self.arguments();
        let shown = |path: &PathBuf| match path.extension() {
            Some(ending) => path.with_file_name("*").with_extension(ending),
            None => path.clone(),
        };
        let mut shown: Vec<_> = arguments.iter().map(|p| shown(p).display().to_string()).collect();
        shown.dedup();
        Ok(format!("{count}: {}", shown.join(", ")))
    }

    fn arguments(&self) -> Vec<PathBuf> {
        self.command.iter().map(PathBuf::from).filter(|path| path.is_file()).collect()
    }
}

/// Adds `path`, or the files below it that are `wanted`.
fn collect(path: &Path, wanted: &dyn Fn(&Path) -> bool, files: &mut Vec<PathBuf>) {
    if path.is_dir() {
        below(path, wanted, files);
    } else if wanted(path) {
        files.push(path.to_owned());
    }
}

/// Adds the files in and below `folder` that are `wanted`. Links to folders are not followed.
fn below(folder: &Path, wanted: &dyn Fn(&Path) -> bool, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        let is_foreign = name.starts_with('.') || FOREIGN.contains(&name.as_ref());
        let Ok(kind) = entry.file_type() else { continue };
        if is_foreign || files.len() > FILES_MAX || path.join("pyvenv.cfg").exists() {
            continue;
        }
        if kind.is_dir() {
            below(&path, wanted, files);
        } else if path.is_file() && wanted(&path) {
            files.push(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(folder: &Path, more: &str) -> ExternalSpec {
        let program = folder.join("mine.py");
        let text = format!("command = ['python3', {:?}]\n{more}", program.display().to_string());
        toml::from_str(&text).unwrap()
    }

    fn names(folder: &Path, files: Vec<PathBuf>) -> Vec<String> {
        let name = |path: PathBuf| path.strip_prefix(folder).unwrap().display().to_string();
        files.into_iter().map(name).collect()
    }

    #[test]
    fn a_policys_files_are_its_folders_sources_or_those_that_it_states() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        for name in ["mine.py", "rules/law.py", "table.json", ".venv/a.py", "notes/log.txt"] {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let by_default = spec(folder, "");
        let files = by_default.files().unwrap();
        assert_eq!(names(folder, files), ["mine.py", "rules/law.py"]);
        assert!(by_default.covered().unwrap().starts_with("2 files: "));
        let inputs =
            format!("inputs = [{:?}, {:?}]", folder.join("table.json"), folder.join("notes"));
        let stated = spec(folder, &inputs);
        let files = stated.files().unwrap();
        assert_eq!(names(folder, files), ["mine.py", "notes/log.txt", "table.json"]);
        assert_eq!(stated.covered().unwrap(), "3 files, as its `inputs` state");
        let nowhere = spec(folder, "inputs = ['nowhere.json']").files().unwrap_err().to_string();
        assert!(nowhere.starts_with("nowhere.json, key \"inputs\""), "{nowhere}");
        let none: ExternalSpec = toml::from_str("command = ['python3', '-c', 'pass']").unwrap();
        assert_eq!(none.covered().unwrap(), "its command line alone");
    }
}
