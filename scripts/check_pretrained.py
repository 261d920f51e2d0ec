#!/usr/bin/env python3
"""Checks that transformers loads a model folder that detox-lab wrote, and computes the same numbers from it.

  detox-lab logprobs --policy FOLDER --rows ROWS.jsonl --json > NUMBERS.json       a T5
  detox-lab score --reward FOLDER --text TEXTS.txt --json > NUMBERS.json           a RoBERTa classifier
  python scripts/check_pretrained.py FOLDER --input ROWS.jsonl|TEXTS.txt --numbers NUMBERS.json

ROWS.jsonl  {"query":"...","response":"..."} or {"query_ids":[...],"response_ids":[...]} on each line
TEXTS.txt   one text on each line

T5ForConditionalGeneration or RobertaForSequenceClassification loads the model and must find exactly its tensors; AutoTokenizer makes the
ids; each row is computed separately in f32. Prints the largest absolute difference of each kind of number; exit status 1 if one is above
1e-4, or ids or labels differ. Needs torch and transformers (tests/fixtures/requirements.txt).
"""
import argparse, functools, json, os, sys, warnings
warnings.filterwarnings("ignore")
os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
import torch
import transformers
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
LIMIT = 1e-4


def load(folder, kind):
    """the model, with exactly the tensors of the file"""
    model, info = kind.from_pretrained(folder, torch_dtype=torch.float32, output_loading_info=True)
    faults = {k: v for k, v in info.items() if v}
    if faults:
        sys.exit(f"{folder}: transformers does not load it completely: {faults}")
    print(f"{kind.__name__} loaded all {sum(p.numel() for p in model.parameters()):,} parameters")
    return model.eval()


@torch.no_grad()
def t5_rows(model, encode, lines):
    """the numbers of `detox-lab logprobs`: one for each response id, after the decoder's start token"""
    start = model.generation_config.decoder_start_token_id
    for line in lines:
        row = json.loads(line)
        query = row.get("query_ids") or encode(row["query"])
        response = row.get("response_ids") or encode(row["response"])
        response = response[1:] if response[:1] == [start] else response
        fed = torch.tensor([[start, *response[:-1]]])
        logp = model(input_ids=torch.tensor([query]), decoder_input_ids=fed).logits[0].log_softmax(-1)
        chosen = logp.gather(1, torch.tensor(response)[:, None])[:, 0]
        yield dict(response_ids=response, logprobs=chosen, entropy=-(logp.exp() * logp).sum(-1))


@torch.no_grad()
def roberta_rows(model, encode, lines):
    """the numbers of `detox-lab score`, by label"""
    for line in lines:
        ids = encode(line.rstrip("\n"))
        limit = model.config.max_position_embeddings - model.config.pad_token_id - 1
        logits = model(input_ids=torch.tensor([ids[:limit - 1] + ids[-1:] if len(ids) > limit else ids])).logits[0]
        named = lambda x: {model.config.id2label[i].lower(): float(x[i]) for i in range(len(x))}
        yield dict(logits=named(logits), probabilities=named(logits.softmax(-1)))


def differences(ours, theirs, at):
    """(kind, largest difference) of one row"""
    for kind, want in theirs.items():
        have = ours[kind]
        if kind == "response_ids":
            if have != want:
                sys.exit(f"row {at}: ids are {have}, AutoTokenizer gives {want}")
            continue
        if isinstance(want, dict):
            if set(have) != set(want):
                sys.exit(f"row {at}: labels are {sorted(have)}, the model's {sorted(want)}")
            have, want = [have[k] for k in want], list(want.values())
        have, want = (torch.as_tensor(x, dtype=torch.float64) for x in (have, want))
        yield kind, float((have - want).abs().nan_to_num(float("inf")).max())


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("folder")
    ap.add_argument("--input", required=True)
    ap.add_argument("--numbers", required=True)
    a = ap.parse_args()
    kinds = dict(t5=(transformers.T5ForConditionalGeneration, t5_rows), roberta=(transformers.RobertaForSequenceClassification, roberta_rows))
    kind, rows = kinds[json.load(open(f"{a.folder}/config.json"))["model_type"]]
    model = load(a.folder, kind)
    tokenizer = functools.cache(lambda: transformers.AutoTokenizer.from_pretrained(a.folder))     # rows of ids need none
    lines = [line for line in open(a.input) if line.strip()]
    ours = json.load(open(a.numbers))["rows"]
    if len(lines) != len(ours):
        sys.exit(f"{len(lines)} rows in {a.input}, {len(ours)} in {a.numbers}")
    worst = {}
    for i, (our, their) in enumerate(zip(ours, rows(model, lambda text: tokenizer()(text).input_ids, lines)), 1):
        for kind, size in differences(our, their, i):
            worst[kind] = max(worst.get(kind, 0.0), size)
    for kind, size in worst.items():
        print(f"{kind:<13} largest difference {size:.2e} over {len(ours)} rows  {'OK' if size <= LIMIT else f'MORE THAN {LIMIT:g}'}")
    return 0 if worst and all(size <= LIMIT for size in worst.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
