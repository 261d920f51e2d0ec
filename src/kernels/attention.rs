//! Attention over packed sequences on slices: all tokens of a batch are rows of one matrix without padding, a [`Plan`] says
//! which rows attend to which. It includes T5's relative position biases, the causal mask, and the backward pass, which
//! recomputes the probabilities instead of keeping them. Single queries are in `decoding`.

use super::choice::vectorized;
use super::dropout::Mask;
use super::gemm::{Mat, matmul_raw};
use super::math::{dot, exp_shifted};
use super::pool::{Shared, for_tasks, written};

mod decoding;

/// One sequence's part of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// First row and number of its queries.
    pub query: usize,
    pub queries: usize,
    /// First row of its keys, and the number of keys that may be attended to.
    pub key: usize,
    pub keys: usize,
    /// Position of the first query among the keys (decoding with a cache: the number of cached tokens).
    pub offset: usize,
}

/// How relative positions become buckets (T5: 32 buckets, distance 128; encoder bidirectional, decoder not).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buckets {
    pub count: usize,
    pub max_distance: usize,
    pub bidirectional: bool,
}

impl Buckets {
    /// The bucket of `key position − query position` (transformers `T5Attention._relative_position_bucket`; docs/ppo.md 1.1).
    pub fn of(&self, relative: i64) -> usize {
        let (count, base, distance) = if self.bidirectional {
            let half = self.count / 2;
            (half, if relative > 0 { half } else { 0 }, relative.unsigned_abs() as usize)
        } else {
            (self.count, 0, (-relative).max(0) as usize)
        };
        let exact = count / 2;
        if distance < exact {
            return base + distance;
        }
        let ratio = (distance as f32 / exact as f32).ln() / (self.max_distance as f32 / exact as f32).ln();
        base + (exact + (ratio * (count - exact) as f32) as usize).min(count - 1)
    }
}

/// Which rows attend to which.
#[derive(Debug, Clone)]
pub struct Plan {
    pub segments: Vec<Segment>,
    pub heads: usize,
    /// Scores are multiplied by this: 1 for T5, 1/√d for RoBERTa.
    pub scale: f32,
    /// Query i sees only keys up to its position.
    pub causal: bool,
    /// Given if there is a bias table.
    pub buckets: Option<Buckets>,
    pub drop: Option<Mask>,
}

/// `softmax(scale · q kᵀ + bias) v` for each segment and head: q (Nq, width), kv (Nk, 2·width), keys in the first half of the
/// columns and values in the second, table (buckets, heads) → (Nq, width). Rows of no segment are 0.
///
/// # Panics
/// If the plan does not fit the slices, or two segments share a row of queries.
pub fn forward(plan: &Plan, q: &[f32], kv: &[f32], table: Option<&[f32]>, width: usize) -> Vec<f32> {
    Call::new(plan, q, kv, table, width).forward()
}

/// Gradients of q, kv and, with `want_table`, of the table, given that of the result, `g` (Nq, width).
///
/// # Panics
/// As [`forward`]; also where two segments share a row of keys.
pub fn backward(
    plan: &Plan,
    (q, kv, table): (&[f32], &[f32], Option<&[f32]>),
    width: usize,
    g: &[f32],
    want_table: bool,
) -> (Vec<f32>, Vec<f32>, Option<Vec<f32>>) {
    assert_eq!(g.len(), q.len(), "a gradient of another size");
    assert!(disjoint(plan.segments.iter().map(|s| (s.key, s.keys))), "segments share keys");
    Call::new(plan, q, kv, table, width).backward(g, want_table)
}

/// Do ranges, each given by its start and length, have no number in common?
fn disjoint(ranges: impl Iterator<Item = (usize, usize)>) -> bool {
    let mut ranges: Vec<_> = ranges.filter(|(_, len)| *len > 0).collect();
    ranges.sort_unstable();
    ranges.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0)
}

/// The slices and sizes of one call.
struct Call<'a> {
    plan: &'a Plan,
    q: &'a [f32],
    kv: &'a [f32],
    table: Option<&'a [f32]>,
    width: usize,
    d: usize,
    /// The bucket of relative position x − `before`, once for all segments and heads.
    by_position: Vec<usize>,
    before: usize,
}

