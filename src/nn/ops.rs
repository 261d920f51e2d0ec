//! Small differentiable operations.

use super::storage::{add, with_slice, with_slices};
use super::tape::{self, InputGradients, Op, Reads};
use crate::error::{Error, Result};
use crate::kernels::math::{normal, tanh as tanh_of};
use crate::kernels::pool::{new_row_pairs, new_rows};
use candle_core::{Shape, Tensor};

/// Applies `f` to every number.
fn map(x: &Tensor, f: impl Fn(f32) -> f32 + Sync) -> Result<(Vec<f32>, Shape)> {
    let y = with_slice(x, |x| {
        new_rows(
            x.len(),
            1,
            #[inline(always)]
            |first, y| y.iter_mut().zip(&x[first..]).for_each(|(y, x)| *y = f(*x)),
        )
    })?;
    Ok((y, x.shape().clone()))
}

/// Applies `f` to the numbers of two tensors with the same shape.
fn map2(x: &Tensor, y: &Tensor, f: impl Fn(f32, f32) -> f32 + Sync) -> Result<(Vec<f32>, Shape)> {
    if x.shape() != y.shape() {
        return Err(Error::shape("the second operand", y.dims(), x.dims(), "this is a bug in detox-lab"));
    }
    let z = with_slices(&[x, y], |slices| {
        let (x, y) = (slices[0], slices[1]);
        new_rows(
            x.len(),
            1,
            #[inline(always)]
            |first, z| {
                let n = z.len();
                for ((z, x), y) in z.iter_mut().zip(&x[first..first + n]).zip(&y[first..first + n]) {
                    *z = f(*x, *y);
                }
            },
        )
    })?;
    Ok((z, x.shape().clone()))
}

/// The only gradient of an operation.
fn one((numbers, shape): (Vec<f32>, Shape)) -> InputGradients {
    Ok(vec![Some(tensor(numbers, shape)?)])
}

fn tensor(numbers: Vec<f32>, shape: impl Into<Shape>) -> Result<Tensor> {
    Ok(Tensor::from_vec(numbers, shape.into(), &candle_core::Device::Cpu)?)
}

/// `gelu_new(a) · b`, T5 v1.1's gate: gelu_new(x) = ½x (1 + tanh(√(2/π) (x + 0.044715 x³))) (transformers
/// `NewGELUActivation`). a, b and the result have the same shape.
pub fn gated_gelu(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    tape::apply(&[a, b], GatedGelu)
}

const SQRT_2_OVER_PI: f32 = 0.797_884_6;
const CUBIC: f32 = 0.044_715;

/// (gelu_new(x), its derivative).
#[inline(always)]
fn gelu_new(x: f32) -> (f32, f32) {
    let t = tanh_of(SQRT_2_OVER_PI * (x + CUBIC * x * x * x));
    let inner = SQRT_2_OVER_PI * (1.0 + 3.0 * CUBIC * x * x);
    (0.5 * x * (1.0 + t), 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * inner)
}

struct GatedGelu;

impl Op for GatedGelu {
    fn forward(&self, given: &[&Tensor]) -> Result<(Vec<f32>, Shape)> {
        map2(
            given[0],
            given[1],
            #[inline(always)]
            |a, b| gelu_new(a).0 * b,
        )
    }

    fn backward(&self, given: &[&Tensor], g: &Tensor) -> InputGradients {
        let (da, db) = with_slices(&[given[0], given[1], g], |slices| {
            let n = slices[0].len();
            new_row_pairs(
                (n, 1),
                (n, 1),
                #[inline(always)]
                |first, da, db| {
                    let n = da.len();
                    let [a, b, g] = [0, 1, 2].map(|i| &slices[i][first..first + n]);
                    for i in 0..n {
                        let (y, slope) = gelu_new(a[i]);
                        da[i] = slope * b[i] * g[i];
                        db[i] = y * g[i];
                    }
                },
            )
        })?;
        Ok(vec![Some(tensor(da, g.shape())?), Some(tensor(db, g.shape())?)])
    }
}

