//! Inverted dropout whose mask is a function of (seed, position): nothing is kept for the backward pass, which draws the
//! same mask again, and the number of threads changes nothing.

use super::cpu::{new_rows, slice, stored, with_slice};
use super::rng::Rng;
use super::tape::{self, Reads};
use crate::error::Result;
use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};

/// One draw of dropout over an array of numbers: each is zeroed with probability `p`, the others grow by 1/(1 − p).
#[derive(Debug, Clone, Copy)]
pub struct Drop {
    pub p: f32,
    pub seed: u64,
}

impl Drop {
    /// A new mask.
    pub fn new(p: f32, rng: &mut Rng) -> Self {
        Self { p, seed: rng.below(0, u64::MAX) }
    }

    /// Another mask for part `part` of a whole.
    pub fn part(self, part: u64) -> Self {
        Self { seed: self.seed ^ mix(part), ..self }
    }

    /// Drops from the numbers that stand at `first` and on.
    pub fn apply(self, first: usize, numbers: &mut [f32]) {
        let keep = 1.0 / (1.0 - self.p);
        let bar = (f64::from(self.p) * 2f64.powi(32)) as u32;
        let key = mix(self.seed);
        let keys = (key as u32, (key >> 32) as u32);
        for (i, x) in numbers.iter_mut().enumerate() {
            *x *= if hash((first + i) as u32, keys) < bar { 0.0 } else { keep };
        }
    }
}

/// 32 well-mixed bits of a position (multiplications and shifts as in C. Wellons' triple32): fit for SIMD.
#[inline(always)]
fn hash(at: u32, (a, b): (u32, u32)) -> u32 {
    let x = at ^ a;
    let x = (x ^ (x >> 17)).wrapping_mul(0xed5a_d4bb) ^ b;
    let x = (x ^ (x >> 11)).wrapping_mul(0xac4c_1b51);
    let x = (x ^ (x >> 15)).wrapping_mul(0x3184_8bab);
    x ^ (x >> 14)
}

/// A well-mixed 64-bit hash (splitmix64's finalizer).
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Inverted dropout of a tensor with a fresh mask.
pub fn dropout(x: &Tensor, p: f32, rng: &mut Rng) -> Result<Tensor> {
    if p <= 0.0 {
        return Ok(x.clone());
    }
    Ok(tape::op1(x, Reads::Shapes, Dropout(Drop::new(p, rng)))?)
}

struct Dropout(Drop);

impl Dropout {
    fn dropped(&self, x: &[f32]) -> Vec<f32> {
        new_rows(
            x.len(),
            1,
            #[inline(always)]
            |first, y| {
                y.copy_from_slice(&x[first..first + y.len()]);
                self.0.apply(first, y);
            },
        )
    }
}

impl CustomOp1 for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        Ok(stored(self.dropped(slice(storage, layout)?), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, g: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let dx = with_slice(&g.contiguous()?, |g| self.dropped(g))?;
        Ok(Some(Tensor::from_vec(dx, x.shape(), x.device())?))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::nn::rng::Purpose;
    use candle_core::{DType, Device, Var};

    fn mask(p: f32, seed: u64, n: usize) -> Vec<f32> {
        let mut numbers = vec![1f32; n];
        Drop { p, seed }.apply(0, &mut numbers);
        numbers
    }

    /// Correlation of the dropped with another array's dropped.
    fn correlation(a: &[f32], b: &[f32], p: f64) -> f64 {
        let both = a.iter().zip(b).filter(|(a, b)| **a == 0.0 && **b == 0.0).count() as f64;
        (both / a.len().min(b.len()) as f64 - p * p) / (p - p * p)
    }

    #[test]
    fn as_many_fall_as_asked_and_none_because_of_its_neighbours_or_the_next_seed() {
        let n = 1 << 20;
        let error = 5.0 / (n as f64).sqrt();
        for p in [0.05f32, 0.1, 0.5] {
            let a = mask(p, 77, n);
            let wide = f64::from(p);
            let zeros = a.iter().filter(|x| **x == 0.0).count() as f64 / n as f64;
            assert!((zeros - wide).abs() < error, "p {p}: {zeros}");
            assert!(a.iter().all(|x| *x == 0.0 || *x == 1.0 / (1.0 - p)));
            for step in [1, 2, 8, 192, 512] {
                let c = correlation(&a[step..], &a[..n - step], wide);
                assert!(c.abs() < error, "p {p}, {step} apart: {c}");
            }
            let parts = |i| {
                let mut numbers = vec![1f32; n];
                Drop { p, seed: 77 }.part(i).apply(0, &mut numbers);
                numbers
            };
            for other in [mask(p, 78, n), mask(p, 77 + (1 << 32), n), parts(0), parts(1)] {
                let c = correlation(&a, &other, wide);
                assert!(c.abs() < error, "p {p}, another seed: {c}");
            }
        }
    }

    #[test]
    fn the_backward_pass_uses_the_same_mask() {
        let x = Var::from_tensor(&Tensor::ones((300, 100), DType::F32, &Device::Cpu).unwrap()).unwrap();
        let mut rng = Rng::new(1, Purpose::Dropout, 0, 0);
        let y = dropout(x.as_tensor(), 0.3, &mut rng).unwrap();
        let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let gradients = y.sum_all().unwrap().backward().unwrap();
        assert_eq!(flat(gradients.get(x.as_tensor()).unwrap()), flat(&y));
        let again = dropout(x.as_tensor(), 0.3, &mut rng).unwrap();
        assert_ne!(flat(&again), flat(&y), "every call has its own mask");
        assert_eq!(flat(&dropout(x.as_tensor(), 0.0, &mut rng).unwrap()), flat(x.as_tensor()));
    }
}
