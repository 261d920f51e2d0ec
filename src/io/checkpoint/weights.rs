//! A checkpoint's tensors by name, from a folder in Hugging Face layout: `model.safetensors`, `pytorch_model.bin`, or shards of
//! either listed in an index. Names are without the prefixes of wrappers (`names`), except in [`load_file`] and
//! [`describe_file`]. The formats are in `safetensors` and `torch`.

pub use super::described::Described;
use super::described::Taker;
use super::names::unwrapped;
use super::pieces::Pieces;
use super::table::StoredTable;
use super::{gguf, gguf_model, safetensors, torch};
use crate::error::{Error, Result};
use crate::io::{ByteSource, ReadSeek, is_safe_name};
use candle_core::Tensor;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Names of transformers' weight files, in the order in which it looks for them; then the name of a GGUF file.
pub const WEIGHT_FILES: [&str; 5] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    gguf_model::WEIGHTS,
];

/// A checkpoint whose headers have been read: its tensors by name, and where each is. Numbers are read later.
pub struct Checkpoint<'a> {
    source: Box<dyn ByteSource + 'a>,
    /// The file with the weights, or with the list of their shards.
    file: &'static str,
    /// The weight files with their headers; shards are sorted by name.
    files: Vec<(String, Header)>,
    /// If there is an index: the file of each tensor, by stored name.
    index: Option<BTreeMap<String, String>>,
    described: Vec<Described>,
}

impl<'a> Checkpoint<'a> {
    /// Reads the headers of the checkpoint in `source`, but no numbers.
    ///
    /// # Errors
    /// No weights; a file that is damaged, cut short or too long; a tensor missing in its shard; two tensors with the same
    /// name; a base layer of a PEFT model.
    pub fn open(source: Box<dyn ByteSource + 'a>) -> Result<Self> {
        let file = weight_file(&*source)?;
        let index = if file.ends_with(".index.json") { Some(weight_map(&*source, file)?) } else { None };
        let names = index.as_ref().map_or_else(|| vec![file.to_string()], shards);
        let (mut files, mut described) = (Vec::with_capacity(names.len()), Vec::new());
        for name in names {
            let header = Header::read(&*source, &name)?;
            described.extend(header.described().into_iter().filter(|d| is_in(index.as_ref(), &name, &d.name)));
            files.push((name, header));
        }
        if let Some(index) = &index {
            let there: HashSet<&str> = described.iter().map(|d| d.name.as_str()).collect();
            if let Some((name, shard)) = index.iter().find(|(name, _)| !there.contains(name.as_str())) {
                return Err(not_in_shard(&*source, shard, name, file));
            }
        }
        let mut seen = HashSet::new();
        let mut own = |d: Described| match own_name(&d.name, &mut seen) {
            Ok(name) => Ok(Described { name, ..d }),
            Err((what, hint)) => Err(Error::file(source.path(file), what, hint)),
        };
        let described = described.into_iter().map(&mut own).collect::<Result<_>>()?;
        Ok(Self { source, file, files, index, described })
    }

    /// Its folder.
    pub fn source(&self) -> &dyn ByteSource {
        &*self.source
    }

