//! Adam exactly as in torch (without weight decay), with export and import of its moments for exact resume, and the global
//! gradient norm. The caller schedules the learning rate. candle's AdamW does not expose its moments.

use super::tape::VarGradients;
use crate::error::{Error, Result};
use candle_core::{CpuStorage, InplaceOp2, Layout, Tensor, Var};
use std::cell::RefCell;
use std::collections::HashMap;

/// Trainable variables by checkpoint name, in a fixed order.
pub type Named = [(String, Var)];

/// Gradients of named variables, in the variables' order, summed over the mini-batches of an update.
#[derive(Debug, Default)]
pub struct Gradients {
    tensors: Vec<Tensor>,
}

impl Gradients {
    /// Zero for every variable, as from a loss that is multiplied by 0.
    pub fn zeros(vars: &Named) -> Result<Self> {
        let tensors = vars.iter().map(|(_, var)| Ok(var.as_detached_tensor().zeros_like()?)).collect::<Result<_>>()?;
        Ok(Self { tensors })
    }

    /// Puts the gradients of a backward pass into the order of `vars`.
    ///
    /// Errors: a variable without a gradient (it does not take part in the loss), by name.
    pub fn of(mut found: VarGradients, vars: &Named) -> Result<Self> {
        let mut take = |(name, var): &(String, Var)| match found.take(var.as_tensor()) {
            Some(gradient) => Ok(gradient.contiguous()?),
            None => Err(Error::input(
                format!("{name} is trainable but got no gradient"),
                "freeze it, or check that every operation between it and the loss has a backward",
            )),
        };
        Ok(Self { tensors: vars.iter().map(&mut take).collect::<Result<_>>()? })
    }

    /// Adds another mini-batch's gradients of the same variables.
    pub fn add(&mut self, other: Self) -> Result<()> {
        if self.tensors.is_empty() {
            *self = other;
            return Ok(());
        }
        for (sum, gradient) in self.tensors.iter_mut().zip(&other.tensors) {
            *sum = (&*sum + gradient)?;
        }
        Ok(())
    }

    /// All numbers, one variable after the other.
    pub fn flat(&self) -> Result<Vec<f32>> {
        let mut numbers = Vec::new();
        for tensor in &self.tensors {
            numbers.extend(tensor.flatten_all()?.to_vec1::<f32>()?);
        }
        Ok(numbers)
    }

    /// The gradients of `vars` from the numbers of [`flat`](Self::flat).
    ///
    /// # Errors
    /// Another number of numbers.
    pub fn from_flat(vars: &Named, numbers: &[f32]) -> Result<Self> {
        let all = vars.iter().map(|(_, var)| var.elem_count()).sum::<usize>();
        if numbers.len() != all {
            return Err(Error::shape("gradients", &[numbers.len()], &[all], "give one number per parameter"));
        }
        let mut at = 0;
        let mut take = |(_, var): &(String, Var)| {
            let part = &numbers[at..at + var.elem_count()];
            at += var.elem_count();
            Ok(Tensor::from_slice(part, var.shape(), var.device())?)
        };
        Ok(Self { tensors: vars.iter().map(&mut take).collect::<Result<_>>()? })
    }

    /// One tensor per variable.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// The L2 norm over all variables together.
    ///
    /// Errors: a gradient that is NaN or infinite, by name.
    pub fn norm(&self, vars: &Named) -> Result<f64> {
        let mut total = 0.0f64;
        for ((name, _), gradient) in vars.iter().zip(&self.tensors) {
            let square: f64 = gradient.flatten_all()?.to_vec1::<f32>()?.iter().map(|&x| f64::from(x).powi(2)).sum();
            if !square.is_finite() {
                return Err(Error::not_finite(
                    format!("the gradient of {name}"),
                    "lower the learning rate, set max_grad_norm, or look for extreme scores in this batch",
                ));
            }
            total += square;
        }
        Ok(total.sqrt())
    }
}

/// The factor that scales gradients with norm `norm` down to `max_norm`: max_norm / (norm + 1e-6), at most 1.
/// Source: torch.nn.utils.clip_grad_norm_.
pub fn clip_factor(norm: f64, max_norm: Option<f64>) -> f32 {
    max_norm.map_or(1.0, |max_norm| (max_norm / (norm + 1e-6)).min(1.0) as f32)
}

