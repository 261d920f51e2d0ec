//! A checkpoint's matrix that stays in its file: a large vocabulary's embeddings, of which a text needs a few hundred rows.

use super::described::Described;
use super::dtype::Dtype;
use crate::error::Result;
use crate::io::Lasting;
use std::collections::BTreeMap;
use std::io::Cursor;

/// A matrix (rows, cols) of floats in a file that is open.
#[derive(Debug)]
pub struct StoredTable {
    file: Box<dyn Lasting>,
    name: String,
    rows: usize,
    cols: usize,
    dtype: Dtype,
    /// The first row's first byte.
    start: u64,
}

impl StoredTable {
    /// The tensor that `described` tells of, from byte `start` on; none where it is no matrix of floats.
    pub(super) fn new(file: Box<dyn Lasting>, described: &Described, start: u64) -> Option<Self> {
        let [rows, cols] = described.shape[..] else { return None };
        let floats = matches!(described.dtype, Dtype::F16 | Dtype::Bf16 | Dtype::F32 | Dtype::F64);
        let table = Self { file, name: described.name.clone(), rows, cols, dtype: described.dtype, start };
        (floats && rows > 0 && cols > 0).then_some(table)
    }

    /// (rows, cols).
    pub fn dims(&self) -> (usize, usize) {
        (self.rows, self.cols)
    }

    /// The rows of these numbers, one after another, as f32; each is read once, however often it is asked for.
    ///
    /// # Errors
    /// Names the file, which cannot be read or is not what it was when it was opened.
    ///
    /// # Panics
    /// A number outside the rows.
    pub fn read(&self, ids: &[u32]) -> Result<Vec<f32>> {
        assert!(ids.iter().all(|id| (*id as usize) < self.rows), "a row outside a table of {}", self.rows);
        let mut places: BTreeMap<u32, usize> = ids.iter().map(|id| (*id, 0)).collect();
        places.values_mut().enumerate().for_each(|(place, slot)| *slot = place);
        let width = self.cols * self.dtype.size();
        let mut bytes = vec![0u8; places.len() * width];
        let starts = places.keys().map(|id| self.start + u64::from(*id) * width as u64);
        self.file.read_parts(&mut starts.zip(bytes.chunks_exact_mut(width)))?;
        let distinct =
            self.dtype.read(&mut Cursor::new(bytes), places.len() * self.cols, &self.name)?.to_vec1::<f32>()?;
        Ok(ids.iter().flat_map(|id| &distinct[places[id] * self.cols..][..self.cols]).copied().collect())
    }
}
