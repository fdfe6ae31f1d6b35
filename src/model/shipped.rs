//! The trained weights that the project ships: one folder of files that are called after their
//! SHA-256, and one table that says what each is and which command makes it.
//!
//! A command that trains weights leaves them beside the file that names them, and there they are
//! looked for first. What is not there is one of these, by its hash.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::open::check_sha256;
use crate::error::{Error, Result};
use crate::profile::Profiles;

/// The table's name in the folder of weights.
const TABLE: &str = "manifest.csv";
/// Letters of its hash that a file is called after.
const NAME_LETTERS: usize = 16;

/// A row of the table; `docs/profile-format.md` has its columns.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    sha256: String,
    #[serde(rename = "bytes")]
    _bytes: u64,
    base_model: String,
    kind: Kind,
    name: String,
    #[serde(rename = "level")]
    _level: Option<u16>,
    #[serde(rename = "command")]
    _command: String,
}

/// What weights are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Adapter,
    Predictor,
    ScoreHead,
    DecisionHead,
}

/// The table and its rows.
struct Shipped {
    table: PathBuf,
    rows: Vec<Row>,
}

impl Shipped {
    /// What is shipped in the folder of profiles that `path` lies in, or else in the project's.
    fn near(path: &Path) -> Result<Self> {
        let above = path.ancestors().skip(1).map(Profiles::at);
        let tables = above.chain([Profiles::default()]).map(|p| p.weights().join(TABLE));
        let Some(table) = tables.into_iter().find(|table| table.is_file()) else {
            return Ok(Self { table: Profiles::default().weights().join(TABLE), rows: Vec::new() });
        };
        let wrong = |error| Error::file(&table, "not a table of weights").caused_by(error);
        let mut reader = csv::Reader::from_path(&table).map_err(wrong)?;
        let rows: Vec<Row> =
            reader.deserialize().collect::<Result<_, csv::Error>>().map_err(wrong)?;
        match rows.iter().position(|row| !row.sha256.is_char_boundary(NAME_LETTERS)) {
            None => Ok(Self { table, rows }),
            Some(row) => Err(Error::file(&table, "not a SHA-256")
                .at(format!("line {}", row + 2))
                .found(&rows[row].sha256)),
        }
    }

    /// The file of the first row that is `wanted`, with that row.
    fn file(&self, wanted: impl Fn(&Row) -> bool) -> Option<(PathBuf, &Row)> {
        let row = self.rows.iter().find(|row| wanted(row))?;
        let name = format!("{}.safetensors", &row.sha256[..NAME_LETTERS]);
        Some((self.table.with_file_name(name), row)).filter(|(file, _)| file.exists())
    }
}

/// The file with the weights of that `sha256`, if there is one: `beside`, which may hold others if
/// somebody changed it, or one of the shipped.
///
/// # Errors
/// If the table of the shipped ones is damaged.
pub fn find(beside: &Path, sha256: &str) -> Result<Option<PathBuf>> {
    if beside.exists() {
        return Ok(Some(beside.to_owned()));
    }
    let shipped = Shipped::near(beside)?;
    Ok(shipped.file(|row| row.sha256 == sha256).map(|(file, _)| file))
}

/// The same for weights that have to be there; `command` makes them.
///
/// # Errors
/// As [`find`], and if there is no such file.
pub fn locate(beside: &Path, sha256: &str, command: &str) -> Result<PathBuf> {
    find(beside, sha256)?.ok_or_else(|| missing(beside, command))
}

/// The file of the decision-head of `base_model` called `name`, looked for at `beside` first.
///
/// # Errors
/// If there is none, the table of the shipped ones is damaged, or the file is not what it says.
pub fn decision_head(beside: &Path, base_model: &str, name: &str) -> Result<PathBuf> {
    if beside.exists() {
        return Ok(beside.to_owned());
    }
    let shipped = Shipped::near(beside)?;
    let is_it = |row: &Row| {
        (row.kind, row.base_model.as_str(), row.name.as_str())
            == (Kind::DecisionHead, base_model, name)
    };
    let Some((file, row)) = shipped.file(is_it) else {
        let command = format!("pliant elastify tlm train-decision --name {name}");
        return Err(missing(beside, &command));
    };
    check_sha256(&file, &row.sha256, "not the weights that their table names", &shipped.table)?;
    Ok(file)
}

