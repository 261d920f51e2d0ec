//! Weights and archives: safetensors, torch's pickle alone and in its zip, a zipped folder.

use super::{Limit, hold};
use detox_lab::error::Error;
use detox_lab::io::checkpoint::{pickle, weights};
use detox_lab::io::{Memory, zip};
use std::collections::BTreeMap;
use std::io::{Cursor, Write};

/// A chunk of the file and the tensor it becomes.
const WEIGHTS: Limit = Limit { constant: 4 << 20, factor: 128 };
/// Unpacking may enlarge the input up to a limit (`io::zip`), and twice that while a buffer grows.
const UNPACKED: Limit = Limit { constant: 64 << 20, factor: 256 };

/// The bytes as a weight file called `file`, and as one of a value head.
fn load(file: &str, bytes: Vec<u8>) {
    let len = bytes.len();
    let source = Memory::new("some-model", BTreeMap::from([(file.to_string(), bytes)]));
    let tensors = hold(&format!("some-model/{file}"), len, WEIGHTS, || weights::load_file(&source, file, &|_| true));
    for (name, tensor) in tensors.unwrap_or_default() {
        assert!(tensor.is_contiguous(), "{name}: not in row-major order");
    }
}

/// Any bytes as `model.safetensors`: unchanged, or (first byte odd) after the header's length.
pub fn safetensors(input: &[u8]) {
    let Some((kind, bytes)) = input.split_first() else { return };
    if kind % 2 == 0 {
        return load("model.safetensors", bytes.to_vec());
    }
    // The last bytes give the size of the data, and the header fills the rest, so that most inputs reach the header's checks.
    let (header, data) = bytes.split_at(bytes.iter().rposition(|b| *b == b'}').map_or(bytes.len(), |at| at + 1));
    load("model.safetensors", [&(header.len() as u64).to_le_bytes(), header, data].concat());
}

/// Any bytes as `model.gguf`, after the bytes that every such file begins with.
pub fn gguf(input: &[u8]) {
    load("model.gguf", [b"GGUF\x03\0\0\0", input].concat());
}

/// Any bytes as a pickle. A second reader, which only steps over opcodes as `pickletools` documents them, must agree
/// that every global in an accepted pickle is one that weights need.
pub fn pickle(input: &[u8]) {
    let read = || pickle::tensors(input).map_err(|what| Error::file("data.pkl", what, "see torch"));
    if hold("data.pkl", input.len(), WEIGHTS, read).is_some() {
        for global in globals(input) {
            assert!(is_for_weights(&global), "{global:?} was accepted");
        }
    }
}

/// The only names that a state dict's pickle has to call.
pub fn is_for_weights(global: &str) -> bool {
    let storages = ["Half", "BFloat16", "Float", "Double", "Int", "Long", "Byte", "Bool"];
    let storage = |module: &str| {
        let name = global.strip_prefix(module).and_then(|rest| rest.strip_suffix("Storage"));
        name.is_some_and(|name| storages.contains(&name))
    };
    let functions = ["collections.OrderedDict", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter"];
    functions.contains(&global) || storage("torch.") || storage("torch.storage.")
}

/// `module.name` of every GLOBAL before STOP, in a pickle that was accepted.
fn globals(mut rest: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    while let Some((opcode, after)) = rest.split_first() {
        let skip = match opcode {
            b'.' => break,
            b'c' => {
                let mut lines = after.splitn(3, |b| *b == b'\n');
                let (module, name) = (lines.next().unwrap(), lines.next().unwrap());
                found.push(format!("{}.{}", String::from_utf8_lossy(module), String::from_utf8_lossy(name)));
                module.len() + name.len() + 2
            }
            b'X' => 4 + u32::from_le_bytes(after[..4].try_into().unwrap()) as usize,
            0x8a => 1 + usize::from(after[0]),
            0x80 | b'q' | b'h' | b'K' => 1,
            b'M' => 2,
            b'r' | b'j' | b'J' => 4,
            b'G' => 8,
            _ => 0,
        };
        rest = &after[skip..];
    }
    found
}

/// Any bytes as `pytorch_model.bin`: unchanged, or (first byte odd) as pickle and one storage in a valid archive, so that the
/// archive's checksums are right.
pub fn torch(input: &[u8]) {
    let Some((kind, bytes)) = input.split_first() else { return };
    if kind % 2 == 0 {
        return load("pytorch_model.bin", bytes.to_vec());
    }
    let end = bytes.iter().rposition(|b| *b == b'.').map_or(bytes.len(), |at| at + 1);
    load("pytorch_model.bin", torch_file(&bytes[..end], &bytes[end..]));
}

/// A torch file of this pickle and the storage `0`.
pub fn torch_file(pickle: &[u8], storage: &[u8]) -> Vec<u8> {
    let mut zip = ::zip::ZipWriter::new(Cursor::new(Vec::new()));
    let stored = ::zip::write::SimpleFileOptions::default().compression_method(::zip::CompressionMethod::Stored);
    for (name, content) in [("m/data.pkl", pickle), ("m/byteorder", b"little"), ("m/data/0", storage)] {
        zip.start_file(name, stored).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// Any bytes as a zipped run: unpacked files have plain names and can be packed again.
pub fn zipped(input: &[u8]) {
    let is_run = |files: &BTreeMap<String, Vec<u8>>| files.contains_key("config.json");
    let files = hold("run.zip", input.len(), UNPACKED, || zip::unpack_folder(input, "run.zip", is_run));
    let Some(files) = files else { return };
    for name in files.keys() {
        let part_ok = |part: &str| !part.is_empty() && part != "." && part != "..";
        assert!(name.split('/').all(part_ok) && !name.contains(['\\', ':', '\0']), "{name:?} leads out of the folder");
    }
    if files.values().map(Vec::len).sum::<usize>() < 1 << 20 {
        let again = zip::pack(&files).unwrap();
        assert_eq!(zip::unpack(&again, "run.zip").unwrap(), files);
    }
}
