//! GGUF files: candle's reader and writer are the reference; a model read from one is the model that was written.

use crate::support::{fixtures, flat, shared_data};
use candle_core::quantized::gguf_file::{self, Content, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use detox_lab::io::checkpoint::gguf_model::GgufModel;
use detox_lab::io::checkpoint::safetensors;
use detox_lab::io::checkpoint::weights::{self, Checkpoint};
use detox_lab::io::disk::Folder;
use detox_lab::io::{ByteSource, Memory};
use detox_lab::lab::models::{Actor, Judge, Precision};
use detox_lab::lab::quantize;
use detox_lab::lab::sources::policy::PolicySource;
use detox_lab::lab::sources::reward::RewardSource;
use detox_lab::lab::sources::tokenizer::tokenizer;
use detox_lab::model::policy::{Given, TrainablePolicy};
use detox_lab::pace::{NonStop, block_on};
use std::collections::BTreeMap;
use std::io::Cursor;

fn tiny(model: &str) -> Folder {
    Folder::open(fixtures().join("tiny").join(model)).unwrap()
}

fn written(precision: Precision) -> Vec<u8> {
    let mut out = Vec::new();
    quantize::policy(&mut out, &PolicySource::open(Box::new(tiny("policy"))).unwrap(), precision, "x.gguf").unwrap();
    out
}

fn model(bytes: Vec<u8>) -> GgufModel<'static> {
    let folder = Memory::new("some", BTreeMap::from([("x.gguf".to_string(), bytes)]));
    GgufModel::open(Box::new(folder), "x.gguf".into()).unwrap()
}

fn logprobs(actor: &Actor) -> Vec<f32> {
    let rows: [(&[u32], &[u32]); 1] = [(&[5, 9, 12, 1], &[0, 7, 30, 11, 1])];
    flat(&actor.policy.evaluate(&Given::new(&rows, 5, None), None).unwrap().logprobs)
}

#[test]
fn a_policy_read_from_gguf_is_the_one_that_was_written() {
    for precision in quantize::KINDS {
        let gguf = model(written(precision));
        let (theirs, ours) =
            (Actor::load_as(&gguf, precision, 0).unwrap(), Actor::load_as(&tiny("policy"), precision, 0).unwrap());
        assert_eq!(logprobs(&theirs), logprobs(&ours), "{precision:?}");
        // what is held as f32 was rounded once
        assert_eq!(logprobs(&Actor::load(&gguf, 0).unwrap()), logprobs(&ours), "{precision:?} widened");
        let text = "#Person1#: Where is my pen?";
        let ids = |source: &dyn ByteSource| tokenizer(source).unwrap().unwrap().encode(text).unwrap();
        assert_eq!(ids(&gguf), ids(&tiny("policy")));
    }
}

#[test]
fn a_reward_model_read_from_gguf_is_the_one_that_was_written() {
    let mut out = Vec::new();
    quantize::reward(&mut out, &RewardSource::open(Box::new(tiny("reward"))).unwrap(), Precision::Q8_0, "x").unwrap();
    let texts = ["You are late.".to_string()];
    let scores = |judge: &Judge| block_on(judge.score(&texts, false, &mut NonStop)).unwrap();
    let (theirs, ours) = (
        Judge::load_as(&model(out), Precision::Q8_0).unwrap(),
        Judge::load_as(&tiny("reward"), Precision::Q8_0).unwrap(),
    );
    assert_eq!(scores(&theirs), scores(&ours));
}

#[test]
fn a_tensor_read_in_pieces_is_the_one_read_whole() {
    let shipped = || Box::new(Folder::open(concat!(env!("CARGO_MANIFEST_DIR"), "/static/models/tiny/policy")).unwrap());
    let mut out = Vec::new();
    quantize::policy(&mut out, &PolicySource::open(shipped()).unwrap(), Precision::Q8_0, "x.gguf").unwrap();
    for source in [shipped() as Box<dyn ByteSource>, Box::new(model(out))] {
        let checkpoint = Checkpoint::open(source).unwrap();
        assert!(checkpoint.is_in_parts());
        let mut most = 0;
        for d in checkpoint.described() {
            let (mut pieces, mut all, mut count) = (checkpoint.pieces(&d.name).unwrap(), Vec::new(), 0);
            while let Some(numbers) = pieces.numbers().unwrap() {
                all.extend(numbers);
                count += 1;
            }
            most = most.max(count);
            let whole = checkpoint.load(&|name| name == d.name).unwrap();
            assert_eq!(all, flat(&whole[&d.name]), "{}", d.name);
        }
        assert!(most > 1, "the embeddings are several pieces");
    }
}

