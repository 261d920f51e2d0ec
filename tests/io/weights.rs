//! Checkpoints in folders: in one file, sharded, bf16, written again; and damaged ones.

use crate::support::{fixtures, flat};
use candle_core::{DType, Device, Tensor};
use detox_lab::io::checkpoint::safetensors;
use detox_lab::io::checkpoint::weights::{Checkpoint, load, load_file};
use detox_lab::io::disk::Folder;
use detox_lab::io::value_head::SavedHead;
use detox_lab::io::{ByteSource, Memory};
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap};

fn folder(name: &str) -> Folder {
    Folder::open(fixtures().join(name)).unwrap()
}

fn memory(file: &str, bytes: Vec<u8>) -> Memory {
    Memory::new("made-up", BTreeMap::from([(file.to_string(), bytes)]))
}

/// A safetensors file with this header and this number of data bytes.
fn file(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    flat(tensor).into_iter().map(f32::to_bits).collect()
}

#[test]
fn shards_and_bin_have_the_same_model() {
    let shards = load(&folder("t5_sharded")).unwrap();
    let bin = load(&folder("t5_bin")).unwrap();
    assert_eq!(shards["shared.weight"].dims(), [80, 24]);
    for (name, tensor) in &shards {
        assert_eq!(tensor.dtype(), DType::F32);
        assert_eq!(bits(tensor), bits(&bin[name]), "{name}");
    }
    // torch's file also names the tied copies
    assert_eq!(bits(&bin["encoder.embed_tokens.weight"]), bits(&shards["shared.weight"]));
}

#[test]
fn bf16_becomes_f32_without_loss() {
    let stored = load(&folder("t5_bf16")).unwrap();
    let full = load(&folder("t5_sharded")).unwrap();
    assert_eq!(stored.len(), full.len());
    for (name, tensor) in &full {
        assert_eq!(stored[name].dtype(), DType::F32);
        let rounded = tensor.to_dtype(DType::BF16).unwrap();
        assert_eq!(bits(&stored[name]), bits(&rounded), "{name}");
    }
}

#[test]
fn f16_becomes_f32() {
    let numbers = [0.0, 1.0, -1.5, 65504.0, 6e-8, f32::INFINITY];
    let half = Tensor::new(&numbers, &Device::Cpu).unwrap().to_dtype(DType::F16).unwrap();
    let bytes = safetensors::to_bytes(&BTreeMap::from([("x".to_string(), half.clone())])).unwrap();
    let read = load(&memory("model.safetensors", bytes)).unwrap();
    assert_eq!(read["x"].dtype(), DType::F32);
    assert_eq!(bits(&read["x"]), bits(&half));
}

#[test]
fn written_tensors_are_read_back_also_by_the_reference_crate() {
    let tensors: BTreeMap<String, Tensor> = load(&folder("t5_sharded")).unwrap().into_iter().collect();
    let bytes = safetensors::to_bytes(&tensors).unwrap();
    assert_eq!(bytes, safetensors::to_bytes(&tensors).unwrap(), "the same tensors give the same bytes");
    let theirs = ::safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let (_, metadata) = ::safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(metadata.metadata(), &Some(HashMap::from([("format".to_string(), "pt".to_string())])));
    assert_eq!(metadata.offset_keys(), tensors.keys().cloned().collect::<Vec<_>>(), "sorted by name");
    let ours = load(&memory("model.safetensors", bytes.clone())).unwrap();
    for (name, tensor) in &tensors {
        assert_eq!(bits(tensor), bits(&ours[name]), "{name}");
        let stored: Vec<u8> = flat(tensor).into_iter().flat_map(f32::to_le_bytes).collect();
        assert_eq!(theirs.tensor(name).unwrap().data(), stored, "{name}");
    }
}

#[test]
fn a_strided_tensor_is_written_in_row_major_order() {
    let t = Tensor::arange(0f32, 6.0, &Device::Cpu).unwrap().reshape((2, 3)).unwrap().t().unwrap();
    let bytes = safetensors::to_bytes(&BTreeMap::from([("t".to_string(), t)])).unwrap();
    let read = load(&memory("model.safetensors", bytes)).unwrap();
    assert_eq!(read["t"].to_vec2::<f32>().unwrap(), [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]);
}

