//! A checkpoint's tensors by name, from a folder in Hugging Face layout: `model.safetensors`, `pytorch_model.bin`, or
//! shards of either listed in an index. Names are without the prefixes of wrappers (`names`), except in [`load_file`] and
//! [`describe_file`]. The formats themselves: `safetensors` and `torch`.

use super::dtype::Dtype;
use super::names::unwrapped;
use super::table::Table;
use super::{ByteSource, is_safe_name, safetensors, torch};
use crate::error::{Error, Result};
use candle_core::Tensor;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Where transformers puts weights, in the order it looks for them.
pub const WEIGHT_FILES: [&str; 4] =
    ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"];

/// Takes a checkpoint's tensors by name, one after another.
pub type Taker<'a> = dyn FnMut(String, Tensor) -> Result<()> + 'a;

/// Every tensor of the checkpoint in `source`; f16 and bf16 become f32 while loading. Peak memory is the f32 tensors
/// plus one chunk.
pub fn load(source: &dyn ByteSource) -> Result<HashMap<String, Tensor>> {
    let mut tensors = HashMap::new();
    each(source, &|_| true, &mut |name, tensor| {
        tensors.insert(name, tensor);
        Ok(())
    })?;
    Ok(tensors)
}

/// Hands the tensors of the checkpoint in `source` whose names `keep` accepts to `take`, as f32, and keeps none: peak memory
/// is what `take` keeps plus one tensor (of a torch file: one storage).
pub fn each(source: &dyn ByteSource, keep: &dyn Fn(&str) -> bool, take: &mut Taker<'_>) -> Result<()> {
    let file = weight_file(source)?;
    let mut names = Names::new(source, file);
    let keep = &|name: &str| keep(&unwrapped(name));
    let take: &mut Taker<'_> = &mut |name, tensor| take(names.own(&name)?, tensor);
    if file.ends_with(".index.json") { each_shard(source, file, keep, take) } else { each_of(source, file, keep, take) }
}

/// The own names of a checkpoint's tensors, one after another.
struct Names<'a> {
    source: &'a dyn ByteSource,
    file: &'a str,
    seen: HashSet<String>,
}

impl<'a> Names<'a> {
    fn new(source: &'a dyn ByteSource, file: &'a str) -> Self {
        Self { source, file, seen: HashSet::new() }
    }

    /// # Errors
    /// A second tensor of the same name, and a layer under an adapter.
    fn own(&mut self, name: &str) -> Result<String> {
        let own = unwrapped(name).into_owned();
        let wrong = |what: String, hint: &str| Err(Error::file(self.source.path(self.file), what, hint));
        if own.contains(".base_layer.") {
            let what = format!("tensor {name} is the base layer of a PEFT model that was saved as a whole");
            return wrong(what, "save it merged: model.merge_and_unload().save_pretrained(FOLDER)");
        }
        if !self.seen.insert(own.clone()) {
            let what = format!("tensor {own} is there twice: as {name} and with another prefix");
            return wrong(what, "save the model again, from one of its wrappers");
        }
        Ok(own)
    }
}

