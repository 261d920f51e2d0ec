//! torch's zip checkpoints: equal to safetensors bit for bit; anything else is an error.

use crate::support::{fixtures, golden};
use candle_core::{DType, Tensor};
use detox_lab::io::checkpoint::pickle;
use detox_lab::io::checkpoint::weights::load_file;
use detox_lab::io::disk::Folder;
use detox_lab::io::value_head::SavedHead;
use detox_lab::io::{ByteSource, Memory};
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap};
use std::io::{Cursor, Read, Write};
use std::path::Path;

fn read(folder: &Path, file: &str) -> HashMap<String, Tensor> {
    load_file(&Folder::open(folder).unwrap(), file, &|_| true).unwrap()
}

fn read_bytes(bytes: Vec<u8>) -> Result<HashMap<String, Tensor>, String> {
    let source = Memory::new("made-up", BTreeMap::from([("x.bin".to_string(), bytes)]));
    load_file(&source, "x.bin", &|_| true).map_err(|e| e.to_string())
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(fixtures().join(name)).unwrap()
}

/// Shape, type and bits.
fn content(tensor: &Tensor) -> (Vec<usize>, Vec<u64>) {
    let flat = tensor.flatten_all().unwrap();
    let bits = match tensor.dtype() {
        DType::F32 => flat.to_vec1::<f32>().unwrap().into_iter().map(|x| x.to_bits().into()).collect(),
        DType::I64 => flat.to_vec1::<i64>().unwrap().into_iter().map(|x| x as u64).collect(),
        DType::U8 => flat.to_vec1::<u8>().unwrap().into_iter().map(u64::from).collect(),
        other => panic!("{other:?} should have become one of three types"),
    };
    (tensor.dims().to_vec(), bits)
}

fn assert_same(a: &HashMap<String, Tensor>, b: &HashMap<String, Tensor>) {
    let names = |m: &HashMap<String, Tensor>| m.keys().cloned().collect::<std::collections::BTreeSet<_>>();
    assert_eq!(names(a), names(b));
    for (name, tensor) in a {
        assert_eq!(content(tensor), content(&b[name]), "{name}");
    }
}

/// The archive with one of its files changed.
fn with_entry(bytes: &[u8], name: &str, change: impl Fn(Vec<u8>) -> Vec<u8>) -> Vec<u8> {
    let mut old = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
    let mut new = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for i in 0..old.len() {
        let mut entry = old.by_index(i).unwrap();
        let entry_name = entry.name().unwrap().into_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        if entry_name.ends_with(name) {
            content = change(content);
        }
        new.start_file(entry_name, stored).unwrap();
        new.write_all(&content).unwrap();
    }
    new.finish().unwrap().into_inner()
}

#[test]
fn every_type_and_view_equals_safetensors() {
    let ours = read(&fixtures(), "torch_types.bin");
    let theirs = read(&fixtures(), "torch_types.safetensors");
    assert_eq!(ours.len(), 13);
    assert_same(&ours, &theirs);
}

#[test]
fn tied_tensors_share_memory() {
    let ours = read(&fixtures(), "torch_types.bin");
    let address = |name: &str| {
        let (storage, _) = ours[name].storage_and_layout();
        match &*storage {
            candle_core::Storage::Cpu(cpu) => cpu.as_slice::<f32>().unwrap().as_ptr() as usize,
            _ => panic!("not on the CPU"),
        }
    };
    assert_eq!(address("tied_a"), address("tied_b"));
    assert_ne!(address("tied_a"), address("rows"));
}

#[test]
fn the_old_adapter_equals_the_new_one_bit_for_bit() {
    let folder = golden().join("adapter");
    assert_same(&read(&folder, "adapter_model.bin"), &read(&folder, "adapter_model.safetensors"));
}

#[test]
fn trl_s_value_head_is_found() {
    let source = Folder::open(golden().join("trl_saved")).unwrap();
    let head = SavedHead::find(&source).unwrap().unwrap();
    assert_eq!(head.weight.dims(), [1, 32]);
    let file = ("value_head.safetensors".to_string(), head.to_bytes().unwrap());
    let again = SavedHead::find(&Memory::new("run", BTreeMap::from([file]))).unwrap().unwrap();
    assert_eq!(content(&head.weight), content(&again.weight));
    assert_eq!(content(&head.bias), content(&again.bias));

    let golden = Folder::open(golden()).unwrap();
    SavedHead::read(&golden, "v_head.safetensors").unwrap();
    let message = SavedHead::read(&source, "adapter_model.safetensors").unwrap_err().to_string();
    assert!(message.contains("no value head"), "{message}");
    assert!(SavedHead::find(&Folder::open(fixtures().join("t5_bin")).unwrap()).unwrap().is_none());
}