/// A function of every number, and `slope(x, g)`, the gradient of x for the gradient g of the result.
struct Elementwise<F, S> {
    function: F,
    slope: S,
}

impl<F: Fn(f32) -> f32 + Sync, S: Fn(f32, f32) -> f32 + Sync> Op for Elementwise<F, S> {
    fn forward(&self, given: &[&Tensor]) -> Result<(Vec<f32>, Shape)> {
        map(
            given[0],
            #[inline(always)]
            |x| (self.function)(x),
        )
    }

    fn backward(&self, given: &[&Tensor], g: &Tensor) -> InputGradients {
        one(map2(
            given[0],
            g,
            #[inline(always)]
            |x, g| (self.slope)(x, g),
        )?)
    }
}

fn elementwise(
    x: &Tensor,
    function: impl Fn(f32) -> f32 + Sync + 'static,
    slope: impl Fn(f32, f32) -> f32 + Sync + 'static,
) -> Result<Tensor> {
    tape::apply(&[x], Elementwise { function, slope })
}

/// The exact gelu, x Φ(x) (torch's `gelu`, RoBERTa's): dx = g (Φ(x) + x φ(x)).
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    const DENSITY: f32 = 0.398_942_3; // 1/√(2π)
    elementwise(
        x,
        #[inline(always)]
        |x| x * normal(x).0,
        #[inline(always)]
        |x, g| {
            let (below, bell) = normal(x);
            g * (below + x * bell * DENSITY)
        },
    )
}

/// `max(x, 0)`.
pub fn relu(x: &Tensor) -> Result<Tensor> {
    elementwise(
        x,
        #[inline(always)]
        |x| x.max(0.0),
        #[inline(always)]
        |x, g| if x > 0.0 { g } else { 0.0 },
    )
}

/// `tanh x`: dx = g (1 − tanh² x).
pub fn tanh(x: &Tensor) -> Result<Tensor> {
    elementwise(x, f32::tanh, |x, g| {
        let y = x.tanh();
        g * (1.0 - y * y)
    })
}

/// `factor · x`.
pub fn scaled(x: &Tensor, factor: f32) -> Result<Tensor> {
    tape::apply(&[x], Scaled(factor))
}

struct Scaled(f32);

impl Op for Scaled {
    fn reads(&self) -> Reads {
        Reads::Shapes
    }

    fn forward(&self, given: &[&Tensor]) -> Result<(Vec<f32>, Shape)> {
        map(
            given[0],
            #[inline(always)]
            |x| x * self.0,
        )
    }

    fn backward(&self, _given: &[&Tensor], g: &Tensor) -> InputGradients {
        one(self.forward(&[g])?)
    }
}

/// a (N, A) and b (N, B) side by side: (N, A + B).
pub fn beside(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    tape::apply(&[a, b], Beside)
}

struct Beside;

impl Op for Beside {
    fn reads(&self) -> Reads {
        Reads::Shapes
    }

    fn forward(&self, given: &[&Tensor]) -> Result<(Vec<f32>, Shape)> {
        let ((n, a_len), (rows, b_len)) = (given[0].dims2()?, given[1].dims2()?);
        if n != rows {
            return Err(Error::shape("rows beside others", &[rows, b_len], &[n, b_len], "this is a bug in detox-lab"));
        }
        let both = with_slices(given, |given| {
            new_rows(n * (a_len + b_len), a_len + b_len, |first, rows| {
                let a = given[0][first * a_len..].chunks_exact(a_len);
                let b = given[1][first * b_len..].chunks_exact(b_len);
                for ((row, a), b) in rows.chunks_exact_mut(a_len + b_len).zip(a).zip(b) {
                    row[..a_len].copy_from_slice(a);
                    row[a_len..].copy_from_slice(b);
                }
            })
        })?;
        Ok((both, (n, a_len + b_len).into()))
    }

