//! Compares every kernel of this processor with the portable one: attention, products with compact weights, and a policy's
//! forward and backward pass; then the same with products of bf16. A kernel is chosen for a whole process, so this suite is one
//! test; `products` tests single products.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "support/mod.rs"]
mod support;

use candle_core::{Device, Tensor, Var};
use detox_lab::kernels::attention::{Buckets, Plan, Segment, backward, forward};
use detox_lab::kernels::choice::{Kernel, Products, use_kernel, use_products};
use detox_lab::kernels::matrix::Matrix;
use detox_lab::kernels::pool::set_threads;
use detox_lab::kernels::quantized::{Compact, Precision};
use detox_lab::model::policy::{Given, POLICY, TrainablePolicy};
use detox_lab::nn::linear::linear;
use detox_lab::nn::lora::LoraSpec;
use detox_lab::nn::rng::{Purpose, Rng};
use detox_lab::nn::tape::record;
use support::{fixtures, flat, max_abs_diff, models};

/// Named numbers.
type Results = Vec<(String, Vec<f32>)>;

fn numbers(rng: &mut Rng, n: usize) -> Vec<f32> {
    (0..n).map(|_| rng.normal()).collect()
}

/// Two texts of 40 and 21 tokens, and one row each of two texts that are being generated.
fn attend(out: &mut Results) {
    let (heads, width) = (4, 96);
    let mut rng = Rng::new(20, Purpose::Init, 0, 0);
    let (q, kv) = (numbers(&mut rng, 61 * width), numbers(&mut rng, 61 * 2 * width));
    let (table, g) = (numbers(&mut rng, 32 * heads), numbers(&mut rng, 61 * width));
    let long = vec![
        Segment { query: 0, queries: 40, key: 0, keys: 40, offset: 0 },
        Segment { query: 40, queries: 21, key: 40, keys: 21, offset: 0 },
    ];
    let buckets = Some(Buckets { count: 32, max_distance: 128, bidirectional: false });
    let mut plan = Plan { segments: long, heads, scale: 0.2, causal: true, buckets, drop: None };
    out.push(("attention".into(), forward(&plan, &q, &kv, Some(&table), width)));
    let (dq, dkv, dt) = backward(&plan, (&q, &kv, Some(&table)), width, &g, true);
    out.extend([("dq".into(), dq), ("dkv".into(), dkv), ("dtable".into(), dt.unwrap())]);
    plan.segments = vec![
        Segment { query: 0, queries: 1, key: 0, keys: 33, offset: 32 },
        Segment { query: 1, queries: 1, key: 33, keys: 28, offset: 27 },
    ];
    out.push(("attention of one query".into(), forward(&plan, &q[..2 * width], &kv, Some(&table), width)));
}

fn multiply(out: &mut Results) {
    let (rows, cols) = (150, 96);
    let mut rng = Rng::new(21, Purpose::Init, 0, 0);
    let w: Vec<f32> = numbers(&mut rng, rows * cols).iter().map(|x| x * 0.1).collect();
    for precision in Precision::ALL {
        let held = (precision != Precision::F32).then(|| Compact::of(&w, rows, cols, precision).unwrap());
        let matrix = held.as_ref().map_or(Matrix::new(&w, rows, cols), Matrix::Compact);
        for m in [1, 5, 40] {
            let (x, g) = (numbers(&mut rng, m * cols), numbers(&mut rng, m * rows));
            out.push((format!("{m} rows, {precision:?}"), matrix.product(&x, m)));
            out.push((format!("{m} rows, {precision:?}, transposed"), matrix.transposed_product(&g, m)));
        }
    }
}

fn policy_pass(out: &mut Results) {
    let mut policy = models::bare_policy(&fixtures().join("t5_tied"));
    let mut rng = Rng::new(22, Purpose::Init, 0, 0);
    let mut random = |rows: usize, cols: usize| {
        let x = numbers(&mut rng, rows * cols).iter().map(|x| x * 0.1).collect();
        Tensor::from_vec(x, (rows, cols), &Device::Cpu).unwrap()
    };
    let modules = policy.t5.modules().to_vec();
    let specs = modules.into_iter().map(|(module, from, to)| LoraSpec {
        module,
        a: random(3, from),
        b: random(to, 3),
        scale: 0.5,
    });
    let specs = specs.collect();
    policy.add_adapter(POLICY, specs, 0.0, true).unwrap();
    let rows: [(&[u32], &[u32]); 2] = [(&[5, 9, 23, 17, 1], &[0, 7, 8, 1]), (&[30, 44, 1], &[0, 12, 40, 33, 7])];
    let pass = policy.evaluate(&Given { grad: true, ..Given::new(&rows, 5, Some(POLICY)) }, None).unwrap();
    out.push(("log-probs".into(), flat(&pass.logprobs)));
    out.push(("values".into(), flat(&pass.values)));
    let gradients = pass.backward(&random(2, 4), &random(2, 4)).unwrap();
    for (name, var) in policy.trainable() {
        out.push((name, flat(gradients.get(var.as_tensor()).unwrap())));
    }
}

