//! `--device`: what can compute, and a refusal at the start of what cannot. detox-lab's own operations (attention, linear
//! layers, norms, log-probs and their backward passes) are written for the CPU; candle's features only add to candle.

use crate::error::{Error, Result};
use candle_core::utils::{cuda_is_available, has_accelerate, has_mkl, metal_is_available};
use clap::ValueEnum;

/// What computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Device {
    #[default]
    Cpu,
    /// Refused: there are no kernels yet
    Cuda,
    /// Refused: there are no kernels yet
    Metal,
}

/// Refuses a device that cannot run the models, before anything is loaded.
///
/// # Errors
/// Any but the CPU: whether this program has the device at all, and what is missing.
pub fn check(device: Device) -> Result<()> {
    let (name, feature, there) = match device {
        Device::Cpu => return Ok(()),
        Device::Cuda => ("CUDA", "cuda", cuda_is_available()),
        Device::Metal => ("Metal", "metal", metal_is_available()),
    };
    let built = if there {
        format!("candle in this program has {name}")
    } else {
        format!("this program was built without it (feature {feature})")
    };
    let what = format!(
        "--device {feature} cannot run: detox-lab's own attention, linear layers, norms and log-probs have no {name} kernel; {built}"
    );
    Err(Error::input(what, "--device cpu; more threads, or --weights, make it faster or smaller"))
}

/// The libraries that candle's own operations were built with.
pub fn libraries() -> Vec<&'static str> {
    let all = [
        ("mkl", has_mkl()),
        ("accelerate", has_accelerate()),
        ("cuda", cuda_is_available()),
        ("metal", metal_is_available()),
    ];
    all.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect()
}
