"""Judges a summary of one of our quarrels by its facts; ../faithful.py is the command and lists the criteria."""
import re
import make_quarrels
import meaning, people as pp, phrases as ph
from marked import PRONOUN, WORD, Text, after, before, content, is_person, person_at, resolve, subject, CONTENTLESS
from meaning import ANGER, ANSWERS, BLAMES, LIGHT, NOUNS, PLAIN, VERBS, stem

DETAILS = {w.lower() for key in ("day", "color", "place", "relative", "town", "drink", "food", "animal", "chief") for phrase in ph.FILL[key] for w in phrase.split() if w != "hot"} | set(
    "one two three four five six seven eight nine ten eleven twelve fifteen twenty thirty forty fifty sixty eighty ninety hundred thousand dollars pounds euros".split()) - {"one"}
EVERY_THING = {compose_word.lower() for s in make_quarrels.DEEDS + make_quarrels.OBJECTS for o in s.get("objs", []) + s.get("objs2", [])
               for compose_word in [re.sub(r"[+~]$", "", o).split()[-1]]}
EVERY_THING -= set("customer client supplier mayor reporter boss office director lady man woman group class school team work home house part lawyer bank doctor friend".split())
ROLE_WORDS = {role for roles in pp.ROLES.values() for role, _ in roles} | {s["role"][0] for s in make_quarrels.DEEDS if "role" in s} | {"neighbour", "flatmate", "co-worker", "partner", "spouse"}

meaning.learn_deeds([d for s in make_quarrels.DEEDS for d in s["do"]])


def judge(facts, dialogue, text):
    """none if the text is faithful, else the reason why it is not"""
    if facts["form"] == "talk":
        return strangers(Text({**facts, "complains": {"name": facts["people"][0]}, "listens": {"name": facts["people"][1]}}, dialogue, text))
    t = Text(facts, dialogue, text)
    for check in (strangers, details, complaint, deed if "deed" in facts else fault, owner, answer):
        if reason := check(t):
            return reason
    return None


def strangers(t):
    """finds people that are not in the dialogue"""
    for i, word in enumerate(t.words):
        if word.startswith("#Person") or (word[0].isupper() and word.removesuffix("'s") in pp.EVERY_NAME):
            if word.removesuffix("'s") not in t.dialogue:
                return f"{word} is not in the dialogue"
        elif word[0].isupper() and i and t.words[i - 1] not in ".!?:" and word != "I" and word.lower() not in t.dialogue.lower() and word.lower() not in PLAIN:
            return f"{word} is not in the dialogue"
    return None


