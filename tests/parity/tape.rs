//! Compares every operation's gradient with finite differences, and tests the tape with tensors that are used twice, operations
//! that were not recorded, and failures.

use crate::support::{flat, max_abs_diff};
use candle_core::{Device, Tensor, Var};
use detox_lab::Result;
use detox_lab::kernels::quantized::Precision;
use detox_lab::nn::attention::{Buckets, Plan, Segment, attention};
use detox_lab::nn::cross_entropy::smoothed_cross_entropy;
use detox_lab::nn::dropout::{Mask, dropout};
use detox_lab::nn::linear::{Linear, linear};
use detox_lab::nn::logprobs::chosen_logprobs;
use detox_lab::nn::norm::{layer_norm, rms_norm};
use detox_lab::nn::ops;
use detox_lab::nn::rng::{Purpose, Rng};
use detox_lab::nn::tape;
use detox_lab::nn::weight::Weight;

fn random(seed: u64, shape: &[usize]) -> Tensor {
    let mut rng = Rng::new(seed, Purpose::Init, 0, 0);
    let numbers: Vec<f32> = (0..shape.iter().product()).map(|_| rng.normal()).collect();
    Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap()
}

/// Checks the gradients of `work` for variables of these shapes. For the result y and random g, a small random step of every
/// variable must change Σ g y as the gradient predicts.
fn check(name: &str, shapes: &[&[usize]], work: impl Fn(&[Tensor]) -> Result<Tensor>) {
    let vars: Vec<Var> =
        shapes.iter().zip(1..).map(|(shape, seed)| Var::from_tensor(&random(seed, shape)).unwrap()).collect();
    let given: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let (y, recorded) = tape::record(|| work(&given)).unwrap();
    let g = random(50, y.dims());
    let found = recorded.backward([(y, g.clone())]).unwrap();
    assert_eq!(found.len(), vars.len(), "{name}: a gradient is missing");
    let weights = flat(&g);
    let value = || {
        let y = flat(&work(&given).unwrap());
        y.iter().zip(&weights).map(|(y, g)| f64::from(*y) * f64::from(*g)).sum::<f64>()
    };
    for (at, var) in vars.iter().enumerate() {
        let gradient = flat(found.get(var.as_tensor()).unwrap());
        let before = var.as_tensor().copy().unwrap();
        for seed in 0..4 {
            let step = random(100 + seed, before.dims());
            let terms = gradient.iter().zip(flat(&step)).map(|(g, s)| f64::from(*g) * f64::from(s));
            let (want, size) = terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()));
            assert!(size > 1e-3, "{name}: variable {at} has no gradient");
            let moved = |h: f64| {
                var.set(&(&before + (&step * h).unwrap()).unwrap()).unwrap();
                let value = value();
                var.set(&before).unwrap();
                value
            };
            let h = 2e-3;
            let slope = (moved(h) - moved(-h)) / (2.0 * h);
            assert!((slope - want).abs() < 5e-3 * size, "{name}, variable {at}: slope {slope}, gradient {want}");
        }
    }
}

#[test]
fn small_operations() {
    let shape: &[usize] = &[5, 7];
    check("gated gelu", &[shape, shape], |x| ops::gated_gelu(&x[0], &x[1]));
    check("gelu", &[shape], |x| ops::gelu(&x[0]));
    check("tanh", &[shape], |x| ops::tanh(&x[0]));
    check("scaled", &[shape], |x| ops::scaled(&x[0], -1.5));
    check("beside", &[&[5, 3], &[5, 4]], |x| ops::beside(&x[0], &x[1]));
    check("plus", &[shape, shape], |x| ops::plus(&x[0], x[1].clone()));
    check("rows", &[&[6, 4]], |x| ops::rows(&x[0], &[5, 0, 5, 3, 1, 2, 4], None));
    check("dropout", &[shape], |x| dropout(&x[0], 0.4, &mut Rng::new(3, Purpose::Dropout, 0, 0)));
    // moved away from its corner, where it has no slope
    check("relu", &[shape], |x| ops::relu(&ops::plus(&x[0], ops::scaled(&random(1, shape), 9.0)?)?));
}

#[test]
fn norms_and_linear_layers() {
    check("rms norm", &[&[4, 9], &[9]], |x| rms_norm(&x[0], &x[1], 1e-6));
    check("layer norm", &[&[4, 9], &[9], &[9]], |x| layer_norm(&x[0], &x[1], &x[2], 1e-5));
    check("trained linear layer", &[&[2, 3, 5], &[4, 5]], |x| linear(&x[0], &x[1], None));
    check("trained linear layer with bias", &[&[6, 5], &[4, 5], &[4]], |x| linear(&x[0], &x[1], Some(&x[2])));
    check("frozen linear layer with bias", &[&[6, 5]], |x| linear(&x[0], &random(8, &[4, 5]), Some(&random(9, &[4]))));
    for precision in Precision::ALL {
        let layer = Linear::from_weight(Weight::frozen(random(8, &[4, 40]), precision).unwrap());
        check(&format!("frozen linear layer in {precision:?}"), &[&[6, 40]], |x| layer.forward(&x[0]));
    }
}