/// Do the tensors `a` and `b` of the checkpoint in `source` hold the same numbers? No where one is not there.
pub fn same(source: &dyn ByteSource, a: &str, b: &str) -> Result<bool> {
    let described = describe(source)?;
    let find = |name: &str| described.iter().find(|d| d.name == name);
    let (Some(first), Some(second)) = (find(a), find(b)) else { return Ok(false) };
    if first.shape != second.shape {
        return Ok(false);
    }
    let mut tensors = Vec::with_capacity(2);
    each(source, &|name| name == a || name == b, &mut |_, tensor| {
        tensors.push(tensor);
        Ok(())
    })?;
    let [a, b] = &tensors[..] else { return Ok(false) };
    let rows = first.shape.first().copied().unwrap_or(0);
    for row in 0..rows {
        let of = |tensor: &Tensor| tensor.get(row)?.flatten_all()?.to_vec1::<f32>();
        if of(a)? != of(b)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The matrix `name` of the checkpoint in `source`, left where it lies. None where it is not there, holds no floats, or cannot
/// be read in parts: torch's files, and folders in memory.
pub fn table(source: &dyn ByteSource, name: &str) -> Result<Option<Table>> {
    let mut file = weight_file(source)?.to_string();
    if file.ends_with(".index.json") {
        match weight_map(source, &file)?.into_iter().find(|(stored, _)| unwrapped(stored) == name) {
            Some((_, shard)) => file = shard,
            None => return Ok(None),
        }
    }
    if !file.ends_with(".safetensors") {
        return Ok(None);
    }
    let Some(opened) = source.open_to_last(&file)? else { return Ok(None) };
    let place =
        safetensors::place(&mut *source.open(&file)?, &source.path(&file), &|stored| unwrapped(stored) == name)?;
    Ok(place.and_then(|(described, start)| Table::new(opened, &described, start)))
}

/// What a checkpoint says of one of its tensors.
#[derive(Debug, Clone, PartialEq)]
pub struct Described {
    pub name: String,
    pub shape: Vec<usize>,
    /// As it is stored.
    pub dtype: Dtype,
}

/// What the checkpoint in `source` holds, from its headers alone. Files that are cut short or too long are errors, as in
/// loading; numbers are not looked at.
pub fn describe(source: &dyn ByteSource) -> Result<Vec<Described>> {
    let file = weight_file(source)?;
    let mut names = Names::new(source, file);
    let own = |d: Described| Ok(Described { name: names.own(&d.name)?, ..d });
    if !file.ends_with(".index.json") {
        return describe_file(source, file)?.into_iter().map(own).collect();
    }
    let map = weight_map(source, file)?;
    let mut all = Vec::with_capacity(map.len());
    for shard in shards(&map) {
        all.extend(describe_file(source, &shard)?.into_iter().filter(|d| map.get(&d.name) == Some(&shard)));
    }
    let there: HashSet<&str> = all.iter().map(|d| d.name.as_str()).collect();
    match map.iter().find(|(name, _)| !there.contains(name.as_str())) {
        Some((name, shard)) => Err(not_in_shard(source, shard, name, file)),
        None => all.into_iter().map(own).collect(),
    }
}

/// What one weight file holds.
pub fn describe_file(source: &dyn ByteSource, file: &str) -> Result<Vec<Described>> {
    let mut reader = source.open(file)?;
    let path = source.path(file);
    if file.ends_with(".safetensors") {
        safetensors::describe(&mut *reader, &path)
    } else {
        torch::describe(reader, &path)
    }
}

fn not_in_shard(source: &dyn ByteSource, shard: &str, name: &str, index: &str) -> Error {
    Error::file(
        source.path(shard),
        format!("has no tensor {name}, which {index} puts there"),
        "fetch index and shards again, from one revision",
    )
}

/// The file that the checkpoint's weights are in, or that lists their shards.
pub fn weight_file(source: &dyn ByteSource) -> Result<&'static str> {
    WEIGHT_FILES.into_iter().find(|f| source.has(f)).ok_or_else(|| {
        Error::file(
            source.name(),
            format!("no weights: none of {}", WEIGHT_FILES.join(", ")),
            "point at a folder saved by save_pretrained",
        )
    })
}

/// The tensors of one weight file whose names `keep` accepts. `.safetensors` is read as such, anything else as torch's.
pub fn load_file(source: &dyn ByteSource, file: &str, keep: &dyn Fn(&str) -> bool) -> Result<HashMap<String, Tensor>> {
    let mut tensors = HashMap::new();
    each_of(source, file, keep, &mut |name, tensor| {
        tensors.insert(name, tensor);
        Ok(())
    })?;
    Ok(tensors)
}

fn each_of(source: &dyn ByteSource, file: &str, keep: &dyn Fn(&str) -> bool, take: &mut Taker<'_>) -> Result<()> {
    let mut reader = source.open(file)?;
    let path = source.path(file);
    if file.ends_with(".safetensors") {
        safetensors::read(&mut *reader, &path, keep, take)
    } else {
        torch::read(reader, &path, keep, take)
    }
}

fn each_shard(source: &dyn ByteSource, index: &str, keep: &dyn Fn(&str) -> bool, take: &mut Taker<'_>) -> Result<()> {
    let map = weight_map(source, index)?;
    let mut taken = HashSet::with_capacity(map.len());
    for shard in shards(&map) {
        each_of(source, &shard, &|name| map.get(name) == Some(&shard) && keep(name), &mut |name, tensor| {
            taken.insert(name.clone());
            take(name, tensor)
        })?;
    }
    if let Some((name, shard)) = map.iter().find(|(name, _)| !taken.contains(*name) && keep(name)) {
        return Err(not_in_shard(source, shard, name, index));
    }
    Ok(())
}

/// The files that hold the tensors of an index, each once, in order.
pub fn shards(map: &BTreeMap<String, String>) -> Vec<String> {
    let mut files: Vec<String> = map.values().cloned().collect();
    files.sort();
    files.dedup();
    files
}

/// The index file's map from tensor to shard.
pub fn weight_map(source: &dyn ByteSource, index: &str) -> Result<BTreeMap<String, String>> {
    let wrong = |what: String| Error::file(source.path(index), what, "fetch the index file again");
    let json = source.read_json(index)?;
    let map = json.get("weight_map").and_then(|m| m.as_object());
    let map = map.ok_or_else(|| wrong("no weight_map in it".to_string()))?;
    let pair = |(name, file): (&String, &serde_json::Value)| match file.as_str() {
        Some(file) if is_safe_name(file) => Ok((name.clone(), file.to_string())),
        _ => Err(wrong(format!("tensor {name} is in {file}, which is no file name"))),
    };
    map.iter().map(pair).collect()
}

/// A clone made without git-lfs holds small text files where the weights should be.
pub(super) fn refuse_lfs_pointer(first_bytes: &[u8], path: &str) -> Result<()> {
    if first_bytes.starts_with(b"version ") {
        return Err(Error::file(path, "a git-lfs pointer, not the weights", "run `git lfs pull` in that folder"));
    }
    Ok(())
}
