//! BurstGPT, release 1 and 2.
//!
//! Release 1 has the columns `Timestamp,Model,Request tokens,Response tokens,Total tokens,Log
//! Type`; release 2 adds `Session ID,Elapsed time`. Times are seconds since the first day's
//! midnight; a failed call has no response tokens. Source: <https://github.com/HPMLL/BurstGPT>.

use std::collections::BTreeMap;

use super::prefixes::Turn;
use super::table::Table;
use super::time::{self, TimeUnit};
use super::warning::Counted;
use super::{Call, Calls, Columns, Source, Warning};
use crate::error::Result;
use crate::input::Input;

const REQUIRED: [&str; 3] = ["Timestamp", "Request tokens", "Response tokens"];
const OPTIONAL: [&str; 2] = ["Total tokens", "Session ID"];

pub(super) fn read(input: &Input, columns: &Columns) -> Result<Source> {
    let unit = columns.time_unit.unwrap_or(TimeUnit::Seconds);
    let (mut calls, mut other_totals) = (Calls::dated(), Counted::default());
    // By name: its number, and how many turns it has.
    let mut sessions = BTreeMap::<String, (u64, u64)>::new();
    let unused = Table::new(input).rows(&columns.over(REQUIRED), &OPTIONAL, |row| {
        let nanos = time::of_cell(&row, 0, unit)?;
        let (prompt_tokens, output_tokens) = (row.tokens(1)?, row.tokens(2)?);
        let total = prompt_tokens.saturating_add(output_tokens);
        if row.optional_tokens(3)?.is_some_and(|stated| stated != total) {
            other_totals.add(row.line);
        }
        let turn = row.cell(4).filter(|name| !name.is_empty()).map(|name| {
            let next = sessions.len() as u64;
            let (number, turns) = sessions.entry(name.to_owned()).or_insert((next, 0));
            *turns += 1;
            calls.turn(Turn::Session(*number))
        });
        calls.push(row.line, Call { nanos, prompt_tokens, output_tokens, turn });
        Ok(())
    })?;
    let disagree = |requests, first_line| Warning::TotalsDisagree { requests, first_line };
    let requests = sessions.values().map(|&(_, turns)| turns).filter(|&turns| turns > 1).sum();
    let shared = (requests > 0).then_some(Warning::SharedPrefixesIgnored { requests });
    Ok(calls.finish(unused, other_totals.warning(disagree).into_iter().chain(shared).collect()))
}

#[cfg(test)]
mod tests {
    use super::super::Body;
    use super::super::testing::{message, source};
    use super::*;

    #[test]
    fn release_1_is_read_and_failures_are_left_out_by_name() {
        let source = source(
            read,
            "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n\
             7,ChatGPT,400,20,420,Conversation log\n9,GPT-4,50,0,50,API log\n\
             9,GPT-4,60,30,91,API log\n11,GPT-4,60,30,,API log\n",
        );
        let call = Call { nanos: 7_000_000_000, prompt_tokens: 400, output_tokens: 20, turn: None };
        assert_eq!(source.calls()[0], call);
        assert_eq!(
            source.warnings,
            [
                Warning::Unused { names: vec!["Model".into(), "Log Type".into()] },
                Warning::WithoutTokens { requests: 1, first_line: 3 },
                Warning::TotalsDisagree { requests: 1, first_line: 4 },
            ]
        );
    }

    #[test]
    fn release_2_is_read_by_its_header() {
        let source = source(
            read,
            "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total \
             tokens,Log Type\n19000000.5,,43,GPT-4,900,440,1340,API log\n",
        );
        assert_eq!(source.calls()[0].nanos, 19_000_000_500_000_000);
        assert_eq!(source.calls()[0].output_tokens, 440);
        assert_eq!(source.calls()[0].turn, None, "no session is named");
    }

    #[test]
    fn turns_of_a_session_have_its_number() {
        let source = source(
            read,
            "Timestamp,Session ID,Request tokens,Response tokens\n1,a,9,4\n2,b,7,4\n3,a,20,4\n",
        );
        let Body::Timed { calls, turns, .. } = &source.body else { panic!("times are known") };
        let of = |call: &Call| turns[call.turn.unwrap() as usize].clone();
        let sessions: Vec<_> = calls.iter().map(of).collect();
        assert_eq!(sessions, [0, 1, 0].map(Turn::Session));
        assert_eq!(source.warnings, [Warning::SharedPrefixesIgnored { requests: 2 }]);
    }

    #[test]
    fn a_time_before_the_start_is_named() {
        assert_eq!(
            message(read, "Timestamp,Request tokens,Response tokens\n-1,2,3\n"),
            "line 2, column \"Timestamp\": bad value; found \"-1\"; allowed: seconds from 0 to \
             9000000000"
        );
    }
}
