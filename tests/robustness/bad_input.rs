//! Bad input: for any bytes, a reader does not panic or use more memory than they justify, and its error names file and place.
//! `hostile` defines these rules, also for the fuzz targets; `tests/fixtures/regressions` has inputs that broke them, one
//! folder for each target.

use crate::hostile;
use detox_lab::io::checkpoint::pickle;
use proptest::collection::vec;
use proptest::prelude::*;
use std::path::PathBuf;

type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 10] = [
    ("safetensors", hostile::safetensors),
    ("gguf", hostile::gguf),
    ("pickle", hostile::pickle),
    ("torch", hostile::torch),
    ("zipped", hostile::zipped),
    ("adapter", hostile::adapter),
    ("tokenizer", hostile::tokenizer),
    ("rows", hostile::rows),
    ("configs", hostile::configs),
    ("run_folder", hostile::run_folder),
];

#[test]
fn inputs_that_broke_a_rule_do_not_break_it_again() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/regressions");
    let mut cases = 0;
    for (name, target) in TARGETS {
        let Ok(files) = std::fs::read_dir(folder.join(name)) else { continue };
        for file in files {
            target(&std::fs::read(file.unwrap().path()).unwrap());
            cases += 1;
        }
    }
    assert!(cases > 0, "no case in {}", folder.display());
}

/// A GGUF file of two metadata and a q8_0 matrix (2, 32), without its first eight bytes.
fn gguf() -> Vec<u8> {
    let text = |t: &str| [&(t.len() as u64).to_le_bytes(), t.as_bytes()].concat();
    let counts = [1u64.to_le_bytes(), 2u64.to_le_bytes()].concat();
    let alignment = [text("general.alignment"), [4u32.to_le_bytes(), 32u32.to_le_bytes()].concat()].concat();
    let array = [9u32.to_le_bytes(), 8u32.to_le_bytes()].concat();
    let tokens = [text("tokens"), array, 2u64.to_le_bytes().to_vec(), text("a"), text("b")].concat();
    let shape = [2u32.to_le_bytes().to_vec(), 32u64.to_le_bytes().to_vec(), 2u64.to_le_bytes().to_vec()].concat();
    let tensor = [text("a.weight"), shape, 8u32.to_le_bytes().to_vec(), 0u64.to_le_bytes().to_vec()].concat();
    let mut file = [counts, alignment, tokens, tensor].concat();
    file.resize((file.len() + 8).next_multiple_of(32) - 8 + 96, 0);
    file
}

#[test]
fn the_undamaged_run_can_be_continued() {
    hostile::run::check_bench();
}

/// `{"t": MODULE.NAME}` with the global called in every way that a pickle has.
fn calls(module: &str, name: &str) -> Vec<Vec<u8>> {
    let global = format!("c{module}\n{name}\n");
    let text = |t: &str| [b"X".as_slice(), &(t.len() as u32).to_le_bytes(), t.as_bytes()].concat();
    let inside = |what: &[u8]| [b"\x80\x02}X\x01\x00\x00\x00t", what, b"s."].concat();
    vec![
        inside(global.as_bytes()),
        inside(format!("{global})R").as_bytes()),
        inside(&[global.as_bytes(), b"X\x02\x00\x00\x00id\x85R"].concat()),
        inside(&[global.as_bytes(), b")\x81"].concat()),
        inside(format!("(i{module}\n{name}\n").as_bytes()),
        inside(&[b"(", global.as_bytes(), b"o"].concat()),
        inside(&[text(module), text(name), b"\x93)R".to_vec()].concat()),
        inside(b"\x82\x01)R"),
    ]
}

#[test]
fn a_pickle_may_only_call_what_weights_need() {
    for (module, name) in [
        ("os", "system"),
        ("posix", "system"),
        ("builtins", "eval"),
        ("__builtin__", "getattr"),
        ("subprocess", "Popen"),
        ("torch", "load"),
        ("torch.storage", "_load_from_bytes"),
        ("torch._utils", "_rebuild_tensor"),
        ("torch.nn.modules.linear", "Linear"),
        ("collections", "defaultdict"),
        ("collections.OrderedDict", ""),
        ("torch", "FloatStorage.__reduce__"),
    ] {
        for pickle in calls(module, name) {
            let error = pickle::tensors(&pickle).unwrap_err();
            assert!(error.contains("(pickle byte "), "{error}: no place");
        }
        let error = pickle::tensors(&calls(module, name)[0]).unwrap_err();
        assert!(error.contains(&format!("{module}.{name}")), "{error}: does not name the global");
    }
}

#[test]
fn all_opcodes_that_build_or_import_are_refused() {
    // of `pickletools.opcodes`: INST OBJ NEWOBJ NEWOBJ_EX EXT1 EXT2 EXT4 STACK_GLOBAL PERSID GET PUT DUP POP FRAME …
    for opcode in b"io\x81\x92\x82\x83\x84\x93Pgp20\x95\x94\x8f\x90\x91\x96\x97\x98\x8c\x8dBCTUSVFILd\x8bl1" {
        let error = pickle::tensors(&[b"\x80\x02}(", [*opcode].as_slice(), b"\0\0\0\0\0\0\0\0."].concat()).unwrap_err();
        assert!(error.contains(&format!("opcode 0x{opcode:02x}")), "{error}");
    }
}

