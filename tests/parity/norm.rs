//! RMS norm and layer norm: their numbers equal plain arithmetic, and their backward pass gives gradients.

use crate::support::{flat, gradients, max_abs_diff};
use candle_core::{D, Device, Tensor, Var};
use detox_lab::nn::norm::{layer_norm, rms_norm};
use detox_lab::nn::rng::{Purpose, Rng};
use detox_lab::{Error, Result};

fn normal(shape: &[usize], row: u64) -> Tensor {
    let mut rng = Rng::new(3, Purpose::Init, 0, row);
    let n = shape.iter().product();
    Tensor::from_vec((0..n).map(|_| rng.normal()).collect::<Vec<f32>>(), shape, &Device::Cpu).unwrap()
}

/// The norm under test: layer norm uses `b`, RMS norm does not.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Rms,
    Layer,
}

const EPS: f64 = 1e-5;

impl Kind {
    fn ours(self, x: &Tensor, w: &Tensor, b: &Tensor) -> Result<Tensor> {
        match self {
            Kind::Rms => rms_norm(x, w, EPS as f32),
            Kind::Layer => layer_norm(x, w, b, EPS as f32),
        }
    }

    /// The definition, from candle's primitives, in the type of x.
    fn plain(self, x: &Tensor, w: &Tensor, b: &Tensor) -> candle_core::Result<Tensor> {
        let x = match self {
            Kind::Rms => x.clone(),
            Kind::Layer => x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?,
        };
        let spread = (x.sqr()?.mean_keepdim(D::Minus1)? + EPS)?.sqrt()?;
        let y = x.broadcast_div(&spread)?.broadcast_mul(w)?;
        match self {
            Kind::Rms => Ok(y),
            Kind::Layer => y.broadcast_add(b),
        }
    }
}

/// Widths below, equal to and above the sixteen lanes, and the real ones.
const SHAPES: [&[usize]; 6] = [&[7], &[5, 1], &[3, 16], &[2, 3, 37], &[4, 512], &[2, 2, 768]];

#[test]
fn forward_is_the_definition_computed_in_f64() {
    for kind in [Kind::Rms, Kind::Layer] {
        let mut worst = 0f32;
        for (i, shape) in SHAPES.iter().enumerate() {
            let d = *shape.last().unwrap();
            let x = (normal(shape, i as u64) * 3.0).unwrap();
            let (w, b) = (normal(&[d], 50), normal(&[d], 51));
            let ours = kind.ours(&x, &w, &b).unwrap();
            let f64 = |t: &Tensor| t.to_dtype(candle_core::DType::F64).unwrap();
            let exact = kind.plain(&f64(&x), &f64(&w), &f64(&b)).unwrap();
            assert_eq!(ours.dims(), *shape);
            // relative to the number's size, absolute below 1
            let exact = flat(&exact);
            let gap = flat(&ours).iter().zip(&exact).map(|(o, e)| (o - e).abs() / e.abs().max(1.0)).fold(0.0, f32::max);
            worst = worst.max(gap);
        }
        assert!(worst <= 1e-6, "{kind:?}: {worst:e}");
    }
}

#[test]
fn gradients_are_those_of_plain_primitives() {
    for kind in [Kind::Rms, Kind::Layer] {
        for (i, shape) in SHAPES.iter().enumerate() {
            let d = *shape.last().unwrap();
            let x = Var::from_tensor(&normal(shape, i as u64)).unwrap();
            let (w, b) = (Var::from_tensor(&normal(&[d], 50)).unwrap(), Var::from_tensor(&normal(&[d], 51)).unwrap());
            let weight = normal(shape, 60); // makes the loss's gradient different at each position
            let loss = |y: Tensor| (y * &weight).unwrap().sum_all().unwrap();
            let ours = gradients(|| loss(kind.ours(&x, &w, &b).unwrap()));
            let plain = loss(kind.plain(&x, &w, &b).unwrap()).backward().unwrap();
            for (name, var) in [("x", &x), ("w", &w), ("b", &b)] {
                if (kind, name) == (Kind::Rms, "b") {
                    continue;
                }
                let (ours, plain) = (flat(ours.get(var).unwrap()), flat(plain.get(var).unwrap()));
                let size = plain.iter().fold(1f32, |m, v| m.max(v.abs()));
                let gap = max_abs_diff(&ours, &plain) / size;
                assert!(gap <= 5e-6, "{kind:?} {shape:?} d{name}: {gap:e}");
            }
        }
    }
}

#[test]
fn gradients_equal_the_slopes() {
    for kind in [Kind::Rms, Kind::Layer] {
        let tensors = [normal(&[3, 9], 1), normal(&[9], 2), normal(&[9], 3)];
        let weight = normal(&[3, 9], 4);
        let loss = |[x, w, b]: [&Tensor; 3]| (kind.ours(x, w, b).unwrap() * &weight).unwrap().sum_all().unwrap();
        let vars = tensors.clone().map(|t| Var::from_tensor(&t).unwrap());
        let found = gradients(|| loss([&vars[0], &vars[1], &vars[2]]));
        let h = 1e-2f32;
        for which in 0..if kind == Kind::Rms { 2 } else { 3 } {
            let gradient = flat(found.get(&vars[which]).unwrap());
            for entry in 0..gradient.len() {
                let moved = |by: f32| {
                    let mut numbers = flat(&tensors[which]);
                    numbers[entry] += by;
                    let mut tensors = tensors.clone();
                    tensors[which] = Tensor::from_vec(numbers, tensors[which].shape(), &Device::Cpu).unwrap();
                    loss([&tensors[0], &tensors[1], &tensors[2]]).to_scalar::<f32>().unwrap()
                };
                let slope = (moved(h) - moved(-h)) / (2.0 * h);
                let gap = (gradient[entry] - slope).abs() / slope.abs().max(1.0);
                assert!(gap < 2e-3, "{kind:?} tensor {which} entry {entry}: {} but slope {slope}", gradient[entry]);
            }
        }
    }
}

