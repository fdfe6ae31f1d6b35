//! Claims: what a study states, what a results folder shows of it, and whether it holds.
//!
//! A claim names a CSV file of a results folder, the rows that count, a column, and a bound. Its
//! value is worked out in four steps: the rows are grouped by the columns `by` (one group if there
//! are none); each group is one value (`within`: their mean or their smallest); where `minus` names
//! other rows of the same file, their value in the same group is subtracted; the groups become one
//! number (`reduce`).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::input::read_toml;

/// Claims, as a file states them: `docs/claims.toml`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    claims: Vec<Claim>,
}

/// Rows by the values that their columns may have.
type Filter = BTreeMap<String, Vec<String>>;

/// One claim.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// What the study states.
    pub study: String,
    /// Its figure or section.
    pub figure: String,
    /// What is looked at here.
    pub here: String,
    /// `experiments/NAME.toml`, whose results lie in a folder `NAME`.
    pub experiment: String,
    /// Minutes that the experiment takes on two cores, its build aside.
    pub minutes: f64,
    /// By how much a run elsewhere may differ, in the claim's unit.
    pub tolerance: f64,
    file: String,
    column: String,
    rows: Filter,
    #[serde(default)]
    minus: Filter,
    #[serde(default)]
    by: Vec<String>,
    #[serde(default)]
    within: Within,
    #[serde(default)]
    reduce: Reduce,
    unit: Unit,
    at_least: Option<f64>,
    at_most: Option<f64>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Within {
    #[default]
    Mean,
    Min,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Reduce {
    #[default]
    Mean,
    Min,
    Max,
    /// The share of groups whose value is above 0.
    ShareAbove,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Unit {
    Points,
    Percent,
    Ms,
    Gb,
}

/// What became of a claim.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// What the study states.
    pub study: String,
    /// What is looked at here.
    pub here: String,
    /// The number, in `unit`.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
    /// The number of the committed results, where they are compared.
    pub committed: Option<f64>,
    /// Whether the number is within its bound.
    pub holds: bool,
    /// Whether it is the committed one, give or take the tolerance.
    pub reproduced: bool,
}

impl Claims {
    /// Reads a file of claims.
    ///
    /// # Errors
    /// If it cannot be read, has an unknown key, or a claim has no bound or two.
    pub fn load(path: &Path) -> Result<Self> {
        let claims: Self = read_toml(path)?;
        for (number, claim) in claims.claims.iter().enumerate() {
            if claim.at_least.is_some() == claim.at_most.is_some() {
                return Err(Error::file(path, "a claim has one bound")
                    .at(format!("claim {}", number + 1))
                    .found(if claim.at_least.is_some() { "two" } else { "none" })
                    .allowed("at_least or at_most"));
            }
        }
        Ok(claims)
    }

    /// The experiments whose results the claims are about, once each, in order.
    #[must_use]
    pub fn experiments(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for claim in &self.claims {
            if !names.contains(&claim.experiment.as_str()) {
                names.push(&claim.experiment);
            }
        }
        names
    }

    /// Looks each claim up in the results folders below `results`, and again in those below
    /// `committed`.
    ///
    /// # Errors
    /// If a file is missing or not CSV, lacks a column, or has no row that counts.
    pub fn look_up(&self, results: &Path, committed: Option<&Path>) -> Result<Vec<Finding>> {
        let find = |claim: &Claim| {
            let value = claim.value(results)?;
            let committed = committed.map(|folder| claim.value(folder)).transpose()?;
            Ok(Finding {
                study: claim.study.clone(),
                here: claim.here.clone(),
                value,
                unit: claim.unit.name(),
                committed,
                holds: claim.holds(value),
                reproduced: committed.is_none_or(|old| (value - old).abs() <= claim.tolerance),
            })
        };
        self.claims.iter().map(find).collect()
    }

    /// The claims and what `findings` say of them, as a table in Markdown.
    #[must_use]
    pub fn markdown(&self, findings: &[Finding]) -> String {
        let mut text = String::from(
            "| figure | the study | here | found | asked | holds | experiment | minutes | \
             tolerance |\n\
             | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
        );
        for (claim, finding) in self.claims.iter().zip(findings) {
            let name = &claim.experiment;
            writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} | [{name}](../experiments/{name}.toml) | {} | {} |",
                claim.figure,
                claim.study,
                claim.here,
                shown(finding.value, finding.unit),
                claim.asked(),
                if finding.holds { "yes" } else { "**no**" },
                claim.minutes,
                claim.tolerance,
            )
            .expect("a string can always grow");
        }
        text
    }
}

