//! Traces for other tools.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::Trace;
use super::import::Warning;
use crate::request::Request;

/// Tokens of a block of Mooncake's `hash_ids`.
const BLOCK_TOKENS: u32 = 512;

/// What a trace can be written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExportFormat {
    /// Mooncake's JSON lines.
    Mooncake,
    /// Pliant's CSV, packed if the file's name ends in `.gz`.
    Native,
}

impl ExportFormat {
    /// Every format.
    pub const ALL: [Self; 2] = [Self::Mooncake, Self::Native];

    /// The name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mooncake => "mooncake",
            Self::Native => "native",
        }
    }
}

/// `trace` as another tool reads it, and what the format could not hold.
#[must_use]
pub fn export(trace: &Trace, format: ExportFormat) -> (String, Vec<Warning>) {
    match format {
        ExportFormat::Mooncake => mooncake(trace),
        ExportFormat::Native => (trace.to_csv(), Vec::new()),
    }
}

/// One object a line. Requests for one item have the same `hash_ids`: the prompt is the same.
fn mooncake(trace: &Trace) -> (String, Vec<Warning>) {
    let (mut text, mut rounded, mut next_block) = (String::new(), 0, 0_u64);
    let mut first_blocks = BTreeMap::new();
    for request in &trace.requests {
        let Request { arrival, dataset, item, prompt_tokens, output_tokens, .. } = request;
        let blocks = u64::from(prompt_tokens.div_ceil(BLOCK_TOKENS));
        let first = *first_blocks.entry((dataset, item, prompt_tokens)).or_insert_with(|| {
            next_block += blocks;
            next_block - blocks
        });
        let ids: Vec<_> = (first..first + blocks).map(|id| id.to_string()).collect();
        let nanos = arrival.as_nanos();
        rounded += u64::from(!nanos.is_multiple_of(1_000_000));
        let millis = nanos.saturating_add(500_000) / 1_000_000;
        writeln!(
            text,
            "{{\"timestamp\": {millis}, \"input_length\": {prompt_tokens}, \"output_length\": \
             {output_tokens}, \"hash_ids\": [{}]}}",
            ids.join(", ")
        )
        .expect("a string takes any text");
    }
    let parts = ["apps", "objectives", "items", "the header"].map(String::from).into();
    let mut warnings = vec![Warning::NotExported { parts }];
    if rounded > 0 {
        warnings.push(Warning::RoundedToMillis { requests: rounded });
    }
    (text, warnings)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::request::{AppId, DatasetId, Slo, Terms};
    use crate::units::SimTime;

    fn request(id: u64, micros: u64, item: u32, prompt_tokens: u32) -> Request {
        Request {
            id,
            arrival: SimTime::ZERO + Duration::from_micros(micros),
            app: AppId(0),
            dataset: DatasetId(0),
            item: item.into(),
            prompt_tokens,
            output_tokens: 16,
            slo: Slo::Absolute { ttft: Duration::ZERO, tpot: Duration::ZERO },
            terms: Terms::default(),
        }
    }

    /// 513 tokens are two blocks; the third request asks the first one's item again.
    #[test]
    fn equal_items_share_their_blocks_and_instants_are_rounded_by_name() {
        let requests =
            vec![request(0, 0, 7, 513), request(1, 1500, 8, 512), request(2, 9000, 7, 513)];
        let trace = Trace { requests, ..Trace::default() };
        let (text, warnings) = mooncake(&trace);
        assert_eq!(
            text,
            "{\"timestamp\": 0, \"input_length\": 513, \"output_length\": 16, \"hash_ids\": [0, 1]}\n\
             {\"timestamp\": 2, \"input_length\": 512, \"output_length\": 16, \"hash_ids\": [2]}\n\
             {\"timestamp\": 9, \"input_length\": 513, \"output_length\": 16, \"hash_ids\": [0, 1]}\n"
        );
        assert_eq!(warnings[1], Warning::RoundedToMillis { requests: 1 });
        assert_eq!(
            warnings[0].to_string(),
            "the format has no place for apps, objectives, items, the header"
        );
    }
}