#[test]
fn tensors_of_whole_numbers_are_no_parameters_and_left_out() {
    let mut tensors: BTreeMap<String, Tensor> = weights::load(&tiny("reward")).unwrap().into_iter().collect();
    tensors.insert("roberta.embeddings.position_ids".into(), Tensor::new(&[[0i64, 1]], &Device::Cpu).unwrap());
    let mut files = BTreeMap::from([("model.safetensors".to_string(), safetensors::to_bytes(&tensors).unwrap())]);
    for file in ["config.json", "tokenizer.json"] {
        files.insert(file.into(), tiny("reward").read(file).unwrap());
    }
    let old = RewardSource::open(Box::new(Memory::new("old", files))).unwrap();
    let mut out = Vec::new();
    quantize::reward(&mut out, &old, Precision::Q8_0, "x.gguf").unwrap();
    let checkpoint = Checkpoint::open(Box::new(model(out))).unwrap();
    assert!(checkpoint.described().iter().all(|d| !d.name.ends_with("position_ids")));
}

#[test]
fn candle_reads_what_is_written() {
    let bytes = written(Precision::Q8_0);
    let mut reader = Cursor::new(&bytes);
    let content = Content::read(&mut reader).unwrap();
    for (key, want) in [("general.architecture", "t5"), ("tokenizer.ggml.model", "t5")] {
        assert_eq!(content.metadata[key].to_string().unwrap(), want);
    }
    assert_eq!(content.metadata["t5.embedding_length"].to_u32().unwrap(), 32);
    assert_eq!(content.metadata["t5.decoder_start_token_id"].to_u32().unwrap(), 0);
    let tokens = content.metadata["tokenizer.ggml.tokens"].to_vec().unwrap();
    assert_eq!(tokens[1].to_string().unwrap(), "</s>");
    assert!(matches!(content.metadata["tokenizer.ggml.scores"].to_vec().unwrap()[5], Value::F32(_)));
    let gguf = model(bytes.clone());
    let ours = Checkpoint::open(Box::new(gguf)).unwrap().load(&|_| true).unwrap();
    assert_eq!(ours.len(), content.tensor_infos.len());
    for (theirs, name, dtype) in [
        ("token_embd.weight", "shared.weight", GgmlDType::Q8_0),
        ("enc.blk.1.ffn_gate.weight", "encoder.block.1.layer.1.DenseReluDense.wi_0.weight", GgmlDType::Q8_0),
        ("dec.blk.0.cross_attn_v.weight", "decoder.block.0.layer.1.EncDecAttention.v.weight", GgmlDType::Q8_0),
        ("dec.blk.1.ffn_norm.weight", "decoder.block.1.layer.2.layer_norm.weight", GgmlDType::F32),
        (
            "dec.blk.0.attn_rel_b.weight",
            "decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
            GgmlDType::F32,
        ),
        ("output.weight", "lm_head.weight", GgmlDType::Q8_0),
    ] {
        let tensor = content.tensor(&mut reader, theirs, &Device::Cpu).unwrap();
        assert_eq!(tensor.dtype(), dtype, "{theirs}");
        assert_eq!(flat(&tensor.dequantize(&Device::Cpu).unwrap()), flat(&ours[name]), "{theirs}");
    }
}

/// A GGUF file that candle writes.
fn by_candle(metadata: &[(&str, Value)], tensors: &[(&str, QTensor)]) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    let metadata: Vec<_> = metadata.iter().map(|(key, value)| (*key, value)).collect();
    let tensors: Vec<_> = tensors.iter().map(|(name, tensor)| (*name, tensor)).collect();
    gguf_file::write(&mut out, &metadata, &tensors).unwrap();
    out.into_inner()
}

#[test]
fn every_type_is_widened_as_candle_does() {
    use GgmlDType::*;
    let numbers: Vec<f32> = (0..6 * 512).map(|i| ((i * 37 % 101) as f32 - 50.0) / 77.0).collect();
    let tensor = Tensor::from_vec(numbers, (6, 512), &Device::Cpu).unwrap();
    for dtype in [F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2K, Q3K, Q4K, Q5K, Q6K] {
        let held = QTensor::quantize(&tensor, dtype).unwrap();
        let want = flat(&held.dequantize(&Device::Cpu).unwrap());
        let folder = Memory::new("m", BTreeMap::from([("model.gguf".into(), by_candle(&[], &[("a.weight", held)]))]));
        let read = Checkpoint::open(Box::new(folder)).unwrap().load(&|_| true).unwrap();
        assert_eq!((read["a.weight"].dims(), flat(&read["a.weight"])), (&[6, 512][..], want), "{dtype:?}");
    }
}