/// The findings as lines for a terminal, the verdicts last.
#[must_use]
pub fn findings_text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let verdict = match (finding.reproduced, finding.holds) {
            (false, _) => "OTHER NUMBER",
            (true, true) => "holds",
            (true, false) => "does not hold",
        };
        let value = shown(finding.value, finding.unit);
        let committed = finding.committed.map(|old| format!(", committed {}", shown(old, "")));
        let committed = committed.unwrap_or_default();
        writeln!(text, "{verdict:13} {value}{committed}: {}", finding.here)
            .expect("a string can always grow");
    }
    let count = |of: fn(&Finding) -> bool| findings.iter().filter(|finding| of(finding)).count();
    let (all, held, again) = (findings.len(), count(|f| f.holds), count(|f| f.reproduced));
    text + &format!("{again} of {all} numbers as committed; {held} of {all} claims hold\n")
}

fn shown(value: f64, unit: &str) -> String {
    let sign = if unit == "points" && value > 0.0 { "+" } else { "" };
    let number = if value != 0.0 && value.abs() < 0.05 {
        format!("{value:.4}")
    } else {
        format!("{sign}{value:.1}")
    };
    format!("{number} {unit}").trim_end().replace('-', "−")
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Points => "points",
            Self::Percent => "%",
            Self::Ms => "ms",
            Self::Gb => "GB",
        }
    }

    /// What a column's number is multiplied by: shares of 1, milliseconds, bytes.
    fn scale(self) -> f64 {
        match self {
            Self::Points | Self::Percent => 100.0,
            Self::Ms => 1.0,
            Self::Gb => 1e-9,
        }
    }
}

impl Claim {
    fn holds(&self, value: f64) -> bool {
        self.at_least.is_none_or(|least| value >= least)
            && self.at_most.is_none_or(|most| value <= most)
    }

    fn asked(&self) -> String {
        let unit = self.unit.name();
        let bound = |sign: &str, value: f64| format!("{sign} {value} {unit}").replace('-', "−");
        self.at_least
            .map(|least| bound("≥", least))
            .or_else(|| self.at_most.map(|most| bound("≤", most)))
            .unwrap_or_default()
    }

    /// The number that the claim is about, in its unit.
    fn value(&self, results: &Path) -> Result<f64> {
        let path = results.join(&self.experiment).join(&self.file);
        let own = self.groups(&path, &self.rows)?;
        let other = if self.minus.is_empty() {
            BTreeMap::new()
        } else {
            let mut rows = self.rows.clone();
            rows.extend(self.minus.clone());
            self.groups(&path, &rows)?
        };
        let difference = |(key, value): (&Vec<String>, &f64)| {
            value - other.get(key).copied().unwrap_or_default()
        };
        let comparable =
            |(key, _): &(&Vec<String>, &f64)| self.minus.is_empty() || other.contains_key(*key);
        let values: Vec<f64> = own.iter().filter(comparable).map(difference).collect();
        if values.is_empty() {
            return Err(Error::file(&path, "no group has both kinds of rows").at(self.place()));
        }
        Ok(self.reduce.of(&values) * self.unit.scale_of(self.reduce))
    }

    fn place(&self) -> String {
        format!("claim \"{}\"", self.here)
    }

    /// The value of each group of the rows that `filter` lets through.
    fn groups(&self, path: &Path, filter: &Filter) -> Result<BTreeMap<Vec<String>, f64>> {
        let mut groups: BTreeMap<Vec<String>, Vec<f64>> = BTreeMap::new();
        let wrong = |error: csv::Error| Error::file(path, "cannot read").caused_by(error);
        let mut reader = csv::Reader::from_path(path).map_err(wrong)?;
        let header = reader.headers().map_err(wrong)?.clone();
        let column = |name: &str| {
            header.iter().position(|column| column == name).ok_or_else(|| {
                Error::file(path, "no such column")
                    .at(self.place())
                    .found(name)
                    .allowed(header.iter().collect::<Vec<_>>().join(", "))
            })
        };
        let value_at = column(&self.column)?;
        let by = self.by.iter().map(|name| column(name)).collect::<Result<Vec<_>>>()?;
        let wanted = filter.iter().map(|(name, values)| Ok((column(name)?, values)));
        let wanted = wanted.collect::<Result<Vec<_>>>()?;
        for record in reader.records() {
            let record = record.map_err(wrong)?;
            if wanted.iter().all(|(at, values)| values.iter().any(|value| *value == record[*at])) {
                let value = record[value_at].parse().map_err(|_| {
                    Error::file(path, "not a number")
                        .at(format!("{}, column \"{}\"", self.place(), self.column))
                        .found(&record[value_at])
                        .allowed("a number in every row that counts")
                })?;
                let key = by.iter().map(|&at| record[at].to_owned()).collect();
                groups.entry(key).or_default().push(value);
            }
        }
        if groups.is_empty() {
            return Err(Error::file(path, "no row counts")
                .at(self.place())
                .found(format!("{filter:?}"))
                .allowed("values that rows of the file have"));
        }
        Ok(groups.into_iter().map(|(key, values)| (key, self.within.of(&values))).collect())
    }
}