    fn backward(&self, given: &[&Tensor], g: &Tensor) -> InputGradients {
        let ((n, a_len), (_, b_len)) = (given[0].dims2()?, given[1].dims2()?);
        let (da, db) = with_slice(g, |g| {
            new_row_pairs((n * a_len, a_len), (n * b_len, b_len), |first, da, db| {
                let rows = g[first * (a_len + b_len)..].chunks_exact(a_len + b_len);
                for ((row, da), db) in rows.zip(da.chunks_exact_mut(a_len)).zip(db.chunks_exact_mut(b_len)) {
                    da.copy_from_slice(&row[..a_len]);
                    db.copy_from_slice(&row[a_len..]);
                }
            })
        })?;
        Ok(vec![Some(tensor(da, (n, a_len))?), Some(tensor(db, (n, b_len))?)])
    }
}

/// Rows of `table` (V, D) by their numbers, as an embedding: (N, D). Row `ignored`, if given, gets no gradient, as with torch's
/// `padding_idx`.
///
/// # Errors
/// A number outside the rows.
pub fn rows(table: &Tensor, ids: &[u32], ignored: Option<u32>) -> Result<Tensor> {
    let (rows, _) = table.dims2()?;
    if let Some(id) = ids.iter().find(|id| **id as usize >= rows) {
        return Err(Error::input(format!("id {id} in a table of {rows} rows"), "use the tokenizer of this model"));
    }
    tape::apply(&[table], Rows { ids: ids.to_vec(), ignored })
}

struct Rows {
    ids: Vec<u32>,
    ignored: Option<u32>,
}

impl Op for Rows {
    fn reads(&self) -> Reads {
        Reads::Shapes
    }

    fn forward(&self, given: &[&Tensor]) -> Result<(Vec<f32>, Shape)> {
        let (_, width) = given[0].dims2()?;
        let mut rows = Vec::with_capacity(self.ids.len() * width);
        with_slice(given[0], |table| {
            self.ids.iter().for_each(|id| rows.extend_from_slice(&table[*id as usize * width..][..width]));
        })?;
        Ok((rows, (self.ids.len(), width).into()))
    }

    /// The sum of the gradients of each row's copies.
    fn backward(&self, given: &[&Tensor], g: &Tensor) -> InputGradients {
        let (rows, width) = given[0].dims2()?;
        let mut sums = vec![0f32; rows * width];
        with_slice(g, |g| {
            let wanted = self.ids.iter().zip(g.chunks_exact(width.max(1)));
            for (id, g) in wanted.filter(|(id, _)| Some(**id) != self.ignored) {
                let sums = &mut sums[*id as usize * width..][..width];
                sums.iter_mut().zip(g).for_each(|(sum, g)| *sum += g);
            }
        })?;
        one((sums, (rows, width).into()))
    }
}

/// x + y on all threads; all have the same shape. If no gradient is needed, the sum replaces `y` in place, so no other tensor
/// may share its numbers.
pub fn plus(x: &Tensor, y: Tensor) -> Result<Tensor> {
    if x.track_op() || y.track_op() || x.shape() != y.shape() || !y.is_contiguous() {
        return tape::apply(&[x, &y], Plus);
    }
    add(&y, &x.contiguous()?)?;
    Ok(y)
}

struct Plus;

impl Op for Plus {
    fn reads(&self) -> Reads {
        Reads::Shapes
    }

    fn shares(&self) -> bool {
        true
    }

    fn forward(&self, given: &[&Tensor]) -> Result<(Vec<f32>, Shape)> {
        map2(
            given[0],
            given[1],
            #[inline(always)]
            |x, y| x + y,
        )
    }

    fn backward(&self, _given: &[&Tensor], g: &Tensor) -> InputGradients {
        Ok(vec![Some(g.clone()), Some(g.clone())])
    }
}
