//! torch's zip checkpoints (`pytorch_model.bin`, `adapter_model.bin`, `.pt`): a pickle describes the tensors, other files of
//! the archive contain the numbers. `pickle` reads the pickle and never runs code from it.

use super::described::{Described, Taker, refuse_lfs_pointer};
use super::dtype::elements;
use super::pickle::{self, Layout, Storage};
use crate::error::{Error, Result};
use crate::io::ReadSeek;
use ::zip::{CompressionMethod, ZipArchive};
use candle_core::{DType, Device, Tensor, WithDType};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, SeekFrom};

const MAX_PICKLE: u64 = 16 << 20;
const DAMAGED: &str = "the file may be cut short or damaged: download it again, or in safetensors format";
const RESAVE: &str = "save it again: torch.save(torch.load(FILE, map_location=\"cpu\"), FILE), or as safetensors";

/// The first bytes of torch's format before version 1.6: a pickled magic number.
const LEGACY: [u8; 5] = [0x80, 0x02, 0x8a, 0x0a, 0x6c];

/// The tensors described by a file's pickle. It is read once and used for all later reading.
pub struct TorchHeader {
    tensors: Vec<(String, Layout)>,
}

impl TorchHeader {
    /// Reads the pickle of a torch file; `path` is for messages.
    ///
    /// # Errors
    /// Names the file; also a storage that is missing or has the wrong size.
    pub fn read(reader: Box<dyn ReadSeek + '_>, path: &str) -> Result<Self> {
        let mut file = Archive::open(reader, path)?;
        let tensors = pickle::tensors(&file.bytes("data.pkl")?)
            .map_err(|what| Error::file(path, what, "save only the weights: torch.save(model.state_dict(), FILE)"))?;
        let storages: BTreeSet<&Storage> = tensors.iter().map(|(_, layout)| &layout.storage).collect();
        let bytes = |s: &Storage| s.dtype.bytes(s.count).map(|n| n as u64);
        let total = storages.iter().try_fold(0u64, |n, s| n.checked_add(bytes(s)?));
        if total.is_none_or(|total| total > file.file_len) {
            return Err(Error::file(path, "its tensors are larger than the file", DAMAGED));
        }
        storages.into_iter().try_for_each(|storage| file.check_size(storage))?;
        Ok(Self { tensors })
    }

    /// The descriptions of the tensors.
    pub fn described(&self) -> impl Iterator<Item = Described> {
        let described = |(name, layout): &(String, Layout)| Described {
            name: name.clone(),
            dtype: layout.storage.dtype,
            shape: layout.shape.clone(),
        };
        self.tensors.iter().map(described)
    }

    /// Passes the tensors whose names `keep` accepts to `take`; floats as f32. Tensors that share a storage come one after
    /// another, and share memory if each is the whole storage.
    ///
    /// # Errors
    /// Names file and tensor.
    pub fn each(
        &self,
        reader: Box<dyn ReadSeek + '_>,
        path: &str,
        keep: &dyn Fn(&str) -> bool,
        take: &mut Taker<'_>,
    ) -> Result<()> {
        let mut file = Archive::open(reader, path)?;
        let mut by_storage: BTreeMap<&Storage, Vec<(&String, &Layout)>> = BTreeMap::new();
        for (name, layout) in self.tensors.iter().filter(|(name, _)| keep(name)) {
            by_storage.entry(&layout.storage).or_default().push((name, layout));
        }
        for (storage, uses) in by_storage {
            let flat = file.storage(storage)?; // (count)
            for (name, layout) in uses {
                let tensor = file.view(&flat, name, layout)?;
                take(name.clone(), tensor)?;
            }
        }
        Ok(())
    }
}

/// Refuses a file that is not a zip, with the reason; returns the file's length in bytes.
fn check_kind(reader: &mut dyn ReadSeek, path: &str) -> Result<u64> {
    let io = |e| Error::file(path, e, DAMAGED);
    let file_len = reader.seek(SeekFrom::End(0)).map_err(io)?;
    reader.seek(SeekFrom::Start(0)).map_err(io)?;
    let mut first = Vec::new();
    (&mut *reader).take(8).read_to_end(&mut first).map_err(io)?;
    reader.seek(SeekFrom::Start(0)).map_err(io)?;
    refuse_lfs_pointer(&first, path)?;
    if first.starts_with(&LEGACY) {
        return Err(Error::file(path, "the format of torch before 1.6 is not supported", RESAVE));
    }
    if !first.starts_with(b"PK") {
        return Err(Error::file(path, "not a torch file", DAMAGED));
    }
    Ok(file_len)
}

struct Archive<'a> {
    archive: ZipArchive<Box<dyn ReadSeek + 'a>>,
    /// The archive's folder with its slash: `pytorch_model/`.
    prefix: String,
    path: &'a str,
    file_len: u64,
    /// Count of numbers copied into tensors that are not a whole storage; limited, so that a small file cannot use much memory.
    copied: u64,
}

impl<'a> Archive<'a> {
    fn open(mut reader: Box<dyn ReadSeek + 'a>, path: &'a str) -> Result<Self> {
        let file_len = check_kind(&mut *reader, path)?;
        let archive =
            ZipArchive::new(reader).map_err(|e| Error::file(path, format!("not a torch zip file: {e}"), DAMAGED))?;
        let pickle_name = archive.file_names_raw().find(|n| n.ends_with(b"/data.pkl")).map(<[u8]>::to_vec);
        let prefix = pickle_name.and_then(|n| String::from_utf8(n).ok()?.strip_suffix("data.pkl").map(String::from));
        let Some(prefix) = prefix else {
            return Err(Error::file(path, "a zip file without data.pkl: not saved by torch", RESAVE));
        };
        let mut file = Self { archive, prefix, path, file_len, copied: 0 };
        file.check_byte_order()?;
        Ok(file)
    }

