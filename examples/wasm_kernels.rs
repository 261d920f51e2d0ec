//! The kernels in WebAssembly, for scripts/wasm_kernels.mjs, which measures them in Node (`make bench-kernels`).
#![allow(clippy::unwrap_used)]

use detox_lab::kernels::attention::{self, Plan, Segment};
use detox_lab::kernels::choice::{kernel, vectorized};
use detox_lab::kernels::gemm::{Mat, matmul};
use detox_lab::kernels::math::{exp_shifted, exp_sums, max, normal};
use detox_lab::kernels::matrix::Matrix;
use detox_lab::kernels::quantized::{Compact, Precision};
use wasm_bindgen::prelude::wasm_bindgen;

/// Bytes of the weights that a product of few rows reads one after the other, as decoding reads those of all layers.
const COLD: usize = 96 << 20;

/// Numbers of an attention head.
const HEAD: usize = 64;

/// Work on numbers that are made once: a product of m rows with weights (n, k), a loop over m rows of n numbers, or attention of m
/// rows of one query, or of n queries, to n keys of k numbers each.
#[wasm_bindgen]
pub struct Work {
    what: String,
    m: usize,
    n: usize,
    k: usize,
    x: Vec<f32>,
    g: Vec<f32>,
    y: Vec<f32>,
    wide: Vec<Vec<f32>>,
    compact: Vec<Compact>,
    next: usize,
}

fn numbers(seed: u32, n: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

#[wasm_bindgen]
impl Work {
    #[wasm_bindgen(constructor)]
    pub fn new(what: &str, m: usize, n: usize, k: usize) -> Self {
        let precision = Precision::ALL.into_iter().find(|p| what.ends_with(p.name()));
        let (mut wide, mut compact) = (Vec::new(), Vec::new());
        if let Some(precision) = precision {
            let w = numbers(2, n * k);
            let copies = if m <= 16 { COLD.div_ceil(precision.bytes(n, k)) } else { 1 };
            for _ in 0..copies {
                match precision {
                    Precision::F32 => wide.push(w.clone()),
                    _ => compact.push(Compact::of(&w, n, k, precision).unwrap()),
                }
            }
        }
        if what.starts_with("attention") {
            let copies = if what.ends_with("decode") { COLD.div_ceil(m * n * 2 * k * 4) } else { 1 };
            wide = vec![numbers(2, m * n * 2 * k); copies];
        }
        let (x, g) = (numbers(1, m * if what.starts_with("attention") { n * k } else { k.max(n) }), numbers(3, m * n));
        let y = vec![0.0; if what.starts_with("weight") { n * k } else { m * n.max(k) }];
        Self { what: what.into(), m, n, k, x, g, y, wide, compact, next: 0 }
    }

    /// The name of the kernel.
    pub fn kernel() -> String {
        kernel().name().into()
    }

    /// Does the work once.
    pub fn run(&mut self) {
        let (m, n, k) = (self.m, self.n, self.k);
        self.next += 1;
        if self.what.starts_with("attention") {
            let queries = if self.what.ends_with("decode") { 1 } else { n };
            let segment = |i| Segment { query: i * queries, queries, key: i * n, keys: n, offset: n - queries };
            let segments = (0..m).map(segment).collect();
            let plan = Plan { segments, heads: k / HEAD, scale: 1.0, causal: false, buckets: None, drop: None };
            let kv = &self.wide[self.next % self.wide.len()];
            self.y = attention::forward(&plan, &self.x[..m * queries * k], kv, None, k);
            return;
        }
        let matrix = if !self.wide.is_empty() {
            Some(Matrix::new(&self.wide[self.next % self.wide.len()], n, k))
        } else if !self.compact.is_empty() {
            Some(Matrix::Compact(&self.compact[self.next % self.compact.len()]))
        } else {
            None
        };
        match (self.what.split(' ').next().unwrap(), matrix) {
            ("forward", Some(w)) => w.forward(&mut self.y[..m * n], &self.x[..m * k], m),
            ("backward", Some(w)) => w.backward(&mut self.y[..m * k], &self.g, m),
            // the weight's gradient, gᵀ x
            ("weight", _) => {
                let (g, x) = (Mat::new(&self.g, m, n, n), Mat::new(&self.x, m, k, k));
                matmul(&mut self.y[..n * k], k, g.t(), x, 1.0, false);
            }
            (loops, _) => {
                let (x, y) = (&self.x[..m * n], &mut self.y[..m * n]);
                vectorized(
                    #[inline(always)]
                    || rows(loops, x, y, n),
                );
            }
        }
    }

    /// The sum of the last results.
    pub fn sum(&self) -> f32 {
        self.y.iter().sum()
    }
}

#[inline(always)]
fn rows(what: &str, x: &[f32], y: &mut [f32], n: usize) {
    for (x, y) in x.chunks_exact(n).zip(y.chunks_exact_mut(n)) {
        match what {
            "softmax" => {
                y.copy_from_slice(x);
                let (_, sum) = exp_shifted(y);
                let scale = 1.0 / sum;
                y.iter_mut().for_each(|y| *y *= scale);
            }
            "log-probs" => y[0] = exp_sums(x, max(x)).0.ln(),
            "gelu" => y.iter_mut().zip(x).for_each(|(y, x)| *y = x * normal(*x).0),
            _ => panic!("unknown work"),
        }
    }
}
