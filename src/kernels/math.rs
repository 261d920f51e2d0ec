//! Elementary functions of one f32, without branches or tables, so that loops over them become SIMD and give the same bits on
//! every platform (the system's libm does neither).

/// eˣ with an error of at most 2 units in the last place; 0 below −87.3, infinite above 88.7, NaN for NaN.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // x = n·ln2 + r, |r| ≤ ln2/2; ln2 in two parts (Cody–Waite), polynomial of Cephes' expf.
    const LOG2E: f32 = std::f32::consts::LOG2_E;
    const ROUND: f32 = 12_582_912.0; // 1.5 · 2²³: adding it rounds to an integer
    let clamped = if x < -87.336_54 { -87.336_54 } else { x };
    let clamped = if clamped > 88.722_83 { 88.722_83 } else { clamped };
    let shifted = clamped * LOG2E + ROUND;
    let n = shifted - ROUND;
    let r = (clamped - n * 0.693_359_4) - n * -2.121_944_4e-4;
    let p = 1.987_569_1e-4_f32;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_5e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let y = p * (r * r) + r + 1.0;
    // 2ⁿ in two factors: n may be 128, whose single factor would overflow. n is read from the low bits of the rounded
    // sum: a float-to-integer cast saturates, which x86 does number by number (four times slower).
    let n = shifted.to_bits().wrapping_sub(ROUND.to_bits()) as i32;
    let half = n >> 1;
    let scale = |k: i32| f32::from_bits((k.wrapping_add(127) as u32) << 23);
    let y = y * scale(half) * scale(n.wrapping_sub(half)); // wrapping, because of NaN
    let y = if x < -87.336_54 { 0.0 } else { y };
    let y = if x > 88.722_83 { f32::INFINITY } else { y };
    if x.is_nan() { x } else { y }
}

/// tanh x, absolute error below 2e-7.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / (exp(2.0 * x) + 1.0)
}

/// (Φ(x), e^(−x²/2)), Φ the standard normal distribution: absolute error below 3e-7, that of x Φ(x) for x < 0 too.
#[inline(always)]
pub fn normal(x: f32) -> (f32, f32) {
    // Φ(−|x|) = ½ erfcx(z) e^(−z²) with z = |x|/√2 and erfcx(z) ≈ t P(t), t = 1/(1 + 0.33 z): the minimax polynomial for
    // z ≤ 9.5, where Φ leaves f32; relative error 8e-8 in exact arithmetic.
    let bell = exp(-0.5 * x * x);
    let t = 1.0 / (1.0 + 0.33 * std::f32::consts::FRAC_1_SQRT_2 * x.abs());
    let p = -1.359_291_1e-1_f32;
    let p = p * t + 4.626_895_6e-1;
    let p = p * t - 3.554_413_6e-1;
    let p = p * t + 4.125_439_6e-1;
    let p = p * t + 4.500_932e-2;
    let p = p * t + 2.019_242_5e-1;
    let p = p * t + 1.828_371_7e-1;
    let p = p * t + 1.863_661_1e-1;
    let below = 0.5 * t * p * bell;
    (if x < 0.0 { below } else { 1.0 - below }, bell)
}

/// Running sums of a reduction: one register of AVX2. The number is fixed, so that all machines add in the same order.
const LANES: usize = 8;

/// Replaces x by eˣ⁻ᵐ, where m is the largest entry; returns (m, Σ eˣ⁻ᵐ).
#[inline(always)]
pub fn exp_shifted(row: &mut [f32]) -> (f32, f32) {
    let max = max(row);
    for x in row.iter_mut() {
        *x = exp(*x - max);
    }
    (max, sum(row))
}

/// The largest number; NaN is ignored.
#[inline(always)]
pub fn max(row: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane = if *x > *lane { *x } else { *lane };
        }
    }
    lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |max, x| if *x > max { *x } else { max })
}

