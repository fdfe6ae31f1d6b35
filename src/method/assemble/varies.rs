//! What varies of a method's times, and what its plans leave room for.

use std::sync::Arc;

use super::{Method, MethodSpec};
use crate::error::{Error, Result};
use crate::executor::{Executor, Varying};
use crate::profile::{DeviceProfile, Drawn, Heat, Noise};

/// What makes times vary.
#[derive(Debug, Clone, Default)]
pub(super) struct Varies {
    pub(super) noise: Option<Noise>,
    pub(super) heat: Option<Heat>,
}

impl Method {
    /// The same method on a `device` whose times vary, by its noise or its heat.
    ///
    /// # Errors
    /// If the device's profile says nothing of what is asked for.
    ///
    /// # Panics
    /// If the method was cloned before.
    pub fn varying(mut self, device: &DeviceProfile, noise: bool, heat: bool) -> Result<Self> {
        let lacks = |what: &str| {
            Error::new(format!("device profile {}", device.name), "does not say how times vary")
                .allowed(format!("a section [{what}] in device.toml"))
        };
        let inner = Arc::get_mut(&mut self.0).expect("a method is varied before it is shared");
        if noise {
            inner.varies.noise = Some(device.noise.clone().ok_or_else(|| lacks("noise"))?);
        }
        if heat {
            inner.varies.heat = Some(device.heat.clone().ok_or_else(|| lacks("heat"))?);
        }
        Ok(self)
    }

    /// Whether one plan on one prompt may take another time later.
    #[must_use]
    pub fn varies(&self) -> bool {
        self.0.varies.noise.is_some() || self.0.varies.heat.is_some()
    }

    /// `executor` as times vary under `seed`, on a device that begins cool.
    #[must_use]
    pub fn as_it_varies<E: Executor>(&self, executor: E, seed: u64) -> Varying<E> {
        let Varies { noise, heat } = self.0.varies.clone();
        Varying::new(executor, noise.map(|noise| (noise, seed)), heat)
    }
}

/// The factors that plans of a method leave room for.
pub(super) fn covered(device: &DeviceProfile, spec: &MethodSpec) -> Result<(f64, f64)> {
    let Some(share) = spec.meet else { return Ok((1.0, 1.0)) };
    let noise = device.noise.as_ref().ok_or_else(|| {
        Error::new(format!("device profile {}", device.name), "does not say how times vary")
            .at(format!("method {}, key \"meet\"", spec.name))
            .allowed("a section [noise] in device.toml")
    })?;
    let Drawn { prefill, decode } = noise.covering(share.as_f64());
    Ok((prefill, decode))
}
