//! The GGUF format (<https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>): metadata and tensors in one file, read tensor by
//! tensor and written tensor by tensor. Metadata are JSON values here. candle's reader is the reference in the tests; it is not
//! used itself because a file with an alignment of 0 makes it panic, and because it reads each tensor whole.

use super::described::{Described, Taker, refuse_lfs_pointer};
use super::dtype::{Dtype, elements};
use crate::error::{Error, Result};
use crate::io::ReadSeek;
use serde_json::{Map, Value, json};
use std::collections::HashSet;
use std::io::{self, BufReader, Read, SeekFrom, Write};

const DAMAGED: &str = "the file may be cut short or damaged: fetch it again";
/// Tensors begin at multiples of this many bytes where the file does not say otherwise.
const ALIGNMENT: u64 = 32;
/// Largest number of metadata values, those of arrays included: a vocabulary of 256,000 tokens has three arrays.
const MAX_VALUES: u64 = 1 << 22;
/// Largest number of dimensions (ggml's `GGML_MAX_DIMS`).
const MAX_DIMS: u32 = 4;

struct Entry {
    name: String,
    shape: Vec<usize>,
    dtype: Dtype,
    /// The first byte in the file.
    start: u64,
}

/// A file's header, checked against the file's length.
pub struct GgufHeader {
    pub metadata: Map<String, Value>,
    entries: Vec<Entry>,
    file_len: u64,
}

impl GgufHeader {
    /// Reads the header of the GGUF file `path`.
    ///
    /// # Errors
    /// Names the file, and the key or tensor that cannot be read.
    pub fn read(reader: &mut dyn ReadSeek, path: &str) -> Result<Self> {
        let io = |e| Error::file(path, e, DAMAGED);
        let file_len = reader.seek(SeekFrom::End(0)).map_err(io)?;
        reader.seek(SeekFrom::Start(0)).map_err(io)?;
        let mut first = [0u8; 8];
        reader.read_exact(&mut first).map_err(|_| Error::file(path, "not a GGUF file", DAMAGED))?;
        refuse_lfs_pointer(&first, path)?;
        let version = u32::from_le_bytes([first[4], first[5], first[6], first[7]]);
        if &first[..4] != b"GGUF" || !(2..=3).contains(&version) {
            let what =
                if &first[..4] == b"GGUF" { format!("GGUF version {version}") } else { "not a GGUF file".into() };
            return Err(Error::file(path, what, "give a GGUF file of version 2 or 3, or convert the model again"));
        }
        let mut fields = Fields { reader: BufReader::new(reader), at: 8, file_len, values: 0 };
        let (metadata, entries) = fields.header().map_err(|what| Error::file(path, what, DAMAGED))?;
        Ok(Self { metadata, entries, file_len })
    }

    /// The tensors in file order, under their stored names.
    pub fn described(&self) -> impl Iterator<Item = Described> {
        let of = |e: &Entry| Described { name: e.name.clone(), shape: e.shape.clone(), dtype: e.dtype };
        self.entries.iter().map(of)
    }

    /// Gives the tensors other names.
    pub(super) fn rename(&mut self, of: impl Fn(&str) -> String) {
        self.entries.iter_mut().for_each(|entry| entry.name = of(&entry.name));
    }

    /// The first tensor whose name `is` accepts: its description and its first byte in the file.
    pub fn find(&self, is: &dyn Fn(&str) -> bool) -> Option<(Described, u64)> {
        let at = self.entries.iter().position(|entry| is(&entry.name))?;
        Some((self.described().nth(at)?, self.entries[at].start))
    }

    /// Refuses a file that has another length than when its header was read.
    pub(super) fn check_length(&self, reader: &mut dyn ReadSeek, path: &str) -> Result<()> {
        let now = reader.seek(SeekFrom::End(0)).map_err(|e| Error::file(path, e, DAMAGED))?;
        if now != self.file_len {
            let what = format!("changed while it was read: it had {} bytes and has {now}", self.file_len);
            return Err(Error::file(path, what, "start again when the file is complete"));
        }
        Ok(())
    }