/// Running means of one variable's gradient and of its square.
#[derive(Debug, Clone)]
struct Moments {
    first: Vec<f32>,
    second: Vec<f32>,
}

/// Adam (Kingma & Ba 2015, algorithm 1) with torch.optim.Adam's order of operations: eps is added after the root of the
/// bias-corrected second moment.
#[derive(Debug, Clone)]
pub struct Adam {
    beta1: f64,
    beta2: f64,
    eps: f64,
    /// Whether each variable's learning rate is multiplied by its root mean square.
    relative: bool,
    /// Number of updates done.
    steps: u64,
    moments: HashMap<String, Moments>,
}

/// Minimum of a variable's root mean square (Adafactor's ε₂).
const LEAST_SCALE: f64 = 1e-3;

impl Adam {
    /// A new optimizer. torch's defaults: betas 0.9 and 0.999, eps 1e-8.
    pub fn new(beta1: f64, beta2: f64, eps: f64) -> Self {
        Self { beta1, beta2, eps, relative: false, steps: 0, moments: HashMap::new() }
    }

    /// Makes each variable's steps proportional to its root mean square (Shazeer & Stern 2018, section 8), as T5 was trained:
    /// its new embeddings have size 1, its queries 0.01, and no single rate fits both.
    #[must_use]
    pub fn relative(self, relative: bool) -> Self {
        Self { relative, ..self }
    }

    /// Number of updates done so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// One update of every variable in place, with gradients scaled by `scale` (see [`clip_factor`]) and learning rate `lr`:
    /// m ← β₁ m + (1-β₁) g, v ← β₂ v + (1-β₂) g², p ← p - lr / (1-β₁ᵗ) · m / (√v / √(1-β₂ᵗ) + eps).
    ///
    /// Errors: gradients of other variables than `vars`.
    pub fn update(&mut self, vars: &Named, gradients: &Gradients, scale: f32, lr: f64) -> Result<()> {
        if vars.len() != gradients.tensors.len() {
            return Err(Error::shape("gradients", &[gradients.tensors.len()], &[vars.len()], "give one per variable"));
        }
        self.steps += 1;
        let t = self.steps as f64;
        let step_size = (lr / (1.0 - self.beta1.powf(t))) as f32;
        let second_root = (1.0 - self.beta2.powf(t)).sqrt() as f32;
        for ((name, var), gradient) in vars.iter().zip(&gradients.tensors) {
            let n = var.elem_count();
            let zeros = || Moments { first: vec![0.0; n], second: vec![0.0; n] };
            let moments = RefCell::new(self.moments.entry(name.clone()).or_insert_with(zeros));
            let size = if self.relative { root_mean_square(var)?.max(LEAST_SCALE) as f32 } else { 1.0 };
            let op = Update {
                moments,
                scale,
                step_size: step_size * size,
                second_root,
                first_weight: (1.0 - self.beta1) as f32,
                beta2: self.beta2 as f32,
                second_weight: (1.0 - self.beta2) as f32,
                eps: self.eps as f32,
            };
            var.as_tensor().inplace_op2(gradient, &op)?;
        }
        Ok(())
    }

    /// The moments as tensors with the variables' shapes, named `NAME.exp_avg` and `NAME.exp_avg_sq` as in torch. A variable
    /// that was never updated has none.
    pub fn export(&self, vars: &Named) -> Result<Vec<(String, Tensor)>> {
        let mut out = Vec::with_capacity(2 * vars.len());
        for (name, var) in vars {
            let Some(moments) = self.moments.get(name) else { continue };
            for (suffix, data) in [("exp_avg", &moments.first), ("exp_avg_sq", &moments.second)] {
                out.push((format!("{name}.{suffix}"), Tensor::from_slice(data, var.shape(), var.device())?));
            }
        }
        Ok(out)
    }

