//! Matrices with fewer bits than f32 (f16, bf16, q8_0), and converting pieces of them to f32. Products with them are in
//! `matrix`. Widening is exact: numbers are rounded once, when the matrix is made.

use super::choice::vectorized;
use crate::error::{Error, Result};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// The number type of frozen matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 4 bytes per number.
    #[default]
    F32,
    /// 2 bytes: f32's range, 8 bits of significand.
    Bf16,
    /// 2 bytes: 11 bits of significand, numbers up to 65504.
    F16,
    /// 34 bytes for 32 numbers: ggml's blocks of 8-bit integers with one f16 scale.
    Q8_0,
}

impl Precision {
    /// All types, the most exact first.
    pub const ALL: [Self; 4] = [Self::F32, Self::F16, Self::Bf16, Self::Q8_0];

    /// Its name: f32, bf16, f16, q8_0.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
            Self::Q8_0 => "q8_0",
        }
    }

    /// Bytes of a matrix (rows, cols).
    pub fn bytes(self, rows: usize, cols: usize) -> usize {
        match self {
            Self::F32 => rows * cols * 4,
            Self::Bf16 | Self::F16 => rows * cols * 2,
            Self::Q8_0 => rows * cols.div_ceil(BLOCK) * size_of::<BlockQ8_0>(),
        }
    }
}

/// Numbers of a row that share a scale in q8_0.
pub const BLOCK: usize = 32;

/// ggml's `block_q8_0` (ggml-common.h): the numbers are `d · qs[i]`.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C)]
pub struct BlockQ8_0 {
    /// The scale: the block's largest magnitude over 127.
    pub d: f16,
    pub qs: [i8; BLOCK],
}

impl BlockQ8_0 {
    /// Rounds as ggml's `quantize_row_q8_0_ref` (ggml-quants.c): to the nearest, halves away from zero.
    fn of(numbers: &[f32]) -> Self {
        let largest = numbers.iter().fold(0f32, |m, x| m.max(x.abs()));
        let d = largest / 127.0;
        let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
        let mut qs = [0i8; BLOCK];
        for (q, x) in qs.iter_mut().zip(numbers) {
            *q = (x * inverse).round() as i8;
        }
        Self { d: f16::from_f32(d), qs }
    }

    /// The scale.
    #[inline(always)]
    pub fn scale(&self) -> f32 {
        wide(self.d.to_bits())
    }

    #[inline(always)]
    fn widen(&self, out: &mut [f32]) {
        let d = self.scale();
        out.iter_mut().zip(&self.qs).for_each(|(o, q)| *o = d * f32::from(*q));
    }

    /// The block as its bytes in a file.
    pub fn to_bytes(&self) -> [u8; size_of::<Self>()] {
        let mut bytes = [0; size_of::<Self>()];
        bytes[..2].copy_from_slice(&self.d.to_le_bytes());
        bytes[2..].iter_mut().zip(self.qs).for_each(|(byte, q)| *byte = q as u8);
        bytes
    }

    fn from_bytes(bytes: &[u8; size_of::<Self>()]) -> Self {
        let mut qs = [0i8; BLOCK];
        qs.iter_mut().zip(&bytes[2..]).for_each(|(q, byte)| *q = *byte as i8);
        Self { d: f16::from_le_bytes([bytes[0], bytes[1]]), qs }
    }
}

#[derive(Debug)]
enum CompactNumbers {
    Bf16(Vec<bf16>),
    F16(Vec<f16>),
    /// Every row starts a new block; the last block of a row is filled with zeros.
    Q8_0(Vec<BlockQ8_0>),
}

/// A frozen matrix (rows, cols), row-major, in a type other than f32.
#[derive(Debug)]
pub struct Compact {
    rows: usize,
    cols: usize,
    numbers: CompactNumbers,
}

impl Compact {
    /// Rounds a row-major matrix (rows, cols).
    ///
    /// # Errors
    /// A number that is not finite, or that the type cannot represent.
    ///
    /// # Panics
    /// If `numbers` are not rows · cols, or `precision` is f32.
    pub fn of(numbers: &[f32], rows: usize, cols: usize, precision: Precision) -> Result<Self> {
        assert_eq!(numbers.len(), rows * cols, "a matrix of {rows} x {cols}");
        let mut filling = Filling::new(rows, cols, precision)?;
        filling.numbers(numbers);
        filling.done()
    }