#[test]
fn frozen_weights_get_no_gradient_and_x_does() {
    for kind in [Kind::Rms, Kind::Layer] {
        let x = Var::from_tensor(&normal(&[2, 8], 1)).unwrap();
        let (w, b) = (normal(&[8], 2), normal(&[8], 3));
        // sqr, because the sum of a layer norm with w = 1 has no slope
        let found = gradients(|| kind.ours(&x, &w, &b).unwrap().sqr().unwrap().sum_all().unwrap());
        assert!(flat(found.get(&x).unwrap()).iter().any(|g| g.abs() > 1e-3), "{kind:?}: no gradient at x");
        assert!(found.get(&w).is_none() && found.get(&b).is_none(), "{kind:?}: a frozen weight got a gradient");

        // the reverse: a trained weight and an input without gradient
        let (x, w) = (normal(&[2, 8], 1), Var::from_tensor(&w).unwrap());
        let found = gradients(|| kind.ours(&x, &w, &b).unwrap().sum_all().unwrap());
        assert!(found.get(&w).is_some() && found.get(&x).is_none());

        assert!(!kind.ours(&x, &normal(&[8], 2), &b).unwrap().track_op(), "{kind:?}: a graph without variables");
    }
}

#[test]
fn strided_input_and_strided_gradient() {
    for kind in [Kind::Rms, Kind::Layer] {
        let (w, b) = (normal(&[6], 2), normal(&[6], 3));
        // (6,5) -> (5,6) view, narrowed to 4 of 5 rows
        let view = normal(&[6, 5], 1).t().unwrap().narrow(0, 1, 4).unwrap();
        let (y, plain) = (kind.ours(&view, &w, &b).unwrap(), kind.plain(&view, &w, &b).unwrap());
        assert!(max_abs_diff(&flat(&y), &flat(&plain)) < 1e-6, "{kind:?}");

        // transposed after the norm, so that the gradient is strided
        let x = Var::from_tensor(&view).unwrap();
        let weight = normal(&[6, 4], 4);
        let loss = |y: Tensor| (y.t().unwrap() * &weight).unwrap().sum_all().unwrap();
        let ours = gradients(|| loss(kind.ours(&x, &w, &b).unwrap()));
        let plain = loss(kind.plain(&x, &w, &b).unwrap()).backward().unwrap();
        assert!(max_abs_diff(&flat(ours.get(&x).unwrap()), &flat(plain.get(&x).unwrap())) < 5e-6, "{kind:?}");

        let wide = normal(&[1, 6], 7).broadcast_as((3, 6)).unwrap(); // stride 0
        let rows = flat(&kind.ours(&wide, &w, &b).unwrap());
        assert_eq!(rows[..6], rows[12..]);
    }
}

#[test]
fn large_and_tiny_numbers_stay_finite() {
    let (w, b) = (Tensor::ones(64, candle_core::DType::F32, &Device::Cpu).unwrap(), normal(&[64], 3));
    for scale in [0.0, 1e-18, 1e18] {
        let x = (normal(&[2, 64], 1) * scale).unwrap();
        for kind in [Kind::Rms, Kind::Layer] {
            assert!(flat(&kind.ours(&x, &w, &b).unwrap()).iter().all(|v| v.is_finite()), "{kind:?} at {scale:e}");
        }
    }
    // a mean far from zero, 100 ± 1, must not hide the spread
    let x = (normal(&[2, 64], 1) + 100.0).unwrap();
    let y = layer_norm(&x, &w, &Tensor::zeros(64, candle_core::DType::F32, &Device::Cpu).unwrap(), 1e-5).unwrap();
    let f64 = |t: &Tensor| t.to_dtype(candle_core::DType::F64).unwrap();
    let exact = Kind::Layer.plain(&f64(&x), &f64(&w), &f64(&b.zeros_like().unwrap())).unwrap();
    assert!(max_abs_diff(&flat(&y), &flat(&exact)) < 2e-5);
}

#[test]
fn wrong_shapes_and_types_are_named() {
    let x = normal(&[2, 8], 1);
    let wrong = rms_norm(&x, &normal(&[7], 2), 1e-6).unwrap_err();
    assert!(matches!(&wrong, Error::Shape { got, expected, .. } if got == "[7]" && expected == "[8]"), "{wrong}");
    let wrong = layer_norm(&x, &normal(&[8], 2), &normal(&[2, 8], 2), 1e-6).unwrap_err();
    assert!(wrong.to_string().contains("norm weight b"), "{wrong}");
    let half = x.to_dtype(candle_core::DType::F64).unwrap();
    assert!(rms_norm(&half, &normal(&[8], 2), 1e-6).unwrap_err().to_string().contains("F64"));
    assert!(rms_norm(&x.narrow(1, 0, 0).unwrap(), &normal(&[8], 2), 1e-6).is_err());
}
