//! What is odd about an imported or exported trace: typed, counted, never repaired in silence.

use std::fmt;

use serde::Serialize;

/// Something in a file that a reader of results should know.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Warning {
    /// Columns or keys that the format or Pliant has no use for.
    Unused {
        /// Their names.
        names: Vec<String>,
    },
    /// Requests without a prompt or an output token, such as failed calls; they are left out.
    WithoutTokens {
        /// How many.
        requests: u64,
        /// The first one's line.
        first_line: u64,
    },
    /// Times that count from 1970; the first arrival is time 0.
    SinceEpoch {
        /// The first arrival, as a date.
        first: String,
    },
    /// Times too late to be the seconds that the format has; they are read as milliseconds.
    TimesInMillis {},
    /// Times that are not the whole milliseconds of the format, and very close to each other.
    PerhapsSeconds {
        /// The mean time between two of them, read as milliseconds.
        mean_gap_ms: f64,
    },
    /// Requests that stand after a later one; they are sorted by arrival.
    Unsorted {
        /// How many.
        requests: u64,
        /// The first one's line.
        first_line: u64,
    },
    /// Rows whose stated total is not the sum of their parts; the parts are kept.
    TotalsDisagree {
        /// How many.
        requests: u64,
        /// The first one's line.
        first_line: u64,
    },
    /// Some instants state a time zone, some do not; the latter are read as UTC.
    MixedZones {
        /// How many state one.
        with_zone: u64,
        /// How many do not.
        without_zone: u64,
    },
    /// Requests with images, which count only through their context tokens.
    ImagesIgnored {
        /// How many.
        requests: u64,
    },
    /// Requests whose prompts begin as others do; prompts are independent unless a cache is asked
    /// for.
    SharedPrefixesIgnored {
        /// How many.
        requests: u64,
    },
    /// Lengths that a scale brings below one token; they are one token.
    RaisedToOneToken {
        /// How many.
        lengths: u64,
    },
    /// Requests whose prompt is an item more than a tenth longer or shorter than the file says.
    PromptsOfOtherLength {
        /// How many.
        requests: u64,
        /// Of how many.
        of: u64,
        /// The longest prompt of the file, scaled.
        longest_asked: u32,
        /// The longest item at hand.
        longest_item: u32,
    },
    /// The column for time holds a counter, so that arrivals had to be drawn.
    CounterForTime {
        /// How many requests it counts.
        requests: u64,
        /// Whether it counts dataset by dataset: the order before the requests were shuffled.
        by_dataset: bool,
    },
    /// Another number of requests than the study states.
    OtherNumber {
        /// How many there are.
        found: u64,
        /// How many the study states.
        stated: u64,
    },
    /// All requests of a dataset ask the same.
    ConstantPrompt {
        /// The dataset, as the file calls it.
        dataset: String,
        /// How many requests.
        requests: u64,
        /// What they ask.
        prompt: String,
    },
    /// Requests of a dataset repeat prompts.
    RepeatedPrompts {
        /// The dataset, as the file calls it.
        dataset: String,
        /// How many requests.
        requests: u64,
        /// How many different prompts.
        distinct: u64,
    },
    /// The prompt is the right answer.
    AnswerInPrompt {
        /// The dataset, as the file calls it.
        dataset: String,
        /// Of how many requests.
        requests: u64,
        /// Of how many in all.
        of: u64,
    },
    /// The right answer stands at the same place in all requests of a dataset.
    ConstantAnswer {
        /// The dataset, as the file calls it.
        dataset: String,
        /// How many requests.
        requests: u64,
        /// The answer's key.
        answer: String,
    },
    /// What the target format cannot say.
    NotExported {
        /// The parts that are lost.
        parts: Vec<String>,
    },
    /// Arrivals rounded to the target format's whole milliseconds.
    RoundedToMillis {
        /// How many were between two.
        requests: u64,
    },
}