    /// (rows, cols).
    pub fn dims(&self) -> (usize, usize) {
        (self.rows, self.cols)
    }

    /// Its type.
    pub fn precision(&self) -> Precision {
        match self.numbers {
            CompactNumbers::Bf16(_) => Precision::Bf16,
            CompactNumbers::F16(_) => Precision::F16,
            CompactNumbers::Q8_0(_) => Precision::Q8_0,
        }
    }

    /// The numbers of a bf16 matrix, row-major.
    pub fn bf16(&self) -> Option<&[bf16]> {
        if let CompactNumbers::Bf16(numbers) = &self.numbers { Some(numbers) } else { None }
    }

    /// The blocks of a q8_0 matrix, ⌈cols / 32⌉ per row.
    pub fn blocks(&self) -> Option<&[BlockQ8_0]> {
        if let CompactNumbers::Q8_0(blocks) = &self.numbers { Some(blocks) } else { None }
    }

    /// Writes columns `cols` of rows `rows` as f32 into `out`, row-major and without gaps. A range of columns must start at a
    /// multiple of [`BLOCK`].
    ///
    /// # Panics
    /// If ranges are outside the matrix, or `out` has another size.
    pub fn widen(&self, rows: Range<usize>, cols: Range<usize>, out: &mut [f32]) {
        assert!(
            rows.end <= self.rows && cols.end <= self.cols && cols.start.is_multiple_of(BLOCK),
            "outside the matrix"
        );
        let width = cols.len();
        assert_eq!(out.len(), rows.len() * width, "another size");
        if width == 0 {
            return;
        }
        let line = |row: usize| row * self.cols + cols.start..row * self.cols + cols.end;
        vectorized(|| match &self.numbers {
            CompactNumbers::Bf16(x) => {
                for (row, out) in rows.zip(out.chunks_exact_mut(width)) {
                    out.iter_mut()
                        .zip(&x[line(row)])
                        .for_each(|(o, x)| *o = f32::from_bits(u32::from(x.to_bits()) << 16));
                }
            }
            CompactNumbers::F16(x) => {
                for (row, out) in rows.zip(out.chunks_exact_mut(width)) {
                    let x = &x[line(row)];
                    if cfg!(target_arch = "wasm32") {
                        // the crate half converts number by number there
                        out.iter_mut().zip(x).for_each(|(o, x)| *o = wide(x.to_bits()));
                    } else {
                        x.convert_to_f32_slice(out);
                    }
                }
            }
            CompactNumbers::Q8_0(blocks) => {
                let per_row = self.cols.div_ceil(BLOCK);
                for (row, out) in rows.zip(out.chunks_exact_mut(width)) {
                    let mut blocks = blocks[row * per_row + cols.start / BLOCK..].iter();
                    let (whole, rest) = out.as_chunks_mut::<BLOCK>(); // SIMD needs to know the length
                    whole.iter_mut().zip(&mut blocks).for_each(|(out, block)| block.widen(out));
                    blocks.next().into_iter().for_each(|block| block.widen(rest));
                }
            }
        });
    }
}

/// A [`Compact`] that is being made, from pieces of whole rows in their order.
pub struct Filling {
    made: Compact,
    /// Whether a number was NaN, which a block of q8_0 does not show.
    nan: bool,
}

impl Filling {
    /// For a matrix (rows, cols).
    ///
    /// # Errors
    /// Not enough memory.
    ///
    /// # Panics
    /// If `precision` is f32.
    pub fn new(rows: usize, cols: usize, precision: Precision) -> Result<Self> {
        let numbers = match precision {
            Precision::F32 => panic!("f32 is held as a tensor"),
            Precision::Bf16 => CompactNumbers::Bf16(reserved(rows * cols)?),
            Precision::F16 => CompactNumbers::F16(reserved(rows * cols)?),
            Precision::Q8_0 => CompactNumbers::Q8_0(reserved(rows * cols.div_ceil(BLOCK))?),
        };
        Ok(Self { made: Compact { rows, cols, numbers }, nan: false })
    }