impl<'a> Call<'a> {
    fn new(plan: &'a Plan, q: &'a [f32], kv: &'a [f32], table: Option<&'a [f32]>, width: usize) -> Self {
        let fits = |s: &Segment| (s.query + s.queries) * width <= q.len() && (s.key + s.keys) * 2 * width <= kv.len();
        assert!(width.is_multiple_of(plan.heads) && plan.segments.iter().all(fits), "a plan does not fit");
        assert!(disjoint(plan.segments.iter().map(|s| (s.query, s.queries))), "segments share queries");
        let before = plan.segments.iter().map(|s| s.offset + s.queries).max().unwrap_or(0);
        let keys = plan.segments.iter().map(|s| s.keys).max().unwrap_or(0);
        let bucket = |x: usize, buckets: Buckets| buckets.of(x as i64 - before as i64);
        let by_position = plan.buckets.map(|b| (0..=before + keys).map(|x| bucket(x, b)).collect()).unwrap_or_default();
        Self { plan, q, kv, table, width, d: width / plan.heads, by_position, before }
    }

    /// Segment and head of task i.
    fn task(&self, i: usize) -> (&Segment, usize) {
        (&self.plan.segments[i / self.plan.heads], i % self.plan.heads)
    }

    fn tasks(&self) -> usize {
        self.plan.segments.len() * self.plan.heads
    }

