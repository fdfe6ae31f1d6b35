//! How soon an answer is wanted, as a request says it. The first that is there counts:
//!
//! 1. headers `x-slo-ttft-ms` and `x-slo-tpot-ms`, in milliseconds; one alone leaves the other
//!    open;
//! 2. body `slo`: `{"ttft": 0.4, "tpot": 0.7}`, shares of what the base model takes; or
//!    `{"ttft_ms": 300, "tpot_ms": 40}`; or `{"e2e": 0.5}` or `{"e2e_ms": 900}`;
//! 3. body `service_tier`: a name for a pair of shares, [`TIERS`];
//! 4. the app's own, if nothing is said.

use std::time::Duration;

use axum::http::HeaderMap;

use super::fault::Fault;
use super::fields::Fields;
use crate::request::{Bounds, Limit, Slo};
use crate::service::Objective;
use crate::units::{Ratio, nanos_of_decimal_millis};

/// Bounds in milliseconds, from gateways that know them under these names.
pub(super) const HEADERS: [&str; 2] = ["x-slo-ttft-ms", "x-slo-tpot-ms"];

/// Names of pairs of shares, in percent: of the time to the first token, of that per token.
///
/// The fast one is the tightest of the study's apps. `auto` is the app's own.
pub const TIERS: [(&str, Option<[u16; 2]>); 7] = [
    ("auto", None),
    ("default", None),
    ("fast", Some([20, 50])),
    ("priority", Some([20, 50])),
    ("scale", Some([40, 70])),
    ("full", Some([100, 100])),
    ("flex", Some([100, 100])),
];

/// A bound that nothing exceeds while a service lives: a day.
const OPEN: Duration = Duration::from_hours(24);

/// The longest bound, in milliseconds: a day.
const LONGEST_MS: u64 = 86_400_000;

/// The objective that headers and body state.
pub(super) fn objective(headers: &HeaderMap, body: &Fields<'_>) -> Result<Objective, Fault> {
    if let Some(stated) = of_headers(headers)? {
        return Ok(Objective::Stated(stated));
    }
    if let Some(slo) = body.get("slo") {
        return Ok(Objective::Stated(of_slo(&Fields::at(slo, "slo")?)?));
    }
    match body.text("service_tier")? {
        None => Ok(Objective::AppDefault),
        Some(tier) => of_tier(tier).ok_or_else(|| {
            let names: Vec<&str> = TIERS.iter().map(|(name, _)| *name).collect();
            body.wrong("service_tier", &names.join(", "))
        }),
    }
}

fn of_headers(headers: &HeaderMap) -> Result<Option<Slo>, Fault> {
    let bound = |name: &str| {
        let Some(value) = headers.get(name) else { return Ok(None) };
        let text = value.to_str().unwrap_or_default().trim();
        let nanos = nanos_of_decimal_millis(text).filter(|nanos| *nanos > 0);
        let nanos = nanos.filter(|nanos| *nanos <= LONGEST_MS * 1_000_000);
        let allowed = format!("milliseconds above 0, to {LONGEST_MS}, with at most 6 decimals");
        let wrong = || Fault::field(name, format!("{name}: not allowed; allowed: {allowed}"));
        nanos.map(Duration::from_nanos).ok_or_else(wrong).map(Some)
    };
    let [ttft, tpot] = [bound(HEADERS[0])?, bound(HEADERS[1])?];
    let stated = ttft.is_some() || tpot.is_some();
    let slo = Slo::Absolute { ttft: ttft.unwrap_or(OPEN), tpot: tpot.unwrap_or(OPEN) };
    Ok(stated.then_some(slo))
}

const FORMS: &str = "ttft and tpot in (0, 1], ttft_ms and tpot_ms, e2e in (0, 1], or e2e_ms";

fn of_slo(slo: &Fields<'_>) -> Result<Slo, Fault> {
    let mut keys: Vec<&str> = slo.keys().filter(|key| slo.get(key).is_some()).collect();
    keys.sort_unstable();
    match keys[..] {
        ["tpot", "ttft"] => {
            Ok(Slo::Relative { ttft: share(slo, "ttft")?, tpot: share(slo, "tpot")? })
        }
        ["tpot_ms", "ttft_ms"] => {
            Ok(Slo::Absolute { ttft: time(slo, "ttft_ms")?, tpot: time(slo, "tpot_ms")? })
        }
        ["ttft_ms"] => Ok(Slo::Absolute { ttft: time(slo, "ttft_ms")?, tpot: OPEN }),
        ["tpot_ms"] => Ok(Slo::Absolute { ttft: OPEN, tpot: time(slo, "tpot_ms")? }),
        ["e2e"] => Ok(Slo::EndToEnd(Limit::Share(share(slo, "e2e")?))),
        ["e2e_ms"] => Ok(Slo::EndToEnd(Limit::Absolute(time(slo, "e2e_ms")?))),
        _ => Err(Fault::field("slo", format!("slo: not one objective; allowed: {FORMS}"))),
    }
}