    /// Hands the tensors of the file `path` whose names `keep` accepts to `take`, in file order, as f32.
    ///
    /// # Errors
    /// Names file and tensor; also a file that has another length than when its header was read.
    pub fn each(
        &self,
        reader: &mut dyn ReadSeek,
        path: &str,
        keep: &dyn Fn(&str) -> bool,
        take: &mut Taker<'_>,
    ) -> Result<()> {
        self.check_length(reader, path)?;
        for entry in self.entries.iter().filter(|e| keep(&e.name)) {
            let tensor_of = format!("{path}: tensor {}", entry.name);
            reader.seek(SeekFrom::Start(entry.start)).map_err(|e| Error::file(&tensor_of, e, DAMAGED))?;
            let count = entry.shape.iter().product();
            take(entry.name.clone(), entry.dtype.read(reader, count, &tensor_of)?.reshape(entry.shape.as_slice())?)?;
        }
        Ok(())
    }
}

type Read1<T> = std::result::Result<T, String>;

/// The fields of a header, one after another; errors say what is wrong.
struct Fields<R> {
    reader: BufReader<R>,
    at: u64,
    file_len: u64,
    /// Metadata values so far.
    values: u64,
}

impl<R: Read> Fields<R> {
    fn header(&mut self) -> Read1<(Map<String, Value>, Vec<Entry>)> {
        let (tensors, keys) = (self.u64()?, self.u64()?);
        let mut metadata = Map::new();
        for _ in 0..keys {
            let key = self.text()?;
            let kind = self.u32()?;
            let value = self.value(kind, 0).map_err(|what| format!("metadata {key}: {what}"))?;
            if metadata.insert(key.clone(), value).is_some() {
                return Err(format!("metadata {key} is there twice"));
            }
        }
        let alignment = metadata.get("general.alignment").map_or(Some(ALIGNMENT), Value::as_u64);
        let alignment = alignment.filter(|a| a.is_power_of_two() && *a <= 1 << 16).ok_or("a bad general.alignment")?;
        let (mut entries, mut names) = (Vec::new(), HashSet::new());
        for _ in 0..tensors {
            let entry = self.entry()?;
            if !names.insert(entry.name.clone()) {
                return Err(format!("tensor {} is there twice", entry.name));
            }
            entries.push(entry);
        }
        let data = self.at.next_multiple_of(alignment);
        for entry in &mut entries {
            let bytes = elements(&entry.shape).and_then(|count| entry.dtype.bytes(count));
            let start = data.checked_add(entry.start).filter(|start| start.is_multiple_of(alignment));
            let end = start.zip(bytes).and_then(|(start, bytes)| start.checked_add(bytes as u64));
            let end = end.filter(|end| *end <= self.file_len);
            entry.start = start.zip(end).ok_or(format!("tensor {} is not within the file", entry.name))?.0;
        }
        Ok((metadata, entries))
    }

    fn entry(&mut self) -> Read1<Entry> {
        let name = self.text()?;
        let dims = self.u32()?;
        if dims == 0 || dims > MAX_DIMS {
            return Err(format!("tensor {name} has {dims} dimensions"));
        }
        let mut shape = (0..dims).map(|_| Ok(self.u64()? as usize)).collect::<Read1<Vec<usize>>>()?;
        shape.reverse(); // the innermost is first in the file
        let kind = self.u32()?;
        let dtype = Dtype::from_ggml(kind)
            .ok_or_else(|| format!("tensor {name} has ggml's number type {kind}, which is not supported"))?;
        let start = self.u64()?;
        if !shape[dims as usize - 1].is_multiple_of(dtype.block()) {
            return Err(format!("tensor {name} has the shape {shape:?}, which its number type cannot have"));
        }
        Ok(Entry { name, shape, dtype, start })
    }

    fn bytes<const N: usize>(&mut self) -> Read1<[u8; N]> {
        let mut bytes = [0u8; N];
        self.reader.read_exact(&mut bytes).map_err(|e| format!("the header ends early: {e}"))?;
        self.at += N as u64;
        Ok(bytes)
    }

