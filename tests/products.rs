//! Matrix products and row loops with every kernel of this processor, of f32 and of numbers rounded to bf16: compared with f64,
//! in every layout, and equal on one thread and on two. This is a separate binary, because the number of threads is set for the whole process.
//! `make test-page` also runs it in WebAssembly, in Node.
#![allow(clippy::unwrap_used)]

use detox_lab::kernels::attention::{Plan, Segment, forward};
use detox_lab::kernels::choice::{Kernel, Products, Way, kernel, use_kernel};
use detox_lab::kernels::gemm::{Mat, matmul_by};
use detox_lab::kernels::math::{dot, exp_shifted, normal, tanh};
use detox_lab::kernels::matrix::Matrix;
use detox_lab::kernels::pool::set_threads;
use detox_lab::kernels::quantized::{Compact, Precision};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// Numbers of both signs, the same for every call with the same seed; `nn::rng` would need the whole engine.
struct Rng(u64);

impl Rng {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Nearly normally distributed: the sum of six uniform numbers, with variance 1.
    fn normal(&mut self) -> f32 {
        let mut uniform = || {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 40) as f32 / (1u64 << 24) as f32 - 0.5
        };
        (0..6).map(|_| uniform()).sum::<f32>() * std::f32::consts::SQRT_2
    }
}

fn numbers(rng: &mut Rng, n: usize) -> Vec<f32> {
    (0..n).map(|_| rng.normal()).collect()
}

/// All kernels of this processor, with products of f32 and of bf16.
fn ways() -> Vec<Way> {
    let both = |kernel| [Products::F32, Products::Bf16].map(|products| Way { kernel, products });
    Kernel::available().into_iter().flat_map(both).collect()
}

/// The number that is multiplied: x, or the nearest bf16.
fn multiplied(x: f32, products: Products) -> f64 {
    match products {
        Products::F32 => x.into(),
        Products::Bf16 => half::bf16::from_f32(x).into(),
    }
}

/// `scale · a b` (+ the old values) in a matrix with rows `n + 3` apart; a (m, k) and b (k, n) are row-major or transposed.
struct Case {
    a: Vec<f32>,
    b: Vec<f32>,
    before: Vec<f32>,
    dims: (usize, usize, usize),
    transposed: (bool, bool),
    scale: f32,
    accumulate: bool,
}

impl Case {
    fn product(&self, by: Way, threads: usize) -> Vec<f32> {
        let (m, n, k) = self.dims;
        let side = |data, rows, cols, transposed| {
            if transposed { Mat::new(data, cols, rows, rows).t() } else { Mat::new(data, rows, cols, cols) }
        };
        let (a, b) = (side(&self.a, m, k, self.transposed.0), side(&self.b, k, n, self.transposed.1));
        let mut c = self.before.clone();
        set_threads(threads);
        matmul_by(by, &mut c, n + 3, a, b, self.scale, self.accumulate);
        c
    }

    /// (largest error, largest sum of magnitudes), in f64, of products of numbers that are rounded in this way; values between
    /// the rows must not change.
    fn check(&self, c: &[f32], products: Products) -> (f64, f64) {
        let (m, n, k) = self.dims;
        let at = |x: &[f32], i: usize, j: usize, (rows, cols): (usize, usize), transposed| {
            multiplied(if transposed { x[j * rows + i] } else { x[i * cols + j] }, products)
        };
        let (mut worst, mut size) = (0f64, 0f64);
        for i in 0..m {
            for j in 0..n + 3 {
                let Some(&found) = c.get(i * (n + 3) + j) else { continue };
                let stood = self.before[i * (n + 3) + j];
                if j >= n {
                    assert_eq!(found, stood, "between the rows");
                    continue;
                }
                let (mut want, mut sum) = if self.accumulate { (f64::from(stood), 1.0) } else { (0.0, 1.0) };
                for x in 0..k {
                    let term =
                        at(&self.a, i, x, (m, k), self.transposed.0) * at(&self.b, x, j, (k, n), self.transposed.1);
                    want += f64::from(self.scale) * term;
                    sum += term.abs();
                }
                worst = worst.max((f64::from(found) - want).abs());
                size = size.max(sum);
            }
        }
        (worst, size)
    }
}

