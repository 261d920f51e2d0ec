//! The number types in checkpoints, and how their bytes become tensors. Floats become f32 while they are read in chunks, so
//! that a tensor is never in memory twice.

use crate::error::{Error, Result};
use candle_core::quantized::{GgmlDType, ggml_file};
use candle_core::{Device, Tensor};
use half::{bf16, f16};
use std::io::{self, Read};

/// Bytes read at a time; a multiple of every type's size.
const CHUNK: usize = 1 << 20;

/// A stored number type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dtype {
    F16,
    Bf16,
    F32,
    F64,
    I32,
    I64,
    U8,
    Bool,
    // ggml's types whose numbers share scales in blocks
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
}

/// ggml's number types: the number in a GGUF file, ours, candle's.
const GGML: [(u32, Dtype, GgmlDType); 13] = [
    (0, Dtype::F32, GgmlDType::F32),
    (1, Dtype::F16, GgmlDType::F16),
    (2, Dtype::Q4_0, GgmlDType::Q4_0),
    (3, Dtype::Q4_1, GgmlDType::Q4_1),
    (6, Dtype::Q5_0, GgmlDType::Q5_0),
    (7, Dtype::Q5_1, GgmlDType::Q5_1),
    (8, Dtype::Q8_0, GgmlDType::Q8_0),
    (10, Dtype::Q2K, GgmlDType::Q2K),
    (11, Dtype::Q3K, GgmlDType::Q3K),
    (12, Dtype::Q4K, GgmlDType::Q4K),
    (13, Dtype::Q5K, GgmlDType::Q5K),
    (14, Dtype::Q6K, GgmlDType::Q6K),
    (30, Dtype::Bf16, GgmlDType::BF16),
];

impl Dtype {
    /// Bytes of `count` numbers, of whole blocks; none where so many do not fit a usize.
    pub fn bytes(self, count: usize) -> Option<usize> {
        match self {
            Self::U8 | Self::Bool => Some(count),
            Self::F16 | Self::Bf16 => count.checked_mul(2),
            Self::F32 | Self::I32 => count.checked_mul(4),
            Self::F64 | Self::I64 => count.checked_mul(8),
            _ => {
                let kind = self.ggml()?;
                count.div_ceil(kind.block_size()).checked_mul(kind.type_size())
            }
        }
    }

    /// The number of values in a block; 1 for types without blocks.
    pub fn block(self) -> usize {
        self.ggml().map_or(1, |kind| kind.block_size())
    }

    /// Whether its numbers are floats.
    pub fn is_float(self) -> bool {
        !matches!(self, Self::I32 | Self::I64 | Self::U8 | Self::Bool)
    }

    fn ggml(self) -> Option<GgmlDType> {
        GGML.iter().find(|(_, of, _)| *of == self).map(|(_, _, kind)| *kind)
    }

    /// From ggml's number.
    pub fn from_ggml(number: u32) -> Option<Self> {
        GGML.iter().find(|(of, _, _)| *of == number).map(|(_, dtype, _)| *dtype)
    }

    /// ggml's number.
    pub fn ggml_number(self) -> Option<u32> {
        GGML.iter().find(|(_, of, _)| *of == self).map(|(number, _, _)| *number)
    }

    /// From safetensors' name: F16, BF16, F32, …
    pub fn from_safetensors(name: &str) -> Option<Self> {
        Some(match name {
            "F16" => Self::F16,
            "BF16" => Self::Bf16,
            "F32" => Self::F32,
            "F64" => Self::F64,
            "I32" => Self::I32,
            "I64" => Self::I64,
            "U8" => Self::U8,
            "BOOL" => Self::Bool,
            _ => return None,
        })
    }

    /// From torch's storage class: HalfStorage, FloatStorage, …
    pub fn from_torch(name: &str) -> Option<Self> {
        Some(match name {
            "HalfStorage" => Self::F16,
            "BFloat16Storage" => Self::Bf16,
            "FloatStorage" => Self::F32,
            "DoubleStorage" => Self::F64,
            "IntStorage" => Self::I32,
            "LongStorage" => Self::I64,
            "ByteStorage" => Self::U8,
            "BoolStorage" => Self::Bool,
            _ => return None,
        })
    }

