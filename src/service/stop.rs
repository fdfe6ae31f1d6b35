//! Stop texts: where an answer ends before the model ends it.

/// Text on its way out, held back as long as it may become a stop text.
#[derive(Debug)]
pub(super) struct StopTexts {
    stops: Vec<String>,
    held: String,
    is_stopped: bool,
}

impl StopTexts {
    pub fn new(stops: &[String]) -> Self {
        Self { stops: stops.to_vec(), held: String::new(), is_stopped: false }
    }

    /// What of the text so far is surely no part of a stop text, and new.
    pub fn push(&mut self, text: &str) -> String {
        if self.is_stopped {
            return String::new();
        }
        self.held += text;
        let found = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min();
        if let Some(at) = found {
            self.is_stopped = true;
            self.held.truncate(at);
            return std::mem::take(&mut self.held);
        }
        let keep = self.stops.iter().map(|stop| begun(&self.held, stop)).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - keep);
        std::mem::replace(&mut self.held, rest)
    }

    /// Whether a stop text came.
    pub fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// What was held back and became no stop text.
    pub fn rest(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// The length of the longest beginning of `stop` that `text` ends with, in bytes.
fn begun(text: &str, stop: &str) -> usize {
    let mut lengths = stop.char_indices().map(|(at, _)| at).rev();
    lengths.find(|&at| text.ends_with(&stop[..at])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(stops: &[&str], parts: &[&str]) -> (Vec<String>, bool, String) {
        let stops: Vec<String> = stops.iter().map(|&stop| stop.to_owned()).collect();
        let mut texts = StopTexts::new(&stops);
        let told = parts.iter().map(|part| texts.push(part)).collect();
        (told, texts.is_stopped(), texts.rest())
    }

    #[test]
    fn what_may_become_a_stop_text_is_held_until_it_does_not() {
        let expected = vec!["a".to_owned(), String::new(), "\nb".to_owned()];
        assert_eq!(told(&["\n\n"], &["a", "\n", "b"]), (expected, false, String::new()));
        assert_eq!(told(&["END"], &["xE", "N"]).2, "EN");
    }

    #[test]
    fn the_answer_ends_before_the_first_stop_text_though_it_comes_in_parts() {
        let (told, stopped, rest) = told(&["END", "é."], &["one E", "ND two", "three"]);
        assert_eq!(
            (told, stopped, rest),
            (["one ", "", ""].map(str::to_owned).into(), true, String::new())
        );
        assert_eq!(self::told(&["b", "a"], &["xaby"]).0, ["x"]);
        assert_eq!(self::told(&["é."], &["é", "é."]).0, ["", "é"]);
    }

    #[test]
    fn without_stop_texts_nothing_is_held() {
        assert_eq!(told(&[], &["a", "b"]).0, ["a", "b"]);
    }
}