#[test]
fn only_needed_tensors_are_loaded() {
    let source = folder("t5_bf16");
    let read = load_file(&source, "model.safetensors", &|name| name == "shared.weight").unwrap();
    assert_eq!(read.keys().collect::<Vec<_>>(), ["shared.weight"]);
}

#[test]
fn damaged_headers_are_named() {
    let entry = |name: &str, dtype: &str, shape: &str, from: usize, to: usize| {
        format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{from},{to}]}}"#)
    };
    let a = entry("a", "F32", "[2]", 0, 8);
    let cases = [
        (vec![1, 2, 3], "only 3 bytes"),
        (b"version https://git-lfs.github.com/spec/v1\n".to_vec(), "git-lfs"),
        (u64::MAX.to_le_bytes().to_vec(), "header of"),
        (file("[]", 0), "a map of tensors"),
        (file(&format!("{{{a}"), 8), "bad safetensors header"),
        (file(&format!("{{{a},{a}}}"), 8), "tensor a appears twice"),
        (file(&format!("{{{a}}}"), 4), "tensor a ends at byte 8, but the data has 4 bytes"),
        (file(&format!("{{{a}}}"), 12), "4 bytes after the last tensor"),
        (file(&format!("{{{a},{}}}", entry("b", "F32", "[1]", 4, 8)), 8), "tensor b overlaps"),
        (file(&format!("{{{a},{}}}", entry("b", "F32", "[1]", 12, 16)), 16), "before tensor b"),
        (file(&format!("{{{}}}", entry("a", "F8_E4M3", "[2]", 0, 2)), 2), "tensor a has the type F8_E4M3"),
        (file(&format!("{{{}}}", entry("a", "F32", "[3]", 0, 8)), 8), "tensor a of shape [3]"),
        (file(&format!("{{{}}}", entry("a", "F32", "[2]", 8, 0)), 8), "tensor a of shape [2]"),
        (file(&format!("{{{}}}", entry("a", "F32", "[-1]", 0, 8)), 8), "tensor a: invalid value"),
        (file(&format!("{{{}}}", entry("a", "F32", "[0,9223372036854775807,4]", 0, 0)), 0), "does not fit"),
    ];
    for (bytes, expected) in cases {
        let message = load(&memory("model.safetensors", bytes)).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}\n  should say: {expected}");
        assert!(message.starts_with("made-up/model.safetensors: "), "{message}");
        assert!(message.contains("try: "), "{message}");
    }
}

#[test]
fn a_scalar_and_an_empty_tensor_are_tensors() {
    let header = r#"{"__metadata__":{"format":"pt"},"s":{"dtype":"F32","shape":[],"data_offsets":[0,4]},
        "e":{"dtype":"F32","shape":[0,3],"data_offsets":[4,4]}}"#;
    let read = load(&memory("model.safetensors", file(header, 4))).unwrap();
    assert_eq!(read["s"].dims(), [0usize; 0]);
    assert_eq!(read["e"].dims(), [0, 3]);
}