/// Σx with eight running sums, for SIMD and smaller rounding errors.
#[inline(always)]
pub fn sum(row: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    let rest: f32 = rest.iter().sum();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane += x;
        }
    }
    together(lanes) + rest
}

/// Σxy with eight running sums.
#[inline(always)]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let n = a.len().min(b.len());
    let (a, b) = (&a[..n], &b[..n]);
    let ((ca, a), (cb, b)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let rest: f32 = a.iter().zip(b).map(|(x, y)| x * y).sum();
    for (x, y) in ca.iter().zip(cb) {
        for i in 0..LANES {
            lanes[i] += x[i] * y[i];
        }
    }
    together(lanes) + rest
}

/// (Σ eˣ⁻ᵐ, Σ eˣ⁻ᵐ (x − m)). No term of the second sum is above 0, so there is no cancellation.
#[inline(always)]
pub fn exp_sums(row: &[f32], max: f32) -> (f32, f32) {
    let (mut lanes, mut weighted) = ([0f32; LANES], [0f32; LANES]);
    let (chunks, rest) = row.as_chunks::<LANES>();
    let rest = rest.iter().fold((0.0, 0.0), |(sum, dot), x| {
        let shifted = *x - max;
        let e = exp(shifted);
        (sum + e, dot + e * shifted)
    });
    for chunk in chunks {
        for i in 0..LANES {
            let shifted = chunk[i] - max;
            let e = exp(shifted);
            lanes[i] += e;
            weighted[i] += e * shifted;
        }
    }
    (together(lanes) + rest.0, together(weighted) + rest.1)
}

/// Adds one half of the lanes to the other until one is left.
#[inline(always)]
fn together(lanes: [f32; LANES]) -> f32 {
    // Without the box, the compiler would also compute all earlier operations in pairs, a quarter as fast.
    let mut lanes = std::hint::black_box(lanes);
    let mut n = LANES;
    while n > 1 {
        n /= 2;
        for i in 0..n {
            lanes[i] += lanes[n + i];
        }
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_close_to_f64_everywhere() {
        let mut worst = 0f64;
        for i in -870_000..=887_000 {
            let x = i as f32 * 1e-4;
            let want = f64::from(x).exp();
            worst = worst.max((f64::from(exp(x)) - want).abs() / want);
        }
        assert!(worst < 1.2e-7, "relative error {worst:e}");
        assert_eq!(exp(-1e4), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(1e4), f32::INFINITY);
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn tanh_is_close_to_f64_everywhere() {
        for i in -200_000..=200_000 {
            let x = i as f32 * 1e-4;
            let error = (f64::from(tanh(x)) - f64::from(x).tanh()).abs();
            assert!(error < 2e-7, "tanh({x}) is off by {error:e}");
        }
    }

    #[test]
    fn the_normal_distribution_is_close_to_f64_everywhere() {
        for i in -130_000..=130_000 {
            let x = i as f32 * 1e-4;
            // a series around 0, a continued fraction outside: neither is the formula under test
            let z = f64::from(x).abs();
            let density = (-0.5 * z * z).exp() / std::f64::consts::TAU.sqrt();
            let below = if z < 3.0 {
                let (mut term, mut sum) = (z, z);
                for k in 1..80 {
                    term *= z * z / f64::from(2 * k + 1);
                    sum += term;
                }
                0.5 - density * sum
            } else {
                density / (1..200).rev().fold(z, |tail, k| z + f64::from(k) / tail)
            };
            let want = if x < 0.0 { below } else { 1.0 - below };
            let error = (f64::from(normal(x).0) - want).abs() * if x < 0.0 { z.max(1.0) } else { 1.0 };
            assert!(error < 3e-7, "normal({x}) is off by {error:e}");
        }
        assert_eq!(normal(40.0).0, 1.0);
        assert_eq!(normal(-40.0).0, 0.0);
        assert!(normal(f32::NAN).0.is_nan());
    }
}
