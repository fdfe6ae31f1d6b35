//! Files of ours that are packed: those whose names end in `.gz`.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::write_whole;
use crate::error::Result;

/// Whether a file of that name is packed.
#[must_use]
pub fn is_packed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "gz")
}

/// `bytes` as a gzip file: the same for the same bytes, at any time.
#[must_use]
#[expect(clippy::missing_panics_doc, reason = "memory takes any bytes")]
pub fn pack(bytes: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    packer.write_all(bytes).expect("memory takes any bytes");
    packer.finish().expect("memory takes any bytes")
}

/// Writes the file `path` as [`write_whole`] does, packed if its name says so.
///
/// # Errors
/// As [`write_whole`].
pub fn write_by_name(path: &Path, bytes: &[u8]) -> Result<()> {
    if is_packed(path) { write_whole(path, &pack(bytes)) } else { write_whole(path, bytes) }
}

/// The bytes of the file `path`, unpacked if its name says that it is packed. For files of ours:
/// those of other people, of any length, are [`input`](crate::input)'s.
///
/// # Errors
/// If it cannot be read or unpacked.
pub fn read_by_name(path: &Path) -> io::Result<Vec<u8>> {
    if !is_packed(path) {
        return fs::read(path);
    }
    let mut bytes = Vec::new();
    MultiGzDecoder::new(fs::File::open(path)?).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_whether_a_file_is_packed() {
        let folder = tempfile::tempdir().unwrap();
        let text = b"seed,share\n".repeat(100);
        for (name, packed) in [("a.csv", false), ("a.csv.gz", true), ("gz", false)] {
            let path = folder.path().join(name);
            write_by_name(&path, &text).unwrap();
            assert_eq!(read_by_name(&path).unwrap(), text, "{name}");
            assert_eq!(fs::metadata(&path).unwrap().len() < text.len() as u64 / 5, packed);
        }
        fs::write(folder.path().join("b.gz"), &text).unwrap();
        assert!(read_by_name(&folder.path().join("b.gz")).is_err());
    }
}
