#!/usr/bin/env python3
"""Checks that Python's peft and TRL load what detox-lab wrote, and compute the same numbers from it.

  detox-lab logprobs --policy DIR --adapter DIR [--value-head FILE] --rows FILE.jsonl --json > FILE.json
  python scripts/check_peft.py --policy DIR --adapter DIR [--value-head FILE] --rows FILE.jsonl --logprobs FILE.json

--policy      the base model: a T5 folder in Hugging Face layout
--adapter     a PEFT folder, such as runs/NAME/checkpoints/step-00010 or replay's DIR/step-00001
--value-head  value_head.safetensors beside it; must load into TRL's AutoModelForSeq2SeqLMWithValueHead by name
--rows        {"query_ids":[...],"response_ids":[...]} on each line, as given to detox-lab logprobs; a missing start token is added
--logprobs    the output of detox-lab: {"rows":[{"response_ids":[...],"logprobs":[...],"entropy":[...],"values":[...]}]}, response_ids without the
              start token, one number each; values only with a value head

Transformers computes each row separately, teacher forced, in f32, with the adapter loaded by PeftModel.from_pretrained. Prints the largest
absolute difference of each kind of number; exit status 1 if one is above 1e-4 (or the rows differ). Needs torch, transformers,
peft, and with --value-head trl 0.11 (tests/fixtures/requirements.txt).
"""
import argparse, json, os, sys, warnings
warnings.filterwarnings("ignore")
os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")
import torch
import transformers
from peft import PeftModel
from safetensors.torch import load_file
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
LIMIT = 1e-4


def value_head(model, file):
    """the head of TRL's wrapper around the model, loaded by the method that TRL's from_pretrained uses for a checkpoint's tensors"""
    from trl import AutoModelForSeq2SeqLMWithValueHead as WithHead
    tensors = load_file(file)
    wrapped = WithHead(model)
    expected = {f"v_head.{k}" for k in wrapped.v_head.state_dict()}
    if set(tensors) != expected:
        sys.exit(f"{file} contains {sorted(tensors)}, but TRL needs {sorted(expected)}")
    wrapped.post_init(dict(tensors))    # it empties the dict
    for name, tensor in tensors.items():
        if not torch.equal(wrapped.v_head.state_dict()[name.removeprefix("v_head.")], tensor.float()):
            sys.exit(f"TRL did not load {name}")
    return wrapped.v_head.eval()


@torch.no_grad()
def reference(model, head, query, response):
    """log-probs, entropy and values of a response, its start token first: one number for each id after that"""
    ids = torch.tensor([response])
    out = model(input_ids=torch.tensor([query]), decoder_input_ids=ids, output_hidden_states=True)
    logp = out.logits[0, :-1].float().log_softmax(-1)
    numbers = dict(logprobs=logp.gather(1, ids[0, 1:, None])[:, 0], entropy=-(logp.exp() * logp).sum(-1))
    if head is not None:
        numbers["values"] = head(out.decoder_hidden_states[-1])[0, :-1, 0]
    return numbers


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("policy", "adapter", "rows", "logprobs"):
        ap.add_argument(f"--{name}", required=True)
    ap.add_argument("--value-head")
    a = ap.parse_args()
    base = transformers.T5ForConditionalGeneration.from_pretrained(a.policy, torch_dtype=torch.float32)
    before = {n: p.clone() for n, p in base.state_dict().items()}
    model = PeftModel.from_pretrained(base, a.adapter).eval()
    loaded, named = load_file(f"{a.adapter}/adapter_model.safetensors"), dict(model.named_parameters())
    wrong = [n for n, t in loaded.items() if not torch.equal(named[n.replace(".weight", ".default.weight")], t.float())]
    there = sum("lora_" in n for n in named)
    if wrong or there != len(loaded):
        sys.exit(f"{a.adapter}: {len(loaded)} tensors in the file, {there} in peft's model, not loaded as they are: {wrong}")
    print(f"peft loaded all {there} adapter tensors over {len(before)} base tensors")
    head = value_head(model, a.value_head) if a.value_head else None
    if head is not None:
        print("TRL loaded the value head")
    rows = [json.loads(line) for line in open(a.rows) if line.strip()]
    ours = json.load(open(a.logprobs))["rows"]
    if len(rows) != len(ours):
        sys.exit(f"{len(rows)} rows in {a.rows}, {len(ours)} in {a.logprobs}")
    start, worst, tokens = base.config.decoder_start_token_id, {}, 0
    for i, (row, our) in enumerate(zip(rows, ours), 1):
        response = row["response_ids"] if row["response_ids"][:1] == [start] else [start, *row["response_ids"]]
        if our["response_ids"] != response[1:]:
            sys.exit(f"row {i}: response_ids are {our['response_ids']}, not {response[1:]}")
        for kind, numbers in reference(model, head, row["query_ids"], response).items():
            if len(our.get(kind, [])) != len(numbers):
                sys.exit(f"row {i}: {len(our.get(kind, []))} {kind}, not {len(numbers)}")
            difference = (torch.tensor(our[kind], dtype=torch.float64) - numbers.double()).abs()
            worst[kind] = max(worst.get(kind, 0.0), float(difference.nan_to_num(float("inf")).max())) if len(numbers) else worst.get(kind, 0.0)
        tokens += len(response) - 1
    for kind, size in worst.items():
        print(f"{kind:<9} largest difference {size:.2e} over {tokens} tokens of {len(rows)} rows  {'OK' if size <= LIMIT else f'MORE THAN {LIMIT:g}'}")
    return 0 if all(size <= LIMIT for size in worst.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
