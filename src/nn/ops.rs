//! Small differentiable operations that candle lacks or would silently cut from the graph.

use super::cpu::{for_row_pairs, for_rows, slice, stored, with_slice};
use super::math::{normal, tanh};
use crate::error::Result;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, InplaceOp2, Layout, Shape, Tensor};

/// `gelu_new(a) · b`, T5 v1.1's gate: gelu_new(x) = ½x (1 + tanh(√(2/π) (x + 0.044715 x³))) (transformers
/// `NewGELUActivation`). a, b and the result have one shape.
pub fn gated_gelu(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    Ok(a.contiguous()?.apply_op2(&b.contiguous()?, GatedGelu)?)
}

const SQRT_2_OVER_PI: f32 = 0.797_884_6;
const CUBIC: f32 = 0.044_715;

/// (gelu_new(x), its derivative).
#[inline(always)]
fn gelu_new(x: f32) -> (f32, f32) {
    let t = tanh(SQRT_2_OVER_PI * (x + CUBIC * x * x * x));
    let inner = SQRT_2_OVER_PI * (1.0 + 3.0 * CUBIC * x * x);
    (0.5 * x * (1.0 + t), 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * inner)
}

struct GatedGelu;

impl CustomOp2 for GatedGelu {
    fn name(&self) -> &'static str {
        "gated-gelu"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (a, b) = (slice(s1, l1)?, slice(s2, l2)?);
        let mut y = vec![0f32; a.len()];
        for_rows(
            &mut y,
            1,
            #[inline(always)]
            |first, y| {
                let n = y.len();
                for ((y, a), b) in y.iter_mut().zip(&a[first..first + n]).zip(&b[first..first + n]) {
                    *y = gelu_new(*a).0 * b;
                }
            },
        );
        Ok(stored(y, l1.shape().clone()))
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        _y: &Tensor,
        g: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let (mut da, mut db) = (vec![0f32; a.elem_count()], vec![0f32; a.elem_count()]);
        let g = g.contiguous()?;
        with_slice(a, |a| {
            with_slice(b, |b| {
                with_slice(&g, |g| {
                    for_row_pairs(
                        (&mut da, 1),
                        (&mut db, 1),
                        #[inline(always)]
                        |first, da, db| {
                            let n = da.len();
                            let (a, b, g) = (&a[first..first + n], &b[first..first + n], &g[first..first + n]);
                            for i in 0..n {
                                let (y, slope) = gelu_new(a[i]);
                                da[i] = slope * b[i] * g[i];
                                db[i] = y * g[i];
                            }
                        },
                    );
                })
            })
        })???;
        Ok((Some(Tensor::from_vec(da, a.shape(), a.device())?), Some(Tensor::from_vec(db, a.shape(), a.device())?)))
    }
}

/// The exact gelu, x Φ(x) (torch's `gelu`, RoBERTa's). candle's `gelu_erf` is as exact, but asks libm number by number.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    Ok(x.contiguous()?.apply_op1(Gelu)?)
}

struct Gelu;

impl CustomOp1 for Gelu {
    fn name(&self) -> &'static str {
        "gelu"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let x = slice(storage, layout)?;
        let mut y = vec![0f32; x.len()];
        for_rows(
            &mut y,
            1,
            #[inline(always)]
            |first, y| y.iter_mut().zip(&x[first..]).for_each(|(y, x)| *y = x * normal(*x).0),
        );
        Ok(stored(y, layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, g: &Tensor) -> candle_core::Result<Option<Tensor>> {
        // dx = g (Φ(x) + x φ(x))
        const DENSITY: f32 = 0.398_942_3; // 1/√(2π)
        let g = g.contiguous()?;
        let mut dx = with_slice(x, <[f32]>::to_vec)?;
        with_slice(&g, |g| {
            for_rows(
                &mut dx,
                1,
                #[inline(always)]
                |first, dx| {
                    for (dx, g) in dx.iter_mut().zip(&g[first..]) {
                        let (below, bell) = normal(*dx);
                        *dx = g * (below + *dx * bell * DENSITY);
                    }
                },
            );
        })?;
        Ok(Some(Tensor::from_vec(dx, x.shape(), x.device())?))
    }
}

/// x + y on all threads; both and the result have one shape. Where no gradient is asked for, the sum takes the place of `y`,
/// which must therefore be the caller's own: a result that no other tensor shares.
pub fn plus(x: &Tensor, y: Tensor) -> Result<Tensor> {
    let x = x.contiguous()?;
    if x.track_op() || y.track_op() || x.shape() != y.shape() || !y.is_contiguous() {
        return Ok(x.apply_op2(&y.contiguous()?, Plus)?);
    }
    y.inplace_op2(&x, &Plus)?;
    Ok(y)
}

/// `row` (D) added to each row of `y` (..., D), which is overwritten as in [`plus`] where no gradient is asked for.
pub fn plus_row(y: Tensor, row: &Tensor) -> Result<Tensor> {
    if y.track_op() || row.track_op() || y.dims().last() != row.dims().last() || !y.is_contiguous() {
        return Ok(y.broadcast_add(row)?);
    }
    y.inplace_op2(&row.contiguous()?, &Plus)?;
    Ok(y)
}

struct Plus;

impl CustomOp2 for Plus {
    fn name(&self) -> &'static str {
        "plus"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (x, y) = (slice(s1, l1)?, slice(s2, l2)?);
        if l1.shape() != l2.shape() {
            candle_core::bail!("a sum of {:?} and {:?}", l1.shape(), l2.shape());
        }
        let mut sum = vec![0f32; x.len()];
        for_rows(
            &mut sum,
            1,
            #[inline(always)]
            |first, sum| {
                let n = sum.len();
                for ((sum, x), y) in sum.iter_mut().zip(&x[first..first + n]).zip(&y[first..first + n]) {
                    *sum = x + y;
                }
            },
        );
        Ok(stored(sum, l1.shape().clone()))
    }

    fn bwd(
        &self,
        _x: &Tensor,
        _y: &Tensor,
        _sum: &Tensor,
        g: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((Some(g.clone()), Some(g.clone())))
    }
}

/// Adds the second operand, as often as it fits, to the first.
impl InplaceOp2 for Plus {
    fn name(&self) -> &'static str {
        "plus"
    }

    fn cpu_fwd(&self, y: &mut CpuStorage, l1: &Layout, x: &CpuStorage, l2: &Layout) -> candle_core::Result<()> {
        let (x, CpuStorage::F32(y), Some((start, end))) = (slice(x, l2)?, y, l1.contiguous_offsets()) else {
            candle_core::bail!("a sum needs contiguous f32")
        };
        let width = x.len();
        for_rows(
            &mut y[start..end],
            if width == end - start { 1 } else { width },
            #[inline(always)]
            |first, y| {
                let from = if width == end - start { &x[first..first + y.len()] } else { x };
                for y in y.chunks_exact_mut(from.len()) {
                    y.iter_mut().zip(from).for_each(|(y, x)| *y += x);
                }
            },
        );
        Ok(())
    }
}
