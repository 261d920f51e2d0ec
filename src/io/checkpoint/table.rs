//! A checkpoint's matrix that stays in its file: embeddings of a large vocabulary, of which a text needs a few hundred rows.

use super::described::Described;
use super::dtype::Dtype;
use crate::error::Result;
use crate::io::Lasting;
use std::collections::BTreeMap;
use std::io::Cursor;

/// A matrix (rows, cols) of floats in an open file.
#[derive(Debug)]
pub struct StoredTable {
    file: Box<dyn Lasting>,
    name: String,
    rows: usize,
    cols: usize,
    dtype: Dtype,
    /// Bytes of a row.
    width: usize,
    /// The position of the first row.
    start: u64,
}

impl StoredTable {
    /// The tensor that `described` describes, at byte `start`; none if it is not a matrix of floats.
    pub(super) fn new(file: Box<dyn Lasting>, described: &Described, start: u64) -> Option<Self> {
        let [rows, cols] = described.shape[..] else { return None };
        let floats = matches!(described.dtype, Dtype::F16 | Dtype::Bf16 | Dtype::F32 | Dtype::F64 | Dtype::Q8_0);
        let (name, dtype) = (described.name.clone(), described.dtype);
        let width = dtype.bytes(cols)?;
        let table = Self { file, name, rows, cols, dtype, width, start };
        (floats && rows > 0 && cols > 0).then_some(table)
    }

    /// (rows, cols).
    pub fn dims(&self) -> (usize, usize) {
        (self.rows, self.cols)
    }

    /// The rows with these numbers, one after another, as f32; a repeated row is read only once.
    ///
    /// # Errors
    /// A file that cannot be read or has changed; names it.
    ///
    /// # Panics
    /// A row number that is too large.
    pub fn read(&self, ids: &[u32]) -> Result<Vec<f32>> {
        assert!(ids.iter().all(|id| (*id as usize) < self.rows), "a row outside a table of {}", self.rows);
        let mut places: BTreeMap<u32, usize> = ids.iter().map(|id| (*id, 0)).collect();
        places.values_mut().enumerate().for_each(|(place, slot)| *slot = place);
        let mut bytes = vec![0u8; places.len() * self.width];
        let starts = places.keys().map(|id| self.start + u64::from(*id) * self.width as u64);
        self.file.read_parts(&mut starts.zip(bytes.chunks_exact_mut(self.width)))?;
        let distinct =
            self.dtype.read(&mut Cursor::new(bytes), places.len() * self.cols, &self.name)?.to_vec1::<f32>()?;
        Ok(ids.iter().flat_map(|id| &distinct[places[id] * self.cols..][..self.cols]).copied().collect())
    }
}