    /// Runs `then` on the entry `name`, which must be uncompressed and inside the file, as torch writes it.
    fn with<T>(&mut self, name: &str, then: impl FnOnce(&mut dyn Read, u64, &str) -> Result<T>) -> Result<T> {
        let place = format!("{}: {name}", self.path);
        let entry = self.archive.by_name(&format!("{}{name}", self.prefix));
        let mut entry = entry.map_err(|e| Error::file(&place, e, DAMAGED))?;
        let size = entry.size();
        if entry.compression() != CompressionMethod::Stored || size > self.file_len {
            return Err(Error::file(&place, "this entry is compressed, which torch never does", RESAVE));
        }
        let out = then(&mut entry, size, &place)?;
        // reading to the end checks the checksum
        match entry.read(&mut [0]) {
            Ok(0) => Ok(out),
            Ok(_) => Err(Error::file(&place, "longer than its stated size", DAMAGED)),
            Err(e) => Err(Error::file(&place, e, DAMAGED)),
        }
    }

    fn bytes(&mut self, name: &str) -> Result<Vec<u8>> {
        self.with(name, |entry, size, place| {
            if size > MAX_PICKLE {
                return Err(Error::file(place, format!("{size} bytes are too many for a checkpoint's pickle"), RESAVE));
            }
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).map_err(|e| Error::file(place, e, DAMAGED))?;
            Ok(bytes)
        })
    }

    fn check_byte_order(&mut self) -> Result<()> {
        if self.archive.index_for_name(&format!("{}byteorder", self.prefix)).is_none() {
            return Ok(()); // written before torch 2.1: little-endian
        }
        match self.bytes("byteorder")?.as_slice() {
            b"little" => Ok(()),
            _ => Err(Error::file(self.path, "not little-endian", "save it again on a little-endian machine")),
        }
    }

    /// All numbers of a storage, flat (count).
    fn storage(&mut self, storage: &Storage) -> Result<Tensor> {
        self.with(&format!("data/{}", storage.key), |entry, size, place| {
            fits(storage, size, place)?;
            storage.dtype.read(entry, storage.count, place)
        })
    }

    /// Checks that the storage exists and has the right size, without reading its numbers.
    fn check_size(&mut self, storage: &Storage) -> Result<()> {
        let place = format!("{}: data/{}", self.path, storage.key);
        let entry = self.archive.by_name(&format!("{}data/{}", self.prefix, storage.key));
        fits(storage, entry.map_err(|e| Error::file(&place, e, DAMAGED))?.size(), &place)
    }

    /// The tensor that `layout` describes, in row-major order.
    fn view(&mut self, flat: &Tensor, name: &str, layout: &Layout) -> Result<Tensor> {
        let Layout { storage, offset, shape, strides } = layout;
        let offset = *offset;
        let count = elements(shape);
        let last = shape
            .iter()
            .zip(strides)
            .try_fold(offset, |last, (dim, stride)| last.checked_add(dim.saturating_sub(1).checked_mul(*stride)?));
        let fits = |count: &usize| *count == 0 || (*count <= storage.count && last.is_some_and(|l| l < storage.count));
        let Some(count) = count.filter(fits) else {
            let what = format!(
                "tensor {name}: shape {shape:?}, strides {strides:?}, offset {offset} do not fit its {} numbers",
                storage.count
            );
            return Err(Error::file(self.path, what, DAMAGED));
        };
        if count == storage.count && is_row_major(shape, strides) {
            return Ok(flat.reshape(shape.as_slice())?);
        }
        self.copied += count as u64;
        if self.copied > self.file_len {
            return Err(Error::file(self.path, format!("tensor {name}: too many views of the same numbers"), RESAVE));
        }
        match flat.dtype() {
            DType::F32 => gather::<f32>(flat, offset, count, shape, strides),
            DType::I64 => gather::<i64>(flat, offset, count, shape, strides),
            _ => gather::<u8>(flat, offset, count, shape, strides),
        }
    }
}

/// Checks that `size` bytes are a storage's numbers.
fn fits(storage: &Storage, size: u64, place: &str) -> Result<()> {
    if Some(size) == storage.dtype.bytes(storage.count).map(|n| n as u64) {
        return Ok(());
    }
    let what = format!("{size} bytes for {} numbers of type {:?}", storage.count, storage.dtype);
    Err(Error::file(place, what, DAMAGED))
}

fn is_row_major(shape: &[usize], strides: &[usize]) -> bool {
    let mut expected = 1;
    shape.iter().zip(strides).rev().all(|(dim, stride)| {
        let ok = *dim == 1 || *stride == expected;
        expected *= dim;
        ok
    })
}

/// Copies a strided view, row by row.
fn gather<T: WithDType>(
    flat: &Tensor,
    offset: usize,
    count: usize,
    shape: &[usize],
    strides: &[usize],
) -> Result<Tensor> {
    let (storage, _) = flat.storage_and_layout();
    let candle_core::Storage::Cpu(storage) = &*storage else {
        return Err(Error::input("weights can only be read on the CPU", "load on the CPU"));
    };
    let numbers = storage.as_slice::<T>()?;
    let mut out = Vec::with_capacity(count);
    let mut index = vec![0usize; shape.len()];
    for _ in 0..count {
        out.push(numbers[offset + index.iter().zip(strides).map(|(i, s)| i * s).sum::<usize>()]);
        for (i, dim) in index.iter_mut().zip(shape).rev() {
            *i += 1;
            if *i < *dim {
                break;
            }
            *i = 0;
        }
    }
    Ok(Tensor::from_vec(out, shape, &Device::Cpu)?)
}
