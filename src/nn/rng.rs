//! Seeded randomness by key: a stream depends on (seed, purpose, step, row) alone, so a resumed run, another batch
//! composition or the other door draws the same numbers. candle's CPU generator cannot be seeded.

use rand::{Rng as _, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What a stream is for; part of its key, so that streams never overlap.
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

/// One stream of random numbers.
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

/// A well-mixed 64-bit hash (splitmix64's finalizer).
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Inverted dropout without a stored mask: number `i` of a tensor is kept or not by a hash of (seed, i), so that forward
/// and backward, on any number of threads, agree.
#[derive(Debug, Clone, Copy)]
pub struct Mask {
    seed: u64,
    /// Below it, of 2¹⁶, a number is dropped.
    bar: u16,
    keep: f32,
}

impl Mask {
    /// Drops with probability `p`, in steps of 2⁻¹⁶; what stays grows by 1/(1 − p).
    pub fn new(p: f32, seed: u64, key: u64) -> Self {
        Self { seed: mix(seed ^ mix(key)), bar: (p * 65536.0) as u16, keep: 1.0 / (1.0 - p) }
    }

    /// Multiplies numbers `first`, `first` + 1, … of the tensor.
    pub fn apply(&self, first: usize, numbers: &mut [f32]) {
        let lead = (first.next_multiple_of(4) - first).min(numbers.len());
        let (head, rest) = numbers.split_at_mut(lead);
        let mut quad = first / 4;
        if lead > 0 {
            let bits = mix(self.seed ^ quad as u64) >> (16 * (first % 4));
            self.quad(bits, head);
            quad += 1;
        }
        for numbers in rest.chunks_mut(4) {
            self.quad(mix(self.seed ^ quad as u64), numbers); // one hash decides for four
            quad += 1;
        }
    }

    #[inline(always)]
    fn quad(&self, bits: u64, numbers: &mut [f32]) {
        for (k, x) in numbers.iter_mut().enumerate() {
            *x *= if (bits >> (16 * k)) as u16 >= self.bar { self.keep } else { 0.0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_the_same_in_pieces_and_drops_its_share() {
        let mask = Mask::new(0.1, 7, 3);
        let mut whole = vec![1f32; 100_003];
        mask.apply(0, &mut whole);
        for pieces in [1, 2, 3, 5, 1001] {
            let mut parts = vec![1f32; whole.len()];
            for (i, part) in parts.chunks_mut(pieces).enumerate() {
                mask.apply(i * pieces, part);
            }
            assert!(parts == whole, "pieces of {pieces}");
        }
        let dropped = whole.iter().filter(|x| **x == 0.0).count() as f64 / whole.len() as f64;
        assert!((dropped - 0.1).abs() < 0.004, "{dropped}"); // 4 standard deviations
        let mean = whole.iter().sum::<f32>() / whole.len() as f32;
        assert!((mean - 1.0).abs() < 0.005, "{mean}");
    }
}
