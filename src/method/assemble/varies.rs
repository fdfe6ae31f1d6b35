//! What varies of a method's times, and what its plans leave room for.

use std::sync::Arc;

use super::{Method, MethodSpec};
use crate::error::{Error, Result};
use crate::executor::{Executor, Varies, Varying};
use crate::profile::{DeviceProfile, Drawn};

/// Which of a device's variations there are in an experiment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Varied {
    /// That of one plan on one prompt.
    pub noise: bool,
    /// That of first answers after a pause.
    pub idle: bool,
    /// That by heat.
    pub heat: bool,
}

impl Method {
    /// The same method on a `device` whose times vary as `wanted`.
    ///
    /// # Errors
    /// If the device's profile says nothing of what is asked for.
    ///
    /// # Panics
    /// If the method was cloned before.
    pub fn varying(mut self, device: &DeviceProfile, wanted: Varied) -> Result<Self> {
        let lacks = |what: &str| {
            Error::new(format!("device profile {}", device.name), "does not say how times vary")
                .allowed(format!("a section [{what}] in device.toml"))
        };
        let inner = Arc::get_mut(&mut self.0).expect("a method is varied before it is shared");
        if wanted.noise {
            inner.varies.noise = Some(device.noise.clone().ok_or_else(|| lacks("noise"))?);
        }
        if wanted.idle {
            inner.varies.idle = Some(device.idle.clone().ok_or_else(|| lacks("idle"))?);
        }
        if wanted.heat {
            inner.varies.heat = Some(device.heat.clone().ok_or_else(|| lacks("heat"))?);
        }
        Ok(self)
    }

    /// Whether one plan on one prompt may take another time later.
    #[must_use]
    pub fn varies(&self) -> bool {
        let Varies { noise, idle, heat } = &self.0.varies;
        noise.is_some() || idle.is_some() || heat.is_some()
    }

    /// `executor` as times vary under `seed`, on a device that begins cool.
    #[must_use]
    pub fn as_it_varies<E: Executor>(&self, executor: E, seed: u64) -> Varying<E> {
        Varying::new(executor, self.0.varies.clone(), seed)
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
