//! `peers simcore|nexosim REQUESTS`: one server, first in, first out, in another simulator. Prints
//! requests and the sum of waits in ns, by which a reader sees that all replay one load.

mod in_nexosim;
mod in_simcore;

/// Arrivals and services of request after request, in ns: gaps even between 0 and 2000, services
/// of 64 kinds up to 1640; so the server is busy four fifths of the time.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
pub struct Load {
    state: u64,
}

impl Load {
    /// The gap before the next request and its service.
    pub fn next_request(&mut self) -> (u64, u64) {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let high = self.state >> 32;
        (high % 2001, (high >> 16) % 64 * 26)
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let requests: u64 = arguments[1].parse().expect("a number of requests");
    let run = match arguments[0].as_str() {
        "simcore" => in_simcore::run,
        "nexosim" => in_nexosim::run,
        other => panic!("{other}: simcore or nexosim"),
    };
    println!("{requests} {}", run(requests));
}
