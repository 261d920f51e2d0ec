//! Large embedding tables of frozen models, which stay in their file, and the other weights.

use crate::error::{Error, Result};
use crate::io::checkpoint::table::StoredTable;
use crate::io::checkpoint::weights::{Checkpoint, Described};
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

    /// Loads the `used` tensors with matrices in `precision`; these tables stay in their file. One tensor at a time is also in
    /// memory in f32.
    ///
    /// # Errors
    /// As [`Checkpoint::each`], and a weight that the number type cannot represent.
    pub fn weights(
        self,
        checkpoint: &Checkpoint<'_>,
        precision: Precision,
        used: &dyn Fn(&str) -> bool,
    ) -> Result<HashMap<String, Weight>> {
        let mut all = HashMap::new();
        checkpoint.each(&|name| used(name) && !self.0.contains_key(name), &mut |name, tensor| {
            let kind = if may_be_compact(&name, tensor.dims()) { precision } else { Precision::F32 };
            let weight = Weight::frozen(tensor, kind).map_err(|e| match e {
                Error::NotFinite { what, hint, row } => {
                    Error::NotFinite { what: format!("{}: {name}: {what}", checkpoint.source().name()), hint, row }
                }
                other => other,
            })?;
            all.insert(name, weight);
            Ok(())
        })?;
        all.extend(self.0.into_iter().map(|(name, t)| (name.to_string(), Weight::Elsewhere(Arc::new(t), precision))));
        Ok(all)
    }
}