#[test]
fn files_that_are_not_weights_are_refused_by_name() {
    let types = fixture("torch_types.bin");
    let mut damaged = types.clone();
    let at = damaged.windows(4).position(|w| w == b"\x00\x00\x20\x40").unwrap(); // the scalar 2.5
    damaged[at] ^= 1;
    let cases = [
        (fixture("torch_legacy.bin"), "format of torch before 1.6"),
        (fixture("torch_module.bin"), "torch.nn.modules.linear.Linear"),
        (b"version https://git-lfs.github.com/spec/v1".to_vec(), "git-lfs"),
        (b"hello".to_vec(), "not a torch file"),
        (vec![], "not a torch file"),
        (b"PK\x03\x04 and then nothing".to_vec(), "not a torch zip file"),
        (types[..types.len() / 2].to_vec(), "not a torch zip file"),
        (damaged, "hecksum"),
        (with_entry(&types, "byteorder", |_| b"big".to_vec()), "not little-endian"),
        (with_entry(&types, "data.pkl", |_| b"\x80\x02}.".to_vec()), "no state dict"),
        (with_entry(&types, "data.pkl", |_| b"\x80\x02cos\nsystem\n.".to_vec()), "os.system"),
        (with_entry(&types, "data.pkl", |_| b"\x80\x04}.".to_vec()), "pickle protocol 4"),
        (with_entry(&types, "data.pkl", |_| b"\x80\x02\x81.".to_vec()), "opcode 0x81"),
        (with_entry(&types, "data.pkl", |p| p[..p.len() - 1].to_vec()), "ends too early"),
        (with_entry(&types, "data/0", |d| d[1..].to_vec()), "data/0"),
    ];
    for (bytes, expected) in cases {
        let message = read_bytes(bytes).unwrap_err();
        assert!(message.contains(expected), "{message}\n  should say: {expected}");
        assert!(message.contains("made-up/x.bin"), "{message}");
    }
}

/// A pickle with one tensor `t` in storage 0 (`count` floats).
fn one_tensor(count: i32, offset: i32, shape: &[i32], strides: &[i32]) -> Vec<u8> {
    let int = |n: &i32| [b"J".as_slice(), &n.to_le_bytes()].concat();
    let text = |t: &str| [b"X".as_slice(), &(t.len() as u32).to_le_bytes(), t.as_bytes()].concat();
    let tuple = |items: &[i32]| [b"(".to_vec(), items.iter().flat_map(int).collect(), b"t".to_vec()].concat();
    [
        b"\x80\x02}".to_vec(),
        text("t"),
        b"ctorch._utils\n_rebuild_tensor_v2\n((".to_vec(),
        text("storage"),
        b"ctorch\nFloatStorage\n".to_vec(),
        text("0"),
        text("cpu"),
        int(&count),
        b"tQ".to_vec(),
        int(&offset),
        tuple(shape),
        tuple(strides),
        b"\x89)tRs.".to_vec(),
    ]
    .concat()
}

#[test]
fn impossible_layouts_are_refused() {
    let types = fixture("torch_types.bin"); // storage 0 has 24 floats
    let with = |pickle: Vec<u8>| read_bytes(with_entry(&types, "data.pkl", |_| pickle.clone()));
    assert_eq!(with(one_tensor(24, 0, &[4, 6], &[6, 1])).unwrap()["t"].dims(), [4, 6]);
    let max = i32::MAX;
    let cases = [
        (one_tensor(24, 1, &[4, 6], &[6, 1]), "do not fit"),
        (one_tensor(24, 0, &[5, 5], &[5, 1]), "do not fit"),
        (one_tensor(24, 0, &[2], &[24]), "do not fit"),
        (one_tensor(24, 0, &[max, max], &[0, 0]), "do not fit"),
        (one_tensor(24, max, &[max, max, max], &[max, max, max]), "do not fit"),
        (one_tensor(24, 0, &[0, max, max, max], &[1, 1, 1, 1]), "do not fit"),
        (one_tensor(24, -1, &[4], &[1]), "not described as torch does"),
        (one_tensor(24, 0, &[4], &[1, 1]), "not described as torch does"),
        (one_tensor(24, 0, &[1; 9], &[1; 9]), "not described as torch does"),
        (one_tensor(max, 0, &[4], &[1]), "larger than the file"),
        (one_tensor(23, 0, &[4], &[1]), "bytes for 23 numbers"),
    ];
    for (pickle, expected) in cases {
        let message = with(pickle).unwrap_err();
        assert!(message.contains(expected), "{message}\n  should say: {expected}");
    }
}

#[test]
fn a_dict_that_contains_itself_is_harmless() {
    // d = {}; d["state_dict"] = d
    let pickle = b"\x80\x02}q\x00X\x0a\x00\x00\x00state_dicth\x00s.";
    assert!(pickle::tensors(pickle).unwrap_err().contains("no state dict"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Damage anywhere in the file.
    #[test]
    fn random_damage_never_panics(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = fixture("torch_types.bin");
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = read_bytes(bytes);
    }

    /// Damage only in the pickle, with correct checksums in the archive.
    #[test]
    fn random_pickles_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let bytes = with_entry(&fixture("torch_types.bin"), "data.pkl", |mut pickle| {
            for (at, byte) in &changes {
                let at = at.index(pickle.len());
                pickle[at] = *byte;
            }
            pickle
        });
        let _ = read_bytes(bytes);
    }

    #[test]
    fn random_opcodes_never_panic(opcodes in prop::collection::vec(
        prop::sample::select(b"\x80(qrhjN\x88\x89GKMJ\x8aX)]}t\x85\x86\x87aesucQRb.\x00\x01\n".to_vec()), 0..60)) {
        let _ = pickle::tensors(&opcodes);
    }
}

#[test]
fn only_the_needed_storages_are_read() {
    let source = Folder::open(fixtures()).unwrap();
    let read = load_file(&source, "torch_types.bin", &|name| name == "scalar").unwrap();
    assert_eq!(read.len(), 1);
    assert_eq!(read["scalar"].to_scalar::<f32>().unwrap(), 2.5);
    assert!(source.has("torch_types.bin"));
}