    /// Rounds the next rows.
    pub fn numbers(&mut self, numbers: &[f32]) {
        match &mut self.made.numbers {
            CompactNumbers::Bf16(x) => x.extend(numbers.iter().map(|x| bf16::from_f32(*x))),
            CompactNumbers::F16(x) => x.extend(numbers.iter().map(|x| f16::from_f32(*x))),
            CompactNumbers::Q8_0(x) => {
                let rows = numbers.chunks_exact(self.made.cols.max(1));
                x.extend(rows.flat_map(|row| row.chunks(BLOCK).map(BlockQ8_0::of)));
                self.nan |= numbers.iter().any(|x| x.is_nan());
            }
        }
    }

    /// Takes the next rows of a q8_0 matrix as ggml's blocks.
    ///
    /// # Panics
    /// If the matrix has another type, or the bytes are not whole blocks.
    pub fn blocks(&mut self, bytes: &[u8]) {
        let CompactNumbers::Q8_0(blocks) = &mut self.made.numbers else { panic!("blocks of q8_0 in another type") };
        let (bytes, rest) = bytes.as_chunks::<{ size_of::<BlockQ8_0>() }>();
        assert!(rest.is_empty(), "a part of a block");
        blocks.extend(bytes.iter().map(BlockQ8_0::from_bytes));
    }

    /// The matrix.
    ///
    /// # Errors
    /// A number that is not finite, or that the type cannot represent.
    ///
    /// # Panics
    /// If rows are missing.
    pub fn done(self) -> Result<Compact> {
        let Compact { rows, cols, numbers } = &self.made;
        let (count, blocks) = (rows * cols, rows * cols.div_ceil(BLOCK));
        let (whole, finite) = match numbers {
            CompactNumbers::Bf16(x) => (x.len() == count, x.iter().all(|x| x.is_finite())),
            CompactNumbers::F16(x) => (x.len() == count, x.iter().all(|x| x.is_finite())),
            // an infinity makes its block's scale infinite; a NaN does not change the largest magnitude
            CompactNumbers::Q8_0(x) => (x.len() == blocks, x.iter().all(|b| b.d.is_finite()) && !self.nan),
        };
        assert!(whole, "rows are missing");
        if !finite {
            let what = format!("a weight held as {}", self.made.precision().name());
            return Err(Error::not_finite(
                what,
                "its numbers are too large for this type, or damaged: use f32 or bf16",
            ));
        }
        Ok(self.made)
    }
}

/// An empty vector with memory for `count` elements.
fn reserved<T>(count: usize) -> Result<Vec<T>> {
    let mut out = Vec::new();
    let refused = |_| Error::input("not enough memory for the weights", "choose q8_0, or a smaller model");
    out.try_reserve_exact(count).map_err(refused).map(|()| out)
}

