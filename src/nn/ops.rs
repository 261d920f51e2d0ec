//! Small differentiable operations that candle lacks or would silently cut from the graph.

use super::storage::{slice, stored, with_slice};
use super::tape::{self, Reads};
use crate::error::Result;
use crate::kernels::math::{normal, tanh};
use crate::kernels::pool::{for_rows, new_row_pairs, new_rows};
use candle_core::{CpuStorage, CustomOp1, CustomOp2, InplaceOp2, Layout, Shape, Tensor};

/// `gelu_new(a) · b`, T5 v1.1's gate: gelu_new(x) = ½x (1 + tanh(√(2/π) (x + 0.044715 x³))) (transformers
/// `NewGELUActivation`). a, b and the result have one shape.
pub fn gated_gelu(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    Ok(tape::op2([a, b], Reads::Numbers, GatedGelu)?)
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
        let y = new_rows(
            a.len(),
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
        let g = g.contiguous()?;
        let (da, db) = with_slice(a, |a| {
            with_slice(b, |b| {
                with_slice(&g, |g| {
                    new_row_pairs(
                        (a.len(), 1),
                        (a.len(), 1),
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
                    )
                })
            })
        })???;
        Ok((Some(Tensor::from_vec(da, a.shape(), a.device())?), Some(Tensor::from_vec(db, a.shape(), a.device())?)))
    }
}

/// The exact gelu, x Φ(x) (torch's `gelu`, RoBERTa's). candle's `gelu_erf` is as exact, but asks libm number by number.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    Ok(tape::op1(x, Reads::Numbers, Gelu)?)
}

struct Gelu;

impl CustomOp1 for Gelu {
    fn name(&self) -> &'static str {
        "gelu"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let x = slice(storage, layout)?;
        let y = new_rows(
            x.len(),
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

/// `max(x, 0)`.
pub fn relu(x: &Tensor) -> Result<Tensor> {
    Ok(tape::op1(x, Reads::Numbers, Relu)?)
}

struct Relu;

impl CustomOp1 for Relu {
    fn name(&self) -> &'static str {
        "relu"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let x = slice(storage, layout)?;
        let relu = |first: usize, y: &mut [f32]| y.iter_mut().zip(&x[first..]).for_each(|(y, x)| *y = x.max(0.0));
        Ok(stored(new_rows(x.len(), 1, relu), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, g: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let slope = |x: &[f32], g: &[f32]| x.iter().zip(g).map(|(x, g)| if *x > 0.0 { *g } else { 0.0 }).collect();
        let dx: Vec<f32> = with_slice(x, |x| with_slice(&g.contiguous()?, |g| slope(x, g)))??;
        Ok(Some(Tensor::from_vec(dx, x.shape(), x.device())?))
    }
}

/// `factor · x`.
pub fn scaled(x: &Tensor, factor: f32) -> Result<Tensor> {
    Ok(tape::op1(x, Reads::Shapes, Scaled(factor))?)
}

struct Scaled(f32);

impl CustomOp1 for Scaled {
    fn name(&self) -> &'static str {
        "scaled"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let x = slice(storage, layout)?;
        Ok(stored(x.iter().map(|x| x * self.0).collect(), layout.shape().clone()))
    }

    fn bwd(&self, _x: &Tensor, _y: &Tensor, g: &Tensor) -> candle_core::Result<Option<Tensor>> {
        Ok(Some(g.contiguous()?.apply_op1_no_bwd(&Self(self.0))?))
    }
}

/// a (N, A) and b (N, B) side by side: (N, A + B).
pub fn beside(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    Ok(tape::op2([a, b], Reads::Shapes, Beside)?)
}

struct Beside;

impl CustomOp2 for Beside {
    fn name(&self) -> &'static str {
        "beside"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let ((n, a_len), (rows, b_len)) = (l1.shape().dims2()?, l2.shape().dims2()?);
        if n != rows {
            candle_core::bail!("{:?} beside {:?}", l1.shape(), l2.shape());
        }
        let (a, b) = (slice(s1, l1)?, slice(s2, l2)?);
        let both = new_rows(n * (a_len + b_len), a_len + b_len, |first, rows| {
            let (a, b) = (a[first * a_len..].chunks_exact(a_len), b[first * b_len..].chunks_exact(b_len));
            for ((row, a), b) in rows.chunks_exact_mut(a_len + b_len).zip(a).zip(b) {
                row[..a_len].copy_from_slice(a);
                row[a_len..].copy_from_slice(b);
            }
        });
        Ok(stored(both, (n, a_len + b_len)))
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        _both: &Tensor,
        g: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let ((n, a_len), (_, b_len)) = (a.dims2()?, b.dims2()?);
        let (da, db) = with_slice(&g.contiguous()?, |g| {
            new_row_pairs((n * a_len, a_len), (n * b_len, b_len), |first, da, db| {
                let rows = g[first * (a_len + b_len)..].chunks_exact(a_len + b_len);
                for ((row, da), db) in rows.zip(da.chunks_exact_mut(a_len)).zip(db.chunks_exact_mut(b_len)) {
                    da.copy_from_slice(&row[..a_len]);
                    db.copy_from_slice(&row[a_len..]);
                }
            })
        })?;
        let like = |x: Vec<f32>, like: &Tensor| Tensor::from_vec(x, like.shape(), like.device());
        Ok((Some(like(da, a)?), Some(like(db, b)?)))
    }
}

/// x + y on all threads; both and the result have one shape. Where no gradient is asked for, the sum takes the place of `y`,
/// which must therefore be the caller's own: a result that no other tensor shares.
pub fn plus(x: &Tensor, y: Tensor) -> Result<Tensor> {
    if x.track_op() || y.track_op() || x.shape() != y.shape() || !y.is_contiguous() {
        return Ok(tape::sum([x, &y], Plus)?);
    }
    y.inplace_op2(&x.contiguous()?, &Plus)?;
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
        let sum = new_rows(
            x.len(),
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
