//! How far a command is: a progress bar on a terminal, nothing in a pipe.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use pliant::experiment::Progress;

pub struct Bar(ProgressBar);

impl Bar {
    /// A bar that counts `units`.
    pub fn new(units: &str) -> Self {
        if !super::output::is_watched() {
            return Self(ProgressBar::hidden());
        }
        let style = format!("{{bar:40}} {{human_pos}}/{{human_len}} {units}, {{eta}} left");
        let style = ProgressStyle::with_template(&style).expect("the template is sound");
        Self(ProgressBar::new(0).with_style(style))
    }

    /// Takes it off the terminal.
    pub fn clear(&self) {
        self.0.finish_and_clear();
    }
}

impl Progress for Bar {
    fn start(&self, steps: u64) {
        self.0.set_length(steps);
        self.0.enable_steady_tick(Duration::from_millis(200));
    }

    fn advance(&self) {
        self.0.inc(1);
    }
}