    /// Restores the moments from [`export`](Adam::export), after `steps` updates.
    ///
    /// Errors: after at least one update, a variable whose moments are missing or of another shape, by name.
    pub fn import(&mut self, vars: &Named, steps: u64, tensors: &HashMap<String, Tensor>) -> Result<()> {
        self.steps = steps;
        self.moments.clear();
        let read = |name: String, var: &Var| -> Result<Vec<f32>> {
            let hint = "the trainer state belongs to another adapter; resume from the run's own checkpoint";
            match tensors.get(&name) {
                Some(t) if t.shape() == var.shape() => Ok(t.flatten_all()?.to_vec1()?),
                Some(t) => Err(Error::shape(name, t.dims(), var.dims(), hint)),
                None => Err(Error::input(format!("the trainer state has no tensor {name}"), hint)),
            }
        };
        for (name, var) in vars.iter().filter(|_| steps > 0) {
            let first = read(format!("{name}.exp_avg"), var)?;
            let second = read(format!("{name}.exp_avg_sq"), var)?;
            self.moments.insert(name.clone(), Moments { first, second });
        }
        Ok(())
    }
}

fn root_mean_square(var: &Var) -> Result<f64> {
    let sum: f64 =
        var.as_detached_tensor().flatten_all()?.to_vec1::<f32>()?.iter().map(|&x| f64::from(x).powi(2)).sum();
    Ok((sum / var.elem_count() as f64).sqrt())
}

/// Updates a variable in place, from its gradient.
struct Update<'a> {
    moments: RefCell<&'a mut Moments>,
    scale: f32,
    step_size: f32,
    second_root: f32,
    first_weight: f32,
    beta2: f32,
    second_weight: f32,
    eps: f32,
}