fn missing(beside: &Path, command: &str) -> Error {
    let folder = Profiles::default().weights();
    Error::file(beside, "no such weights")
        .found(format!("none here, and none of this hash in {}", folder.display()))
        .allowed(format!("what `{command}` writes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest;

    const HEADER: &str = "sha256,bytes,base_model,kind,name,level,command\n";

    /// Profiles with one head in the folder of weights; its hash.
    fn profiles() -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        let weights = folder.path().join("weights");
        std::fs::create_dir(&weights).unwrap();
        let sha256 = digest::sha256(b"head");
        std::fs::write(weights.join(format!("{}.safetensors", &sha256[..16])), "head").unwrap();
        let row = format!("{sha256},4,tiny,decision-head,width-structured,,pliant elastify\n");
        std::fs::write(weights.join(TABLE), format!("{HEADER}{row}")).unwrap();
        (folder, sha256)
    }

    #[test]
    fn weights_are_those_beside_their_manifest_or_the_shipped_ones_of_their_hash() {
        let (folder, sha256) = profiles();
        let beside = folder.path().join("elastic/tiny/adapters/width-lora-20.safetensors");
        let shipped = locate(&beside, &sha256, "pliant").unwrap();
        assert_eq!(std::fs::read(&shipped).unwrap(), b"head");
        assert_eq!(find(&beside, "00").unwrap(), None);
        std::fs::create_dir_all(beside.parent().unwrap()).unwrap();
        std::fs::write(&beside, "new").unwrap();
        assert_eq!(locate(&beside, &sha256, "pliant").unwrap(), beside);
    }

    #[test]
    fn missing_weights_are_one_error_that_says_which_command_makes_them() {
        let (folder, _) = profiles();
        let beside = folder.path().join("elastic/a.safetensors");
        let message = locate(&beside, "00", "pliant elastify recover").unwrap_err().to_string();
        assert_eq!(
            message.split_once("a.safetensors").unwrap().1,
            ": no such weights; found none here, and none of this hash in device-profiles/weights; \
             allowed: what `pliant elastify recover` writes"
        );
    }

    #[test]
    fn a_decision_head_is_found_by_its_name_and_checked_by_its_hash() {
        let (folder, sha256) = profiles();
        let beside = folder.path().join("elastic/tiny/tlm/x.decision-head.safetensors");
        let head = decision_head(&beside, "tiny", "width-structured").unwrap();
        assert_eq!(digest::sha256_file(&head).unwrap(), sha256);
        let other = decision_head(&beside, "other", "width-structured").unwrap_err().to_string();
        assert!(other.contains("tlm train-decision --name width-structured"), "{other}");
        std::fs::write(head, "changed").unwrap();
        let changed = decision_head(&beside, "tiny", "width-structured").unwrap_err().to_string();
        assert!(changed.contains("not the weights that their table names"), "{changed}");
    }

    #[test]
    fn a_damaged_table_of_weights_is_an_error_with_its_line() {
        let (folder, _) = profiles();
        let beside = folder.path().join("elastic/a.safetensors");
        let refused = |row: &str| {
            let table = folder.path().join("weights").join(TABLE);
            std::fs::write(table, format!("{HEADER}{row}\n")).unwrap();
            let message = find(&beside, "00").unwrap_err().to_string();
            message.split_once("manifest.csv").unwrap().1.to_owned()
        };
        assert_eq!(refused("00,4,tiny,adapter,a,20,b"), ", line 2: not a SHA-256; found 00");
        assert!(refused("00,4,tiny,tail,a,20,b").starts_with(": not a table of weights"));
    }
}
