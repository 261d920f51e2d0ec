//! The f32s of tensors: slices of what candle stores.

use candle_core::{CpuStorage, Layout, Storage, Tensor};

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
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(cpu) => Ok(work(slice(cpu, layout)?)),
        _ => candle_core::bail!("operation needs a tensor on the CPU"),
    }
}
