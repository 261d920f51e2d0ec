//! The safetensors format, read tensor by tensor and written sorted by name (<https://huggingface.co/docs/safetensors>). The
//! header is not checked by the safetensors crate, because messages need the tensor's name and because that crate accepts
//! duplicate names.

use super::described::{Described, Taker, refuse_lfs_pointer};
use super::dtype::{Dtype, elements};
use crate::error::Error;
use crate::io::ReadSeek;
use ::safetensors::tensor::{Metadata, TensorInfo, View};
use candle_core::{DType, Tensor};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{SeekFrom, Write};

/// The limit of the format.
const MAX_HEADER: u64 = 100_000_000;
const DAMAGED: &str = "the file may be cut short or damaged: download it again";

/// A tensor: bytes `start..end` after the header.
struct Entry {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    start: u64,
    end: u64,
}

/// A file's header, checked against the file's length: where each tensor is. It is read once and used for all later reading.
pub struct SafetensorsHeader {
    /// In file order.
    entries: Vec<Entry>,
    /// The first byte after the header.
    data_start: u64,
    file_len: u64,
}

impl SafetensorsHeader {
    /// Reads the header of a safetensors file; `path` is for messages.
    ///
    /// # Errors
    /// Names the file, and the tensor that does not fit.
    pub fn read(reader: &mut dyn ReadSeek, path: &str) -> Result<Self, Error> {
        let io = |e| Error::file(path, e, DAMAGED);
        let wrong = |what: String| Error::file(path, what, DAMAGED);
        let file_len = reader.seek(SeekFrom::End(0)).map_err(io)?;
        reader.seek(SeekFrom::Start(0)).map_err(io)?;
        if file_len < 8 {
            return Err(wrong(format!("only {file_len} bytes: not a safetensors file")));
        }
        let mut length = [0u8; 8];
        reader.read_exact(&mut length).map_err(io)?;
        refuse_lfs_pointer(&length, path)?;
        let length = u64::from_le_bytes(length);
        if length > MAX_HEADER || length > file_len - 8 {
            return Err(wrong(format!("header of {length} bytes in a file of {file_len}: not a safetensors file")));
        }
        let mut bytes = vec![0u8; length as usize];
        reader.read_exact(&mut bytes).map_err(io)?;
        let raw: RawHeader =
            serde_json::from_slice(&bytes).map_err(|e| wrong(format!("bad safetensors header: {e}")))?;
        let entries = raw.0.into_iter().map(|(name, raw)| entry(name, &raw)).collect::<Result<Vec<_>, _>>();
        let mut entries = entries.map_err(wrong)?;
        entries.sort_by_key(|e| (e.start, e.end));
        check_ranges(&entries, file_len - 8 - length).map_err(wrong)?;
        Ok(Self { entries, data_start: 8 + length, file_len })
    }

    /// The descriptions of the tensors, in file order.
    pub fn described(&self) -> impl Iterator<Item = Described> {
        self.entries.iter().map(Entry::described)
    }

    /// The first tensor whose name `is` accepts: its description and its position in the file.
    pub fn find(&self, is: &dyn Fn(&str) -> bool) -> Option<(Described, u64)> {
        let entry = self.entries.iter().find(|entry| is(&entry.name))?;
        Some((entry.described(), self.data_start + entry.start))
    }

    /// Refuses a file that has another length than when its header was read.
    pub(super) fn check_length(&self, reader: &mut dyn ReadSeek, path: &str) -> Result<(), Error> {
        let now = reader.seek(SeekFrom::End(0)).map_err(|e| Error::file(path, e, DAMAGED))?;
        if now != self.file_len {
            let what = format!("changed while it was read: it had {} bytes and now has {now}", self.file_len);
            return Err(Error::file(path, what, "try again when the file is complete"));
        }
        Ok(())
    }

    /// Passes the tensors whose names `keep` accepts to `take`, in file order; floats as f32.
    ///
    /// # Errors
    /// Names file and tensor; also a file whose length has changed since its header was read.
    pub fn each(
        &self,
        reader: &mut dyn ReadSeek,
        path: &str,
        keep: &dyn Fn(&str) -> bool,
        take: &mut Taker<'_>,
    ) -> Result<(), Error> {
        self.check_length(reader, path)?;
        for entry in self.entries.iter().filter(|e| keep(&e.name)) {
            let tensor_of = format!("{path}: tensor {}", entry.name);
            let start = SeekFrom::Start(self.data_start + entry.start);
            reader.seek(start).map_err(|e| Error::file(&tensor_of, e, DAMAGED))?;
            let count = entry.shape.iter().product();
            let tensor = entry.dtype.read(reader, count, &tensor_of)?.reshape(entry.shape.as_slice())?;
            take(entry.name.clone(), tensor)?;
        }
        Ok(())
    }
}

