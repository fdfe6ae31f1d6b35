//! The Azure LLM inference traces of 2023 and 2024 and the multimodal one of 2025.
//!
//! Columns `TIMESTAMP,ContextTokens,GeneratedTokens`, in 2025 also `NumImages`. Instants are dates
//! with up to nine decimals, without a zone (2023) or with one (2024: `+00:00`). Source:
//! `AzureLLMInferenceDataset2023.md`, `…2024.md` and `AzureLMMInferenceDataset2025.md` of
//! <https://github.com/Azure/AzurePublicDataset>.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::table::{Row, Table};
use super::{Call, Calls, Columns, Source, Warning};
use crate::error::Result;
use crate::input::Input;

const REQUIRED: [&str; 3] = ["TIMESTAMP", "ContextTokens", "GeneratedTokens"];
const OPTIONAL: [&str; 1] = ["NumImages"];

pub(super) fn read(input: &Input, columns: &Columns) -> Result<Source> {
    let required = columns.over(REQUIRED);
    let (mut calls, mut with_zone, mut without_zone, mut with_images) = (Calls::dated(), 0, 0, 0);
    let unused = Table::new(input).rows(&required, &OPTIONAL, |row| {
        let (nanos, zoned) = instant(&row)?;
        *(if zoned { &mut with_zone } else { &mut without_zone }) += 1;
        with_images += u64::from(row.cell(3).is_some_and(|images| !matches!(images, "" | "0")));
        let (prompt_tokens, output_tokens) = (row.tokens(1)?, row.tokens(2)?);
        calls.push(row.line, Call { nanos, prompt_tokens, output_tokens, turn: None });
        Ok(())
    })?;
    let mut warnings = Vec::new();
    if with_zone > 0 && without_zone > 0 {
        warnings.push(Warning::MixedZones { with_zone, without_zone });
    }
    if with_images > 0 {
        warnings.push(Warning::ImagesIgnored { requests: with_images });
    }
    Ok(calls.finish(unused, warnings))
}

pub(super) const DATE: &str = "a date from 1678 to 2262 such as 2024-05-10 00:00:00.009930+00:00";

/// The instant of a row, in ns since 1970, and whether it states its zone; UTC if it does not.
fn instant(row: &Row<'_>) -> Result<(i64, bool)> {
    date(row.cell(0).unwrap_or("")).ok_or_else(|| row.wrong(0, DATE))
}

/// The instant that `text` states, in ns since 1970, and whether it states its zone.
pub(super) fn date(text: &str) -> Option<(i64, bool)> {
    let zoned = text.parse::<Timestamp>().ok();
    let local = || TimeZone::UTC.to_timestamp(text.parse::<DateTime>().ok()?).ok();
    let nanos = i64::try_from(zoned.or_else(local)?.as_nanosecond()).ok()?;
    Some((nanos, zoned.is_some()))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{message, source};
    use super::*;

    fn nanos(rows: &str) -> Vec<i64> {
        let source = source(read, &format!("TIMESTAMP,ContextTokens,GeneratedTokens\n{rows}"));
        source.calls().iter().map(|call| call.nanos).collect()
    }

    /// 2024-05-10 12:00:00 UTC is 1715342400 s after 1970.
    #[test]
    fn every_way_to_write_an_instant_is_read_to_the_nanosecond() {
        let noon = 1_715_342_400_000_000_000;
        for (text, after_noon) in [
            ("2024-05-10 12:00:00", 0),
            ("2024-05-10 12:00:00.6805900", 680_590_000),
            ("2024-05-10 12:00:00.009930+00:00", 9_930_000),
            ("2024-05-10T12:00:00Z", 0),
            ("2024-05-10 05:00:00.5-07:00", 500_000_000),
            ("2024-05-10 14:00:00+0200", 0),
        ] {
            assert_eq!(nanos(&format!("{text},1,2\n")), [noon + after_noon], "{text}");
        }
    }

    #[test]
    fn columns_are_found_by_header_and_oddities_are_warned_of() {
        let source = source(
            read,
            "NumImages,generatedtokens,note,TIMESTAMP,ContextTokens\n\
             0,5,x,2024-10-15 00:00:01,100\n2,6,x,2024-10-15 00:00:02+00:00,200\n\n\
             0,0,x,2024-10-15 00:00:03,300\n",
        );
        assert_eq!(source.calls()[1].prompt_tokens, 200);
        assert_eq!(
            source.warnings,
            [
                Warning::Unused { names: vec!["note".into()] },
                Warning::WithoutTokens { requests: 1, first_line: 5 },
                Warning::MixedZones { with_zone: 1, without_zone: 2 },
                Warning::ImagesIgnored { requests: 1 },
            ]
        );
    }

    #[test]
    fn bad_cells_name_line_column_found_and_allowed() {
        let wrong =
            |rows: &str| message(read, &format!("TIMESTAMP,ContextTokens,GeneratedTokens\n{rows}"));
        assert_eq!(
            wrong("2024-05-10,1\n"),
            "line 2: wrong number of cells; found 2; allowed: 3, as the header has"
        );
        assert_eq!(
            wrong("yesterday,1,2\n"),
            "line 2, column \"TIMESTAMP\": bad value; found \"yesterday\"; allowed: a date from 1678 \
             to 2262 such as 2024-05-10 00:00:00.009930+00:00"
        );
        assert_eq!(
            wrong("2024-05-10 00:00:00,-1,2\n"),
            "line 2, column \"ContextTokens\": bad value; found \"-1\"; allowed: a whole number from \
             0, of 32 bits"
        );
        assert_eq!(
            message(read, "TIMESTAMP,ContextTokens\n"),
            "line 1, column \"GeneratedTokens\": missing column; found TIMESTAMP,ContextTokens; \
             allowed: a header with TIMESTAMP,ContextTokens,GeneratedTokens"
        );
        assert!(message(read, "").contains("no header"));
    }
}
