//! How much memory this process holds, and how much of it a family of sub-models needs.

use std::path::Path;

use crate::engine::generate::generate;
use crate::engine::graph::Attention;
use crate::error::Result;
use crate::model::ElasticModel;
use crate::profile::Memory;
use crate::units::Level;

/// Tokens of the prompt that a level reads before it counts as ready.
const PROMPT_TOKENS: u32 = 1024;

/// Resident memory in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resident {
    /// What this process has written: it has no copy elsewhere, so the system cannot drop it.
    pub private: u64,
    /// Pages of mapped files, which the system may drop and read again.
    pub file: u64,
}

impl Resident {
    /// Memory of this process now; `None` where the system does not tell (it is Linux that does).
    #[must_use]
    pub fn now() -> Option<Self> {
        let status = std::fs::read_to_string(Path::new("/proc/self/status")).ok()?;
        Some(Self { private: field(&status, "RssAnon")?, file: field(&status, "RssFile")? })
    }

    /// Private and shared together.
    #[must_use]
    pub fn total(self) -> u64 {
        self.private + self.file
    }
}

/// Resident memory of this process with the base model alone ready to serve, then with every level;
/// `None` where the system does not tell. `model` must be the first that the process opens.
///
/// # Errors
/// If inference fails.
pub fn measure(model: &mut ElasticModel) -> Result<Option<Memory>> {
    let levels: Vec<Level> = model.engine.ladder().keys().copied().collect();
    let prompt: Vec<u32> = (0..PROMPT_TOKENS).collect();
    generate(&mut model.engine, Level::FULL, &prompt, 2, None)?;
    let one = Resident::now();
    for &level in &levels {
        model.engine.open(level, Attention::Causal)?;
        generate(&mut model.engine, level, &prompt, 2, None)?;
    }
    let all = Resident::now();
    Ok(one.zip(all).map(|(one, all)| Memory {
        one_level_bytes: one.total(),
        all_levels_bytes: all.total(),
        one_level_private_bytes: Some(one.private),
        all_levels_private_bytes: Some(all.private),
    }))
}

fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_in_bytes() {
        let status = "VmRSS:\t  30 kB\nRssAnon:\t  10 kB\nRssFile:\t      20 kB\n";
        assert_eq!(
            (field(status, "RssAnon"), field(status, "RssFile")),
            (Some(10240), Some(20480))
        );
        assert_eq!(field(status, "RssShmem"), None);
    }
}