    fn u32(&mut self) -> Read1<u32> {
        self.bytes().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Read1<u64> {
        self.bytes().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Read1<String> {
        let length = self.u64()?;
        if length > self.file_len - self.at {
            return Err(format!("a text of {length} bytes is longer than the file"));
        }
        let mut bytes = vec![0u8; length as usize];
        self.reader.read_exact(&mut bytes).map_err(|e| format!("the header ends early: {e}"))?;
        self.at += length;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// A value of the GGUF type `kind`, inside `depth` arrays.
    fn value(&mut self, kind: u32, depth: usize) -> Read1<Value> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(format!("more than {MAX_VALUES} metadata values"));
        }
        Ok(match kind {
            0 => json!(u8::from_le_bytes(self.bytes()?)),
            1 => json!(i8::from_le_bytes(self.bytes()?)),
            2 => json!(u16::from_le_bytes(self.bytes()?)),
            3 => json!(i16::from_le_bytes(self.bytes()?)),
            4 => json!(self.u32()?),
            5 => json!(i32::from_le_bytes(self.bytes()?)),
            6 => json!(f32::from_le_bytes(self.bytes()?)),
            7 => json!(self.bytes::<1>()?[0] != 0),
            8 => json!(self.text()?),
            9 if depth < 2 => {
                let (kind, count) = (self.u32()?, self.u64()?);
                Value::Array((0..count).map(|_| self.value(kind, depth + 1)).collect::<Read1<_>>()?)
            }
            10 => json!(self.u64()?),
            11 => json!(i64::from_le_bytes(self.bytes()?)),
            12 => json!(f64::from_le_bytes(self.bytes()?)),
            _ => return Err(format!("a value of type {kind}")),
        })
    }
}

/// Writes the header of a file of these tensors, with the types that they are stored in. Their bytes follow in this order, each filled up
/// by [`fill_up`].
///
/// # Errors
/// The file cannot be written.
pub fn write_header(out: &mut dyn Write, metadata: &Map<String, Value>, tensors: &[Described]) -> io::Result<()> {
    let mut header = b"GGUF\x03\0\0\0".to_vec();
    header.extend((tensors.len() as u64).to_le_bytes());
    header.extend((metadata.len() as u64).to_le_bytes());
    for (key, value) in metadata {
        push_text(&mut header, key);
        push_value(&mut header, key, value, true);
    }
    let mut offset = 0u64;
    for Described { name, shape, dtype } in tensors {
        push_text(&mut header, name);
        header.extend((shape.len() as u32).to_le_bytes());
        shape.iter().rev().for_each(|dim| header.extend((*dim as u64).to_le_bytes()));
        let bytes = dtype.bytes(shape.iter().product()).zip(dtype.ggml_number());
        let (bytes, number) = bytes.ok_or_else(|| io::Error::other("a number type that GGUF does not have"))?;
        header.extend(number.to_le_bytes());
        header.extend(offset.to_le_bytes());
        offset += (bytes as u64).next_multiple_of(ALIGNMENT);
    }
    header.resize(header.len().next_multiple_of(ALIGNMENT as usize), 0);
    out.write_all(&header)
}

/// Fills up to the next tensor's beginning, after the `written` bytes of a tensor.
///
/// # Errors
/// The file cannot be written.
pub fn fill_up(out: &mut dyn Write, written: usize) -> io::Result<()> {
    out.write_all(&[0u8; ALIGNMENT as usize][..written.next_multiple_of(ALIGNMENT as usize) - written])
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

/// Whole numbers are written as u32, in arrays as i32 (llama.cpp's token types), the bytes of a character map as u8; others as f32.
fn push_value(out: &mut Vec<u8>, key: &str, value: &Value, alone: bool) {
    let mut put = |kind: u32, bytes: &[u8]| {
        if alone {
            out.extend(kind.to_le_bytes());
        }
        out.extend(bytes);
    };
    match value {
        Value::Array(values) => {
            let kind: u32 = match values.first() {
                Some(Value::String(_)) => 8,
                Some(Value::Number(n)) if n.is_f64() => 6,
                _ if key.ends_with("charsmap") => 0,
                _ => 5,
            };
            put(9, &kind.to_le_bytes());
            out.extend((values.len() as u64).to_le_bytes());
            for value in values {
                match kind {
                    0 => out.push(value.as_u64().unwrap_or_default() as u8),
                    5 => out.extend((value.as_i64().unwrap_or_default() as i32).to_le_bytes()),
                    _ => push_value(out, key, value, false),
                }
            }
        }
        Value::String(text) => {
            let mut bytes = Vec::new();
            push_text(&mut bytes, text);
            put(8, &bytes);
        }
        Value::Bool(yes) => put(7, &[u8::from(*yes)]),
        Value::Number(n) if n.is_f64() => put(6, &(n.as_f64().unwrap_or_default() as f32).to_le_bytes()),
        other => put(4, &(other.as_u64().unwrap_or_default() as u32).to_le_bytes()),
    }
}