def details(t):
    """finds numbers, days, colors, things of other quarrels, and too many other words that are not in the dialogue"""
    said = {w.lower() for w in WORD.findall(t.dialogue)}
    stems = {stem(w) for w in said}
    known = set(stems)
    for word in list(stems):
        known |= {stem(w) for w in VERBS.get(word, ())} | {stem(w) for w in NOUNS.get(word, ())}
    for word in said:
        known |= {stem(w) for w in NOUNS.get(word, ())}
    deed = content(t.facts.get("deed") or "")
    for word in deed:
        known |= {stem(w) for w in VERBS.get(word, {word})}
    known |= {stem(w) for w in WORD.findall(t.facts["outcome"]["text"] or "")} if "outcome" in t.facts else set()
    strays = []
    for word in t.words:
        low = word.lower().removesuffix("'s")
        if word.startswith("@") or not low[0].isalnum():
            continue
        if low == "two" and "two times" in t.text and "twice" in said:
            continue
        if low in DETAILS and low not in said:
            return f"{word} is not in the dialogue"
        if low.isdigit() and low not in said:
            return f"{word} is not in the dialogue"
        if low in EVERY_THING and stem(low) not in known and low not in PLAIN and stem(low) not in PLAIN:
            return f"a {word} is not in the dialogue"
        if stem(low) not in known and low not in PLAIN and stem(low) not in PLAIN and low not in make_quarrels.INSULTS and low not in ROLE_WORDS and len(low) > 2:
            strays.append(word)
        elif low in make_quarrels.INSULTS - {"terrible", "mean"} and low not in said:
            strays.append(word)
    if len(strays) > max(2, len(t.words) // 7):
        return "not in the dialogue: " + ", ".join(strays)
    return None


def complaint(t):
    """checks that the right person is angry with the right one"""
    low = [w.lower() for w in t.words]
    told = False
    target = "X" if "blamed" in t.facts else None
    for i, word in enumerate(low):
        base = word if word in ANGER else stem(word)
        if base not in ANGER or (base == "call" and not any(w in make_quarrels.INSULTS for w in low[i + 1:i + 9])):
            continue
        if base in {stem(w.lower()) for w in WORD.findall(t.facts.get("deed") or "")}:
            continue
        if (base in ("tired", "sick") and low[i + 1:i + 2] != ["of"]) or (base in ("scream", "shout", "yell", "mad", "cross") and low[i + 1:i + 2] not in (["at"], ["about"])):
            continue
        negated = any(w in ("not", "never", "n't", "isn't", "no") for w in low[max(0, i - 3):i])
        if base in ("happy", "pleased", "satisfied") and not negated:
            continue
        if "would" in low[max(0, i - 2):i] or (low[i].endswith("ing") and any(stem(w) in ("suggest", "advise", "recommend") for w in low[max(0, i - 3):i])):
            continue  # what another person would do
        passive = stem(base) in BLAMES and low[i].endswith("ed") and any(w in ("is", "was", "are", "were", "being", "gets", "got") for w in low[max(0, i - 2):i])
        places = before(t, i)
        if passive:
            if places and target and resolve(t, places[0], "X") != "X":
                return f"{t.words[places[0]]} is not the one who is blamed"
            by = subject(t, i, "V")
            if by not in (None, "V"):
                return f"{by} is not the one who complains"
            told = True
            continue
        if not places:
            continue
        who = resolve(t, places[0], "V")
        if who in "XL?" and any(w == "and" for w in low[max(0, i - 3):i]) and any(resolve(t, j, "V") == "V" for j in places[1:]):
            who = "V"  # "V finds out that X did it and is angry"
        if who != "V":
            return f"{t.words[places[0]]} is not the one who complains ({t.words[i]})"
        told = True
        k = None
        if base in BLAMES and i + 1 < len(low) and low[i + 1] not in ("for", "about", "that", "because"):
            k = i + 1 if is_person(t, i + 1) else None
        else:
            for j in range(i + 1, min(i + 4, len(low))):
                if low[j] in ("with", "at", "in", "to", "about") and j + 1 < len(low) and is_person(t, j + 1):
                    k = j + 1
                    break
        if k is not None:
            whom = resolve(t, k, "X" if target else "L")
            fine = {"X"} if base in BLAMES or base not in ("complain",) else {"X", "L"}
            if not target:
                fine = {"L"} if base == "complain" and low[k - 1] != "about" else set()
            if base == "complain" and low[k - 1] == "to" and "listens" in t.facts:
                fine = {"L"}
            if whom not in fine:
                return f"{t.words[k]} is not the one who is blamed"
    for i, word in enumerate(low):  # "X is an idiot"
        if word in make_quarrels.INSULTS and target:
            start = next((j for j in range(i, max(-1, i - 7), -1) if low[j] in ("is", "are", "was", "being", "how")), None)
            places = before(t, start) if start is not None and low[start] != "how" else []
            if places and not any(stem(w) in ANGER for w in low[places[0]:i]) and resolve(t, places[0], "X") not in ("X",):
                return f"{t.words[places[0]]} is not the one who is insulted"
    for i in range(1, len(low)):  # "V tells X to be sorry", "V thinks that the film is awful"
        clause = low[i + 1:next((j for j in range(i + 1, len(low)) if low[j] in ".;" or (low[j] == "," and low[j + 1:j + 2] in (["and"], ["but"]))), len(low))]
        harsh = any(w in make_quarrels.INSULTS for w in clause) or ("should" in clause[:5] and stem(low[i]) == "tell") or " ".join(clause).find("could be better") >= 0 or "problem" in clause or "mistake" in clause[:5]
        places = before(t, i)
        if harsh and places and (target == "X" and "tag" in t.facts["blamed"] and (low[i] == "tells" or low[i] in ("says", "thinks") and "mistake" in clause[:5]) or "listens" in t.facts and low[i] in ("thinks", "says", "finds", "tells")):
            if resolve(t, places[0], "V") != "V":
                return f"{t.words[places[0]]} is not the one who complains ({t.words[i]})"
    for i in range(1, len(low)):  # "L hears from V", "V tells L"
        if stem(low[i]) in ("hear", "learn") and "from" in low[i:i + 7]:
            k = after(t, low.index("from", i))
            places = before(t, i)
            if k is not None and places and "listens" in t.facts and (resolve(t, k, "V") != "V" or resolve(t, places[0], "L") != "L"):
                return "it is told by the wrong one"
        if stem(low[i]) == "tell" and "listens" in t.facts and low[i] != "told" and i + 1 < len(low) and is_person(t, i + 1):
            places = before(t, i)
            rest = low[i + 2:i + 4]
            if places and rest and rest[0] in ("that", "about", "how") and resolve(t, i + 1, "L") == "V" and resolve(t, places[0], "V") == "L":
                return "it is told by the wrong one"
    return None


def thing_words(noun):
    """words for a thing, by its last word"""
    head = re.split(r"\s", re.sub(r"\b(for|of|in|on|to|with|from|about|because)\b.*", "", noun).strip())[-1].lower() if noun else ""
    words = {head, stem(head)} | NOUNS.get(head, set()) | NOUNS.get(stem(head), set())
    if noun.lower().split()[0:1] != [head]:
        words |= {w.lower() for w in noun.split() if w.lower() not in CONTENTLESS and len(noun.split()) > 1}
    return {stem(w) for w in words} | words


def deed(t):
    """checks that the thing and the deed are told, and that the one at fault did it"""
    low = [w.lower() for w in t.words]
    stems = [stem(w) for w in low]
    phrase = t.facts["deed"]
    negative = phrase.startswith("not ") or phrase.startswith("forget to ")
    rest = re.sub(r"^(not |forget to )", "", phrase)
    verb, _, more = rest.partition(" ")
    thing = t.facts["object"].replace("#", "")
    things = thing_words(re.sub(r"#?Person\d#?('s)?", "", thing))
    if thing in ("me", "ME"):
        things = set()
    at_thing = [i for i, w in enumerate(stems) if w in things or low[i] in things]
    second = thing_words(t.facts["object2"]) if "object2" in t.facts else set()
    generic = not things or "name" in things
    if not at_thing and not generic and not [i for i, w in enumerate(stems) if w in second and verb in ("run", "dig")]:
        return f"the thing ({thing}) is not told"
    keys = set(VERBS.get(verb, {verb})) | {verb}
    other = [w for w in content(more) if w not in things and w not in second]
    if verb in LIGHT:
        keys |= set(other)
        for w in other:
            keys |= VERBS.get(w, set())
    if negative:
        keys |= {"forget", "fail", "neglect", "skip"}
        if phrase.startswith("not come") or phrase.startswith("not return"):
            keys |= {"miss", "keep"}
    hits = [i for i, w in enumerate(stems) if w in keys or low[i] in keys or (set(meaning.LEMMA.get(low[i], ())) & keys)]
    hits = [i for i in hits if i not in at_thing or len(at_thing) > 1]
    if not hits:
        hits = [i for i, w in enumerate(stems) if w in {"damage", "loss", "theft", "noise", "mess", "delay", "lateness", "absence"} and verb in ("break", "lose", "take", "play", "come", "arrive", "scratch", "tear")]
    if not hits:
        return f"the deed ({phrase}) is not told"
    middle = at_thing[0] if at_thing else hits[0]
    reasons = []
    for i in sorted(hits, key=lambda i: abs(i - middle)):
        reason = deed_at(t, low, i, negative, keys)
        if reason is None:
            return None
        reasons.append(reason)
    return reasons[0]


def deed_at(t, low, i, negative, keys):
    denied = any(w in ("not", "never", "didn't", "n't", "hasn't", "without") or w.endswith("n't") for w in low[max(0, i - 3):i]) \
        or any(stem(w) in ("fail", "neglect", "refuse", "forget") for w in low[max(0, i - 4):i + 1])
    if denied and not negative and not keys & {"forget", "fail", "neglect", "miss"}:
        return "the text says that it was not done"
    if negative and not denied and low[i] not in ("missed", "skipped", "kept", "missing") and not any(w in ("not", "never", "no", "without", "late", "overdue", "unpaid", "dirty", "hungry") or w.endswith("n't") for w in low):
        return "the text says that it was done"
    who = subject(t, i, "X")
    if who not in (None, "X"):
        return f"not {who} did it ({t.words[i]})" if who in "VL" else "somebody else did it"
    return None


def fault(t):
    """checks that a complaint about a thing names it, and a reason from the dialogue"""
    stems = [stem(w) for w in t.words]
    things = thing_words(t.facts["object"])
    if not any(w in things or t.words[i].lower() in things for i, w in enumerate(stems)):
        return f"the thing ({t.facts['object']}) is not told"
    first = next((i for i in range(len(t.words)) if is_person(t, i)), None)
    if first is not None and resolve(t, first, "V") == "L" and any(w.lower() in ("because", "since") for w in t.words) \
            and not any(stem(w) in ("hear", "learn", "talk", "ask", "tell", "listen") for w in t.words[first:first + 4]):
        return f"{t.words[first]} is not the one who complains"
    wanted = [set(content(f)) - {"there", "people", "every", "one"} for f in t.facts["faults"]]
    if any("because" == w.lower() or w.lower() == "since" for w in t.words):
        if not any(len(w & set(stems)) >= max(1, round(0.4 * len(w))) for w in wanted):
            return "another reason was given"
    elif not any(w & set(stems) for w in wanted) and not any(stem(w) in ANGER or w.lower() in ANGER or w.lower() in make_quarrels.INSULTS for w in t.words):
        return "no complaint is told"
    return None


def owner(t):
    """checks whose thing it is"""
    things = thing_words(re.sub(r"#?Person\d#?('s)?", "", t.facts["object"])) if t.facts["object"] not in ("me", "ME") else set()
    phrase = t.facts.get("deed") or ""
    owned = {}
    name = {who: t.names(who)[-1] for who in t.people}
    if "faults" in t.facts:
        owned = {"V", "L"} if "our" in t.dialogue.lower() else {"V"}
    else:
        spoken = re.split(re.escape(t.facts["object"].split()[-1]), phrase)[0]
        said = re.findall(r"([\w.# ]+)'s |\b(his|her) ", re.sub(r"^.*(?= (?:with|through|of|over|in|into) )", "", spoken) if "'s" in spoken.split(" with ")[-1] else spoken)
        last = said[-1] if said else None
        owned = None if last is None else {"X"} if last[1] else {who for who in t.people if any(last[0].endswith(n) for n in t.names(who))} or None
    owned = owned or set(t.people)
    for i, word in enumerate(t.words[:-1]):
        who, possessive = person_at(word)
        if possessive and who != "V" and person_at(t.words[i + 1])[0] == "X" and "tag" not in t.people["X"]:
            return f"{t.words[i + 1]} does not belong to {who}"
        if possessive:
            for j in (i + 1, i + 2, i + 3):
                if j < len(t.words) and (stem(t.words[j]) in things or t.words[j].lower() in things):
                    if who not in owned:
                        return f"{word} {t.words[j]}: it is not {who}'s"
                    break
                if j < len(t.words) and (t.words[j].lower() in PLAIN or t.words[j] in ".,"):
                    break
    return None


def joined(t, low, i, places, who):
    """`X says that V was late and apologizes`: after `and`, the verb can belong to an earlier person"""
    return any(w in ("and", "but", "to") for w in low[max(0, i - 3):i]) and any(resolve(t, j, who) == who for j in places[1:])


def answer(t):
    """checks that promises, offers and advice are from the right person, and those of the dialogue"""
    low = [w.lower() for w in t.words]
    by = t.facts["outcome"]["by"]
    who_by = next((who for who, p in t.people.items() if p["name"] == by), "X")
    told = t.facts["outcome"]["text"] or ""
    told_stems = {stem(w) for w in WORD.findall(told)}
    fits = set().union(*(group for group in ANSWERS if group & told_stems)) if told_stems else set()
    wanted = {w for w in content(re.sub(r"#Person\d#('s)?", "", told)) if w not in meaning.PLAIN or w in ("sorry", "agree")}
    for i, word in enumerate(low):  # the words of the answer, and who says them
        if stem(word) in wanted and len(wanted & {stem(w) for w in low[i:i + 10]}) >= max(1, 0.6 * len(wanted)):
            first = stem(told.split()[0])
            if any(stem(w) in ("get", "receive") for w in low[max(0, i - 3):i]):
                continue  # about the one who receives it
            i = next((j for j in range(i, max(-1, i - 9), -1) if stem(low[j]) == first), i)
            places = before(t, i)
            if places and resolve(t, places[0], who_by) != who_by and not joined(t, low, i, places, who_by):
                return f"{t.words[places[0]]} is not the one who answers ({word})"
            break
    argued = {stem(w) for w in WORD.findall(t.dialogue)}
    for i, word in enumerate(low):
        base = stem(word)
        if word == "sorry" and low[i - 1] in ("is", "very", "so", "really", "says") and not re.search(r"\b([Ss]orry|apologize)\b", t.dialogue):
            return f"that was not the answer (sorry); it was: {told}"
        if base == "want" and low[i + 1:i + 2] == ["to"] and (places := before(t, i)) and resolve(t, places[0], who_by) == who_by and "V" != who_by:
            end = next((j for j in range(i + 1, len(low)) if low[j] in ".!?;,"), len(low))
            said = [w for w in content(" ".join(w for w in t.words[i + 2:end] if not w.startswith("@"))) if w not in PRONOUN and w not in ("make", "it", "do", "help", "pay", "repair")]
            if said and not any(w in argued or w in told_stems for w in said):
                return f"the answer was not that: {' '.join(said)}"
        if base not in meaning.ANSWER_VERBS or (low[i - 1] in ("to", "should", "must") and base in ("apologize", "apologise")):
            continue
        if base == "agree" and "refuse" not in told_stems and i + 1 < len(low) and low[i + 1] != "to":
            continue
        places = before(t, i)
        if not places or any(w in ("wants", "wanted", "asks", "demands") for w in low[places[0]:i]):
            continue
        if base in ("invite", "promise", "offer") and stem(t.facts.get("deed", "x") and (t.facts.get("deed") or "x").split()[-1]) and base in content(t.facts.get("deed") or ""):
            continue
        who = resolve(t, places[0], who_by)
        if who != who_by and not joined(t, low, i, places, who_by):
            return f"{t.words[places[0]]} is not the one who answers ({word})"
        if base not in fits and base not in told_stems:
            if base in ("apologize", "apologise") and re.search(r"\b([Ss]orry|apologize)\b", t.dialogue):
                continue
            return f"that was not the answer ({word}); it was: {told}"
        end = next((j for j in range(i + 1, len(low)) if low[j] in ".!?;"), len(low))
        said = [w for w in content(" ".join(w for w in t.words[i + 1:end] if not w.startswith("@"))) if w not in PLAIN]
        if base not in ("apologize", "apologise") and said:
            near = told_stems | {w for s in told_stems for w in VERBS.get(s, ())} | thing_words(t.facts["object"])
            wrong = [w for w in said if w not in near and w not in argued]
            if len(wrong) > len(said) / 2:
                return f"the answer was not that: {' '.join(said)}"
    return None
