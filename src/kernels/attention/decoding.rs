//! Attention of single queries, for decoding one token per row: keys and values are read once, in their order in memory, for
//! all heads together. There are no matrix products, because reading takes all the time.

use super::super::choice::vectorized;
use super::super::math::{dot, exp_shifted};
use super::super::pool::{Shared, for_tasks, threads};
use super::super::prefetch::{LINE, into_l1};
#[cfg(target_arch = "wasm32")]
use super::super::simd128::single_queries::{self, Rows};
use super::Call;

/// Rows of keys are prefetched this many rows before they are read.
const AHEAD: usize = 3;

impl Call<'_> {
    /// Whether every segment has one query.
    pub(super) fn decodes(&self) -> bool {
        self.plan.segments.iter().all(|s| s.queries == 1)
    }

    /// [`Call::forward`] if each segment has one query.
    pub(super) fn decode(&self) -> Vec<f32> {
        let mut out = vec![0f32; self.q.len()]; // sums start with it
        let dst = Shared::new(out.as_mut_ptr(), out.len());
        // a few pieces per thread: all heads of a segment, or some of them if there are few segments
        let parts = (4 * threads()).div_ceil(self.plan.segments.len().max(1)).clamp(1, self.plan.heads);
        let heads = self.plan.heads.div_ceil(parts);
        let parts = self.plan.heads.div_ceil(heads);
        for_tasks(self.plan.segments.len() * parts, |i| {
            let (segment, first) = (i / parts, i % parts * heads);
            let n = heads.min(self.plan.heads - first);
            let at = self.plan.segments[segment].query * self.width + first * self.d;
            // SAFETY: the row is this segment's alone (`Call::new` checked it), and the columns are of this task's heads.
            let out = unsafe { std::slice::from_raw_parts_mut(dst.at(at), n * self.d) };
            let mut p = vec![0f32; n * self.plan.segments[segment].keys];
            let biases: Vec<Vec<f32>> =
                (first..first + n).map(|head| self.biases(&self.plan.segments[segment], head)).collect();
            vectorized(
                #[inline(always)]
                || self.heads(segment, first, &biases, &mut p, out),
            );
        });
        out
    }

    /// The heads from `first` on, one for each of `biases`: p (heads, keys) for their probabilities, out (heads · d).
    #[inline(always)]
    fn heads(&self, segment: usize, first: usize, biases: &[Vec<f32>], p: &mut [f32], out: &mut [f32]) {
        let (s, d, columns) = (&self.plan.segments[segment], self.d, out.len());
        let visible = self.visible(s, 0);
        let q = &self.q[s.query * self.width + first * d..][..columns];
        let (keys, values) = (&self.kv[first * d..], &self.kv[self.width + first * d..]);
        #[cfg(target_arch = "wasm32")]
        let rows = |from: usize| Rows {
            numbers: &self.kv[s.key * 2 * self.width + from..],
            stride: 2 * self.width,
            count: visible,
            d,
        };
        #[cfg(target_arch = "wasm32")]
        let done = single_queries::scores(q, rows(first * d), self.plan.scale, p, s.keys);
        #[cfg(not(target_arch = "wasm32"))]
        let done = 0;
        for j in done..visible {
            let k = self.of_key(keys, s.key + j, columns);
            for (head, (q, k)) in q.chunks_exact(d).zip(k.chunks_exact(d)).enumerate() {
                p[head * s.keys + j] = dot(q, k) * self.plan.scale;
            }
        }
        for (head, (p, biases)) in p.chunks_exact_mut(s.keys).zip(biases).enumerate() {
            let p = &mut p[..visible];
            p.iter_mut().zip(biases).for_each(|(x, bias)| *x += bias);
            let (_, sum) = exp_shifted(p);
            let scale = 1.0 / sum;
            p.iter_mut().for_each(|x| *x *= scale);
            if let Some(drop) = self.dropout(s, first + head) {
                drop.apply(0, p);
            }
        }
        #[cfg(target_arch = "wasm32")]
        let done = single_queries::add_values(out, rows(self.width + first * d), p, s.keys);
        for j in done..visible {
            let v = self.of_key(values, s.key + j, columns);
            for (head, (out, v)) in out.chunks_exact_mut(d).zip(v.chunks_exact(d)).enumerate() {
                let p = p[head * s.keys + j];
                out.iter_mut().zip(v).for_each(|(out, v)| *out += p * v);
            }
        }
    }

    /// The first numbers of row `key` of keys or values. Those of later rows are prefetched, because they are too far apart for
    /// the processor to predict.
    #[inline(always)]
    fn of_key<'b>(&self, numbers: &'b [f32], key: usize, columns: usize) -> &'b [f32] {
        let at = key * 2 * self.width;
        let next = numbers.as_ptr().wrapping_add(at + AHEAD * 2 * self.width);
        (0..columns).step_by(LINE).for_each(|i| into_l1(next.wrapping_add(i)));
        &numbers[at..at + columns]
    }
}