    /// The file with the weights, or with the list of their shards.
    pub fn file(&self) -> &'static str {
        self.file
    }

    /// The descriptions of the tensors.
    pub fn described(&self) -> &[Described] {
        &self.described
    }

    /// Passes the tensors whose names `keep` accepts to `take`, as f32. Peak memory is what `take` keeps plus one tensor (in a
    /// torch file, one storage).
    ///
    /// # Errors
    /// Names file and tensor.
    pub fn each(&self, keep: &dyn Fn(&str) -> bool, take: &mut Taker<'_>) -> Result<()> {
        for (file, header) in &self.files {
            let keep = &|name: &str| is_in(self.index.as_ref(), file, name) && keep(&unwrapped(name));
            let take: &mut Taker<'_> = &mut |name, tensor| take(unwrapped(&name).into_owned(), tensor);
            header.each(&*self.source, file, keep, take)?;
        }
        Ok(())
    }

    /// The tensors whose names `keep` accepts; f16 and bf16 become f32 while loading. Peak memory is the f32 tensors plus one
    /// chunk.
    pub fn load(&self, keep: &dyn Fn(&str) -> bool) -> Result<HashMap<String, Tensor>> {
        let mut tensors = HashMap::new();
        self.each(keep, &mut |name, tensor| {
            tensors.insert(name, tensor);
            Ok(())
        })?;
        Ok(tensors)
    }

    /// Whether the tensors `a` and `b` have the same numbers; false if one is missing.
    ///
    /// # Errors
    /// As [`Checkpoint::each`].
    pub fn same(&self, a: &str, b: &str) -> Result<bool> {
        let find = |name: &str| self.described.iter().find(|d| d.name == name);
        let (Some(first), Some(second)) = (find(a), find(b)) else { return Ok(false) };
        if first.shape != second.shape {
            return Ok(false);
        }
        let (mut a, mut b) = (self.pieces(a)?, self.pieces(b)?);
        while let (Some(a), Some(b)) = (a.numbers()?, b.numbers()?) {
            if a != b {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The matrix `name`, left in its file. None if it is missing, has no floats, or cannot be read in parts (torch files,
    /// folders in memory).
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn table(&self, name: &str) -> Result<Option<StoredTable>> {
        let Some((file, _, described, start)) = self.place(name) else { return Ok(None) };
        let opened = self.source.open_to_last(file)?;
        Ok(opened.and_then(|opened| StoredTable::new(opened, &described, start)))
    }

    /// The file of the tensor `name`, with its header, the tensor's description and its first byte; none if it is missing, or in
    /// a torch file.
    fn place(&self, name: &str) -> Option<(&str, &Header, Described, u64)> {
        self.files.iter().find_map(|(file, header)| {
            let is = &|stored: &str| is_in(self.index.as_ref(), file, stored) && unwrapped(stored) == name;
            header.find(is).map(|(described, start)| (file.as_str(), header, described, start))
        })
    }

    /// Whether all tensors can be read in parts; those of torch files cannot.
    pub fn is_in_parts(&self) -> bool {
        self.files.iter().all(|(_, header)| !matches!(header, Header::Torch(_)))
    }

    /// The rows of the tensor `name` (floats), piece by piece; in a torch file, all at once.
    ///
    /// # Errors
    /// No such tensor; a file that cannot be read, or has another length than when its header was read.
    pub fn pieces(&self, name: &str) -> Result<Pieces<'_>> {
        if let Some((file, header, described, start)) = self.place(name) {
            let (mut reader, path) = (self.source.open(file)?, self.source.path(file));
            header.check_length(&mut *reader, &path)?;
            return Pieces::of_file(reader, &described, start, format!("{path}: tensor {}", described.name));
        }
        let missing = || Error::bug(format!("tensor {name} was not read"));
        let tensor = self.load(&|own| own == name)?.remove(name).ok_or_else(missing)?;
        Ok(Pieces::whole(tensor.flatten_all()?.to_vec1()?))
    }
}

/// Whether a tensor with this stored name belongs to the file, as the index says. Without an index, all do.
fn is_in(index: Option<&BTreeMap<String, String>>, file: &str, name: &str) -> bool {
    index.is_none_or(|index| index.get(name).is_some_and(|of| of == file))
}

/// The name of a checkpoint's tensor without wrappers; adds it to `seen`.
///
/// # Errors
/// Two tensors with the same name, or a base layer of a PEFT model: what is wrong, and what to do.
fn own_name(name: &str, seen: &mut HashSet<String>) -> std::result::Result<String, (String, &'static str)> {
    let own = unwrapped(name).into_owned();
    if own.contains(".base_layer.") {
        let what = format!("tensor {name} is the base layer of a PEFT model, which was saved without merging");
        return Err((what, "merge it: model.merge_and_unload().save_pretrained(FOLDER)"));
    }
    if !seen.insert(own.clone()) {
        let what = format!("tensor {own} appears twice: as {name} and with another prefix");
        return Err((what, "save only the model itself, without wrappers around it"));
    }
    Ok(own)
}

/// The header of a weight file: `.safetensors`, `.gguf`, or else torch's format.
enum Header {
    Safetensors(safetensors::SafetensorsHeader),
    Gguf(gguf::GgufHeader),
    Torch(torch::TorchHeader),
}

impl Header {
    fn read(source: &dyn ByteSource, file: &str) -> Result<Self> {
        let (mut reader, path) = (source.open(file)?, source.path(file));
        if file.ends_with(".safetensors") {
            safetensors::SafetensorsHeader::read(&mut *reader, &path).map(Self::Safetensors)
        } else if file.ends_with(".gguf") {
            let mut header = gguf::GgufHeader::read(&mut *reader, &path)?;
            header.own_names();
            header.metadata = serde_json::Map::new(); // a vocabulary takes megabytes
            Ok(Self::Gguf(header))
        } else {
            torch::TorchHeader::read(reader, &path).map(Self::Torch)
        }
    }

    fn described(&self) -> Vec<Described> {
        match self {
            Self::Safetensors(header) => header.described().collect(),
            Self::Gguf(header) => header.described().collect(),
            Self::Torch(header) => header.described().collect(),
        }
    }

    /// The first tensor whose name `is` accepts, and its first byte in the file; none in a torch file.
    fn find(&self, is: &dyn Fn(&str) -> bool) -> Option<(Described, u64)> {
        match self {
            Self::Safetensors(header) => header.find(is),
            Self::Gguf(header) => header.find(is),
            Self::Torch(_) => None,
        }
    }

    /// Refuses a file that has another length than when its header was read.
    fn check_length(&self, reader: &mut dyn ReadSeek, path: &str) -> Result<()> {
        match self {
            Self::Safetensors(header) => header.check_length(reader, path),
            Self::Gguf(header) => header.check_length(reader, path),
            Self::Torch(_) => Ok(()),
        }
    }

    fn each(
        &self,
        source: &dyn ByteSource,
        file: &str,
        keep: &dyn Fn(&str) -> bool,
        take: &mut Taker<'_>,
    ) -> Result<()> {
        let (mut reader, path) = (source.open(file)?, source.path(file));
        match self {
            Self::Safetensors(header) => header.each(&mut *reader, &path, keep, take),
            Self::Gguf(header) => header.each(&mut *reader, &path, keep, take),
            Self::Torch(header) => header.each(reader, &path, keep, take),
        }
    }
}

/// Every tensor of the checkpoint in `source`; see [`Checkpoint::load`].
pub fn load(source: &dyn ByteSource) -> Result<HashMap<String, Tensor>> {
    Checkpoint::open(Box::new(source))?.load(&|_| true)
}

/// The descriptions in a weight file's header.
///
/// # Errors
/// A file that is damaged, cut short or too long.
pub fn describe_file(source: &dyn ByteSource, file: &str) -> Result<Vec<Described>> {
    Ok(Header::read(source, file)?.described())
}

fn not_in_shard(source: &dyn ByteSource, shard: &str, name: &str, index: &str) -> Error {
    Error::file(
        source.path(shard),
        format!("has no tensor {name}, although {index} says so"),
        "download index and shards again, from the same revision",
    )
}

/// The name of the file with the weights, or with the list of their shards.
pub fn weight_file(source: &dyn ByteSource) -> Result<&'static str> {
    WEIGHT_FILES.into_iter().find(|f| source.has(f)).ok_or_else(|| {
        Error::file(
            source.name(),
            format!("no weights: none of {}", WEIGHT_FILES.join(", ")),
            "give a folder saved by save_pretrained",
        )
    })
}

/// The tensors of a weight file whose names `keep` accepts.
///
/// # Errors
/// Names file and tensor.
pub fn load_file(source: &dyn ByteSource, file: &str, keep: &dyn Fn(&str) -> bool) -> Result<HashMap<String, Tensor>> {
    let mut tensors = HashMap::new();
    Header::read(source, file)?.each(source, file, keep, &mut |name, tensor| {
        tensors.insert(name, tensor);
        Ok(())
    })?;
    Ok(tensors)
}

/// The files in an index, each once, in order.
pub fn shards(map: &BTreeMap<String, String>) -> Vec<String> {
    let mut files: Vec<String> = map.values().cloned().collect();
    files.sort();
    files.dedup();
    files
}

/// An index file's map from tensor to shard.
pub fn weight_map(source: &dyn ByteSource, index: &str) -> Result<BTreeMap<String, String>> {
    let wrong = |what: String| Error::file(source.path(index), what, "download the index file again");
    let json = source.read_json(index)?;
    let map = json.get("weight_map").and_then(|m| m.as_object());
    let map = map.ok_or_else(|| wrong("no weight_map in it".to_string()))?;
    let pair = |(name, file): (&String, &serde_json::Value)| match file.as_str() {
        Some(file) if is_safe_name(file) => Ok((name.clone(), file.to_string())),
        _ => Err(wrong(format!("tensor {name} is in {file}, which is not a file name"))),
    };
    map.iter().map(pair).collect()
}
