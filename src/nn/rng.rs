//! Seeded random numbers: a stream depends only on (seed, purpose, step, row), so a resumed run, another batch composition and
//! the browser get the same numbers. candle's CPU generator cannot be seeded.

use rand::{Rng as _, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The purpose of a stream; it is part of the key, so that streams never overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Purpose {
    Sampling = 1,
    Shuffle = 2,
    MiniBatch = 3,
    Length = 4,
    Init = 5,
    Dropout = 6,
    Bootstrap = 7,
    Evaluation = 8,
}

/// A stream of random numbers.
#[derive(Debug, Clone)]
pub struct Rng(ChaCha8Rng);

impl Rng {
    /// The stream of `seed` for `purpose` at (`step`, `row`).
    pub fn new(seed: u64, purpose: Purpose, step: u64, row: u64) -> Self {
        let mut key = [0u8; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..12].copy_from_slice(&(purpose as u32).to_le_bytes());
        key[12..20].copy_from_slice(&step.to_le_bytes());
        key[20..28].copy_from_slice(&row.to_le_bytes());
        Self(ChaCha8Rng::from_seed(key))
    }

    /// Uniform in [0, 1), 24 bits: the same in f32 on every platform.
    pub fn uniform(&mut self) -> f32 {
        (self.0.random::<u32>() >> 8) as f32 / (1u32 << 24) as f32
    }

    /// Uniform in (0, 1), both ends left out, 52 bits.
    pub fn open(&mut self) -> f64 {
        ((self.0.random::<u64>() >> 12) as f64 + 0.5) / (1u64 << 52) as f64
    }

    /// Uniform integer in `low..high` (`low < high`).
    pub fn below(&mut self, low: u64, high: u64) -> u64 {
        self.0.random_range(low..high)
    }

    /// Standard normal (Box–Muller).
    pub fn normal(&mut self) -> f32 {
        let u = 1.0 - f64::from(self.uniform());
        let v = f64::from(self.uniform());
        ((-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()) as f32
    }

    /// A permutation of `0..n` (Fisher–Yates).
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            order.swap(i, self.below(0, i as u64 + 1) as usize);
        }
        order
    }
}