impl InplaceOp2 for Update<'_> {
    fn name(&self) -> &'static str {
        "adam"
    }

    fn cpu_fwd(
        &self,
        weights: &mut CpuStorage,
        layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> candle_core::Result<()> {
        let (CpuStorage::F32(weights), CpuStorage::F32(gradient)) = (weights, gradient) else {
            candle_core::bail!("adam needs f32 weights and gradients")
        };
        let (Some((w0, w1)), Some((g0, g1))) = (layout.contiguous_offsets(), gradient_layout.contiguous_offsets())
        else {
            candle_core::bail!("adam needs contiguous weights and gradients")
        };
        let mut moments = self.moments.borrow_mut();
        let Moments { first, second } = &mut **moments;
        if w1 - w0 != g1 - g0 || w1 - w0 != first.len() {
            candle_core::bail!("adam: {} weights, {} gradients, {} moments", w1 - w0, g1 - g0, first.len())
        }
        let pairs = weights[w0..w1].iter_mut().zip(&gradient[g0..g1]);
        for ((weight, gradient), (m, v)) in pairs.zip(first.iter_mut().zip(second.iter_mut())) {
            let g = gradient * self.scale;
            *m += (g - *m) * self.first_weight;
            *v = *v * self.beta2 + self.second_weight * g * g;
            *weight -= self.step_size * *m / (v.sqrt() / self.second_root + self.eps);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use candle_core::{DType, Device};

    fn var(name: &str, data: &[f32]) -> (String, Var) {
        (name.to_string(), Var::from_slice(data, data.len(), &Device::Cpu).unwrap())
    }

    fn gradients(vars: &Named, f: impl Fn(&Tensor) -> Tensor) -> Gradients {
        let mut all = Gradients::default();
        let mut loss = Tensor::zeros((), DType::F32, &Device::Cpu).unwrap();
        for (_, var) in vars {
            loss = (loss + f(var.as_tensor()).sum_all().unwrap()).unwrap();
        }
        let store = loss.backward().unwrap();
        let mut found = VarGradients::default();
        vars.iter().for_each(|(_, var)| found.insert(var, store.get(var).unwrap().clone()));
        all.add(Gradients::of(found, vars).unwrap()).unwrap();
        all
    }

    #[test]
    fn the_first_update_moves_each_weight_by_the_learning_rate() {
        let vars = [var("w", &[1.0, -2.0, 0.5])];
        let grads = gradients(&vars, |w| w.sqr().unwrap());
        Adam::new(0.9, 0.999, 1e-8).update(&vars, &grads, 1.0, 0.1).unwrap();
        let after = vars[0].1.to_vec1::<f32>().unwrap();
        for (w, expected) in after.iter().zip([0.9, -1.9, 0.4]) {
            assert!((w - expected).abs() < 1e-6, "{after:?}");
        }
    }

    #[test]
    fn relative_steps_are_proportional_to_the_variable() {
        let vars = [var("large", &[3.0, -4.0]), var("zero", &[0.0, 0.0])]; // of size √12.5 and, at least, 0.001
        let grads = gradients(&vars, |w| (w.sqr().unwrap() + w).unwrap());
        Adam::new(0.9, 0.999, 1e-8).relative(true).update(&vars, &grads, 1.0, 0.1).unwrap();
        let size = 12.5f32.sqrt();
        let large = vars[0].1.to_vec1::<f32>().unwrap();
        assert!(
            (large[0] - (3.0 - 0.1 * size)).abs() < 1e-5 && (large[1] + 4.0 - 0.1 * size).abs() < 1e-5,
            "{large:?}"
        );
        assert!((vars[1].1.to_vec1::<f32>().unwrap()[0] + 1e-4).abs() < 1e-8);
    }

    #[test]
    fn a_resumed_optimizer_continues_bit_for_bit() {
        let vars = [var("a", &[1.0, -2.0]), var("b", &[0.3])];
        let mut adam = Adam::new(0.9, 0.999, 1e-8);
        let advance = |adam: &mut Adam, vars: &Named| {
            let grads = gradients(vars, |w| w.sqr().unwrap());
            adam.update(vars, &grads, 0.7, 0.05).unwrap();
        };
        (0..3).for_each(|_| advance(&mut adam, &vars));
        let saved: HashMap<String, Tensor> = adam.export(&vars).unwrap().into_iter().collect();
        let twin = [var("a", &vars[0].1.to_vec1().unwrap()), var("b", &vars[1].1.to_vec1().unwrap())];
        let mut resumed = Adam::new(0.9, 0.999, 1e-8);
        resumed.import(&twin, adam.steps(), &saved).unwrap();
        (0..3).for_each(|_| advance(&mut adam, &vars));
        (0..3).for_each(|_| advance(&mut resumed, &twin));
        for (x, y) in vars.iter().zip(&twin) {
            assert_eq!(x.1.to_vec1::<f32>().unwrap(), y.1.to_vec1::<f32>().unwrap());
        }
        let wrong = [var("a", &[0.0; 3])];
        assert!(resumed.import(&wrong, 3, &saved).unwrap_err().to_string().contains("a.exp_avg"));
        assert!(resumed.import(&[var("c", &[0.0])], 3, &saved).unwrap_err().to_string().contains("c.exp_avg"));
    }

    #[test]
    fn a_missing_or_nan_gradient_is_named() {
        let vars = [var("used", &[1.0]), var("forgotten", &[1.0])];
        let mut found = VarGradients::default();
        found.insert(&vars[0].1, vars[0].1.as_detached_tensor());
        assert!(Gradients::of(found, &vars).unwrap_err().to_string().contains("forgotten"));
        let vars = [var("fine", &[1.0]), var("broken", &[-1.0])];
        let grads = gradients(&vars, |w| w.sqrt().unwrap());
        let message = grads.norm(&vars).unwrap_err().to_string();
        assert!(message.contains("broken"), "{message}");
    }

    #[test]
    fn zero_gradients_still_count_as_an_update() {
        let vars = [var("w", &[1.0])];
        let mut adam = Adam::new(0.9, 0.999, 1e-8);
        adam.update(&vars, &gradients(&vars, |w| w.sqr().unwrap()), 1.0, 0.1).unwrap();
        let before = vars[0].1.to_vec1::<f32>().unwrap()[0];
        adam.update(&vars, &Gradients::zeros(&vars).unwrap(), 1.0, 0.1).unwrap();
        assert!(vars[0].1.to_vec1::<f32>().unwrap()[0] < before, "momentum continues");
        assert_eq!(adam.steps(), 2);
    }

    #[test]
    fn clip_factor_scales_down_only() {
        assert_eq!(clip_factor(10.0, None), 1.0);
        assert_eq!(clip_factor(0.1, Some(0.5)), 1.0);
        assert!((clip_factor(10.0, Some(0.5)) - 0.05).abs() < 1e-8);
    }
}
