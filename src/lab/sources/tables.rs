//! Large embedding tables of frozen models, which stay in their file, and the other weights.

use crate::error::{Error, Result};
use crate::io::checkpoint::pieces::Piece;
use crate::io::checkpoint::table::StoredTable;
use crate::io::checkpoint::weights::{Checkpoint, Described};
use crate::kernels::quantized::{Compact, Filling};
use crate::lab::models::Precision;
use crate::model::may_be_compact;
use crate::nn::weight::Weight;
use std::collections::HashMap;
use std::sync::Arc;

/// Tables with at least this many numbers stay in their file. Smaller ones need little memory and are read faster from memory.
const LARGE: usize = 1 << 22;

impl crate::nn::weight::RowSource for StoredTable {
    fn dims(&self) -> (usize, usize) {
        self.dims()
    }

    fn read(&self, ids: &[u32]) -> Result<Vec<f32>> {
        self.read(ids)
    }
}

/// A checkpoint's tables that stay in their file, by name.
pub struct Tables(HashMap<&'static str, StoredTable>);

impl Tables {
    /// Opens those of the tables `names` that are large and can be read in parts.
    pub fn open(checkpoint: &Checkpoint<'_>, names: &[&'static str]) -> Result<Self> {
        let mut tables = HashMap::new();
        for name in names {
            let table = checkpoint.table(name)?;
            tables.extend(table.filter(|t| t.dims().0 * t.dims().1 >= LARGE).map(|table| (*name, table)));
        }
        Ok(Self(tables))
    }

    /// The headers of the `used` tensors that are loaded into memory.
    pub fn beside(&self, checkpoint: &Checkpoint<'_>, used: &dyn Fn(&str) -> bool) -> Vec<Described> {
        let held = |d: &&Described| used(&d.name) && !self.0.contains_key(d.name.as_str());
        checkpoint.described().iter().filter(held).cloned().collect()
    }

    /// Loads the `used` tensors with matrices in `precision`; these tables stay in their file. A piece of a matrix is also in memory
    /// in f32; of torch files, one tensor at a time.
    ///
    /// # Errors
    /// As [`Checkpoint::each`], and a weight that the number type cannot represent.
    pub fn weights(
        self,
        checkpoint: &Checkpoint<'_>,
        precision: Precision,
        used: &dyn Fn(&str) -> bool,
    ) -> Result<HashMap<String, Weight>> {
        let named = |name: &str, error| match error {
            Error::NotFinite { what, hint, row } => {
                Error::NotFinite { what: format!("{}: {name}: {what}", checkpoint.source().name()), hint, row }
            }
            other => other,
        };
        let compact = |name: &str, dims: &[usize]| precision != Precision::F32 && may_be_compact(name, dims);
        let mut all = HashMap::new();
        if checkpoint.is_in_parts() {
            for d in self.beside(checkpoint, used).iter().filter(|d| compact(&d.name, &d.shape) && d.dtype.is_float()) {
                let made = piece_by_piece(checkpoint, d, precision).map_err(|e| named(&d.name, e))?;
                all.insert(d.name.clone(), Weight::Compact(Arc::new(made)));
            }
        }
        let mut rest: HashMap<String, Weight> = HashMap::new();
        checkpoint.each(
            &|name| used(name) && !self.0.contains_key(name) && !all.contains_key(name),
            &mut |name, tensor| {
                let kind = if compact(&name, tensor.dims()) { precision } else { Precision::F32 };
                let weight = Weight::frozen(tensor, kind).map_err(|e| named(&name, e))?;
                rest.insert(name, weight);
                Ok(())
            },
        )?;
        all.extend(rest);
        all.extend(self.0.into_iter().map(|(name, t)| (name.to_string(), Weight::Elsewhere(Arc::new(t), precision))));
        Ok(all)
    }
}

/// A matrix in `precision` (not f32), converted piece by piece. Stored blocks of q8_0 are taken as they are.
fn piece_by_piece(checkpoint: &Checkpoint<'_>, matrix: &Described, precision: Precision) -> Result<Compact> {
    let (rows, cols) = (matrix.shape[0], matrix.shape[1]);
    let mut filling = Filling::new(rows, cols, precision)?;
    let mut pieces = checkpoint.pieces(&matrix.name)?;
    while let Some(piece) = pieces.next(precision == Precision::Q8_0)? {
        match piece {
            Piece::Numbers(numbers) => filling.numbers(&numbers),
            Piece::Q8_0(bytes) => filling.blocks(&bytes),
        }
    }
    filling.done()
}