#[test]
fn products_are_right_in_every_layout_and_equal_on_any_number_of_threads() {
    let mut rng = Rng::new(8);
    // below and above each block size: of the result, of packing, of the sum
    let sizes = [
        (1, 5, 7),
        (16, 40, 64),
        (13, 403, 331),
        (17, 17, 240),
        (33, 70, 45),
        (40, 100, 90),
        (64, 32, 32),
        (17, 32, 33),
        (95, 300, 97),
        (200, 64, 200),
        (1100, 33, 31),
        (70, 600, 800),
        (61, 300, 1100),
    ];
    for (i, (m, n, k)) in sizes.into_iter().enumerate() {
        for layout in 0..4 {
            let case = Case {
                a: numbers(&mut rng, m * k),
                b: numbers(&mut rng, k * n),
                before: numbers(&mut rng, (m - 1) * (n + 3) + n),
                dims: (m, n, k),
                transposed: (layout & 1 == 1, layout & 2 == 2),
                scale: if i % 2 == 0 { 1.0 } else { 0.37 },
                accumulate: layout % 3 == 0,
            };
            // Bf16 too: the reference rounds its inputs, products of 8 bits are exact in f32, and so the sums alone round.
            for by in ways() {
                let one = case.product(by, 1);
                let (error, size) = case.check(&one, by.products);
                let what = format!("{by:?}: {m} x {n} x {k}, layout {layout}");
                assert!(error <= 4e-7 * size, "{what}: off by {error:e} of {size:.0}");
                assert_eq!(one, case.product(by, 2), "{what}: two threads");
            }
        }
    }
}

/// Decoding needs this, so that a text does not depend on other rows.
#[test]
fn a_row_gives_the_same_numbers_alone_and_with_others() {
    let mut rng = Rng::new(12);
    // complete blocks, and remaining columns and terms
    let sizes = [(48, 64), (13, 331), (403, 98), (6, 3)];
    // on aarch64, the crate gemm multiplies few rows, which does not guarantee this
    let promised = |by: &Way| by.kernel != Kernel::Neon;
    for (by, (n, k)) in ways().into_iter().filter(promised).flat_map(|by| sizes.map(|size| (by, size))) {
        let (x, w) = (numbers(&mut rng, 16 * k), numbers(&mut rng, n * k));
        let product = |first: usize, m: usize| {
            let mut y = vec![0f32; m * n];
            matmul_by(by, &mut y, n, Mat::new(&x[first * k..], m, k, k), Mat::new(&w, n, k, k).t(), 0.37, false);
            y
        };
        let all = product(0, 16);
        for m in 1..=16 {
            for first in [0, 16 - m] {
                assert_eq!(
                    product(first, m),
                    all[first * n..(first + m) * n],
                    "{by:?}: {m} of 16 x {n} x {k}, from {first}"
                );
            }
        }
    }
}

#[test]
fn products_with_compact_weights_are_those_of_their_widened_numbers() {
    let mut rng = Rng::new(14);
    set_threads(1);
    for (out, width) in [(5, 40), (70, 96), (33, 331), (150, 64)] {
        let w = numbers(&mut rng, out * width);
        for precision in [Precision::Bf16, Precision::F16, Precision::Q8_0] {
            let held = Compact::of(&w, out, width, precision).unwrap();
            let mut wide = vec![0f32; out * width];
            held.widen(0..out, 0..width, &mut wide);
            for m in [1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 40] {
                let (x, g) = (numbers(&mut rng, m * width), numbers(&mut rng, m * out));
                let what = format!("{precision:?}, {m} rows, {out} x {width}");
                let check = |got: &[f32], left: &[f32], (n, k): (usize, usize), at: &dyn Fn(usize, usize) -> usize| {
                    for (got, left) in got.chunks(n).zip(left.chunks(k)) {
                        for (j, got) in got.iter().enumerate() {
                            let terms = || (0..k).map(|t| f64::from(left[t]) * f64::from(wide[at(j, t)]));
                            let (want, size) = (terms().sum::<f64>(), terms().map(f64::abs).sum::<f64>());
                            let error = (f64::from(*got) - want).abs();
                            assert!(error <= 4e-7 * (1.0 + size), "{what}: off by {error:e} of {size:.0}");
                        }
                    }
                };
                let matrix = Matrix::Compact(&held);
                check(&matrix.product(&x, m), &x, (out, width), &|j, t| j * width + t);
                if m <= 16 && cfg!(target_arch = "x86_64") {
                    let widened = Matrix::new(&wide, out, width).product(&x, m);
                    assert_eq!(matrix.product(&x, m), widened, "{what}: other bits");
                }
                check(&matrix.transposed_product(&g, m), &g, (width, out), &|j, t| t * width + j);
                if m <= 16 && kernel() != Kernel::Neon {
                    for (i, (y, x)) in matrix.product(&x, m).chunks(out).zip(x.chunks(width)).enumerate() {
                        assert_eq!(y, matrix.product(x, 1), "{what}: row {i} alone");
                    }
                }
            }
        }
    }
}

