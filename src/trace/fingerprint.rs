//! A short name of what a trace asks for, the same on every machine.

use sha2::{Digest as _, Sha256};

use super::Trace;
use crate::digest;
use crate::request::{Limit, Request, Slo};

/// Hexadecimal digits of a fingerprint: 64 bits.
const DIGITS: usize = 16;

impl Trace {
    /// The start of the SHA-256 of all that a replay sees: names and requests, and not how the
    /// trace was made. What belongs to one trace is kept under it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for names in [&self.apps, &self.datasets] {
            hash.update((names.len() as u64).to_le_bytes());
            for name in names {
                text(&mut hash, name);
            }
        }
        for request in &self.requests {
            of_request(&mut hash, request);
        }
        let mut whole = digest::finish(hash);
        whole.truncate(DIGITS);
        whole
    }
}

fn text(hash: &mut Sha256, text: &str) {
    hash.update((text.len() as u64).to_le_bytes());
    hash.update(text);
}

fn of_request(hash: &mut Sha256, request: &Request) {
    let (slo, first, second) = stated(request.slo);
    let terms = request.terms;
    let patience = terms.cancel_after.map_or(u64::MAX, |time| time.as_nanos() as u64);
    let numbers = [
        request.id,
        request.arrival.as_nanos(),
        u64::from(request.app.0) << 32 | u64::from(request.dataset.0),
        u64::from(request.prompt_tokens) << 32 | u64::from(request.output_tokens),
        u64::from(terms.cached_tokens) << 40
            | slo << 32
            | u64::from(terms.priority) << 1
            | u64::from(terms.supersedes),
        first,
        second,
        patience,
    ];
    for number in numbers {
        hash.update(number.to_le_bytes());
    }
    match request.item.number() {
        Some(number) => hash.update(u64::from(number).to_le_bytes()),
        None => text(hash, &request.item.to_string()),
    }
}

/// The form of an objective, and its numbers.
fn stated(slo: Slo) -> (u64, u64, u64) {
    match slo {
        Slo::Relative { ttft, tpot } => (0, ttft.thousandths().into(), tpot.thousandths().into()),
        Slo::Absolute { ttft, tpot } => (1, ttft.as_nanos() as u64, tpot.as_nanos() as u64),
        Slo::EndToEnd(Limit::Share(share)) => (2, share.thousandths().into(), 0),
        Slo::EndToEnd(Limit::Absolute(time)) => (3, time.as_nanos() as u64, 0),
        Slo::Energy(Limit::Share(share)) => (4, share.thousandths().into(), 0),
        Slo::Energy(Limit::Absolute(energy)) => (5, energy.as_nanojoules(), 0),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::item::ItemId;
    use crate::method::testing::Bench;
    use crate::units::Ratio;

    /// Each change of what a replay sees is another trace; how it was made is not seen.
    #[test]
    fn traces_that_differ_have_other_fingerprints() {
        let trace = Bench::random(1, 5).trace;
        let own = trace.fingerprint();
        assert_eq!((own.len(), &own), (16, &trace.clone().fingerprint()));
        let changes: [fn(&mut Trace); 9] = [
            |trace| trace.requests[0].item = ItemId::parse("seven").unwrap(),
            |trace| trace.requests[1].output_tokens += 1,
            |trace| trace.requests[2].terms.priority = 1,
            |trace| trace.requests[2].terms.cancel_after = Some(Duration::ZERO),
            |trace| trace.requests[2].terms.cached_tokens = 1,
            |trace| trace.requests[3].slo = Slo::EndToEnd(Limit::Share(Ratio::ONE)),
            |trace| trace.requests[3].slo = Slo::Energy(Limit::Share(Ratio::ONE)),
            |trace| trace.apps.push("another".into()),
            |trace| _ = trace.requests.pop(),
        ];
        let mut known = vec![own.clone()];
        for change in changes {
            let mut other = trace.clone();
            change(&mut other);
            assert!(!known.contains(&other.fingerprint()));
            known.push(other.fingerprint());
        }
        assert_eq!(Trace { provenance: vec!["made".into()], ..trace }.fingerprint(), own);
    }
}
