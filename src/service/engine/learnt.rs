//! What answers teach of the machine, kept for the next start; and when its profile is so far off
//! that it is to be taken anew.

use std::path::PathBuf;
use std::time::Duration;

use crate::method::one_prompt::Scales;
use crate::profiler::this_machine;
use crate::units::SimTime;

/// A file is written again after so long, if a scale has changed by such a share.
const PAUSE: Duration = Duration::from_secs(10);
const CHANGE: f64 = 0.02;
/// A profile is taken anew at the next start once a scale was beyond these for so many answers in
/// a row.
const FAR_OFF: std::ops::RangeInclusive<f64> = 0.67..=1.5;
const ANSWERS: u32 = 20;

/// Scales on their way to the disk.
#[derive(Debug)]
pub(super) struct Learnt {
    /// Absent: nothing is kept, or no more.
    path: Option<PathBuf>,
    saved: Scales,
    saved_at: SimTime,
    far_off: u32,
}

impl Learnt {
    /// Keeps scales at `path`, where `saved` are.
    pub fn new(path: Option<PathBuf>, saved: Scales, now: SimTime) -> Self {
        Self { path, saved, saved_at: now, far_off: 0 }
    }

    /// An answer came to `scales`.
    pub fn see(&mut self, now: SimTime, scales: Scales) {
        let is_far_off = [scales.prefill, scales.decode].iter().any(|it| !FAR_OFF.contains(it));
        self.far_off = if is_far_off { self.far_off + 1 } else { 0 };
        if self.far_off >= ANSWERS {
            if let Some(path) = self.path.take() {
                this_machine::forget(&path);
            }
        } else if now.since(self.saved_at) >= PAUSE && self.has_changed(scales) {
            self.save(now, scales);
        }
    }

    fn has_changed(&self, scales: Scales) -> bool {
        let pairs = [(scales.prefill, self.saved.prefill), (scales.decode, self.saved.decode)];
        pairs.iter().any(|(now, saved)| (now / saved - 1.0).abs() > CHANGE)
    }

    /// Writes what is not on the disk.
    pub fn save(&mut self, now: SimTime, scales: Scales) {
        let Some(path) = self.path.as_ref().filter(|_| scales != self.saved) else { return };
        // If it cannot be written the next start predicts from the profile alone.
        let _ = scales.save(path);
        (self.saved, self.saved_at) = (scales, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SimTime {
        SimTime::ZERO + Duration::from_secs(seconds)
    }

    fn scales(decode: f64) -> Scales {
        Scales { prefill: 1.0, decode }
    }

    /// Nothing before 10 s, nor for a change of 1 %; 1.2 after that; the rest at the end.
    #[test]
    fn scales_are_written_as_they_change_and_not_for_every_answer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scales.toml");
        let mut learnt = Learnt::new(Some(path.clone()), Scales::default(), at(0));
        learnt.see(at(9), scales(1.2));
        learnt.see(at(11), scales(1.01));
        assert_eq!(Scales::load(&path), None);
        learnt.see(at(12), scales(1.2));
        assert_eq!(Scales::load(&path), Some(scales(1.2)));
        learnt.see(at(13), scales(1.3));
        assert_eq!(Scales::load(&path), Some(scales(1.2)));
        learnt.save(at(14), scales(1.3));
        assert_eq!(Scales::load(&path), Some(scales(1.3)));
    }

    /// Nineteen answers beyond, one within, twenty beyond: then the profile and all beside it go,
    /// and nothing is written any more.
    #[test]
    fn a_profile_that_is_far_off_for_twenty_answers_in_a_row_is_taken_anew() {
        let folder = tempfile::tempdir().unwrap();
        let [path, device] = ["scales.toml", "device.toml"].map(|name| folder.path().join(name));
        std::fs::write(&device, "").unwrap();
        let mut learnt = Learnt::new(Some(path.clone()), Scales::default(), at(0));
        let beyond = |learnt: &mut Learnt, seconds: std::ops::Range<u64>| {
            seconds.for_each(|second| learnt.see(at(second), scales(1.6)));
        };
        beyond(&mut learnt, 100..119);
        learnt.see(at(119), scales(1.5));
        beyond(&mut learnt, 120..139);
        assert!(device.exists() && path.exists());
        beyond(&mut learnt, 139..140);
        assert!(!device.exists() && !path.exists());
        learnt.save(at(200), scales(1.7));
        assert!(!path.exists());
    }
}
