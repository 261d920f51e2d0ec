//! The backward pass of a training step, over operations that are recorded as they run. candle's own graph keeps everything
//! that an operation was given until the whole pass is over, begins every gradient with a tensor of zeros and adds to it on
//! one thread. Here only what a backward reads is kept, and let go of once it has been read; gradients are handed on, and
//! summed in place. What each operation computes is its own; where nothing is recorded, candle's graph is all there is.
//!
//! To candle, what a recorded operation gives is a variable. An operation of candle's on the way is therefore found out: its
//! result is tracked, and its gradient ends there, which is an error.

use super::ops;
use crate::error::{Error, Result};
use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Device, Layout, Shape, Storage, Tensor, TensorId, Var};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

/// Does an operation's backward read the numbers that it was given, or their shapes only?
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reads {
    Numbers,
    Shapes,
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

enum Op {
    One([Given; 1], Box<dyn CustomOp1>),
    Two([Given; 2], Box<dyn CustomOp2>),
    Three([Given; 3], Box<dyn CustomOp3>),
    /// Both terms' gradients are the sum's.
    Sum([Given; 2]),
}

/// Operations with what they were given, in the order in which they ran.
#[derive(Default)]
pub struct Tape {
    ops: Vec<(Op, TensorId)>,
    results: HashSet<TensorId>,
}

thread_local! {
    /// What is being recorded on this thread.
    static CURRENT: RefCell<Option<Tape>> = const { RefCell::new(None) };
}

/// Runs `work` and records what operations on this thread do that takes part in a gradient.
pub fn record<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, Tape)> {
    let outer = CURRENT.replace(Some(Tape::default()));
    let done = work();
    let tape = CURRENT.replace(outer).unwrap_or_default();
    Ok((done?, tape))
}

/// What was recorded up to a tensor from which candle's own graph goes on.
pub struct Recorded {
    /// The tensor as the operations made it, and as a variable that the graph begins with.
    made: Tensor,
    seen: Var,
    tape: Tape,
}

impl Recorded {
    /// Where the graph begins.
    pub fn tensor(&self) -> &Tensor {
        self.seen.as_tensor()
    }

    /// Completes what the graph's backward found: the gradient of [`Recorded::tensor`] is taken out, those of the variables on the
    /// way to it are put in. Drop what the graph holds before.
    ///
    /// # Errors
    /// Those of [`Tape::backward`].
    pub fn backward(self, store: &mut GradStore) -> Result<()> {
        let Some(gradient) = store.remove(self.seen.as_tensor()) else { return Ok(()) };
        let Self { made, seen, tape } = self;
        drop(seen);
        for (var, gradient) in tape.backward(&made, gradient)? {
            store.insert(&var, gradient);
        }
        Ok(())
    }
}

/// [`record`] of work that makes a tensor.
pub fn record_to<T>(work: impl FnOnce() -> Result<(Tensor, T)>) -> Result<(Recorded, T)> {
    let ((made, more), tape) = record(work)?;
    let seen = Var::from_tensor(&made)?;
    Ok((Recorded { made, seen, tape }, more))
}

/// Is this operation to be recorded?
fn recorded(given: &[&Tensor]) -> bool {
    CURRENT.with_borrow(Option::is_some) && given.iter().any(|x| x.track_op())
}

/// What an operation gave, as a tensor, with the operation on the tape.
fn note<const N: usize>(
    (storage, shape): (CpuStorage, Shape),
    given: [&Tensor; N],
    reads: Reads,
    op: impl FnOnce([Given; N]) -> Op,
) -> candle_core::Result<Tensor> {
    let CpuStorage::F32(numbers) = storage else { candle_core::bail!("only f32 is recorded") };
    let result = Var::from_vec(numbers, shape, &Device::Cpu)?.into_inner();
    CURRENT.with_borrow_mut(|tape| {
        let Some(Tape { ops, results }) = tape else { return };
        let given = given.map(|x| {
            let variable = x.is_variable() && !results.contains(&x.id());
            let tensor = (variable || reads == Reads::Numbers).then(|| x.clone());
            Given { id: x.id(), shape: x.shape().clone(), tracked: x.track_op(), variable, tensor }
        });
        results.insert(result.id());
        ops.push((op(given), result.id()));
    });
    Ok(result)
}

/// Runs `work` on a tensor's storage.
fn stored<T>(x: &Tensor, work: impl FnOnce(&CpuStorage, &Layout) -> candle_core::Result<T>) -> candle_core::Result<T> {
    let (storage, layout) = x.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => work(storage, layout),
        _ => candle_core::bail!("operation needs a tensor on the CPU"),
    }
}

/// `op` of one tensor.
pub(super) fn op1(x: &Tensor, reads: Reads, op: impl CustomOp1 + Send + Sync + 'static) -> candle_core::Result<Tensor> {
    let x = &x.contiguous()?;
    if !recorded(&[x]) {
        return x.apply_op1(op);
    }
    let y = stored(x, |x, l| op.cpu_fwd(x, l))?;
    note(y, [x], reads, |given| Op::One(given, Box::new(op)))
}