    /// Reads `count` numbers into a flat tensor (count): floats as f32, I32 and I64 as i64, U8 and Bool as u8.
    /// The caller has checked that there are enough bytes; `path` is for messages.
    pub fn read(self, reader: &mut dyn Read, count: usize, path: &str) -> Result<Tensor> {
        let read = match self {
            Self::F16 => numbers(reader, count, |b| f16::from_le_bytes(b).to_f32()).map(|v| flat(v, count)),
            Self::Bf16 => numbers(reader, count, |b| bf16::from_le_bytes(b).to_f32()).map(|v| flat(v, count)),
            Self::F32 => numbers(reader, count, f32::from_le_bytes).map(|v| flat(v, count)),
            Self::F64 => numbers(reader, count, |b| f64::from_le_bytes(b) as f32).map(|v| flat(v, count)),
            Self::I32 => numbers(reader, count, |b| i64::from(i32::from_le_bytes(b))).map(|v| flat(v, count)),
            Self::I64 => numbers(reader, count, i64::from_le_bytes).map(|v| flat(v, count)),
            Self::U8 | Self::Bool => numbers(reader, count, u8::from_le_bytes).map(|v| flat(v, count)),
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 => {
                blocks(reader, count, self).map(|v| flat(v, count))
            }
            Self::Q2K | Self::Q3K | Self::Q4K | Self::Q5K | Self::Q6K => {
                blocks(reader, count, self).map(|v| flat(v, count))
            }
        };
        read.map_err(|e| Error::file(path, e, "the file may be cut short or damaged: download it again"))?
    }
}

/// The number of elements of `shape`; none if this number, or one of the strides, is too large for a usize.
pub fn elements(shape: &[usize]) -> Option<usize> {
    let without_zeros = shape.iter().try_fold(1usize, |n, dim| n.checked_mul((*dim).max(1)))?;
    Some(if shape.contains(&0) { 0 } else { without_zeros })
}

fn flat<T: candle_core::WithDType>(numbers: Vec<T>, count: usize) -> Result<Tensor> {
    Ok(Tensor::from_vec(numbers, count, &Device::Cpu)?)
}

/// `count` numbers in ggml's blocks, widened by candle a chunk at a time.
fn blocks(reader: &mut dyn Read, count: usize, dtype: Dtype) -> io::Result<Vec<f32>> {
    let kind = dtype.ggml().ok_or_else(|| io::Error::other("not one of ggml's types"))?;
    let mut out = Vec::new();
    out.try_reserve_exact(count).map_err(|_| io::Error::other("not enough memory for its numbers"))?;
    let mut bytes = Vec::new();
    while out.len() < count {
        let blocks = ((count - out.len()) / kind.block_size()).min(CHUNK / kind.type_size());
        bytes.resize(blocks * kind.type_size(), 0);
        reader.read_exact(&mut bytes)?;
        let shape = vec![blocks * kind.block_size()];
        let wide = ggml_file::qtensor_from_ggml(kind, &bytes, shape, &Device::Cpu)
            .and_then(|held| held.dequantize(&Device::Cpu)?.to_vec1::<f32>());
        out.extend(wide.map_err(io::Error::other)?);
    }
    Ok(out)
}

/// `count` little-endian numbers of `N` bytes each.
fn numbers<const N: usize, T>(reader: &mut dyn Read, count: usize, from: impl Fn([u8; N]) -> T) -> io::Result<Vec<T>> {
    let mut out = Vec::new();
    out.try_reserve_exact(count).map_err(|_| io::Error::other("not enough memory for this tensor"))?;
    let mut left = count * N;
    let mut buffer = vec![0u8; CHUNK.min(left)];
    while left > 0 {
        let n = buffer.len().min(left);
        reader.read_exact(&mut buffer[..n])?;
        out.extend(buffer[..n].as_chunks::<N>().0.iter().map(|b| from(*b)));
        left -= n;
    }
    Ok(out)
}
