"""Writes small initial inputs for each fuzz target into fuzz/corpus/<target>/, made from tests/fixtures: python3 fuzz/seeds.py

What an input means to its target (a first byte that chooses, then a file) is written in tests/robustness/hostile. Needs python3 alone.
"""

import base64, io, json, struct, zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
FIXTURES = HERE.parent / "tests/fixtures"


def seed(target, name, content):
    path = HERE / "corpus" / target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def fixture(name):
    return (FIXTURES / name).read_bytes()


def entry(dtype, shape, start, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def safetensors():
    header = json.dumps({
        "__metadata__": {"format": "pt"},
        "a.lora_A.weight": entry("F32", [2, 1], 0, 8),
        "b": entry("BF16", [2], 8, 12),
        "c": entry("I64", [], 12, 20),
        "d": entry("BOOL", [0, 3], 20, 20),
    }).encode()
    data = bytes(20)
    seed("safetensors", "whole", b"\0" + struct.pack("<Q", len(header)) + header + data)
    seed("safetensors", "header", b"\1" + header + data)


def torch():
    for name in ["torch_types.bin", "torch_module.bin"]:
        with zipfile.ZipFile(io.BytesIO(fixture(name))) as file:
            pickle = next(file.read(n) for n in file.namelist() if n.endswith("data.pkl"))
        seed("pickle", name, pickle)
        seed("torch", name + "-pickle", b"\1" + pickle + bytes(96))
    text = lambda t: b"X" + struct.pack("<I", len(t)) + t
    one = (b"\x80\x02}" + text(b"t") + b"ctorch._utils\n_rebuild_tensor_v2\n((" + text(b"storage")
           + b"ctorch\nFloatStorage\n" + text(b"0") + text(b"cpu") + b"K\x18tQK\x00(K\x04K\x06t(K\x06K\x01t\x89)tRs.")
    seed("pickle", "one", one)
    seed("torch", "one", b"\1" + one + bytes(96))
    small = io.BytesIO()
    with zipfile.ZipFile(small, "w") as file:
        for name, content in [("m/data.pkl", one), ("m/byteorder", b"little"), ("m/data/0", bytes(96))]:
            file.writestr(zipfile.ZipInfo(name), content)
    seed("torch", "whole", b"\0" + small.getvalue())


def zipped():
    for name, how in [("stored", zipfile.ZIP_STORED), ("deflated", zipfile.ZIP_DEFLATED)]:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", how) as file:
            for path in ["config.json", "metrics.jsonl", "checkpoints/step-00001/adapter_config.json"]:
                file.writestr(zipfile.ZipInfo("run/" + path), b"{}\n" * 20, how)
            file.writestr("run/empty/", b"")
        seed("zipped", name, out.getvalue())


def adapter():
    for name in ["lora_pattern", "lora_rs", "tiny/adapter"]:
        seed("adapter", name.replace("/", "-"), fixture(f"{name}/adapter_config.json"))
    seed("adapter", "patterns", json.dumps({
        "peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": r".*decoder.*(SelfAttention|EncDec).*\.[qv]$",
        "exclude_modules": ["lm_head"], "layers_to_transform": [0, 2], "layers_pattern": "block", "use_rslora": True,
        "rank_pattern": {r"block\.1\..*q": 2}, "alpha_pattern": {"(?!x)q": 3.5}, "bias": "none",
    }).encode())


def tokenizer():
    """The fixtures' tokenizers with few pieces, one with a character table as in T5, one as RoBERTa's two files."""
    units = [0] * 512
    units[0] = 256 << 10  # the root's children stand at 256 ^ byte
    units[256 ^ 97] = 1 << 10 | 1 << 8 | 97  # "a", with a leaf beside it
    units[256 ^ 97 ^ 1] = 1 << 31  # the text at 0
    table = struct.pack("<I", 4 * len(units)) + struct.pack("<512I", *units) + b"b\0"
    precompiled = {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(table).decode()}
    for name in ["policy", "reward"]:
        file = json.loads(fixture(f"tiny/{name}/tokenizer.json"))
        vocab = file["model"]["vocab"]
        if isinstance(vocab, list):
            file["model"]["vocab"] = vocab[:40]
            seed("tokenizer", "table", b"\0" + json.dumps(dict(file, normalizer=precompiled)).encode())
            file["pre_tokenizer"]["pretokenizers"].insert(
                0, {"type": "Split", "pattern": {"Regex": r" ?\w+|[^\w\s]"}, "behavior": "Isolated", "invert": False})
            file["normalizer"] = {"type": "Sequence", "normalizers": [
                file["normalizer"], {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"},
                {"type": "Replace", "pattern": {"String": "a"}, "content": "b"}, {"type": "Prepend", "prepend": " "},
                {"type": "Strip", "strip_left": True, "strip_right": True}, {"type": "Lowercase"}]}
        else:
            kept = {piece: i for i, piece in enumerate(sorted(vocab, key=vocab.get)[:60])}
            pairs = [m if isinstance(m, list) else m.split(" ") for m in file["model"]["merges"]]
            merges = [m for m in pairs if all(piece in kept for piece in [*m, "".join(m)])][:10]
            file["model"].update(vocab=kept, merges=merges)
            file["added_tokens"] = file["added_tokens"][:4]
            lines = "#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges)
            seed("tokenizer", "files", b"\1" + json.dumps(kept).encode() + b"\0" + lines.encode())
        seed("tokenizer", name, b"\0" + json.dumps(file).encode())


def rows():
    dialogues = fixture("tiny/data/train.jsonl").splitlines(keepends=True)[:2]
    seed("rows", "dialogues.jsonl", b"\0" + b"".join(dialogues))
    seed("rows", "dialogues.csv", b"\1" + b'id,dialogue,summary,topic\ntest_0_1,"#Person1#: ""hi"".\nb",one,t\ntest_0_2,x,two,t\n')
    seed("rows", "labelled.csv", b"\2" + b'\xef\xbb\xbfid,label,text,split\n7,hate,"a, ""b""\nc",train\n8,0,d,dev\n')
    seed("rows", "texts.jsonl", b"\3" + b'{"dialogue": "a", "summary1": "b"}\n\n{"text": "c"}\n')
    seed("rows", "texts.csv", b"\4" + b"text,label\na,1\n")
    seed("rows", "texts.txt", b"\5" + b"one\ntwo\n")
    seed("rows", "replay.jsonl", b"\6" + b'{"query_ids":[5,1],"response_ids":[0,7,8,9,1],"score":0.5}\n' * 2)


def configs():
    settings = {"learning_rate": 1e-3, "lam": 0.9, "init_kl_coef": 0.1, "kl_penalty": "mse", "batch_size": 8,
                "mini_batch_size": 2, "lr_schedule": "cosine", "total_steps": 9, "temperature": 0.7, "score_clip": None}
    seed("configs", "settings", b"\0" + json.dumps(settings).encode())
    for kind, name in [(2, "t5_tied"), (2, "tiny/policy"), (3, "roberta_small"), (3, "tiny/reward")]:
        seed("configs", name.replace("/", "-"), bytes([kind]) + fixture(f"{name}/config.json"))
    seed("configs", "index", b"\4" + json.dumps({"weight_map": {"a": "model-1.safetensors", "b": "x/y"}}).encode())
    run = json.loads(RUN)
    seed("configs", "run", b"\1" + json.dumps(run).encode())


def run_folder():
    change = lambda what, file, at, data: struct.pack(">BBHB", what, file, at, len(data)) + data
    seed("run_folder", "none", b"")
    for file in range(16):
        seed("run_folder", f"byte-{file}", change(1, file, 40, b"0"))
        seed("run_folder", f"cut-{file}", change(2, file, 60, b""))
        seed("run_folder", f"other-{file}", change(0, file, 0, b'{"step": 1}\n') + change(4, file, 0, b"checkpoints/step-00002/x"))
        seed("run_folder", f"gone-{file}", change(3, file, 0, b""))


RUN = """{"version": "0.1.0", "policy": "tiny", "adapter": null, "reward": "tiny", "data": "tiny", "steps": 10,
"save_every": 1, "ppo": {"learning_rate": 1e-5, "lr_schedule": "constant", "warmup_steps": 0, "total_steps": null,
"adam_beta1": 0.9, "adam_beta2": 0.999, "adam_eps": 1e-8, "max_grad_norm": null, "batch_size": 8, "mini_batch_size": 4,
"gradient_accumulation_steps": 1, "ppo_epochs": 1, "kl_estimator": "k1", "kl_coef": 0.2, "adaptive_kl": true,
"kl_target": 6.0, "kl_horizon": 10000.0, "gamma": 1.0, "lambda": 0.95, "score_scaling": false, "score_norm": false,
"score_clip": null, "whiten_rewards": false, "clip_range": 0.2, "clip_range_value": 0.2, "vf_coef": 0.1,
"ratio_threshold": null, "early_stopping": false, "target_kl": 0.1, "reward_read": "nothate_logit",
"kl_reference": "initial", "train_first_token": true, "keep_start_token": true, "value_head_dropout": 0.0,
"whiten_over": "batch", "min_length": 0, "eval_samples_plus_one": false, "scored_text": "response",
"truncate_reward_input": true, "report_paired": true, "pad_to_batch": false, "whiten_rewards_padding": false, "seed": 0,
"temperature": 1.0, "top_k": 0, "top_p": 1.0, "output_min_length": 100, "output_max_length": 400}}"""

if __name__ == "__main__":
    for write in [safetensors, torch, zipped, adapter, tokenizer, rows, configs, run_folder]:
        write()
