//! What a sweep goes over: `KEY=1,2,5` or `KEY=from:to:step`, on a grid or side by side.

use std::str::FromStr;

use serde::Serialize;

use crate::error::{Error, Result};

/// Most values of a key, and most points of a sweep.
const POINTS_MAX: usize = 10_000;

/// How the values of several keys are combined.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Combine {
    /// Each with each.
    #[default]
    Grid,
    /// The first with the first, the second with the second, …
    List,
}

/// A key and the values that it takes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Swept {
    /// Dotted path, such as `trace.arrivals_per_hour`.
    pub key: String,
    /// In the order given.
    pub values: Vec<f64>,
}

impl FromStr for Swept {
    type Err = Error;

    /// `KEY=V1,V2,…` or `KEY=from:to:step`, both ends included.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = |problem: &str| {
            let error = Error::new("--set", problem).found(format!("\"{text}\""));
            error.allowed("KEY=V1,V2,… or KEY=from:to:step")
        };
        let (key, values) = text.split_once('=').ok_or_else(|| wrong("no value"))?;
        let number = |text: &str| {
            let number = text.trim().parse().ok().filter(|number: &f64| number.is_finite());
            number.ok_or_else(|| wrong("not a number"))
        };
        let values = match values.split(':').collect::<Vec<_>>()[..] {
            [from, to, step] => {
                let range = [number(from)?, number(to)?, number(step)?];
                let decimals = [from, step].map(decimals).into_iter().max().unwrap_or(0);
                steps(range, decimals).ok_or_else(|| wrong("not a range"))?
            }
            [list] => list.split(',').map(number).collect::<Result<_>>()?,
            _ => return Err(wrong("not a range")),
        };
        let again = (1..values.len()).any(|at| values[..at].contains(&values[at]));
        if key.trim().is_empty() || again {
            return Err(wrong(if again { "a value appears twice" } else { "no key" }));
        }
        Ok(Self { key: key.trim().to_owned(), values })
    }
}

/// Decimals that `number` is written with.
fn decimals(number: &str) -> usize {
    number.trim().split_once('.').map_or(0, |(_, decimals)| decimals.len())
}

/// `from`, `from + step`, … up to `to`, each rounded to `decimals`; `None` if there is no end.
fn steps([from, to, step]: [f64; 3], decimals: usize) -> Option<Vec<f64>> {
    // A step that ends at `to` but for rounding still counts.
    let count = ((to - from) / step + 1e-9).floor();
    if step == 0.0 || !(0.0..POINTS_MAX as f64).contains(&count) {
        return None;
    }
    let rounded = |value: f64| format!("{value:.decimals$}").parse().ok();
    (0..=count as usize).map(|nth| rounded(from + nth as f64 * step)).collect()
}

/// The value of every key at every point of a sweep; on a grid the last key changes first.
///
/// # Errors
/// If there is no key, one appears twice, keys of a list differ in their number of values, or
/// there are too many points.
pub(super) fn points(set: &[Swept], combine: Combine) -> Result<Vec<Vec<f64>>> {
    let wrong = |problem: &str| Error::new("--set", problem);
    let Some(first) = set.first() else {
        return Err(wrong("missing").allowed("one or more"));
    };
    for (at, swept) in set.iter().enumerate() {
        if set[..at].iter().any(|other| other.key == swept.key) {
            return Err(wrong("key appears twice").found(&swept.key));
        }
    }
    let lengths = set.iter().map(|swept| swept.values.len());
    if combine == Combine::List {
        if let Some(other) = set.iter().find(|swept| swept.values.len() != first.values.len()) {
            return Err(wrong("keys of a list have different numbers of values")
                .found(format!("{} of {}", other.values.len(), other.key))
                .allowed(format!("{}, as {}", first.values.len(), first.key)));
        }
        let point = |at: usize| set.iter().map(|swept| swept.values[at]).collect();
        return Ok((0..first.values.len()).map(point).collect());
    }
    let count = lengths.fold(1_usize, usize::saturating_mul);
    if count > POINTS_MAX {
        return Err(wrong("too many points").found(count).allowed(POINTS_MAX));
    }
    let mut points = vec![Vec::new()];
    for swept in set {
        let with = |point: Vec<f64>| {
            swept.values.iter().map(move |&value| [point.as_slice(), &[value]].concat())
        };
        points = points.into_iter().flat_map(with).collect();
    }
    Ok(points)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<f64> {
        text.parse::<Swept>().unwrap().values
    }

    #[test]
    fn ranges_have_both_ends_and_no_more_decimals_than_they_are_written_with() {
        assert_eq!(values("a=0.1:0.5:0.1"), [0.1, 0.2, 0.3, 0.4, 0.5]);
        assert_eq!(values("a=1:10:4"), [1.0, 5.0, 9.0]);
        assert_eq!(values("a=1:0:-0.5"), [1.0, 0.5, 0.0]);
        assert_eq!(values("a=3,1,-2.5"), [3.0, 1.0, -2.5]);
    }

    #[test]
    fn what_is_no_setting_is_refused_with_what_is_allowed() {
        let message = |text: &str| text.parse::<Swept>().unwrap_err().to_string();
        assert_eq!(
            message("seeds"),
            "--set: no value; found \"seeds\"; allowed: KEY=V1,V2,… or KEY=from:to:step"
        );
        assert!(message("seeds=1,two").contains("not a number"));
        assert!(message("seeds=").contains("not a number"));
        assert!(message("seeds=1:9").contains("not a range"));
        assert!(message("seeds=1:9:0").contains("not a range"));
        assert!(message("seeds=1:9:-1").contains("not a range"));
        assert!(message("seeds=1,1").contains("appears twice"));
        assert!(message("=1,2").contains("no key"));
    }

    #[test]
    fn a_grid_is_the_product_and_a_list_goes_side_by_side() {
        let swept = |text: &str| text.parse::<Swept>().unwrap();
        let set = [swept("a=1,2"), swept("b=5,6")];
        let grid = [[1.0, 5.0], [1.0, 6.0], [2.0, 5.0], [2.0, 6.0]];
        assert_eq!(points(&set, Combine::Grid).unwrap(), grid);
        assert_eq!(points(&set, Combine::List).unwrap(), [[1.0, 5.0], [2.0, 6.0]]);
        let wrong = |set: &[Swept], combine| points(set, combine).unwrap_err().to_string();
        let uneven = wrong(&[swept("a=1,2"), swept("b=5")], Combine::List);
        assert!(uneven.ends_with("found 1 of b; allowed: 2, as a"), "{uneven}");
        assert!(wrong(&[swept("a=1"), swept("a=2")], Combine::Grid).contains("twice"));
        assert!(wrong(&[], Combine::Grid).contains("missing"));
        let many = swept("a=1:5000:1");
        let others = Swept { key: "b".into(), ..many.clone() };
        assert!(wrong(&[many, others], Combine::Grid).contains("too many points"));
    }
}