impl Entry {
    fn described(&self) -> Described {
        Described { name: self.name.clone(), shape: self.shape.clone(), dtype: self.dtype }
    }
}

/// Checks that the tensors fill the file without gaps or overlaps.
fn check_ranges(entries: &[Entry], data_len: u64) -> Result<(), String> {
    let mut end = 0;
    for entry in entries {
        let name = &entry.name;
        if entry.end > data_len {
            return Err(format!("tensor {name} ends at byte {}, but the data has {data_len} bytes", entry.end));
        }
        if entry.start < end {
            return Err(format!("tensor {name} overlaps the one before it"));
        }
        if entry.start > end {
            return Err(format!("{} bytes before tensor {name} belong to no tensor", entry.start - end));
        }
        end = entry.end;
    }
    if end != data_len {
        return Err(format!("{} bytes after the last tensor belong to no tensor", data_len - end));
    }
    Ok(())
}

fn entry(name: String, raw: &RawEntry) -> Result<Entry, String> {
    let Some(dtype) = Dtype::from_safetensors(&raw.dtype) else {
        return Err(format!("tensor {name} has the type {}, which is not supported", raw.dtype));
    };
    let [start, end] = raw.data_offsets;
    let shape: Option<Vec<usize>> = raw.shape.iter().map(|d| usize::try_from(*d).ok()).collect();
    let size = shape.as_deref().and_then(elements).and_then(|n| dtype.bytes(n));
    match (shape, size) {
        (Some(shape), Some(size)) if end.checked_sub(start) == Some(size as u64) => {
            Ok(Entry { name, dtype, shape, start, end })
        }
        _ => Err(format!(
            "tensor {name} of shape {:?} and type {} does not fit bytes {start}..{end}",
            raw.shape, raw.dtype
        )),
    }
}

#[derive(Deserialize)]
struct RawEntry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

/// The header's JSON; a repeated name is an error (a map would keep only the last one).
struct RawHeader(Vec<(String, RawEntry)>);

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = RawHeader;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a map of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
                let mut seen = HashSet::new();
                let mut entries = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if !seen.insert(name.clone()) {
                        return Err(A::Error::custom(format!("tensor {name} appears twice")));
                    }
                    if name == "__metadata__" {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    }
                    let value = map.next_value::<serde_json::Value>()?;
                    let raw =
                        RawEntry::deserialize(value).map_err(|e| A::Error::custom(format!("tensor {name}: {e}")))?;
                    entries.push((name, raw));
                }
                Ok(RawHeader(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// Writes `tensors` as one safetensors file, sorted by name, with the metadata `{"format": "pt"}` that transformers needs. Only
/// one tensor's bytes are in memory at a time. `path` is for messages.
pub fn write(out: &mut dyn Write, tensors: &BTreeMap<String, Tensor>, path: &str) -> Result<(), Error> {
    let failed = |e: &dyn std::fmt::Display| Error::file(path, e, "check free space and permissions");
    let mut infos = Vec::with_capacity(tensors.len());
    let mut end = 0;
    for (name, tensor) in tensors {
        if !matches!(tensor.dtype(), DType::F32 | DType::F16 | DType::BF16 | DType::F64 | DType::I64 | DType::U8) {
            return Err(Error::file(path, format!("tensor {name} is {:?}", tensor.dtype()), "write f32 tensors"));
        }
        let start = end;
        end += tensor.data_len();
        let info =
            TensorInfo { dtype: tensor.dtype().into(), shape: tensor.dims().to_vec(), data_offsets: (start, end) };
        infos.push((name.clone(), info));
    }
    let format = HashMap::from([("format".to_string(), "pt".to_string())]);
    let header = Metadata::new(Some(format), infos).map_err(|e| failed(&e))?;
    let mut header = serde_json::to_vec(&header).map_err(|e| failed(&e))?;
    header.resize(header.len().next_multiple_of(8), b' '); // the format needs aligned data
    out.write_all(&(header.len() as u64).to_le_bytes()).map_err(|e| failed(&e))?;
    out.write_all(&header).map_err(|e| failed(&e))?;
    for tensor in tensors.values() {
        out.write_all(&tensor.data()).map_err(|e| failed(&e))?;
    }
    Ok(())
}

/// [`write()`] into memory; for adapters and value heads.
pub fn to_bytes(tensors: &BTreeMap<String, Tensor>) -> Result<Vec<u8>, Error> {
    // a growing vector would temporarily need twice the memory
    let numbers: usize = tensors.values().map(|t| t.elem_count() * t.dtype().size_in_bytes()).sum();
    let mut bytes = Vec::with_capacity(numbers + (1 << 12) + 256 * tensors.len());
    write(&mut bytes, tensors, "safetensors")?;
    Ok(bytes)
}