#[test]
fn attention_with_biases_mask_and_dropout() {
    let segments = vec![
        Segment { query: 0, queries: 4, key: 0, keys: 4, offset: 0 },
        Segment { query: 4, queries: 3, key: 4, keys: 3, offset: 0 },
    ];
    let plan = Plan { segments, heads: 2, scale: 0.7, causal: false, buckets: None, drop: None };
    let plain = plan.clone();
    check("attention", &[&[7, 6], &[7, 12]], |x| attention(&x[0], &x[1], None, plain.clone()));
    let buckets = Some(Buckets { count: 8, max_distance: 16, bidirectional: false });
    let biased = Plan { causal: true, buckets, drop: Some(Mask { p: 0.3, seed: 5 }), ..plan };
    check("causal attention with biases and dropout", &[&[7, 6], &[7, 12], &[8, 2]], |x| {
        attention(&x[0], &x[1], Some(&x[2]), biased.clone())
    });
}

#[test]
fn losses_over_a_vocabulary() {
    let ids = [3, 0, 10, 7];
    check("chosen log-probs", &[&[4, 6], &[11, 6]], |x| chosen_logprobs(&x[0], &x[1].clone().into(), &ids));
    check("cross-entropy", &[&[4, 6], &[11, 6]], |x| smoothed_cross_entropy(&x[0], &x[1].clone().into(), &ids, 0.1));
    let frozen = random(9, &[11, 6]);
    check("chosen log-probs, frozen", &[&[4, 6]], |x| chosen_logprobs(&x[0], &frozen.clone().into(), &ids));
}

#[test]
fn an_ignored_row_gets_no_gradient() {
    let table = Var::from_tensor(&random(1, &[4, 3])).unwrap();
    let (y, recorded) = tape::record(|| ops::rows(table.as_tensor(), &[1, 2, 1, 0], Some(1))).unwrap();
    let found = recorded.backward([(y.clone(), y.ones_like().unwrap())]).unwrap();
    assert_eq!(flat(found.get(&table).unwrap()), [[1.0; 3], [0.0; 3], [1.0; 3], [0.0; 3]].concat());
    assert!(ops::rows(table.as_tensor(), &[4], None).is_err());
}

#[test]
fn a_tensor_used_several_times_gets_its_whole_gradient() {
    let x = Var::from_tensor(&random(4, &[3, 4])).unwrap();
    let work = || {
        let y = ops::scaled(x.as_tensor(), 2.0)?; // 2x
        let twice = ops::plus(&y, y.clone())?; // 4x
        let z = ops::plus(&twice, ops::scaled(&y, 3.0)?)?; // 4x + 6x
        ops::plus(&z, ops::relu(&y)?) // + 2 max(x, 0)
    };
    let (sum, recorded) = tape::record(work).unwrap();
    let given = random(5, &[3, 4]);
    let found = recorded.backward([(sum, given.clone())]).unwrap();
    let expected: Vec<f32> =
        flat(&given).iter().zip(flat(x.as_tensor())).map(|(g, x)| g * if x > 0.0 { 12.0 } else { 10.0 }).collect();
    assert!(max_abs_diff(&flat(found.get(&x).unwrap()), &expected) < 1e-6);
    assert_eq!(flat(&given), flat(&random(5, &[3, 4])), "the given gradient is unchanged");
}

#[test]
fn several_results_add_their_gradients() {
    let x = Var::from_tensor(&random(4, &[2])).unwrap();
    let work = || Ok((ops::scaled(x.as_tensor(), 2.0)?, ops::scaled(x.as_tensor(), 5.0)?));
    let ((a, b), recorded) = tape::record(work).unwrap();
    let one = a.ones_like().unwrap();
    let found = recorded.backward([(a, one.clone()), (b, one)]).unwrap();
    assert_eq!(flat(found.get(&x).unwrap()), [7.0; 2]);
}

#[test]
fn an_operation_that_was_not_recorded_is_an_error() {
    let x = Var::from_tensor(&random(4, &[3, 4])).unwrap();
    let (y, recorded) = tape::record(|| ops::scaled(&x.as_tensor().sqr()?, 2.0)).unwrap();
    let error = recorded.backward([(y.clone(), y)]).unwrap_err().to_string();
    assert!(error.contains("[3, 4] was not recorded"), "{error}");
    let (y, recorded) = tape::record(|| ops::scaled(&ops::scaled(x.as_tensor(), 2.0)?.t()?, 2.0)).unwrap();
    let error = recorded.backward([(y.clone(), y)]).unwrap_err().to_string();
    assert!(error.contains("[4, 3] was not recorded"), "{error}");
    let (y, recorded) = tape::record(|| Ok(ops::scaled(x.as_tensor(), 2.0)?.sqr()?)).unwrap();
    let error = recorded.backward([(y.clone(), y)]).unwrap_err().to_string();
    assert!(error.contains("[3, 4] was not recorded"), "{error}");
}

#[test]
fn nothing_is_recorded_outside_the_work_or_after_its_failure() {
    let x = Var::from_tensor(&random(4, &[3, 4])).unwrap();
    assert!(!ops::scaled(x.as_tensor(), 2.0).unwrap().track_op());
    let failed = tape::record(|| Err::<(), _>(detox_lab::error::Error::input("broken", "mend it")));
    assert!(failed.is_err());
    assert!(!ops::scaled(x.as_tensor(), 2.0).unwrap().track_op());
}