impl Within {
    fn of(self, values: &[f64]) -> f64 {
        match self {
            Self::Mean => values.iter().sum::<f64>() / values.len() as f64,
            Self::Min => values.iter().copied().fold(f64::INFINITY, f64::min),
        }
    }
}

impl Reduce {
    fn of(self, values: &[f64]) -> f64 {
        match self {
            Self::Mean => Within::Mean.of(values),
            Self::Min => Within::Min.of(values),
            Self::Max => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            Self::ShareAbove => {
                let above = values.iter().filter(|&&value| value > 0.0).count();
                above as f64 / values.len() as f64
            }
        }
    }
}

impl Unit {
    /// A share of groups is a share, whatever the column holds.
    fn scale_of(self, reduce: Reduce) -> f64 {
        if reduce == Reduce::ShareAbove { 100.0 } else { self.scale() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: &str = "method,against,device,gain\n\
                        a,x,p,0.10\na,y,p,0.04\na,x,q,-0.02\na,y,q,0.30\nb,x,p,0.01\n";

    fn results(csv: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("run")).unwrap();
        std::fs::write(folder.path().join("run/paired.csv"), csv).unwrap();
        folder
    }

    fn claims(more: &str) -> Claims {
        let text = format!(
            "[[claims]]\nstudy = \"s\"\nfigure = \"1\"\nhere = \"h\"\nexperiment = \"run\"\n\
             minutes = 1\ntolerance = 0.1\nfile = \"paired.csv\"\ncolumn = \"gain\"\n\
             unit = \"points\"\nrows = {{ method = [\"a\"] }}\n{more}"
        );
        toml::from_str(&text).unwrap()
    }

    fn value(more: &str) -> f64 {
        claims(more).look_up(results(ROWS).path(), None).unwrap()[0].value
    }

    #[test]
    fn rows_are_grouped_then_each_group_and_all_groups_become_one_number() {
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a}, not {b}");
        // (10 + 4 − 2 + 30) / 4
        near(value("at_least = 1.0"), 10.5);
        // The worst of p is 4, of q −2.
        near(value("by = [\"device\"]\nwithin = \"min\"\nat_least = 1.0"), 1.0);
        near(value("by = [\"device\"]\nwithin = \"min\"\nreduce = \"max\"\nat_least = 1.0"), 4.0);
        // Against x less against y: 6 at p, −32 at q.
        let minus = "by = [\"device\"]\nat_least = 1.0\nminus = { against = [\"y\"] }\n";
        let own = minus.to_owned() + "reduce = \"min\"";
        let mut both = claims(&own);
        both.claims[0].rows.insert("against".to_owned(), vec!["x".to_owned()]);
        let folder = results(ROWS);
        near(both.look_up(folder.path(), None).unwrap()[0].value, -32.0);
        both.claims[0].reduce = Reduce::ShareAbove;
        near(both.look_up(folder.path(), None).unwrap()[0].value, 50.0);
    }

    #[test]
    fn a_bound_decides_and_another_number_than_the_committed_one_is_told() {
        let (new, old) = (results(ROWS), results(&ROWS.replace("0.30", "0.31")));
        let findings = claims("at_least = 10.5").look_up(new.path(), Some(old.path())).unwrap();
        assert!(findings[0].holds && !findings[0].reproduced, "{findings:?}");
        assert!(findings_text(&findings).contains("OTHER NUMBER"), "{}", findings_text(&findings));
        let findings = claims("at_most = 10.0").look_up(new.path(), Some(new.path())).unwrap();
        assert!(!findings[0].holds && findings[0].reproduced, "{findings:?}");
    }

    #[test]
    fn a_missing_column_row_or_bound_is_named() {
        let folder = results(ROWS);
        let message =
            |claims: &Claims| claims.look_up(folder.path(), None).unwrap_err().to_string();
        let mut wrong = claims("at_least = 1.0");
        wrong.claims[0].column = "gains".to_owned();
        assert!(message(&wrong).contains("no such column; found gains"), "{}", message(&wrong));
        let mut wrong = claims("at_least = 1.0");
        wrong.claims[0].rows.insert("method".to_owned(), vec!["c".to_owned()]);
        assert!(message(&wrong).contains("no row counts"), "{}", message(&wrong));
    }
}