/// Bytes, half of them from parts of the formats.
fn bytes(len: usize) -> impl Strategy<Value = Vec<u8>> {
    let made_of =
        prop::sample::select(b"{}[]\":,0123456789.eE+-\\/\n\r\tnulltruefalse\0\x01\x80\xff PK\x03\x04".to_vec());
    vec(prop_oneof![any::<u8>(), made_of], 0..len)
}

/// A seed with some of its bytes changed, cut or repeated.
fn damaged(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), any::<u8>(), 0..4u8);
    (prop::sample::select(seeds), vec(change, 0..6)).prop_map(|(mut bytes, changes)| {
        for (at, byte, what) in changes {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            match what {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => drop(bytes.remove(at)),
                _ => bytes.truncate(at + 1),
            }
        }
        bytes
    })
}

fn fixture(name: &str, kind: &[u8]) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    [kind, &std::fs::read(path).unwrap()].concat()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_bytes_are_refused_with_a_message(input in bytes(200)) {
        for (_, target) in TARGETS.into_iter().filter(|(name, _)| *name != "run_folder") {
            target(&input);
        }
    }

    #[test]
    fn any_global_that_weights_do_not_need_is_refused(module in "[a-z_]{1,8}(\\.[a-z_]{1,8}){0,2}", name in "[A-Za-z_]{1,20}") {
        prop_assume!(!hostile::weights::is_for_weights(&format!("{module}.{name}")));
        for pickle in calls(&module, &name) {
            prop_assert!(pickle::tensors(&pickle).is_err());
        }
    }

    #[test]
    fn damaged_weights(input in damaged(vec![
        fixture("lora_pattern/adapter_model.safetensors", b"\0"),
        b"\x01{\"a\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[0,8]}}12345678".to_vec(),
    ])) {
        hostile::safetensors(&input);
    }

    #[test]
    fn damaged_gguf(input in damaged(vec![gguf(), gguf()[..80].to_vec()])) {
        hostile::gguf(&input);
    }

    #[test]
    fn damaged_rows(input in damaged(vec![
        b"\x00{\"dialogue\":\"a\",\"summary\":\"b\",\"split\":\"test\"}\n".repeat(3),
        b"\x01id,dialogue,summary\ntest_0_1,\"x \"\"y\"\"\n\",z\n".to_vec(),
        b"\x02text,label,split\na,hate,dev\nb,0,\n".to_vec(),
        b"\x03{\"text\":\"a\"}\n{\"dialogue\":\"b\"}\n".to_vec(),
        b"\x06{\"query_ids\":[5,1],\"response_ids\":[0,7,1],\"score\":0.5}\n".to_vec(),
    ])) {
        hostile::rows(&input);
    }

    #[test]
    fn damaged_configurations(input in damaged(vec![
        fixture("t5_tied/config.json", b"\x02"),
        fixture("roberta_small/config.json", b"\x03"),
        fixture("t5_sharded/model.safetensors.index.json", b"\x04"),
        b"\0{\"lam\":0.5,\"batch_size\":8,\"kl_penalty\":\"mse\",\"total_steps\":9}".to_vec(),
    ])) {
        hostile::configs(&input);
    }

    #[test]
    fn absurd_sizes(size in any::<u64>(), shift in 0..64u32, key in 0..8usize) {
        let t5 = ["vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_decoder_layers", "num_heads", "relative_attention_num_buckets"];
        let roberta = ["vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
            "max_position_embeddings", "type_vocab_size", "pad_token_id"];
        let ppo = ["batch_size", "mini_batch_size", "gradient_accumulation_steps", "ppo_epochs", "top_k", "min_length",
            "output_min_length", "output_max_length"];
        let with = |kind: u8, name: &str, key: &str| {
            let mut json: serde_json::Value = serde_json::from_slice(&fixture(name, b"")).unwrap();
            json[key] = (size >> shift).into();
            hostile::configs(&[&[kind], json.to_string().as_bytes()].concat());
        };
        with(2, "t5_tied/config.json", t5[key]);
        with(3, "roberta_small/config.json", roberta[key]);
        hostile::configs(format!("\0{{\"{}\":{}}}", ppo[key], size >> shift).as_bytes());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn damaged_adapters(input in damaged(vec![
        fixture("lora_pattern/adapter_config.json", b""),
        fixture("lora_rs/adapter_config.json", b""),
        br#"{"target_modules":".*(q|v)$","rank_pattern":{"block.[0-3].*q":2},"layers_to_transform":[1]}"#.to_vec(),
    ])) {
        hostile::adapter(&input);
    }

    #[test]
    fn damaged_tokenizers(input in damaged(vec![
        fixture("tiny/policy/tokenizer.json", b"\0"),
        fixture("tiny/reward/tokenizer.json", b"\0"),
    ])) {
        hostile::tokenizer(&input);
    }

    #[test]
    fn damaged_archives(input in damaged(vec![fixture("torch_types.bin", b"\0")])) {
        hostile::torch(&input);
        hostile::zipped(&input[1.min(input.len())..]);
    }

    #[test]
    fn damaged_runs(input in bytes(60)) {
        hostile::run_folder(&input);
    }
}