    fn queries(&self, s: &Segment, head: usize) -> Mat<'a> {
        Mat::new(&self.q[s.query * self.width + head * self.d..], s.queries, self.d, self.width)
    }

    fn keys(&self, s: &Segment, head: usize) -> Mat<'a> {
        Mat::new(&self.kv[s.key * 2 * self.width + head * self.d..], s.keys, self.d, 2 * self.width)
    }

    fn values(&self, s: &Segment, head: usize) -> Mat<'a> {
        Mat::new(&self.kv[s.key * 2 * self.width + self.width + head * self.d..], s.keys, self.d, 2 * self.width)
    }

    /// The number of keys that query `i` sees.
    fn visible(&self, s: &Segment, i: usize) -> usize {
        if self.plan.causal { s.keys.min(s.offset + i + 1) } else { s.keys }
    }

    /// bias[x] for relative position x − (offset + queries − 1), for one head; empty without a table.
    fn biases(&self, s: &Segment, head: usize) -> Vec<f32> {
        let (Some(table), Some(_)) = (self.table, self.plan.buckets) else { return Vec::new() };
        let first = self.before + 1 - (s.offset + s.queries);
        let buckets = &self.by_position[first..first + s.keys + s.offset + s.queries];
        buckets.iter().map(|bucket| table[bucket * self.plan.heads + head]).collect()
    }

    /// Softmax probabilities (queries, keys) of one segment and head, before dropout.
    fn probabilities(&self, s: &Segment, head: usize) -> Vec<f32> {
        let (q, k) = (self.queries(s, head), self.keys(s, head).t());
        // SAFETY: the product is (queries, keys) and writes all its numbers.
        let mut p = unsafe { written(s.queries * s.keys, |p| matmul_raw(p, s.keys, q, k, self.plan.scale, false, 1)) };
        let biases = self.biases(s, head);
        vectorized(
            #[inline(always)]
            || {
                for (i, row) in p.chunks_exact_mut(s.keys).enumerate() {
                    let visible = self.visible(s, i);
                    if !biases.is_empty() {
                        let from = s.queries - 1 - i; // relative position of key 0 to query i
                        for (x, b) in row[..visible].iter_mut().zip(&biases[from..]) {
                            *x += b;
                        }
                    }
                    let (_, sum) = exp_shifted(&mut row[..visible]);
                    let scale = 1.0 / sum;
                    row[..visible].iter_mut().for_each(|x| *x *= scale);
                    row[visible..].fill(0.0);
                }
            },
        );
        p
    }

    /// The dropout of one segment and head.
    fn dropout(&self, s: &Segment, head: usize) -> Option<Mask> {
        let drop = self.plan.drop.filter(|d| d.p > 0.0)?;
        Some(drop.part((s.query as u64) << 20 | head as u64))
    }

    fn forward(&self) -> Vec<f32> {
        if self.decodes() {
            return self.decode();
        }
        let fill = |dst: Shared| {
            for_tasks(self.tasks(), |i| {
                let (s, head) = self.task(i);
                let mut p = self.probabilities(s, head);
                if let Some(drop) = self.dropout(s, head) {
                    drop.apply(0, &mut p);
                }
                let p = Mat::new(&p, s.queries, s.keys, s.keys);
                // SAFETY: `new` checked that the segment's rows are inside and no other segment's, and the head's columns are inside
                // a row: no other task writes here.
                unsafe {
                    let dst = dst.at(s.query * self.width + head * self.d);
                    matmul_raw(dst, self.width, p, self.values(s, head), 1.0, false, 1);
                }
            });
        };
        filled(self.q.len(), self.covers().0, fill)
    }

    /// Whether all rows of queries (of keys) have a segment.
    fn covers(&self) -> (bool, bool) {
        let sum = |rows: fn(&Segment) -> usize| self.plan.segments.iter().map(rows).sum::<usize>() * self.width;
        (sum(|s| s.queries) == self.q.len(), sum(|s| 2 * s.keys) == self.kv.len())
    }

    /// See [`backward`].
    fn backward(&self, g: &[f32], want_table: bool) -> (Vec<f32>, Vec<f32>, Option<Vec<f32>>) {
        let (queries, keys) = self.covers();
        let (mut dkv, mut tables) = (Vec::new(), Vec::new());
        let dq = filled(self.q.len(), queries, |dq| {
            dkv = filled(self.kv.len(), keys, |dkv| {
                tables = for_tasks(self.tasks(), |i| {
                    let (s, head) = self.task(i);
                    let ds = self.backward_of(s, head, g, dq, dkv);
                    if want_table { self.table_gradient(s, &ds) } else { Vec::new() }
                });
            });
        });
        // Summed in task order, so that the number of threads does not change the result.
        let table = want_table.then(|| {
            let heads = self.plan.heads;
            let mut sum = vec![0f32; self.table.map_or(0, <[f32]>::len)];
            for (i, part) in tables.iter().enumerate() {
                part.iter().enumerate().for_each(|(bucket, x)| sum[bucket * heads + i % heads] += x);
            }
            sum
        });
        (dq, dkv, table)
    }

    /// Writes the gradients of a segment and head; returns dS (queries, keys).
    fn backward_of(&self, s: &Segment, head: usize, g: &[f32], dq: Shared, dkv: Shared) -> Vec<f32> {
        let (width, d) = (self.width, self.d);
        let p = self.probabilities(s, head);
        let g = Mat::new(&g[s.query * width + head * d..], s.queries, d, width);
        // first dP = g vᵀ, then dS = P (dP − Σ P dP)
        // SAFETY: the product is (queries, keys) and writes all its numbers.
        let mut ds =
            unsafe { written(p.len(), |ds| matmul_raw(ds, s.keys, g, self.values(s, head).t(), 1.0, false, 1)) };
        let dropped = self.dropout(s, head).map(|drop| {
            let mut dropped = p.clone();
            drop.apply(0, &mut dropped);
            drop.apply(0, &mut ds);
            dropped
        });
        let used = Mat::new(dropped.as_deref().unwrap_or(&p), s.queries, s.keys, s.keys);
        // SAFETY: `backward` checked that segments share no rows of keys; the columns are this head's, so no other task writes here.
        unsafe {
            let dv = dkv.at(s.key * 2 * width + width + head * d);
            matmul_raw(dv, 2 * width, used.t(), g, 1.0, false, 1);
        }
        vectorized(
            #[inline(always)]
            || {
                for (ds, p) in ds.chunks_exact_mut(s.keys).zip(p.chunks_exact(s.keys)) {
                    let mean = dot(ds, p);
                    ds.iter_mut().zip(p).for_each(|(ds, p)| *ds = p * (*ds - mean));
                }
            },
        );
        let m = Mat::new(&ds, s.queries, s.keys, s.keys);
        // SAFETY: as above, and `new` checked the rows of queries.
        unsafe {
            let dq = dq.at(s.query * width + head * d);
            matmul_raw(dq, width, m, self.keys(s, head), self.plan.scale, false, 1);
            let dk = dkv.at(s.key * 2 * width + head * d);
            matmul_raw(dk, 2 * width, m.t(), self.queries(s, head), self.plan.scale, false, 1);
        }
        ds
    }

    /// Σ dS by bucket, for one segment and head: first by relative position, so that few buckets are computed.
    fn table_gradient(&self, s: &Segment, ds: &[f32]) -> Vec<f32> {
        let Some(buckets) = self.plan.buckets else { return Vec::new() };
        let last = s.offset + s.queries - 1; // relative position x − last is at x
        let mut by_position = vec![0f32; s.keys + last];
        for (i, row) in ds.chunks_exact(s.keys).enumerate() {
            let from = s.queries - 1 - i;
            by_position[from..from + s.keys].iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
        }
        let mut sum = vec![0f32; buckets.count];
        by_position.iter().enumerate().for_each(|(x, ds)| sum[buckets.of(x as i64 - last as i64)] += ds);
        sum
    }
}

/// `n` numbers that `fill` writes; if it does not write all of them, they are zeros first.
fn filled(n: usize, all: bool, fill: impl FnOnce(Shared)) -> Vec<f32> {
    // SAFETY: segments do not overlap (checked by `Call::new` and `backward`) and each is written whole, so they cover all rows where
    // their rows add up to all; otherwise the numbers are zeros from the start.
    unsafe {
        written(n, |numbers| {
            if !all {
                numbers.write_bytes(0, n);
            }
            fill(Shared::new(numbers, n));
        })
    }
}
