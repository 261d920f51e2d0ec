//! Dropout masks that are a function of (seed, position): the backward pass makes the same mask again, and the number of
//! threads has no effect.

/// Inverted dropout over an array of numbers: each is zeroed with probability `p`, the others are multiplied by 1/(1 − p).
#[derive(Debug, Clone, Copy)]
pub struct Mask {
    pub p: f32,
    pub seed: u64,
}

impl Mask {
    /// A different mask for part `part` of an array.
    pub fn part(self, part: u64) -> Self {
        Self { seed: self.seed ^ mix(part), ..self }
    }

    /// Applies the mask to numbers that start at position `first` of the array.
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

/// 32 well-mixed bits of a position (multiplications and shifts as in C. Wellons' triple32), suitable for SIMD.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(p: f32, seed: u64, n: usize) -> Vec<f32> {
        let mut numbers = vec![1f32; n];
        Mask { p, seed }.apply(0, &mut numbers);
        numbers
    }

    /// Correlation of the dropped positions of two arrays.
    fn correlation(a: &[f32], b: &[f32], p: f64) -> f64 {
        let both = a.iter().zip(b).filter(|(a, b)| **a == 0.0 && **b == 0.0).count() as f64;
        (both / a.len().min(b.len()) as f64 - p * p) / (p - p * p)
    }

    #[test]
    fn the_dropped_share_is_right_and_independent_of_neighbours_and_seeds() {
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
                Mask { p, seed: 77 }.part(i).apply(0, &mut numbers);
                numbers
            };
            for other in [mask(p, 78, n), mask(p, 77 + (1 << 32), n), parts(0), parts(1)] {
                let c = correlation(&a, &other, wide);
                assert!(c.abs() < error, "p {p}, another seed: {c}");
            }
        }
    }
}
