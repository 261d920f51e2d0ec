#!/usr/bin/env python3
"""Checks summaries of our quarrels against the facts: whether the right person did the right thing.

  python3 scripts/faithful.py FACTS.jsonl TEXTS.jsonl [--field summary]   judges texts; facts are found by a row's id or dialogue
  python3 scripts/faithful.py --self-test                                 correct summaries of generated rows must pass, changed ones must fail
  python3 scripts/faithful.py --judged                                    compares with texts that a person has judged (scripts/quarrels/judged.jsonl)

FACTS has rows of make_quarrels.py with their facts (`--facts FILE` for the shipped rows, `--write FILE` for many). TEXTS is JSON lines, or one
JSON object with a list `rows`, as `detox-lab compare --json` prints. Prints the percentage of faithful texts, then each failure with its reason.

A text is faithful if all of these hold. Synonyms, the passive voice, pronouns and missing details are accepted.
  people    every name and every #PersonN# occurs in the dialogue
  complaint whoever is angry, blames, scolds or insults is the one who complains; whoever is blamed is the one at fault
  deed      the text contains the thing and what happened to it, not negated, and the one at fault did it
  owner     a thing that is said to belong to a person does
  answer    whoever promises, offers, suggests or apologizes did so, and the content fits what was said
  details   numbers, days, colors, places and relatives occur in the dialogue, and nearly all other content words do, or are known paraphrases
Limits: the answer is checked least: one in four answers of other quarrels passes, those in general words ("offers to pay"). The check
reads patterns of words, not sentences: it does not understand irony, long relative clauses or rare synonyms. If a pronoun could mean two people, the one that fits is assumed.
"""
import argparse, json, os, random, re, sys
sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import make_quarrels
from judging import judge

def swapped(facts, text):
    """the same text with the two people exchanged"""
    a = facts["complains"]["name"]
    b = facts["blamed"]["name"] if facts["form"] == "person" or facts["form"] == "calm" else facts["listens"]["name"]
    return re.sub("|".join(map(re.escape, sorted((a, b), key=len, reverse=True))), lambda m: b if m[0] == a else a, text)


def self_test(n):
    """summaries of generated rows must pass; with the two people exchanged, or another row's thing, they must fail"""
    rows = [r for r in make_quarrels.large(2 * n) if "facts" in r and r["facts"]["form"] != "talk"][:n]
    rng = random.Random(1)
    results = {"correct": [], "people exchanged": [], "another thing": [], "another answer": []}
    for row in rows:
        f = row["facts"]
        text = row.get("insulting_summary") if rng.random() < 0.5 and "insulting_summary" in row else row["summary"]
        results["correct"].append((judge(f, row["dialogue"], text), row, text))
        other = swapped(f, text)
        if other != text:
            results["people exchanged"].append((judge(f, row["dialogue"], other), row, other))
        told, new = f["outcome"]["text"], rng.choice(rows)["facts"]["outcome"]["text"]
        if told in text and "Person" not in new and new.split()[0] != told.split()[0] and not re.search("sorry|apologizes|would be angry|understands|not to|rude|later", new) and not any(name in new for name in make_quarrels.names_in(new)):
            wrong = text.replace(told, new)
            results["another answer"].append((judge(f, row["dialogue"], wrong), row, wrong))
        bare = re.sub(r"^(the|an?|our|my|MY) ", "", f["object"])
        thing = re.sub(r"^(the|an?|our|my|MY) ", "", rng.choice([r["facts"]["object"] for r in rows if r["facts"]["object"].split()[-1] not in row["dialogue"]]))
        if bare in text and bare not in ("ME", "me"):
            wrong = text.replace(bare, thing)
            results["another thing"].append((judge(f, row["dialogue"], wrong), row, wrong))
    for name, found in results.items():
        good = sum((reason is None) == (name == "correct") for reason, _, _ in found)
        print(f"{name}: {100 * good / len(found):.1f} % right of {len(found)}")
        for reason, row, text in [x for x in found if (x[0] is None) != (name == "correct")][:8]:
            print("   ", reason, "|", text, "|", row["facts"].get("deed") or row["facts"].get("faults"), "|", row["facts"]["outcome"])


def read_rows(path):
    text = open(path, encoding="utf-8").read()
    try:
        whole = json.loads(text)
        return whole["rows"] if isinstance(whole, dict) and "rows" in whole else whole if isinstance(whole, list) else [whole]
    except json.JSONDecodeError:
        return [json.loads(line) for line in text.splitlines() if line.strip()]


def plain(dialogue):
    return " ".join(dialogue.split())


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("facts", nargs="?", help="rows of make_quarrels.py with facts")
    parser.add_argument("texts", nargs="?", help="rows with texts")
    parser.add_argument("--field", help="the field with the text (default: text, or before and after)")
    parser.add_argument("--show", type=int, default=1000, metavar="N", help="list at most N failures")
    parser.add_argument("--self-test", action="store_true")
    parser.add_argument("--judged", action="store_true")
    parser.add_argument("-n", type=int, default=2000, help="rows of the self-test (2000)")
    args = parser.parse_args()
    if args.self_test:
        return self_test(args.n)
    if args.judged:
        rows = read_rows(os.path.join(HERE, "quarrels", "judged.jsonl"))
        wrong = 0
        for row in rows:
            reason = judge(row["facts"], row["dialogue"], row["text"])
            if (reason is None) != row["faithful"]:
                wrong += 1
                print("passes" if reason is None else f"fails ({reason})", "|", row["text"])
        print(f"{wrong} errors in {len(rows)} texts judged by hand ({sum(r['faithful'] for r in rows)} of them faithful)")
        return
    if not args.texts:
        parser.error("give the file with facts and the file with texts")
    known = read_rows(args.facts)
    by = {r["id"]: r for r in known} | {plain(r["dialogue"]): r for r in known}
    texts = read_rows(args.texts)
    fields = [args.field] if args.field else [f for f in ("text", "before", "after") if f in texts[0]] or ["summary"]
    for field in fields:
        failed, count, missing = [], 0, 0
        for r in texts:
            said = plain(r.get("dialogue") or r.get("query") or "")
            row = by.get(said) or next((row for row in known if said and plain(row["dialogue"]) in said), None)
            if not said:
                row = by.get(r.get("id"))
            if not row:
                missing += 1
                continue
            text = r[field] if isinstance(r[field], str) else r[field]["text"]
            count += 1
            if reason := judge(row["facts"], row["dialogue"], text):
                failed.append((row["id"], reason, text))
        share = 100 * (count - len(failed)) / count if count else 0
        print(f"{field}: {share:.1f} % of {count} texts are faithful" + (f"; {missing} rows have no facts" if missing else ""))
        for name, reason, text in failed[: args.show]:
            print(f"  {name}: {reason} | {text}")


if __name__ == "__main__":
    main()