#[test]
fn a_number_that_is_not_finite_appears_in_the_product() {
    let mut rng = Rng::new(9);
    set_threads(1);
    let bad = [f32::NAN, -f32::NAN, f32::from_bits(0x7fff_ffff), f32::INFINITY, f32::NEG_INFINITY];
    for (by, bad) in ways().into_iter().flat_map(|by| bad.map(|bad| (by, bad))) {
        let (m, n, k) = (40, 100, 90);
        let (mut a, b) = (numbers(&mut rng, m * k), numbers(&mut rng, k * n));
        a[7 * k + 33] = bad;
        let mut c = vec![0f32; m * n];
        matmul_by(by, &mut c, n, Mat::new(&a, m, k, k), Mat::new(&b, k, n, n), 1.0, false);
        for (i, row) in c.chunks_exact(n).enumerate() {
            assert!(row.iter().all(|x| x.is_finite() != (i == 7)), "{by:?}: {bad}: row {i}");
        }
    }
}

#[test]
fn products_keep_small_and_large_numbers() {
    // One term per sum, at every magnitude: the partial sums of the tiles' six products round a few times (6e-8 each); a
    // missing part would give an error of at least 8e-6.
    let (m, k) = (128, 128);
    let mut rng = Rng::new(10);
    set_threads(1);
    let powers = [-90, -30, 0, 30, 60];
    for (by, power) in ways().into_iter().flat_map(|by| powers.map(|power| (by, power))) {
        let mut a = vec![0f32; m * k];
        (0..m).for_each(|i| a[i * k + i] = rng.normal() * 2f32.powi(power));
        let b = numbers(&mut rng, k * m);
        let mut c = vec![0f32; m * m];
        matmul_by(by, &mut c, m, Mat::new(&a, m, k, k), Mat::new(&b, k, m, m), 1.0, false);
        for i in 0..m {
            for j in 0..m {
                let want = multiplied(a[i * k + i], by.products) * multiplied(b[i * m + j], by.products);
                let error = ((f64::from(c[i * m + j]) - want) / want).abs();
                assert!(error < 2.4e-7, "{by:?}: 2^{power}: relative error {error:e}");
            }
        }
    }
}

/// `avx512bf16` differs from `avx512` only in products of bf16.
#[test]
fn kernels_with_instructions_for_bf16_compute_f32_as_those_without() {
    let available = Kernel::available();
    if !available.contains(&Kernel::Avx512Bf16) {
        return;
    }
    let mut rng = Rng::new(13);
    for (m, n, k) in [(3, 40, 64), (70, 300, 96)] {
        let (a, b) = (numbers(&mut rng, m * k), numbers(&mut rng, n * k));
        let product = |kernel: Kernel| {
            let mut c = vec![0f32; m * n];
            matmul_by(kernel, &mut c, n, Mat::new(&a, m, k, k), Mat::new(&b, n, k, k).t(), 1.0, false);
            c
        };
        assert_eq!(product(Kernel::Avx512), product(Kernel::Avx512Bf16));
    }
}

#[test]
fn row_loops_give_the_same_bits_at_every_width() {
    let mut rng = Rng::new(11);
    for n in [1, 15, 16, 17, 200, 1001] {
        let (x, y) = (numbers(&mut rng, n), numbers(&mut rng, n));
        let work = || {
            let mut e = x.clone();
            let (max, sum) = exp_shifted(&mut e);
            let more = x.iter().flat_map(|x| [normal(*x).0, tanh(*x)]);
            let bits = e.into_iter().chain([max, sum, dot(&x, &y)]).chain(more);
            bits.map(f32::to_bits).collect::<Vec<_>>()
        };
        let plain = work();
        for by in Kernel::available() {
            assert_eq!(plain, by.vectorized(work), "{by:?}: {n} numbers");
        }
    }
}

