//! Whether others use the machine while it is timed.
//!
//! Judged by the share of all cores' time that processes other than this one used meanwhile, from
//! the kernel's counters; where there are none, by how far repetitions of one timing lie apart.

use crate::profile::{LatencySample, Phase};

/// Others may use so much of the cores' time, or times are not kept.
const OTHERS_MAX: f64 = 0.1;
/// A repetition may take so many times as long as the shortest of its kind.
const SPREAD_MAX: f64 = 1.5;

/// The kernel's counters at one moment, in ticks over all cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticks {
    all: u64,
    idle: u64,
    own: u64,
}

impl Ticks {
    /// The counters now; `None` where the system has none.
    pub fn now() -> Option<Self> {
        let read = |path: &str| std::fs::read_to_string(path).ok();
        Self::of(&read("/proc/stat")?, &read("/proc/self/stat")?)
    }

    fn of(machine: &str, process: &str) -> Option<Self> {
        let cores = machine.lines().find_map(|line| line.strip_prefix("cpu "))?;
        // user nice system idle iowait irq softirq steal; guests are part of user.
        let counts = cores.split_whitespace().take(8).map(str::parse);
        let counts = counts.collect::<Result<Vec<u64>, _>>().ok()?;
        // The name of a process, in brackets, may have spaces.
        let fields: Vec<&str> = process.rsplit_once(')')?.1.split_whitespace().collect();
        let own = |at: usize| fields.get(at)?.parse::<u64>().ok();
        Some(Self {
            all: counts.iter().sum(),
            idle: counts.get(3)? + counts.get(4)?,
            own: own(11)? + own(12)?,
        })
    }

    /// The share of the cores' time since `before` that others used.
    fn others_since(self, before: Self) -> Option<f64> {
        let all = self.all.checked_sub(before.all).filter(|ticks| *ticks > 0)?;
        let idle = self.idle.saturating_sub(before.idle);
        let own = self.own.saturating_sub(before.own);
        Some(all.saturating_sub(idle).saturating_sub(own) as f64 / all as f64)
    }
}

/// Why times taken from `before` to `after` are not to be kept; `None` if they are.
pub(super) fn disturbed(
    before: Option<Ticks>,
    after: Option<Ticks>,
    samples: &[LatencySample],
) -> Option<String> {
    if let Some(others) = before.zip(after).and_then(|(before, after)| after.others_since(before)) {
        let percent = (100.0 * others).round();
        let why = || format!("others used {percent} % of its time, of at most 10 %");
        return (others > OTHERS_MAX).then(why);
    }
    let spread = spread(samples)?;
    let why = || format!("repetitions lie apart by a factor of {spread:.1}, of at most 1.5");
    (spread > SPREAD_MAX).then(why)
}

/// The median, over all that was written more than once, of the longest over the shortest.
fn spread(samples: &[LatencySample]) -> Option<f64> {
    let mut spreads = Vec::new();
    let written = || samples.iter().filter(|one| one.phase == Phase::Decode);
    for first in written().filter(|one| one.repetition == 0) {
        let like = |one: &&LatencySample| one.level == first.level && one.tokens == first.tokens;
        let times: Vec<f64> = written().filter(like).map(|one| one.ms).collect();
        let (least, most) =
            times.iter().fold((f64::MAX, 0.0_f64), |(a, b), &ms| (a.min(ms), b.max(ms)));
        spreads.extend((times.len() > 1).then_some(most / least));
    }
    crate::metrics::quantile(&mut spreads, 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Level;

    fn ticks(machine: [u64; 8], own: [u64; 2]) -> Ticks {
        let counts = machine.map(|count| count.to_string()).join(" ");
        let machine = format!("cpu  {counts} 7 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n");
        let fields = "S 1 1 1 0 -1 4194560 100 0 0 0";
        let process = format!("42 (a (b) c) {fields} {} {} 0 0 20 0\n", own[0], own[1]);
        Ticks::of(&machine, &process).unwrap()
    }

    /// Of 1000 ticks 400 were idle or waited for a disk, 500 are ours: others used 100.
    #[test]
    fn what_is_neither_idle_nor_ours_is_others() {
        let before = ticks([0; 8], [10, 5]);
        let after = ticks([500, 0, 100, 300, 100, 0, 0, 0], [410, 105]);
        assert_eq!(after.others_since(before), Some(0.1));
        assert_eq!(disturbed(Some(before), Some(after), &[]), None);
        let after = ticks([510, 0, 100, 290, 100, 0, 0, 0], [410, 105]);
        let why = disturbed(Some(before), Some(after), &[]).unwrap();
        assert_eq!(why, "others used 11 % of its time, of at most 10 %");
        assert_eq!(before.others_since(before), None);
        assert_eq!(Ticks::of("cpu  1 2\n", "1 (a) S"), None);
    }

    /// Without counters: of three spreads, 1.2, 1.6 and 2, the middle one counts.
    #[test]
    fn without_counters_repetitions_that_lie_apart_say_it() {
        let sample = |level: u16, repetition, ms| LatencySample {
            family: "width".into(),
            level: Level::percent(level),
            phase: Phase::Decode,
            tokens: 32,
            repetition,
            ms,
        };
        let twice = |level, ms| [sample(level, 0, 10.0), sample(level, 1, ms)];
        let samples = [twice(20, 12.0), twice(60, 20.0), twice(100, 16.0)].concat();
        let why = disturbed(None, None, &samples).unwrap();
        assert_eq!(why, "repetitions lie apart by a factor of 1.6, of at most 1.5");
        assert_eq!(disturbed(None, None, &samples[..2]), None);
        assert_eq!(disturbed(None, None, &samples[..1]), None, "timed once");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn linux_has_the_counters() {
        let before = Ticks::now().unwrap();
        assert!(before.all >= before.idle && before.all >= before.own);
    }
}
