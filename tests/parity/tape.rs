//! The recorded backward pass against candle's own over the same graph, for every kind of layer that a policy can have.

use crate::support::{fixtures, flat, max_abs_diff, models};
use candle_core::{Device, Tensor, Var};
use detox_lab::model::policy::{POLICY, Policy};
use detox_lab::nn::lora::LoraSpec;
use detox_lab::nn::ops;
use detox_lab::nn::rng::{Purpose, Rng};
use detox_lab::nn::tape;

const ROWS: [(&[u32], &[u32]); 2] = [(&[5, 9, 23, 17, 1], &[0, 7, 8, 1]), (&[30, 44, 1], &[0, 12, 40, 33, 7])];
const WIDTH: usize = 5;

fn random(rng: &mut Rng, shape: &[usize]) -> Tensor {
    let n = shape.iter().product();
    Tensor::from_vec((0..n).map(|_| rng.normal() * 0.1).collect::<Vec<f32>>(), shape, &Device::Cpu).unwrap()
}

/// An adapter over every layer, with a scale of its own and a value head that drops.
fn policy(folder: &str) -> Policy {
    let mut policy = models::bare_policy(&fixtures().join(folder));
    let mut rng = Rng::new(1, Purpose::Init, 0, 0);
    let specs = policy.t5.modules().to_vec().into_iter().map(|(module, from, to)| LoraSpec {
        module,
        a: random(&mut rng, &[3, from]),
        b: random(&mut rng, &[to, 3]),
        scale: 0.5,
    });
    let specs = specs.collect();
    policy.add_adapter(POLICY, specs, 0.0, true).unwrap();
    policy.value_head.dropout = 0.2;
    policy
}

#[test]
fn every_gradient_is_candles() {
    for folder in ["t5_tied", "t5_sharded"] {
        let policy = policy(folder);
        let mut rng = Rng::new(2, Purpose::Init, 0, 0);
        let (by_logprobs, by_values) = (random(&mut rng, &[2, WIDTH - 1]), random(&mut rng, &[2, WIDTH - 1]));
        let drops = || Rng::new(3, Purpose::Dropout, 0, 0);
        let graph = policy.evaluate(&ROWS, WIDTH, false, Some(POLICY), true, Some(&mut drops())).unwrap();
        let taped = policy.record(&ROWS, WIDTH, false, Some(&mut drops())).unwrap();
        assert_eq!(flat(&graph.logprobs), flat(&taped.logprobs));
        assert_eq!(flat(&graph.values), flat(&taped.values));
        let theirs = graph.backward(&by_logprobs, &by_values).unwrap();
        let ours = taped.backward(&by_logprobs, &by_values).unwrap();
        let vars = policy.trainable();
        assert_eq!(vars.len(), 2 * policy.t5.modules().len() + 2);
        for (name, var) in vars {
            let [ours, theirs] = [&ours, &theirs].map(|store| flat(store.get(var.as_tensor()).unwrap()));
            let largest = theirs.iter().fold(0f32, |m, x| m.max(x.abs()));
            assert!(largest > 0.0, "{folder} {name}: no gradient");
            let off = max_abs_diff(&ours, &theirs);
            assert!(off <= 1e-5 * largest, "{folder} {name}: {off:e} of {largest:e}");
        }
    }
}

#[test]
fn a_tensor_used_twice_and_by_sums_of_itself_gets_all_of_its_gradient() {
    let x = Var::from_tensor(&random(&mut Rng::new(4, Purpose::Init, 0, 0), &[3, 4])).unwrap();
    let work = || {
        let y = ops::scaled(x.as_tensor(), 2.0)?; // 2x
        let twice = ops::plus(&y, y.clone())?; // 4x
        let z = ops::plus(&twice, ops::scaled(&y, 3.0)?)?; // 4x + 6x
        ops::plus(&z, ops::relu(&y)?) // + 2 max(x, 0)
    };
    let (sum, tape) = tape::record(work).unwrap();
    let given = random(&mut Rng::new(5, Purpose::Init, 0, 0), &[3, 4]);
    let gradients = tape.backward(&sum, given.clone()).unwrap();
    assert_eq!(gradients.len(), 1);
    let expected: Vec<f32> =
        flat(&given).iter().zip(flat(x.as_tensor())).map(|(g, x)| g * if x > 0.0 { 12.0 } else { 10.0 }).collect();
    assert!(max_abs_diff(&flat(&gradients[0].1), &expected) < 1e-6);
    assert_eq!(flat(&given), flat(&random(&mut Rng::new(5, Purpose::Init, 0, 0), &[3, 4])), "the given one is whole");
}

#[test]
fn what_was_not_recorded_is_an_error_not_a_missing_gradient() {
    let x = Var::from_tensor(&random(&mut Rng::new(4, Purpose::Init, 0, 0), &[3, 4])).unwrap();
    let (y, tape) = tape::record(|| ops::scaled(&x.as_tensor().sqr()?, 2.0)).unwrap();
    let error = tape.backward(&y, y.clone()).unwrap_err().to_string();
    assert!(error.contains("[3, 4] was not recorded"), "{error}");
    let (y, tape) = tape::record(|| ops::scaled(&ops::scaled(x.as_tensor(), 2.0)?.t()?, 2.0)).unwrap();
    let error = tape.backward(&y, y.clone()).unwrap_err().to_string();
    assert!(error.contains("[4, 3] was not recorded"), "{error}");
}

#[test]
fn nothing_is_recorded_after_the_work_or_its_failure() {
    let x = Var::from_tensor(&random(&mut Rng::new(4, Purpose::Init, 0, 0), &[3, 4])).unwrap();
    let failed = tape::record(|| Err::<(), _>(detox_lab::error::Error::input("broken", "mend it")));
    assert!(failed.is_err());
    let y = ops::scaled(x.as_tensor(), 2.0).unwrap();
    let gradients = y.sum_all().unwrap().backward().unwrap();
    assert_eq!(flat(gradients.get(x.as_tensor()).unwrap()), [2.0; 12]);
}