/// The three products of a trained layer with bf16: y = x Wᵀ, dX = g W, dW = gᵀ x, compared with f64. From products of rounded
/// numbers they differ as f32 products do. A rounded number is off by at most 2⁻⁹ of itself, so a term of two is off by at most
/// (1 + 2⁻⁹)² − 1 < 2⁻⁸ + 2⁻¹⁷ of itself from that of the numbers themselves.
fn trained_layer() {
    let (m, out, width) = (40, 70, 96);
    let mut rng = Rng::new(23, Purpose::Init, 0, 0);
    let mut random = |rows: usize, cols: usize| {
        let x = numbers(&mut rng, rows * cols);
        (x.clone(), Var::from_tensor(&Tensor::from_vec(x, (rows, cols), &Device::Cpu).unwrap()).unwrap())
    };
    let ((x, x_var), (w, w_var), (g, g_var)) = (random(m, width), random(out, width), random(m, out));
    let (y, tape) = record(|| linear(x_var.as_tensor(), w_var.as_tensor(), None)).unwrap();
    let gradients = tape.backward([(y.clone(), g_var.as_tensor().clone())]).unwrap();
    let gradient = |of: &Var| flat(gradients.get(of.as_tensor()).unwrap());
    // number (i, k) of a matrix, or of its transpose
    let rows = |x: &[f32], cols: usize| -> Vec<Vec<f32>> { x.chunks(cols).map(<[f32]>::to_vec).collect() };
    let turned = |x: &[f32], cols: usize| -> Vec<Vec<f32>> {
        (0..cols).map(|j| x.iter().skip(j).step_by(cols).copied().collect()).collect()
    };
    let products = [
        ("y", flat(&y), rows(&x, width), rows(&w, width)),
        ("dX", gradient(&x_var), rows(&g, out), turned(&w, width)),
        ("dW", gradient(&w_var), turned(&g, out), turned(&x, width)),
    ];
    for (name, got, left, right) in products {
        let columns = right.len();
        for (i, left) in left.iter().enumerate() {
            for (j, right) in right.iter().enumerate() {
                let rounded = |x: f32| f64::from(half::bf16::from_f32(x));
                let (mut exact, mut of_rounded, mut size) = (0.0, 0.0, 0.0);
                for (a, b) in left.iter().zip(right) {
                    let term = f64::from(*a) * f64::from(*b);
                    (exact, of_rounded, size) =
                        (exact + term, of_rounded + rounded(*a) * rounded(*b), size + term.abs());
                }
                let got = f64::from(got[i * columns + j]);
                let (near, far) = ((got - of_rounded).abs(), (got - exact).abs());
                assert!(near <= 4e-7 * size, "{name} ({i}, {j}): off by {near:e} of {size:e}");
                assert!(
                    far <= (2f64.powi(-8) + 2f64.powi(-17) + 4e-7) * size,
                    "{name} ({i}, {j}): {far:e} of {size:e}"
                );
            }
        }
    }
}

