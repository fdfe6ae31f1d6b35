//! How much memory this process holds.

use std::path::Path;

/// Resident memory in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resident {
    /// Of this process alone.
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
