//! Compares every kernel of this processor with the portable one: attention, products with compact weights, and a policy's
//! forward and backward pass. A kernel is chosen for a whole process, so this suite is one test; `products` tests single
//! products.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "support/mod.rs"]
mod support;

use candle_core::{Device, Tensor};
use detox_lab::kernels::attention::{Buckets, Plan, Segment, backward, forward};
use detox_lab::kernels::choice::{Kernel, use_kernel};
use detox_lab::kernels::matrix::Matrix;
use detox_lab::kernels::pool::set_threads;
use detox_lab::kernels::quantized::{Compact, Precision};
use detox_lab::model::policy::{Given, POLICY, TrainablePolicy};
use detox_lab::nn::lora::LoraSpec;
use detox_lab::nn::rng::{Purpose, Rng};
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

#[test]
fn every_kernel_computes_the_same_as_the_portable_one() {
    let results = |by: Kernel| {
        use_kernel(by).unwrap();
        let mut out = Results::new();
        attend(&mut out);
        multiply(&mut out);
        policy_pass(&mut out);
        out
    };
    set_threads(2);
    let portable = results(Kernel::Portable);
    for by in Kernel::available() {
        for ((name, want), (_, got)) in portable.iter().zip(results(by)) {
            let largest = want.iter().fold(0f32, |m, x| m.max(x.abs()));
            let off = max_abs_diff(&got, want);
            assert!(largest > 0.0 && off <= 1e-5 * largest, "{by:?}: {name}: off by {off:e} of {largest:e}");
        }
    }
}
