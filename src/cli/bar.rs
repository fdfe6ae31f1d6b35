//! How far a command is: a progress bar on a terminal, nothing in a pipe.

use std::borrow::Cow;
use std::fmt::Write;
use std::time::Duration;

use indicatif::{HumanDuration, ProgressBar, ProgressState, ProgressStyle};

use pliant::experiment::Progress;

/// A bar over `length` steps, or 0 where that is not known yet, that are counted in `unit`; `%`
/// shows the share alone. `what` is being done.
pub fn bar(what: impl Into<Cow<'static, str>>, unit: &str, length: u64) -> ProgressBar {
    let count = match unit {
        "%" => "{percent} %".to_owned(),
        "bytes" => "{bytes} of {total_bytes}, {bytes_per_sec}".to_owned(),
        _ => format!("{{human_pos}}/{{human_len}} {unit}"),
    };
    let style = ProgressStyle::with_template(&format!("{{msg}} {{bar:30}} {count}{{left}}"));
    let style = style.expect("the template is sound").with_key("left", left);
    ProgressBar::new(length).with_style(style).with_message(what)
}

/// Nothing as long as no step tells how long one takes.
fn left(state: &ProgressState, shown: &mut dyn Write) {
    let eta = state.eta();
    if !eta.is_zero() {
        let _ = write!(shown, ", {:#} left", HumanDuration(eta));
    }
}

/// The bar of runs and searches.
pub struct Bar(ProgressBar);

impl Bar {
    /// A bar that counts `unit`.
    pub fn new(unit: &str) -> Self {
        Self(bar("", unit, 0))
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

    fn advance(&self, steps: u64) {
        self.0.inc(steps);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Result;
    use std::sync::{Arc, Mutex};

    use indicatif::{ProgressDrawTarget, TermLike};

    use super::*;

    /// A terminal of which the last drawn line is looked at.
    #[derive(Debug, Clone, Default)]
    struct Screen(Arc<Mutex<String>>);

    impl TermLike for Screen {
        fn width(&self) -> u16 {
            200
        }

        fn move_cursor_up(&self, _: usize) -> Result<()> {
            Ok(())
        }

        fn move_cursor_down(&self, _: usize) -> Result<()> {
            Ok(())
        }

        fn move_cursor_right(&self, _: usize) -> Result<()> {
            Ok(())
        }

        fn move_cursor_left(&self, _: usize) -> Result<()> {
            Ok(())
        }

        fn write_line(&self, line: &str) -> Result<()> {
            self.write_str(line)
        }

        fn write_str(&self, text: &str) -> Result<()> {
            *self.0.lock().unwrap() += text;
            Ok(())
        }

        fn clear_line(&self) -> Result<()> {
            self.0.lock().unwrap().clear();
            Ok(())
        }

        fn flush(&self) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_bar_says_nothing_of_the_time_left_before_its_first_step() {
        let screen = Screen::default();
        let bar = bar("measuring", "rows", 2000);
        bar.set_draw_target(ProgressDrawTarget::term_like(Box::new(screen.clone())));
        bar.tick();
        let shown = || screen.0.lock().unwrap().trim_end().to_owned();
        assert!(shown().starts_with("measuring ") && shown().ends_with(" 0/2,000 rows"));
        std::thread::sleep(Duration::from_millis(20));
        bar.inc(1);
        std::thread::sleep(Duration::from_millis(60));
        bar.tick();
        assert!(shown().contains(" 1/2,000 rows, ") && shown().ends_with(" left"), "{}", shown());
    }
}