/// `op` of two tensors.
pub(super) fn op2(
    [a, b]: [&Tensor; 2],
    reads: Reads,
    op: impl CustomOp2 + Send + Sync + 'static,
) -> candle_core::Result<Tensor> {
    let (a, b) = (&a.contiguous()?, &b.contiguous()?);
    if !recorded(&[a, b]) {
        return a.apply_op2(b, op);
    }
    let y = stored(a, |a, l1| stored(b, |b, l2| op.cpu_fwd(a, l1, b, l2)))?;
    note(y, [a, b], reads, |given| Op::Two(given, Box::new(op)))
}

/// `op` of three tensors, whose numbers it reads.
pub(super) fn op3([a, b, c]: [&Tensor; 3], op: impl CustomOp3 + Send + Sync + 'static) -> candle_core::Result<Tensor> {
    let (a, b, c) = (&a.contiguous()?, &b.contiguous()?, &c.contiguous()?);
    if !recorded(&[a, b, c]) {
        return a.apply_op3(b, c, op);
    }
    let y = stored(a, |a, l1| stored(b, |b, l2| stored(c, |c, l3| op.cpu_fwd(a, l1, b, l2, c, l3))))?;
    note(y, [a, b, c], Reads::Numbers, |given| Op::Three(given, Box::new(op)))
}

/// `op`, which adds two tensors of one shape.
pub(super) fn sum([a, b]: [&Tensor; 2], op: impl CustomOp2 + Send + Sync + 'static) -> candle_core::Result<Tensor> {
    let (a, b) = (&a.contiguous()?, &b.contiguous()?);
    if !recorded(&[a, b]) {
        return a.apply_op2(b, op);
    }
    let y = stored(a, |a, l1| stored(b, |b, l2| op.cpu_fwd(a, l1, b, l2)))?;
    note(y, [a, b], Reads::Shapes, Op::Sum)
}

/// Gradients on their way, and those of variables.
#[derive(Default)]
struct Gradients {
    open: HashMap<TensorId, Tensor>,
    variables: HashMap<TensorId, Tensor>,
}

impl Gradients {
    /// Adds to the gradient of `x`, if it wants one. Where `own`, no other tensor shares the numbers of `gradient`.
    fn add(&mut self, x: &Given, gradient: Option<Tensor>, own: bool) -> Result<()> {
        let Some(gradient) = gradient.filter(|_| x.tracked) else { return Ok(()) };
        let gradient = match self.open.remove(&x.id) {
            None => gradient,
            Some(so_far) if own => ops::plus(&so_far, gradient)?,
            Some(so_far) => (so_far + gradient)?,
        };
        self.open.insert(x.id, gradient);
        if let Some(variable) = x.tensor.as_ref().filter(|_| x.variable) {
            self.variables.insert(x.id, variable.clone());
        }
        Ok(())
    }
}

impl Tape {
    /// The variables that took part in `result`, each with its gradient, given that of `result` itself.
    ///
    /// # Errors
    /// A way to a variable that leads over candle's own graph, or a backward that fails.
    pub fn backward(self, result: &Tensor, gradient: Tensor) -> Result<Vec<(Tensor, Tensor)>> {
        let mut gradients = Gradients::default();
        gradients.open.insert(result.id(), gradient);
        for (op, y) in self.ops.into_iter().rev() {
            differentiate(op, y, &mut gradients)?;
        }
        let Gradients { open, mut variables } = gradients;
        let pair = |(id, gradient): (TensorId, Tensor)| match variables.remove(&id) {
            Some(variable) => Ok((variable, gradient)),
            None => {
                let what = format!("an operation that gave {:?} was not recorded", gradient.shape());
                Err(Error::input(what, "report this: a gradient ends half-way"))
            }
        };
        open.into_iter().map(pair).collect()
    }
}

/// From the gradient of what `op` gave, if there is one, to those of what it was given.
fn differentiate(op: Op, y: TensorId, gradients: &mut Gradients) -> Result<()> {
    let Some(g) = gradients.open.remove(&y) else { return Ok(()) };
    match op {
        // No operation reads its result: the gradient, of the same shape, stands in for it.
        Op::One([x], op) => gradients.add(&x, op.bwd(&x.tensor()?, &g, &g)?, true),
        Op::Two([a, b], op) => {
            let (da, db) = op.bwd(&a.tensor()?, &b.tensor()?, &g, &g)?;
            gradients.add(&a, da, true)?;
            gradients.add(&b, db, true)
        }
        Op::Three([a, b, c], op) => {
            let (da, db, dc) = op.bwd(&a.tensor()?, &b.tensor()?, &c.tensor()?, &g, &g)?;
            gradients.add(&a, da, true)?;
            gradients.add(&b, db, true)?;
            gradients.add(&c, dc, true)
        }
        Op::Sum([a, b]) => {
            gradients.add(&a, Some(g.clone()), false)?;
            gradients.add(&b, Some(g), false)
        }
    }
}