impl Warning {
    /// Whether it is about requests that are left out for want of tokens.
    pub(super) fn is_of_empty_requests(&self) -> bool {
        matches!(self, Self::WithoutTokens { .. })
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unused { names } => write!(f, "not used: {}", names.join(", ")),
            Self::WithoutTokens { requests, first_line } => write!(
                f,
                "{requests} requests without prompt or output tokens are left out, the first on \
                 line {first_line}"
            ),
            Self::SinceEpoch { first } => {
                write!(f, "times count from 1970; time 0 is the first arrival, {first}")
            }
            Self::TimesInMillis {} => write!(
                f,
                "times are too late for the format's seconds and are read as milliseconds; \
                 --time-unit says otherwise"
            ),
            Self::PerhapsSeconds { mean_gap_ms } => write!(
                f,
                "times are not whole milliseconds and {mean_gap_ms:.3} ms apart on average; if \
                 they are seconds: --time-unit s"
            ),
            Self::Unsorted { requests, first_line } => write!(
                f,
                "{requests} requests stand after a later one, the first on line {first_line}; \
                 sorted by arrival"
            ),
            Self::TotalsDisagree { requests, first_line } => write!(
                f,
                "{requests} totals are not the sum of prompt and output tokens, the first on line \
                 {first_line}; the parts are kept"
            ),
            Self::MixedZones { with_zone, without_zone } => write!(
                f,
                "{with_zone} instants state a time zone, {without_zone} do not; the latter are \
                 read as UTC"
            ),
            Self::ImagesIgnored { requests } => write!(
                f,
                "{requests} requests have images, which count only through their context tokens"
            ),
            Self::SharedPrefixesIgnored { requests } => write!(
                f,
                "the prompts of {requests} requests begin as others do; here prompts are \
                 independent unless cache_tokens says otherwise"
            ),
            Self::RaisedToOneToken { lengths } => {
                write!(f, "{lengths} scaled lengths were below one token and are one token")
            }
            Self::PromptsOfOtherLength { requests, of, longest_asked, longest_item } => write!(
                f,
                "{requests} of {of} prompts are items more than 10 % longer or shorter than the \
                 file says: its longest has {longest_asked} tokens, the longest item {longest_item}"
            ),
            Self::CounterForTime { requests, by_dataset } => {
                write!(f, "the place of a time holds a counter over {requests} requests")?;
                if *by_dataset {
                    write!(f, ", dataset by dataset: the order before they were shuffled")?;
                }
                write!(f, "; arrivals are drawn, in the order of the file")
            }
            Self::OtherNumber { found, stated } => {
                write!(f, "{found} requests, where the study states {stated}")
            }
            Self::ConstantPrompt { dataset, requests, prompt } => {
                write!(f, "{dataset}: all {requests} prompts are {prompt:?}")
            }
            Self::RepeatedPrompts { dataset, requests, distinct } => {
                write!(f, "{dataset}: {requests} requests have {distinct} different prompts")
            }
            Self::AnswerInPrompt { dataset, requests, of } => {
                write!(f, "{dataset}: {requests} of {of} prompts are the right answer itself")
            }
            Self::ConstantAnswer { dataset, requests, answer } => {
                write!(
                    f,
                    "{dataset}: the right answer of all {requests} requests is number {answer}"
                )
            }
            Self::NotExported { parts } => {
                write!(f, "the format has no place for {}", parts.join(", "))
            }
            Self::RoundedToMillis { requests } => {
                write!(f, "{requests} arrivals are rounded to whole milliseconds")
            }
        }
    }
}

/// Counts rows of one kind and remembers the first.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counted {
    pub requests: u64,
    first_line: u64,
}

impl Counted {
    /// One more, on `line`.
    pub fn add(&mut self, line: u64) {
        if self.requests == 0 {
            self.first_line = line;
        }
        self.requests += 1;
    }

    /// The warning that `make` makes of the count and the first line; none if there was no row.
    pub fn warning(self, make: impl FnOnce(u64, u64) -> Warning) -> Option<Warning> {
        (self.requests > 0).then(|| make(self.requests, self.first_line))
    }
}