/// The tile unit skips products with parts that are zero for bf16 and f16 numbers. One more column with all parts makes it
/// compute them for all columns.
#[test]
fn numbers_with_fewer_bits_give_the_same_products() {
    let mut rng = Rng::new(12);
    let (m, n, k) = (40, 100, 90);
    let (x, w) = (numbers(&mut rng, m * k), numbers(&mut rng, (n + 1) * k));
    let kinds: [fn(f32) -> f32; 2] = [|x| half::bf16::from_f32(x).to_f32(), |x| half::f16::from_f32(x).to_f32()];
    for (by, rounded) in Kernel::available().into_iter().flat_map(|by| kinds.map(|kind| (by, kind))) {
        let mut w: Vec<f32> = w.clone();
        w[..n * k].iter_mut().for_each(|w| *w = rounded(*w));
        let product = |n: usize| {
            let mut y = vec![f32::NAN; m * n];
            set_threads(1);
            matmul_by(by, &mut y, n, Mat::new(&x, m, k, k), Mat::new(&w, n, k, k).t(), 1.0, false);
            y
        };
        let (alone, beside) = (product(n), product(n + 1));
        for (alone, beside) in alone.chunks(n).zip(beside.chunks(n + 1)) {
            assert_eq!(alone, &beside[..n], "{by:?}");
        }
    }
}

/// Single queries have kernels of their own in WebAssembly; the numbers are those of plain loops, bit for bit.
#[test]
fn attention_of_single_queries_equals_plain_loops() {
    let mut rng = Rng::new(15);
    let (rows, heads, scale) = (2, 3, 0.3);
    for d in [6, 8, 16, 64] {
        for (keys, seen) in [(1, 1), (3, 3), (4, 4), (9, 6), (30, 30)] {
            let width = heads * d;
            let (q, kv) = (numbers(&mut rng, rows * width), numbers(&mut rng, rows * keys * 2 * width));
            let segment = |i| Segment { query: i, queries: 1, key: i * keys, keys, offset: seen - 1 };
            let segments = (0..rows).map(segment).collect();
            let plan = Plan { segments, heads, scale, causal: true, buckets: None, drop: None };
            let mut want = vec![0f32; rows * width];
            for (at, want) in want.chunks_mut(d).enumerate() {
                let (row, head) = (at / heads, at % heads);
                let part = |j: usize, from: usize| &kv[(row * keys + j) * 2 * width + from + head * d..][..d];
                let mut p: Vec<f32> = (0..seen).map(|j| dot(&q[at * d..(at + 1) * d], part(j, 0)) * scale).collect();
                let factor = 1.0 / exp_shifted(&mut p).1;
                for (j, p) in p.iter().enumerate() {
                    want.iter_mut().zip(part(j, width)).for_each(|(sum, v)| *sum += p * factor * v);
                }
            }
            for threads in [1, 2] {
                set_threads(threads);
                let found = forward(&plan, &q, &kv, None, width);
                assert_eq!(found, want, "heads of {d}, {seen} of {keys} keys, {threads} threads");
            }
        }
    }
}

#[test]
fn a_kernel_is_chosen_by_name_and_an_unavailable_one_is_refused_with_a_list() {
    let available = Kernel::available();
    assert_eq!(available.first(), Some(&Kernel::Portable));
    assert_eq!(available.last(), Some(&kernel()), "the fastest is used");
    for by in &available {
        assert_eq!(Kernel::named(by.name()).unwrap(), *by);
    }
    for missing in Kernel::ALL.into_iter().filter(|by| !available.contains(by)) {
        assert!(use_kernel(missing).is_err());
    }
    let error = Kernel::named("fast").unwrap_err().to_string();
    assert!(error.contains("DETOX_LAB_KERNEL=fast"), "{error}");
    assert!(available.iter().all(|by| error.contains(by.name())), "{error}");
}
