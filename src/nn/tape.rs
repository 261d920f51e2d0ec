//! Gradients. Operations are recorded as they run inside [`record`], and [`Tape::backward`] goes back through them. An operation
//! is one `Op`: its forward and its backward are written side by side. Only what a backward reads is kept, and dropped once it has
//! been read; gradients are handed on, and summed in place.
//!
//! The result of a recorded operation is a variable to candle. An operation of candle's on the way is therefore found out: its
//! result is tracked, no recorded operation gave it, and its gradient would end there, which is an error.

use super::storage::add;
use crate::error::{Error, Result};
use candle_core::{Device, Shape, Tensor, TensorId, Var};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

/// Does an operation's backward read the numbers that it was given, or their shapes only?
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reads {
    Numbers,
    Shapes,
}

/// Gradients of what an operation was given, in its order; none where none is wanted.
pub(super) type InputGradients = Result<Vec<Option<Tensor>>>;

/// A differentiable operation on contiguous f32 tensors.
pub(super) trait Op {
    /// What the backward reads.
    fn reads(&self) -> Reads {
        Reads::Numbers
    }

    /// May the gradients share their numbers with the one that the backward was given?
    fn shares(&self) -> bool {
        false
    }

    /// The numbers that the operation gives, and their shape.
    fn forward(&self, given: &[&Tensor]) -> Result<(Vec<f32>, Shape)>;

    /// From the gradient `g` of the result to those of what the operation was given: of each that is tracked. Where the
    /// backward reads shapes only, `given` are zeros of these shapes, which take no memory, and all gradients are asked for.
    fn backward(&self, given: &[&Tensor], g: &Tensor) -> InputGradients;
}

/// What an operation was given.
struct Given {
    id: TensorId,
    shape: Shape,
    /// Is there a way from a variable to it?
    tracked: bool,
    /// Is it one itself?
    variable: bool,
    /// None where a shape is enough.
    tensor: Option<Tensor>,
}

impl Given {
    /// The tensor, or zeros of its shape that take no memory.
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

/// Operations with what they were given, in the order in which they ran.
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

    /// Takes the gradient of a variable out.
    pub fn take(&mut self, var: &Tensor) -> Option<Tensor> {
        self.by_id.remove(&var.id())
    }

    /// Puts the gradient of a variable in.
    pub fn insert(&mut self, var: &Tensor, gradient: Tensor) {
        self.by_id.insert(var.id(), gradient);
    }

    /// How many variables have a gradient.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Has no variable a gradient?
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}

thread_local! {
    /// What is being recorded on this thread.
    static CURRENT: RefCell<Option<Tape>> = const { RefCell::new(None) };
}

/// Runs `work` and records the operations on this thread that take part in a gradient.
pub fn record<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, Tape)> {
    let outer = CURRENT.replace(Some(Tape::default()));
    let done = work();
    let tape = CURRENT.replace(outer).unwrap_or_default();
    Ok((done?, tape))
}

/// Are operations on this thread being recorded?
pub(super) fn is_recording() -> bool {
    CURRENT.with_borrow(Option::is_some)
}

/// Runs `op`, and records it where its result takes part in a gradient.
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

/// Gradients on their way, and those of variables.
#[derive(Default)]
struct PendingGradients {
    gradients: HashMap<TensorId, Tensor>,
    variables: HashSet<TensorId>,
}

impl PendingGradients {
    /// Adds to the gradient of `x`, if it wants one. Where `own`, no other tensor shares the numbers of `gradient`.
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
    /// The variables that took part in the results, each with its gradient, given the gradients of the results themselves.
    ///
    /// # Errors
    /// A way to a variable that leads over an operation of candle's, or a backward that fails.
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

    /// As [`Tape::backward`], of a scalar that candle's own operations made of the results. For tests, in which candle's
    /// gradients are the ones to compare with.
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

    /// From the gradients of results to those of variables.
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
