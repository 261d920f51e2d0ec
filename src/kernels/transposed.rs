//! Transposes squares of 16 × 16 numbers with AVX-512, for packing.

use std::arch::x86_64::*;

/// `to[j][i] = from[i][j]` for 16 × 16 numbers, with the given strides between the rows of both sides.
///
/// # Safety
/// Both sides must be valid for 16 rows of 16 numbers.
#[target_feature(enable = "avx512f")]
pub unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
    let mut x = [_mm512_setzero_ps(); 16];
    let mut y = x;
    // SAFETY: reads and writes 16 rows of 16 numbers, which the caller promises.
    unsafe {
        x.iter_mut().enumerate().for_each(|(i, x)| *x = _mm512_loadu_ps(from.add(i * from_stride)));
        let pd = |x: __m512| _mm512_castps_pd(x);
        let ps = |x: __m512d| _mm512_castpd_ps(x);
        for i in 0..8 {
            y[2 * i] = _mm512_unpacklo_ps(x[2 * i], x[2 * i + 1]);
            y[2 * i + 1] = _mm512_unpackhi_ps(x[2 * i], x[2 * i + 1]);
        }
        for i in (0..16).step_by(4) {
            x[i] = ps(_mm512_unpacklo_pd(pd(y[i]), pd(y[i + 2])));
            x[i + 1] = ps(_mm512_unpackhi_pd(pd(y[i]), pd(y[i + 2])));
            x[i + 2] = ps(_mm512_unpacklo_pd(pd(y[i + 1]), pd(y[i + 3])));
            x[i + 3] = ps(_mm512_unpackhi_pd(pd(y[i + 1]), pd(y[i + 3])));
        }
        // x[4 g + j]: columns j, j + 4, j + 8, j + 12 of rows 4 g to 4 g + 3, in quarters
        for j in 0..4 {
            let (low, high) = (_mm512_shuffle_f32x4::<0x88>, _mm512_shuffle_f32x4::<0xdd>);
            let (a, b) = (low(x[j], x[4 + j]), low(x[8 + j], x[12 + j]));
            let (c, d) = (high(x[j], x[4 + j]), high(x[8 + j], x[12 + j]));
            y[j] = low(a, b);
            y[8 + j] = high(a, b);
            y[4 + j] = low(c, d);
            y[12 + j] = high(c, d);
        }
        y.iter().enumerate().for_each(|(i, y)| _mm512_storeu_ps(to.add(i * to_stride), *y));
    }
}
