//! Vidur's processed traces, and any CSV that states a time and two lengths a row.
//!
//! Vidur's columns are `arrived_at,num_prefill_tokens,num_decode_tokens`, the first in seconds.
//! Source: `data/processed_traces/` of <https://github.com/microsoft/vidur>. Those of other files
//! are named by [`Columns`]; a time may be a date there.

use super::azure::date;
use super::table::{Row, Table};
use super::time::{self, TimeUnit};
use super::{Call, Calls, Columns, Source, Warning};
use crate::error::Result;
use crate::input::Input;

const VIDUR: [&str; 3] = ["arrived_at", "num_prefill_tokens", "num_decode_tokens"];

/// Above so many seconds a time is in milliseconds: as seconds it is in the year 5138, as
/// milliseconds in 1973.
const SECONDS_MAX: f64 = 1e11;

pub(super) fn vidur(input: &Input, columns: &Columns) -> Result<Source> {
    read(input, columns, VIDUR)
}

pub(super) fn csv(input: &Input, columns: &Columns) -> Result<Source> {
    read(input, columns, Columns::ROLES)
}

fn read(input: &Input, columns: &Columns, names: [&str; 3]) -> Result<Source> {
    let (mut calls, mut unit) = (Calls::default(), columns.time_unit);
    let unused = Table::new(input).rows(&columns.over(names), &[], |row| {
        let nanos = match date(row.cell(0).unwrap_or("")) {
            Some((nanos, _)) if names == Columns::ROLES => nanos,
            _ => time::of_cell(&row, 0, *unit.get_or_insert_with(|| unit_of(&row)))?,
        };
        let (prompt_tokens, output_tokens) = (row.tokens(1)?, row.tokens(2)?);
        calls.push(row.line, Call { nanos, prompt_tokens, output_tokens, turn: None });
        Ok(())
    })?;
    let guessed = columns.time_unit.is_none() && unit == Some(TimeUnit::Milliseconds);
    Ok(calls.finish(unused, guessed.then_some(Warning::TimesInMillis {}).into_iter().collect()))
}

/// What the first row's time must be in.
fn unit_of(row: &Row<'_>) -> TimeUnit {
    let time: Option<f64> = row.cell(0).and_then(|cell| cell.parse().ok());
    let is_late = time.is_some_and(|time| time > SECONDS_MAX);
    if is_late { TimeUnit::Milliseconds } else { TimeUnit::Seconds }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{message, source};
    use super::*;

    #[test]
    fn seconds_are_read_to_the_nearest_nanosecond() {
        let source = source(
            vidur,
            "num_decode_tokens,arrived_at,num_prefill_tokens\n3,0.0,10\n4,1.2999999999999998,20.0\n",
        );
        let call = Call { nanos: 1_300_000_000, prompt_tokens: 20, output_tokens: 4, turn: None };
        assert_eq!(source.calls()[1], call);
        assert_eq!(source.warnings, []);
    }

    #[test]
    fn milliseconds_since_1970_are_told_from_seconds() {
        let text = "arrived_at,num_prefill_tokens,num_decode_tokens\n\
                    1759522419154,10,3\n1759522419194,20,4\n";
        let source = source(vidur, text);
        assert_eq!(source.calls()[1].nanos - source.calls()[0].nanos, 40_000_000);
        let first = "2025-10-03T20:13:39.154Z".to_owned();
        assert_eq!(source.warnings, [Warning::SinceEpoch { first }, Warning::TimesInMillis {}]);
    }

    #[test]
    fn a_file_of_lengths_alone_lacks_its_arrivals() {
        assert_eq!(
            message(vidur, "num_prefill_tokens,num_decode_tokens\n1,2\n"),
            "line 1, column \"arrived_at\": missing column; found \
             num_prefill_tokens,num_decode_tokens; allowed: a header with \
             arrived_at,num_prefill_tokens,num_decode_tokens"
        );
    }

    #[test]
    fn columns_of_other_names_are_found_and_their_times_may_be_dates_or_in_any_unit() {
        let columns: Columns = "arrival=ts,prompt_tokens=in,output_tokens=out".parse().unwrap();
        let read = |text: &str, unit| {
            let columns = Columns { time_unit: unit, ..columns.clone() };
            let source = csv(&Input::of("calls.csv", text), &columns).unwrap();
            source.calls().iter().map(|call| call.nanos).collect::<Vec<_>>()
        };
        assert_eq!(read("out,ts,in\n1,2,3\n", None), [2_000_000_000]);
        assert_eq!(read("out,ts,in\n1,2,3\n", Some(TimeUnit::Microseconds)), [2000]);
        assert_eq!(read("out,ts,in\n1,1970-01-01T00:00:01Z,3\n", None), [1_000_000_000]);
    }
}