fn share(slo: &Fields<'_>, key: &str) -> Result<Ratio, Fault> {
    let allowed = "a share in (0, 1] of what the base model takes";
    let number = slo.number(key, allowed, |share| share > 0.0 && share <= 1.0)?;
    let ratio = number.and_then(Ratio::new).filter(|ratio| ratio.thousandths() > 0);
    ratio.ok_or_else(|| slo.wrong(key, allowed))
}

fn time(slo: &Fields<'_>, key: &str) -> Result<Duration, Fault> {
    let allowed = format!("milliseconds above 0, to {LONGEST_MS}");
    let within = |millis: f64| millis > 1e-6 && millis <= LONGEST_MS as f64;
    let millis = slo.number(key, &allowed, within)?;
    let length = millis.map(|millis| Duration::from_secs_f64(millis / 1000.0));
    length.ok_or_else(|| slo.wrong(key, &allowed))
}

fn of_tier(tier: &str) -> Option<Objective> {
    let (_, shares) = TIERS.iter().find(|(name, _)| name.eq_ignore_ascii_case(tier))?;
    Some(shares.map_or(Objective::AppDefault, |[ttft, tpot]| {
        let (ttft, tpot) = (Ratio::percent(ttft), Ratio::percent(tpot));
        Objective::Stated(Slo::Relative { ttft, tpot })
    }))
}

/// The bounds of a call as `[first token, per token, last token]`, in time; open ones are absent.
pub(super) fn stated_bounds(bounds: Bounds) -> [Option<Duration>; 3] {
    let closed = |bound: Duration| (bound < OPEN).then_some(bound);
    match bounds {
        Bounds::Latency { ttft, tpot } => [closed(ttft), closed(tpot), None],
        Bounds::EndToEnd(bound) => [None, None, closed(bound)],
        Bounds::Energy(_) => [None; 3],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(headers: &[(&'static str, &'static str)], body: &Value) -> Result<Objective, Fault> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        objective(&map, &Fields::of(body).unwrap())
    }

    fn relative(ttft: u16, tpot: u16) -> Objective {
        let (ttft, tpot) = (Ratio::percent(ttft), Ratio::percent(tpot));
        Objective::Stated(Slo::Relative { ttft, tpot })
    }

    #[test]
    fn headers_count_before_slo_before_tier_before_the_app() {
        let ms = Duration::from_millis;
        let body = json!({ "slo": { "ttft": 0.4, "tpot": 0.7 }, "service_tier": "fast" });
        let headers = [("x-slo-ttft-ms", "250"), ("x-slo-tpot-ms", "40.5")];
        let tpot = Duration::from_micros(40_500);
        let stated = Slo::Absolute { ttft: ms(250), tpot };
        assert_eq!(read(&headers, &body), Ok(Objective::Stated(stated)));
        assert_eq!(read(&[], &body), Ok(relative(40, 70)));
        assert_eq!(read(&[], &json!({ "service_tier": "FAST" })), Ok(relative(20, 50)));
        assert_eq!(read(&[], &json!({ "service_tier": "FULL" })), Ok(relative(100, 100)));
        assert_eq!(read(&[], &json!({ "service_tier": "auto" })), Ok(Objective::AppDefault));
        assert_eq!(read(&[], &json!({})), Ok(Objective::AppDefault));
    }

    #[test]
    fn one_header_alone_leaves_the_other_bound_open() {
        let Ok(Objective::Stated(slo)) = read(&[("x-slo-tpot-ms", "40")], &json!({})) else {
            panic!("an objective");
        };
        let Slo::Absolute { ttft, tpot } = slo else { panic!("in time") };
        let bounds = stated_bounds(Bounds::Latency { ttft, tpot });
        assert_eq!(bounds, [None, Some(Duration::from_millis(40)), None]);
    }

    fn param(headers: &[(&'static str, &'static str)], body: &Value) -> String {
        read(headers, body).unwrap_err().param.unwrap()
    }

    #[test]
    fn what_is_not_one_objective_is_a_fault_of_its_field() {
        for slo in [json!({}), json!({ "ttft": 0.5 }), json!({ "ttft": 0.5, "e2e": 0.5 })] {
            assert_eq!(param(&[], &json!({ "slo": slo })), "slo");
        }
        for ttft in [json!(0), json!(1.5), json!("soon"), json!(1e-9), json!(-1)] {
            let slo = json!({ "ttft": ttft, "tpot": 0.5 });
            assert_eq!(param(&[], &json!({ "slo": slo })), "slo.ttft");
        }
        assert_eq!(param(&[], &json!({ "slo": 3 })), "slo");
        assert_eq!(param(&[], &json!({ "service_tier": "now" })), "service_tier");
        for value in ["0", "-1", "soon", "1e3", "99999999999"] {
            assert_eq!(param(&[("x-slo-ttft-ms", value)], &json!({})), "x-slo-ttft-ms");
        }
    }
}
