//! A load client: plays a trace against a server, and measures what a client sees.
//!
//! ```text
//!  trace ──► question ──► client ══ HTTP ══► a server of the interface
//!                            │ first token, last token, the `pliant` object
//!                            ▼
//!                        Played, one row per request ──► answers ──► Totals
//! ```
//!
//! Every request of the trace is a call of its own, streamed, with the objective that its app
//! states: a pair of times in the headers that gateways use, any other in the body. Times are those
//! of the client's clock, from the moment it begins to send. The server's own stand beside them.
//!
//! # What one can rely on
//!
//! - *Open is open*: a request is sent at its arrival, whatever became of those before it.
//! - *Closed is closed*: an app, or a user, sends its next request once it has the answer to its
//!   last.
//! - *Nobody tries again*: a call that is refused is one that was not answered in time.

mod answers;
mod bounds;
mod client;
mod play;
mod prompts;
mod question;
mod row;
mod totals;

pub use answers::{Known, ask_for_answers, look_up_answers, without_asking};
pub use bounds::in_times;
pub use client::{Client, Keys};
pub use play::{PlayOptions, Sending, play};
pub use prompts::Prompts;
pub use row::{Played, read_played, write_played};
pub use totals::Totals;