/// The policy as llama.cpp's converter writes it: neither config.json nor tokenizer.json in it.
fn as_llama(skip: &[&str]) -> Vec<u8> {
    let bytes = written(Precision::F16);
    let mut reader = Cursor::new(&bytes);
    let content = Content::read(&mut reader).unwrap();
    let kept = content.metadata.iter().filter(|(key, _)| !skip.contains(&key.as_str()));
    let metadata: Vec<_> = kept.map(|(key, value)| (key.as_str(), value.clone())).collect();
    let names: Vec<&str> = content.tensor_infos.keys().map(String::as_str).collect();
    let tensors: Vec<_> =
        names.iter().map(|name| (*name, content.tensor(&mut reader, name, &Device::Cpu).unwrap())).collect();
    by_candle(&metadata, &tensors)
}

#[test]
fn llama_cpps_files_are_read_by_their_keys() {
    let gguf = model(as_llama(&["detox_lab.config", "tokenizer.huggingface.json"]));
    let (theirs, ours) = (Actor::load(&gguf, 0).unwrap(), Actor::load_as(&tiny("policy"), Precision::F16, 0).unwrap());
    assert_eq!(logprobs(&theirs), logprobs(&ours));
    let read = |skip: &[&str]| {
        let folder = Memory::new("some", BTreeMap::from([("x.gguf".to_string(), as_llama(skip))]));
        GgufModel::open(Box::new(folder), "x.gguf".into()).err().map(|e| e.to_string()).unwrap_or_default()
    };
    let missing = read(&["detox_lab.config", "t5.embedding_length"]);
    assert!(missing.contains("some/x.gguf") && missing.contains("t5.embedding_length"), "{missing}");
    let other = by_candle(&[("general.architecture", Value::String("llama".into()))], &[]);
    let folder = Memory::new("some", BTreeMap::from([("x.gguf".to_string(), other)]));
    let error = GgufModel::open(Box::new(folder), "x.gguf".into()).err().unwrap().to_string();
    assert!(error.contains("llama") && error.contains("T5"), "{error}");
}

#[test]
#[ignore = "needs ../shared/data"]
fn llama_cpps_vocabulary_makes_flan_t5s_ids() {
    let real = Folder::open(shared_data().join("flan-t5-tokenizer")).unwrap();
    let mut files = BTreeMap::new();
    for file in ["config.json", "model.safetensors"] {
        files.insert(file.to_string(), tiny("policy").read(file).unwrap());
    }
    files.insert("tokenizer.json".to_string(), real.read("tokenizer.json").unwrap());
    let mut out = Vec::new();
    let source = Memory::new("flan", files);
    quantize::policy(&mut out, &PolicySource::open(Box::new(&source)).unwrap(), Precision::Q8_0, "x").unwrap();
    let mut reader = Cursor::new(&out);
    let content = Content::read(&mut reader).unwrap();
    let metadata: Vec<_> = content
        .metadata
        .iter()
        .filter(|(key, _)| *key != "tokenizer.huggingface.json")
        .map(|(key, value)| (key.as_str(), value.clone()))
        .collect();
    let embeddings = content.tensor(&mut reader, "token_embd.weight", &Device::Cpu).unwrap();
    let gguf = model(by_candle(&metadata, &[("token_embd.weight", embeddings)]));
    let (theirs, ours) = (tokenizer(&gguf).unwrap().unwrap(), tokenizer(&real).unwrap().unwrap());
    for text in [
        "Summarize the following conversation.\n\n#Person1#: I'm  late… again! #Person2#: Ｏｋ, 12½ €?\n\nSummary:\n",
        " leading and trailing ",
        "naïve café, “quoted” — 東京",
        "",
    ] {
        let ids = ours.encode(text).unwrap();
        assert_eq!(theirs.encode(text).unwrap(), ids, "{text:?}");
        assert_eq!(theirs.decode(&ids, false).unwrap(), ours.decode(&ids, false).unwrap(), "{text:?}");
    }
}

#[test]
fn damaged_files_are_refused_by_name() {
    let bytes = written(Precision::Q8_0);
    let refused = |bytes: Vec<u8>| {
        let folder = Memory::new("some", BTreeMap::from([("model.gguf".to_string(), bytes)]));
        Checkpoint::open(Box::new(folder)).err().map(|e| e.to_string())
    };
    assert_eq!(refused(bytes.clone()), None);
    for end in [0, 3, 20, 1000, bytes.len() - 40] {
        let message = refused(bytes[..end].to_vec()).unwrap();
        assert!(message.contains("some/model.gguf") && message.contains("try: "), "{end}: {message}");
    }
    let metadata = |key: &str, value: Value| refused(by_candle(&[(key, value)], &[]));
    assert!(metadata("general.alignment", Value::U32(0)).unwrap().contains("general.alignment"));
    assert_eq!(metadata("other", Value::Array(vec![Value::Array(vec![Value::U8(1)])])), None);
}
