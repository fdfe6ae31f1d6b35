//! Vidur's processed traces.
//!
//! Columns `arrived_at,num_prefill_tokens,num_decode_tokens`; `arrived_at` in seconds since the
//! start. Source: `data/processed_traces/` of <https://github.com/microsoft/vidur>.

use std::path::Path;

use super::table::Table;
use super::{Call, Calls, Source, seconds};
use crate::error::Result;

const REQUIRED: [&str; 3] = ["arrived_at", "num_prefill_tokens", "num_decode_tokens"];

pub(super) fn read(path: &Path) -> Result<Source> {
    let mut calls = Calls::default();
    let unused = Table::open(path)?.rows(&REQUIRED, &[], |row| {
        let (nanos, prompt_tokens, output_tokens) =
            (seconds(&row, 0)?, row.tokens(1)?, row.tokens(2)?);
        calls.push(row.line, Call { nanos, prompt_tokens, output_tokens });
        Ok(())
    })?;
    Ok(calls.finish(false, unused, Vec::new()))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{file, message};
    use super::*;

    #[test]
    fn seconds_are_read_to_the_nearest_nanosecond() {
        let file = file(
            "num_decode_tokens,arrived_at,num_prefill_tokens\n3,0.0,10\n4,1.2999999999999998,20.0\n",
        );
        let source = read(file.path()).unwrap();
        let call = Call { nanos: 1_300_000_000, prompt_tokens: 20, output_tokens: 4 };
        assert_eq!(source.calls()[1], call);
        assert_eq!(source.warnings, []);
    }

    #[test]
    fn a_file_of_lengths_alone_lacks_its_arrivals() {
        assert_eq!(
            message(read, "num_prefill_tokens,num_decode_tokens\n1,2\n"),
            "line 1, column \"arrived_at\": missing column; found \
             num_prefill_tokens,num_decode_tokens; allowed: a header with \
             arrived_at,num_prefill_tokens,num_decode_tokens"
        );
    }
}
