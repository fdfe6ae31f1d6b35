//! Our own samples: `family,level,phase,tokens,repetition,ms`, as `pliant profile latency` writes
//! them, or a person who copies figures out of a publication.

use std::collections::BTreeMap;

use super::found::Found;
use crate::error::Result;
use crate::input::Input;
use crate::profile::latency_log::samples_of;
use crate::profile::point::Origin;

pub(super) fn read(input: &Input) -> Result<Vec<Found>> {
    let mut all = BTreeMap::new();
    for sample in samples_of(input)? {
        let key = (sample.family.clone(), sample.level);
        let place = format!("family {}, level {}", sample.family, sample.level);
        if !all.contains_key(&key) {
            let family = sample.family.parse()?;
            let found = Found { family, level: sample.level, ..Found::at(&place) };
            all.insert(key.clone(), found);
        }
        let found = all.get_mut(&key).expect("just put there");
        let source = format!("{}, {place}", super::file_name(input));
        found.point(sample.phase, sample.tokens, sample.ms, Origin::Measured, &source);
    }
    Ok(all.into_values().collect())
}
