//! The f32s of tensors, as slices of candle's storage.

use crate::kernels::pool::for_rows;
use candle_core::{CpuStorage, InplaceOp2, Layout, Storage, Tensor};

/// The f32s of a contiguous CPU tensor inside a custom operation.
pub fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> candle_core::Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(data), Some((start, end))) => Ok(&data[start..end]),
        (CpuStorage::F32(_), None) => candle_core::bail!("operation needs a contiguous tensor, got {layout:?}"),
        _ => candle_core::bail!("operation needs f32 on the CPU"),
    }
}

/// Runs `work` on the f32s of a contiguous CPU tensor.
pub fn with_slice<T>(tensor: &Tensor, work: impl FnOnce(&[f32]) -> T) -> candle_core::Result<T> {
    with_slices(&[tensor], |slices| work(slices[0]))
}

/// Runs `work` on the f32s of contiguous CPU tensors.
pub fn with_slices<T>(tensors: &[&Tensor], work: impl FnOnce(&[&[f32]]) -> T) -> candle_core::Result<T> {
    let stored: Vec<_> = tensors.iter().map(|tensor| tensor.storage_and_layout()).collect();
    let slices = stored.iter().map(|(storage, layout)| match &**storage {
        Storage::Cpu(cpu) => slice(cpu, layout),
        _ => candle_core::bail!("operation needs a tensor on the CPU"),
    });
    Ok(work(&slices.collect::<candle_core::Result<Vec<_>>>()?))
}

/// Adds `x` to the numbers of `y`, in place and on all threads; both are contiguous and have the same shape.
pub fn add(y: &Tensor, x: &Tensor) -> candle_core::Result<()> {
    y.inplace_op2(x, &Add)
}

struct Add;

impl InplaceOp2 for Add {
    fn name(&self) -> &'static str {
        "add"
    }

    fn cpu_fwd(&self, y: &mut CpuStorage, l1: &Layout, x: &CpuStorage, l2: &Layout) -> candle_core::Result<()> {
        let (x, CpuStorage::F32(y), Some((start, end))) = (slice(x, l2)?, y, l1.contiguous_offsets()) else {
            candle_core::bail!("a sum needs contiguous f32")
        };
        for_rows(
            &mut y[start..end],
            1,
            #[inline(always)]
            |first, y| y.iter_mut().zip(&x[first..]).for_each(|(y, x)| *y += x),
        );
        Ok(())
    }
}
