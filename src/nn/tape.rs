//! Gradients. Operations that run inside [`record`] are recorded, and [`Tape::backward`] goes through them in reverse order. An
//! operation is one `Op`, with its forward and backward pass side by side. Only tensors that a backward pass reads are kept,
//! until they are read; gradients are summed in place.
//!
//! For candle, the result of a recorded operation is a variable. So an operation of candle in between is detected: its result
//! is tracked but was not recorded, and its gradient would be lost, which is an error.

use super::storage::add;
use crate::error::{Error, Result};
use candle_core::{Device, Shape, Tensor, TensorId, Var};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

/// Whether an operation's backward pass reads its inputs, or only their shapes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reads {
    Numbers,
    Shapes,
}

/// Gradients of an operation's inputs, in order; none if not needed.
pub(super) type InputGradients = Result<Vec<Option<Tensor>>>;

/// A differentiable operation on contiguous f32 tensors.
pub(super) trait Op {
    /// What the backward pass reads.
    fn reads(&self) -> Reads {
        Reads::Numbers
    }

    /// Whether the gradients may share numbers with the gradient of the result.
    fn shares(&self) -> bool {
        false
    }

    /// The numbers and the shape of the result.
    fn forward(&self, given: &[&Tensor]) -> Result<(Vec<f32>, Shape)>;

    /// The gradients of the tracked inputs, for the gradient `g` of the result. If the backward pass reads only shapes, `given`
    /// are zeros with these shapes, which need no memory, and all gradients are needed.
    fn backward(&self, given: &[&Tensor], g: &Tensor) -> InputGradients;
}

/// An operation's input.
struct Given {
    id: TensorId,
    shape: Shape,
    /// Whether it depends on a variable.
    tracked: bool,
    /// Whether it is a variable.
    variable: bool,
    /// None if only the shape is needed.
    tensor: Option<Tensor>,
}

impl Given {
    /// The tensor, or zeros with its shape that need no memory.
    fn tensor(&self) -> Result<Tensor> {
        Ok(match &self.tensor {
            Some(tensor) => tensor.clone(),
            None => Tensor::new(0f32, &Device::Cpu)?.broadcast_as(&self.shape)?,
        })
    }
}

/// A recorded operation.
struct RecordedOp {
    op: Box<dyn Op>,
    given: Vec<Given>,
    result: TensorId,
}

/// Operations with their inputs, in the order in which they ran.
#[derive(Default)]
pub struct Tape {
    entries: Vec<RecordedOp>,
    results: HashSet<TensorId>,
}

/// Variables, each with its gradient.
#[derive(Debug, Default)]
pub struct VarGradients {
    by_id: HashMap<TensorId, Tensor>,
}

impl VarGradients {
    /// The gradient of a variable.
    pub fn get(&self, var: &Tensor) -> Option<&Tensor> {
        self.by_id.get(&var.id())
    }

    /// Removes and returns the gradient of a variable.
    pub fn take(&mut self, var: &Tensor) -> Option<Tensor> {
        self.by_id.remove(&var.id())
    }

    /// Adds the gradient of a variable.
    pub fn insert(&mut self, var: &Tensor, gradient: Tensor) {
        self.by_id.insert(var.id(), gradient);
    }

    /// The number of variables with a gradient.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether no variable has a gradient.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}

thread_local! {
    /// The current recording on this thread.
    static CURRENT: RefCell<Option<Tape>> = const { RefCell::new(None) };
}

/// Runs `work` and records this thread's operations that need a gradient.
pub fn record<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, Tape)> {
    let outer = CURRENT.replace(Some(Tape::default()));
    let done = work();
    let tape = CURRENT.replace(outer).unwrap_or_default();
    Ok((done?, tape))
}

/// Whether operations on this thread are recorded.
pub(super) fn is_recording() -> bool {
    CURRENT.with_borrow(Option::is_some)
}

