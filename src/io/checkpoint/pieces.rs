//! Reads a tensor in pieces of whole rows, so that a large matrix is converted without being in memory as f32.

use super::described::Described;
use super::dtype::Dtype;
use crate::error::{Error, Result};
use crate::io::ReadSeek;
use std::io::SeekFrom;

/// Numbers of a piece, unless a single row has more.
const NUMBERS: usize = 1 << 18;
const DAMAGED: &str = "the file may be cut short or damaged: fetch it again";

/// Some rows of a tensor.
pub enum Piece {
    /// As f32.
    Numbers(Vec<f32>),
    /// ggml's q8_0 blocks, as they are stored.
    Q8_0(Vec<u8>),
}

/// A tensor's rows, from the first to the last. A tensor of one dimension has one row.
pub struct Pieces<'a>(Inside<'a>);

enum Inside<'a> {
    /// A file that is read from here on: where, the stored type, numbers of a row, and rows left.
    File { reader: Box<dyn ReadSeek + 'a>, path: String, dtype: Dtype, cols: usize, rows: usize },
    /// All numbers at once.
    Whole(Option<Vec<f32>>),
}

impl<'a> Pieces<'a> {
    /// The tensor at byte `start` of an open file. `path` is for messages.
    pub(super) fn of_file(
        mut reader: Box<dyn ReadSeek + 'a>,
        tensor: &Described,
        start: u64,
        path: String,
    ) -> Result<Self> {
        reader.seek(SeekFrom::Start(start)).map_err(|e| Error::file(&path, e, DAMAGED))?;
        let cols = tensor.shape.last().copied().unwrap_or(1);
        let rows = tensor.shape.iter().rev().skip(1).product::<usize>();
        let rows = if cols == 0 { 0 } else { rows };
        Ok(Self(Inside::File { reader, path, dtype: tensor.dtype, cols, rows }))
    }

    /// A tensor whose numbers are in memory.
    pub(super) fn whole(numbers: Vec<f32>) -> Self {
        Self(Inside::Whole(Some(numbers)))
    }

    /// The next rows; none after the last. `blocks`: rows that are stored in whole blocks of q8_0 are returned as they are.
    ///
    /// # Errors
    /// A file that cannot be read; names file and tensor.
    pub fn next(&mut self, blocks: bool) -> Result<Option<Piece>> {
        let (reader, path, dtype, cols, left) = match &mut self.0 {
            Inside::Whole(numbers) => return Ok(numbers.take().map(Piece::Numbers)),
            Inside::File { rows: 0, .. } => return Ok(None),
            Inside::File { reader, path, dtype, cols, rows } => (reader, path, *dtype, *cols, rows),
        };
        let rows = (NUMBERS / cols).clamp(1, *left);
        *left -= rows;
        if blocks && dtype == Dtype::Q8_0 && cols.is_multiple_of(dtype.block()) {
            let mut bytes = vec![0; dtype.bytes(rows * cols).unwrap_or_default()];
            reader.read_exact(&mut bytes).map_err(|e| Error::file(path, e, DAMAGED))?;
            return Ok(Some(Piece::Q8_0(bytes)));
        }
        Ok(Some(Piece::Numbers(dtype.read(reader, rows * cols, path)?.to_vec1()?)))
    }

    /// The next rows as f32; none after the last.
    ///
    /// # Errors
    /// As [`Pieces::next`].
    pub fn numbers(&mut self) -> Result<Option<Vec<f32>>> {
        match self.next(false)? {
            Some(Piece::Numbers(numbers)) => Ok(Some(numbers)),
            _ => Ok(None),
        }
    }
}