/// Weights held as bf16, products of bf16: a row gives the same numbers alone and with up to 15 others, on one thread and on two;
/// all are those of f64 with the rounded inputs, forward and backward, for complete blocks and for the rest of columns and terms.
fn held_weights() {
    let mut rng = Rng::new(24, Purpose::Init, 0, 0);
    for (out, width) in [(48, 64), (403, 98), (70, 331), (1300, 256), (40, 1700)] {
        let w = numbers(&mut rng, out * width);
        let held = Compact::of(&w, out, width, Precision::Bf16).unwrap();
        let matrix = Matrix::Compact(&held);
        for m in [1, 2, 15, 16, 17, 50] {
            let (x, g) = (numbers(&mut rng, m * width), numbers(&mut rng, m * out));
            let what = format!("{m} rows, {out} x {width}");
            let (y, dx) = (matrix.product(&x, m), matrix.transposed_product(&g, m));
            let rounded = |x: f32| f64::from(half::bf16::from_f32(x));
            let check = |got: &[f32], left: &[f32], (n, k): (usize, usize), right: &dyn Fn(usize, usize) -> f32| {
                for (row, (got, left)) in got.chunks(n).zip(left.chunks(k)).enumerate() {
                    for (j, got) in got.iter().enumerate() {
                        let terms = || left.iter().enumerate().map(|(t, x)| rounded(*x) * rounded(right(j, t)));
                        let (want, size) = (terms().sum::<f64>(), terms().map(f64::abs).sum::<f64>());
                        let error = (f64::from(*got) - want).abs();
                        assert!(error <= 4e-7 * (1.0 + size), "{what}: ({row}, {j}) off by {error:e} of {size:.0}");
                    }
                }
            };
            check(&y, &x, (out, width), &|j, t| w[j * width + t]);
            check(&dx, &g, (width, out), &|j, t| w[t * width + j]);
            set_threads(1);
            let alone = (matrix.product(&x, m), matrix.transposed_product(&g, m));
            set_threads(2);
            assert!(alone == (y.clone(), dx), "{what}: one thread");
            if m <= 16 {
                for i in 0..m {
                    let row = matrix.product(&x[i * width..(i + 1) * width], 1);
                    assert_eq!(row, y[i * out..(i + 1) * out], "{what}: row {i} alone");
                }
            }
        }
    }
}

/// Euclidean norm of the difference, relative to that of `want`.
fn relative(got: &[f32], want: &[f32]) -> f64 {
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    let off = norm(&mut got.iter().zip(want).map(|(g, w)| f64::from(*g) - f64::from(*w)));
    off / norm(&mut want.iter().map(|w| f64::from(*w)))
}

#[test]
fn every_kernel_computes_the_same_as_the_portable_one() {
    let results = |by: Kernel, products: Products| {
        use_kernel(by).unwrap();
        use_products(products);
        let mut out = Results::new();
        attend(&mut out);
        multiply(&mut out);
        let single = out.len();
        policy_pass(&mut out);
        (out, single)
    };
    set_threads(2);
    let (portable, single) = results(Kernel::Portable, Products::F32);
    let (rounded, _) = results(Kernel::Portable, Products::Bf16);
    for by in Kernel::available() {
        for ((name, want), (_, got)) in portable.iter().zip(results(by, Products::F32).0) {
            let largest = want.iter().fold(0f32, |m, x| m.max(x.abs()));
            let off = max_abs_diff(&got, want);
            assert!(largest > 0.0 && off <= 1e-5 * largest, "{by:?}: {name}: off by {off:e} of {largest:e}");
        }
        // Single products have the same rounded inputs. In a whole pass, the last bits of a sum decide to which side the next
        // product rounds it, by 2⁻⁸ of itself; a few of these add up, and are enlarged as explained below: 2⁻⁶.
        let all = portable.iter().zip(&rounded).zip(results(by, Products::Bf16).0);
        for (i, (((name, exact), (_, want)), (_, got))) in all.enumerate() {
            let largest = want.iter().fold(0f32, |m, x| m.max(x.abs()));
            let (off, most) = (max_abs_diff(&got, want), if i < single { 1e-5 } else { 2f32.powi(-6) });
            assert!(off <= most * largest, "bf16, {by:?}: {name}: off by {off:e} of {largest:e}");
            // Errors of up to 2⁻⁹ of each factor of about 60 products one after the other (two layers of encoder and of decoder,
            // forward and backward) add up like independent ones: √120 · 2⁻⁹ = 0.021. Where softmax's gradient dP − Σ P dP
            // cancels, before queries and keys, they are a few times larger. ReLU passes the whole gradient of a number or nothing:
            // of 8 · 64 numbers, half of them positive, errors of 2⁻⁸ turn a few, and two of them are √(2 / 256) = 0.09 of the
            // norm. A missing term would give about 1.
            let off = relative(&got, exact);
            assert!(off <= 0.2, "bf16, {by:?}: {name}: relative error {off:e}");
            let exempt =
                ["attention", "dq", "dkv", "dtable", "v_head.summary.bias"].iter().any(|one| name.starts_with(one));
            assert_eq!(off > 1e-5, !exempt, "bf16, {by:?}: {name}: relative difference {off:e}");
        }
        trained_layer();
        held_weights();
    }
    use_products(Products::F32);
}