/// Runs `op`, and records it if its result needs a gradient.
pub(super) fn apply(given: &[&Tensor], op: impl Op + 'static) -> Result<Tensor> {
    let given = given.iter().map(|x| Ok(x.contiguous()?)).collect::<Result<Vec<_>>>()?;
    let (numbers, shape) = op.forward(&given.iter().collect::<Vec<_>>())?;
    let recorded = is_recording() && given.iter().any(Tensor::track_op);
    if !recorded {
        return Ok(Tensor::from_vec(numbers, shape, &Device::Cpu)?);
    }
    let result = Var::from_vec(numbers, shape, &Device::Cpu)?.into_inner();
    CURRENT.with_borrow_mut(|tape| {
        let Some(Tape { entries, results }) = tape else { return };
        let reads = op.reads();
        let keep = |x: Tensor| {
            let variable = x.is_variable() && !results.contains(&x.id());
            let (id, shape, tracked) = (x.id(), x.shape().clone(), x.track_op());
            Given { id, shape, tracked, variable, tensor: (variable || reads == Reads::Numbers).then_some(x) }
        };
        let given = given.into_iter().map(keep).collect();
        results.insert(result.id());
        entries.push(RecordedOp { op: Box::new(op), given, result: result.id() });
    });
    Ok(result)
}

/// Gradients of intermediate results, and of variables.
#[derive(Default)]
struct PendingGradients {
    gradients: HashMap<TensorId, Tensor>,
    variables: HashSet<TensorId>,
}

impl PendingGradients {
    /// Adds to the gradient of `x`, if it needs one. `own`: no other tensor shares the numbers of `gradient`.
    fn add(&mut self, x: &Given, gradient: Option<Tensor>, own: bool) -> Result<()> {
        let Some(gradient) = gradient.filter(|_| x.tracked) else { return Ok(()) };
        let gradient = match self.gradients.remove(&x.id) {
            None => gradient,
            Some(so_far) if own && gradient.is_contiguous() && gradient.shape() == so_far.shape() => {
                add(&gradient, &so_far.contiguous()?)?;
                gradient
            }
            Some(so_far) => (so_far + gradient)?,
        };
        self.gradients.insert(x.id, gradient);
        if x.variable {
            self.variables.insert(x.id);
        }
        Ok(())
    }
}

impl Tape {
    /// The gradients of all variables that the results depend on, for given gradients of the results.
    ///
    /// # Errors
    /// An operation of candle between a variable and the results, or a backward pass that fails.
    pub fn backward(self, results: impl IntoIterator<Item = (Tensor, Tensor)>) -> Result<VarGradients> {
        let mut open = PendingGradients::default();
        for (result, gradient) in results {
            if self.results.contains(&result.id()) {
                open.gradients.insert(result.id(), gradient.contiguous()?);
            } else if result.track_op() {
                return Err(unrecorded(result.shape()));
            }
        }
        self.finish(open)
    }

    /// As [`Tape::backward`], for a scalar that candle's operations computed from the results. For tests that compare with
    /// candle's gradients.
    ///
    /// # Errors
    /// As [`Tape::backward`]'s.
    pub fn backward_of(self, scalar: &Tensor) -> Result<VarGradients> {
        let store = scalar.backward()?;
        let mut open = PendingGradients::default();
        for id in &self.results {
            if let Some(gradient) = store.get_id(*id) {
                open.gradients.insert(*id, gradient.contiguous()?);
            }
        }
        self.finish(open)
    }

    /// Computes the gradients of variables from those of results.
    fn finish(self, mut open: PendingGradients) -> Result<VarGradients> {
        for entry in self.entries.into_iter().rev() {
            let Some(g) = open.gradients.remove(&entry.result) else { continue };
            let given = entry.given.iter().map(Given::tensor).collect::<Result<Vec<_>>>()?;
            let gradients = entry.op.backward(&given.iter().collect::<Vec<_>>(), &g)?;
            let own = !entry.op.shares();
            for (x, gradient) in entry.given.iter().zip(gradients) {
                open.add(x, gradient, own)?;
            }
        }
        let lost = open.gradients.iter().find(|(id, _)| !open.variables.contains(*id));
        match lost {
            Some((_, gradient)) => Err(unrecorded(gradient.shape())),
            None => Ok(VarGradients { by_id: open.gradients }),
        }
    }
}

fn unrecorded(shape: &Shape) -> Error {
    let hint = "this is a bug in detox-lab: please open an issue with this message";
    Error::input(format!("an operation that gave {shape:?} was not recorded, so that its gradient is lost"), hint)
}
