//! What the offline stage costs: a bar per stage and part; the study's Figure 17.

use std::path::{Path, PathBuf};

use super::asked::text_table;
use super::bars::{Band, Bar, Bars, Panel};
use super::colours;
use super::sheet::{Press, Sheet};
use crate::error::{Error, Result};

/// A row of `offline-cost.csv`; columns beyond these are not drawn.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
struct Cost {
    stage: String,
    #[serde(default)]
    part: String,
    wall_s: f64,
    cpu_s: Option<f64>,
    tokens: Option<u64>,
    #[serde(default)]
    energy_modelled_j: Option<f64>,
}

impl Cost {
    /// Stage and part; a part that is a number is a level.
    fn name(&self) -> String {
        match self.part.as_str() {
            "" => self.stage.clone(),
            part if self.level().is_some() => format!("{}, {part} %", self.stage),
            part => format!("{}, {part}", self.stage),
        }
    }

    fn level(&self) -> Option<u16> {
        self.part.parse().ok()
    }

    fn bar(&self) -> Bar {
        let minutes = self.seconds() / 60.0;
        let tokens = self.tokens.filter(|&tokens| tokens > 0);
        let tokens = tokens.map_or(String::new(), |n| format!(", {} k tokens", n.div_ceil(1000)));
        Bar {
            look: colours::of_method("elastilm"),
            length: Some(minutes),
            behind: None,
            whisker: None,
            value: format!("{minutes:.1} min{tokens}"),
        }
    }

    /// What the bar shows: processor time, or time on the clock where that is not known.
    fn seconds(&self) -> f64 {
        self.cpu_s.unwrap_or(self.wall_s)
    }
}

/// Draws `offline-cost` from `tables`, stages in the tables' order, levels rising.
///
/// # Errors
/// If a table is broken, or a file cannot be written.
pub(super) fn draw_offline_cost(tables: &[PathBuf], press: &Press<'_>) -> Result<String> {
    let mut costs = Vec::new();
    for table in tables {
        costs.extend(read(table)?);
    }
    let stages: Vec<String> = costs.iter().map(|cost| cost.stage.clone()).collect();
    let first = |cost: &Cost| stages.iter().position(|stage| *stage == cost.stage);
    costs.sort_by_key(|cost| (first(cost), cost.level()));
    let bars = Bars {
        title: "processor time, minutes".to_owned(),
        logarithmic: false,
        shared: true,
        bands: vec![Band {
            heading: String::new(),
            names: costs.iter().map(Cost::name).collect(),
            panels: vec![Panel {
                heading: String::new(),
                bars: costs.iter().map(|cost| Some(cost.bar())).collect(),
            }],
        }],
    };
    let sheet = Sheet {
        title: "Cost of the offline stage".to_owned(),
        caption:
            "Processor time over all cores. Tokens are those trained on or scored; time on the \
                  clock depends on what else ran. Measured by the commands themselves."
                .to_owned(),
        height: bars.height(press.sizes(), press.width()),
    };
    press.print("offline-cost", &sheet, |area| bars.draw(press.sizes(), area))?;
    Ok(text(&costs))
}

fn text(costs: &[Cost]) -> String {
    let names = ["offline stage", "wall s", "cpu s", "tokens", "energy J (modelled)"];
    let mut rows = vec![names.map(str::to_owned).to_vec()];
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.1}"));
    for cost in costs {
        let tokens = cost.tokens.map_or_else(String::new, |tokens| tokens.to_string());
        let energy = number(cost.energy_modelled_j);
        rows.push(vec![cost.name(), number(Some(cost.wall_s)), number(cost.cpu_s), tokens, energy]);
    }
    let sum = |of: fn(&Cost) -> Option<f64>| number(Some(costs.iter().filter_map(of).sum()));
    rows.push(vec![
        "all".into(),
        sum(|cost| Some(cost.wall_s)),
        sum(|cost| cost.cpu_s),
        costs.iter().filter_map(|cost| cost.tokens).sum::<u64>().to_string(),
        sum(|cost| cost.energy_modelled_j),
    ]);
    text_table(&rows)
}

fn read(path: &Path) -> Result<Vec<Cost>> {
    let wrong = |error: csv::Error| Error::file(path, "not a table of costs").caused_by(error);
    let mut reader = csv::Reader::from_path(path).map_err(wrong)?;
    let costs: Vec<Cost> = reader.deserialize().collect::<csv::Result<_>>().map_err(wrong)?;
    let sound = |cost: &&Cost| {
        let seconds = [Some(cost.wall_s), cost.cpu_s, cost.energy_modelled_j];
        seconds.iter().flatten().all(|value| value.is_finite() && *value >= 0.0)
    };
    match costs.iter().find(|cost| !sound(cost)) {
        Some(cost) => Err(Error::file(path, "not a length of time or an energy")
            .at(format!("stage {}", cost.name()))
            .found(format!("{} s wall, {:?} s cpu", cost.wall_s, cost.cpu_s))
            .allowed("0 or more")),
        None if costs.is_empty() => Err(Error::file(path, "no stages")),
        None => Ok(costs),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::figure::testing::press;
    use crate::results::FigureStyle;

    fn table(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("offline-cost.csv");
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn stages_are_drawn_and_added_up() {
        let (folder, path) = table(
            "stage,part,wall_s,cpu_s,tokens,energy_modelled_j\nrecover,50,600,1150.5,2000,12\n\
             recover,20,300,500,2000,6\nimportance,width,60,,6400,\nrecover,100,1,1,1,1\n",
        );
        let press = press(folder.path(), FigureStyle::default());
        let text = draw_offline_cost(&[path], &press).unwrap();
        insta::assert_snapshot!(text.trim_end(), @r"
        offline stage      wall s   cpu s  tokens  energy J (modelled)
        recover, 20 %       300.0   500.0    2000                  6.0
        recover, 50 %       600.0  1150.5    2000                 12.0
        recover, 100 %        1.0     1.0       1                  1.0
        importance, width    60.0            6400
        all                 961.0  1651.5   10401                 19.0
        ");
        assert!(folder.path().join("offline-cost.svg").exists());
    }

    #[test]
    fn impossible_tables_are_refused() {
        for (text, problem) in [
            ("stage,wall_s,cpu_s,tokens\na,-1,0,\n", "not a length of time"),
            ("stage,wall_s,cpu_s,tokens\n", "no stages"),
            ("stage,cpu_s\na,1\n", "not a table of costs"),
        ] {
            let (_folder, path) = table(text);
            assert!(read(&path).unwrap_err().to_string().contains(problem), "{text}");
        }
    }
}