/// A finite f16's bits as f32, without branches and without subnormal f32 (which take x86 a hundred cycles), so that loops
/// become SIMD on processors without an instruction for it.
#[inline(always)]
fn wide(bits: u16) -> f32 {
    const LEAST: u32 = 113 << 23; // 2⁻¹⁴, the least normal f16
    let (sign, magnitude) = (u32::from(bits & 0x8000) << 16, u32::from(bits & 0x7fff) << 13);
    let normal = magnitude + (112 << 23);
    let subnormal = (f32::from_bits(magnitude + LEAST) - f32::from_bits(LEAST)).to_bits();
    f32::from_bits(sign | if magnitude < 1 << 23 { subnormal } else { normal })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::kernels::test_numbers;

    #[test]
    fn every_finite_f16_widens_exactly() {
        for bits in 0..=u16::MAX {
            let x = f16::from_bits(bits);
            if x.is_finite() {
                assert_eq!(wide(bits).to_bits(), x.to_f32().to_bits(), "{bits:#x}");
            }
        }
    }

    #[test]
    fn pieces_equal_parts_of_the_whole_within_the_types_rounding() {
        let (rows, cols) = (5, 75); // the third block of a row is not full
        let numbers = test_numbers(1, rows * cols);
        for (precision, relative) in
            [(Precision::Bf16, 1.0 / 256.0), (Precision::F16, 1.0 / 2048.0), (Precision::Q8_0, 0.0)]
        {
            let held = Compact::of(&numbers, rows, cols, precision).unwrap();
            assert_eq!((held.dims(), held.precision()), ((rows, cols), precision));
            let mut whole = vec![0f32; rows * cols];
            held.widen(0..rows, 0..cols, &mut whole);
            for (row, (got, want)) in whole.chunks(cols).zip(numbers.chunks(cols)).enumerate() {
                for (at, (got, want)) in got.chunks(BLOCK).zip(want.chunks(BLOCK)).enumerate() {
                    let largest = want.iter().fold(0f32, |m, x| m.max(x.abs()));
                    for (g, w) in got.iter().zip(want) {
                        // q8_0: half a step of largest/127, and the f16 scale's own rounding
                        let off =
                            if relative > 0.0 { relative * w.abs() } else { largest * (0.5 / 127.0 + 1.0 / 2048.0) };
                        assert!((g - w).abs() <= off, "{precision:?} row {row} block {at}: {w} became {g}");
                    }
                }
            }
            let mut piece = vec![0f32; 2 * (cols - 32)];
            held.widen(2..4, 32..cols, &mut piece);
            let want: Vec<f32> = (2..4).flat_map(|row| whole[row * cols + 32..(row + 1) * cols].to_vec()).collect();
            assert_eq!(piece, want, "{precision:?}");
        }
    }

    #[test]
    fn blocks_are_ggmls() {
        // candle's own implementation of ggml's format
        use candle_core::quantized::{GgmlDType, QTensor};
        use candle_core::{Device, Tensor};
        let mut numbers: Vec<f32> = test_numbers(2, 7 * 96).iter().map(|x| x * 0.05).collect();
        numbers[..32].fill(0.0);
        let held = Compact::of(&numbers, 7, 96, Precision::Q8_0).unwrap();
        let tensor = Tensor::from_slice(&numbers, (7, 96), &Device::Cpu).unwrap();
        let theirs = QTensor::quantize(&tensor, GgmlDType::Q8_0).unwrap();
        let bytes = theirs.data().unwrap();
        assert_eq!((size_of::<BlockQ8_0>(), bytes.len()), (34, Precision::Q8_0.bytes(7, 96)));
        for (ours, theirs) in held.blocks().unwrap().iter().zip(bytes.chunks(34)) {
            assert_eq!(ours.d.to_le_bytes(), theirs[..2]);
            assert!(ours.qs.iter().zip(&theirs[2..]).all(|(a, b)| *a == *b as i8));
        }
    }

    #[test]
    fn a_matrix_made_of_pieces_equals_the_one_made_at_once() {
        let (rows, cols) = (5, 75);
        let numbers = test_numbers(3, rows * cols);
        let wide = |held: &Compact| {
            let mut out = vec![0f32; rows * cols];
            held.widen(0..rows, 0..cols, &mut out);
            out
        };
        for precision in [Precision::Bf16, Precision::F16, Precision::Q8_0] {
            let whole = Compact::of(&numbers, rows, cols, precision).unwrap();
            let mut filling = Filling::new(rows, cols, precision).unwrap();
            filling.numbers(&numbers[..2 * cols]);
            filling.numbers(&numbers[2 * cols..]);
            assert_eq!(wide(&filling.done().unwrap()), wide(&whole), "{precision:?}");
        }
        let whole = Compact::of(&numbers, rows, cols, Precision::Q8_0).unwrap();
        let bytes: Vec<u8> = whole.blocks().unwrap().iter().flat_map(BlockQ8_0::to_bytes).collect();
        let mut filling = Filling::new(rows, cols, Precision::Q8_0).unwrap();
        filling.blocks(&bytes);
        assert_eq!(filling.done().unwrap().blocks(), whole.blocks());
    }

    #[test]
    fn numbers_that_a_type_cannot_represent_are_refused() {
        for precision in [Precision::Bf16, Precision::F16, Precision::Q8_0] {
            for bad in [f32::NAN, f32::INFINITY] {
                let error = Compact::of(&[1.0, bad], 1, 2, precision).unwrap_err().to_string();
                assert!(error.contains(precision.name()), "{error}");
            }
        }
        assert!(Compact::of(&[1e5], 1, 1, Precision::F16).is_err());
        assert!(Compact::of(&[1e5], 1, 1, Precision::Bf16).is_ok());
    }
}