#[test]
fn a_wrong_index_is_named() {
    let source = folder("t5_sharded");
    let index = "model.safetensors.index.json";
    let with = |json: &str, shards: bool| {
        let mut files = BTreeMap::from([(index.to_string(), json.as_bytes().to_vec())]);
        for n in 1..=3 {
            let name = format!("model-0000{n}-of-00003.safetensors");
            if shards {
                files.insert(name.clone(), source.read(&name).unwrap());
            }
        }
        load(&Memory::new("made-up", files)).unwrap_err().to_string()
    };
    let first = "model-00001-of-00003.safetensors";
    let cases = [
        (r#"{"weight_map":{"x":"../secret.safetensors"}}"#.to_string(), true, "is not a file name"),
        (r#"{"weight_map":{"x":7}}"#.to_string(), true, "is not a file name"),
        ("{}".to_string(), true, "no weight_map"),
        ("{".to_string(), true, "not valid JSON"),
        (format!(r#"{{"weight_map":{{"x":"{first}"}}}}"#), true, "has no tensor x"),
        (format!(r#"{{"weight_map":{{"x":"{first}"}}}}"#), false, "no such file"),
    ];
    for (json, shards, expected) in cases {
        let message = with(&json, shards);
        assert!(message.contains(expected), "{message}\n  should say: {expected}");
    }
    let message = load(&Memory::default()).unwrap_err().to_string();
    assert!(message.contains("no weights: none of model.safetensors"), "{message}");
}

/// A fixture's tensors with other names, in two shards.
fn renamed(fixture: &str, name: impl Fn(&str) -> String) -> Memory {
    let mut tensors: BTreeMap<String, Tensor> =
        load(&folder(fixture)).unwrap().into_iter().map(|(n, t)| (name(&n), t)).collect();
    let half = tensors.keys().nth(tensors.len() / 2).unwrap().clone();
    let shards = [("b.safetensors", tensors.split_off(&half)), ("a.safetensors", tensors)];
    let map: BTreeMap<&String, &str> = shards.iter().flat_map(|(file, t)| t.keys().map(|n| (n, *file))).collect();
    let index = serde_json::json!({"weight_map": map}).to_string().into_bytes();
    let mut files = BTreeMap::from([("model.safetensors.index.json".to_string(), index)]);
    files.extend(shards.iter().map(|(file, t)| (file.to_string(), safetensors::to_bytes(t).unwrap())));
    Memory::new("made-up", files)
}

#[test]
fn names_that_a_wrapper_changed_are_the_same_model() {
    let names: [fn(&str) -> String; 5] = [
        |n| format!("pretrained_model.{n}"),
        |n| format!("_orig_mod.{n}"),
        |n| format!("module._orig_mod.{n}"),
        |n| format!("base_model.model.{n}"),
        |n| n.replace("encoder.block", "encoder._orig_mod.block"),
    ];
    let plain = load(&folder("t5_sharded")).unwrap();
    for name in names {
        let wrapped = renamed("t5_sharded", name);
        let loaded = load(&wrapped).unwrap();
        assert_eq!(loaded.len(), plain.len());
        assert!(loaded.iter().all(|(name, tensor)| bits(tensor) == bits(&plain[name])));
        assert!(Checkpoint::open(Box::new(&wrapped)).unwrap().described().iter().all(|d| plain.contains_key(&d.name)));
    }
    let twice = |n: &str| if n == "shared.weight" { n.into() } else { "module.shared.weight".to_string() };
    let message = load(&renamed("t5_sharded", twice)).unwrap_err().to_string();
    assert!(message.contains("tensor shared.weight appears twice"), "{message}");
    let whole =
        load(&renamed("t5_sharded", |n| n.replace(".q.weight", ".q.base_layer.weight"))).unwrap_err().to_string();
    assert!(whole.contains("base layer of a PEFT model") && whole.contains("merge_and_unload"), "{whole}");
}

#[test]
fn a_value_head_is_found_in_shards() {
    let head = |n: &str| match n {
        "encoder.final_layer_norm.weight" => "v_head.summary.weight".to_string(),
        "decoder.final_layer_norm.weight" => "module.v_head.summary.bias".to_string(),
        other => other.to_string(),
    };
    let mut source = renamed("t5_sharded", head);
    // its tensors have wrong shapes, and the message shows that both were found
    let message = SavedHead::find(&source).unwrap_err().to_string();
    assert!(message.contains("v_head.summary.weight [24] and v_head.summary.bias [24] are no value head"), "{message}");
    assert!(SavedHead::find(&renamed("t5_sharded", str::to_string)).unwrap().is_none());
    source.files.remove("b.safetensors");
    let message = SavedHead::find(&source).unwrap_err().to_string();
    assert!(message.contains("made-up/b.safetensors: no such file"), "{message}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Reading any damaged file ends in tensors or an error.
    #[test]
    fn random_damage_never_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        keep in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let mut bytes = std::fs::read(fixtures().join("torch_types.safetensors")).unwrap();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if cut {
            bytes.truncate(keep.index(bytes.len()));
        }
        let _ = load(&memory("model.safetensors", bytes));
    }
}
