"""Judges one summary of one of our own quarrels by its facts; ../faithful.py says what counts and is the command for it."""
import re
import make_quarrels
import meaning, people as pp, phrases as ph
from meaning import ANGER, ANSWERS, BLAMES, LIGHT, NOUNS, PLAIN, VERBS, stem

WORD = re.compile(r"#Person\d#|[A-Za-z][A-Za-z-]*(?:'[A-Za-z]+)?|\d+|[.,;:!?]")
PRONOUN = {"he": "m", "him": "m", "his": "m", "himself": "m", "she": "f", "her": "f", "herself": "f", "hers": "f"}
DETAILS = {w.lower() for key in ("day", "color", "place", "relative", "town", "drink", "food", "animal", "chief") for phrase in ph.FILL[key] for w in phrase.split() if w != "hot"} | set(
    "one two three four five six seven eight nine ten eleven twelve fifteen twenty thirty forty fifty sixty eighty ninety hundred thousand dollars pounds euros".split()) - {"one"}
EVERY_THING = {compose_word.lower() for s in make_quarrels.DEEDS + make_quarrels.OBJECTS for o in s.get("objs", []) + s.get("objs2", [])
               for compose_word in [re.sub(r"[+~]$", "", o).split()[-1]]}
EVERY_THING -= set("customer client supplier mayor reporter boss office director lady man woman group class school team work home house part lawyer bank doctor friend".split())
ROLE_WORDS = {role for roles in pp.ROLES.values() for role, _ in roles} | {s["role"][0] for s in make_quarrels.DEEDS if "role" in s} | {"neighbour", "flatmate", "co-worker", "partner", "spouse"}

meaning.learn_deeds([d for s in make_quarrels.DEEDS for d in s["do"]])


class Text:
    """a summary as a list of words, with the people in it marked"""

    def __init__(self, facts, dialogue, text):
        self.facts, self.dialogue, self.text = facts, dialogue, text
        self.people = {"V": facts["complains"]}
        if "blamed" in facts:
            self.people["X"] = facts["blamed"]
        if "listens" in facts:
            self.people["L"] = facts["listens"]
        self.unknown = []
        self.words = self.mark(text)

    def names(self, who):
        """how somebody can be called, longest first"""
        person = self.people[who]
        full = person["name"]
        found = {full, person.get("tag")}
        if who == "X" and "tag" not in person:
            plain = re.sub(r"^(.*?'s|the|my) ", "", full)
            found |= {plain}
            if plain.split()[-1] in pp.GENDER:
                found.add(plain.split()[-1])
            role = person.get("role")
            if role and role not in self.facts.get("object", "") and role.split()[-1] in full + " " + self.dialogue:
                found |= {role, f"{role} {plain.split()[-1]}"}
                if role == "colleague":
                    found |= {"coworker"}
                if role == "coworker":
                    found |= {"colleague", "co-worker"}
                if role == "flatmate":
                    found |= {"roommate"}
                if role == "neighbor":
                    found |= {"neighbour"}
        elif full and "." in full:
            found |= {full.split()[-1], full.replace(".", "")}
        return sorted((name for name in found if name), key=len, reverse=True)

    def mark(self, text):
        places = [(name, who) for who in self.people for name in self.names(who)]
        places.sort(key=lambda p: -len(p[0]))
        for name, who in places:
            lead = r"(?:(?:[Tt]he|an?|his|her|their|my|@\w@'s) )?" if who == "X" and "tag" not in self.people["X"] else ""
            text = re.sub(lead + r"(?<![\w#@])" + re.escape(name) + r"(?![\w#])", f"@{who}@", text)
        text = re.sub(r"(@X@),? (?:@X@)", r"\1", text)
        return re.findall(r"@\w@(?:'s?)?|" + WORD.pattern, text)


def person_at(word):
    """(who, possessive) of a marked word"""
    m = re.fullmatch(r"@(\w)@('s?)?", word)
    return (m[1], bool(m[2])) if m else (None, False)


def judge(facts, dialogue, text):
    """none if the text is faithful, else the reason why not"""
    if facts["form"] == "talk":
        return strangers(Text({**facts, "complains": {"name": facts["people"][0]}, "listens": {"name": facts["people"][1]}}, dialogue, text))
    t = Text(facts, dialogue, text)
    for check in (strangers, details, complaint, deed if "deed" in facts else fault, owner, answer):
        if reason := check(t):
            return reason
    return None


def strangers(t):
    """people that the dialogue does not have"""
    for i, word in enumerate(t.words):
        if word.startswith("#Person") or (word[0].isupper() and word.removesuffix("'s") in pp.EVERY_NAME):
            if word.removesuffix("'s") not in t.dialogue:
                return f"{word} is not in the dialogue"
        elif word[0].isupper() and i and t.words[i - 1] not in ".!?:" and word != "I" and word.lower() not in t.dialogue.lower() and word.lower() not in PLAIN:
            return f"{word} is not in the dialogue"
    return None


def details(t):
    """numbers, days, colors, things of other quarrels, and too many other words that the dialogue does not have"""
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


def resolve(t, i, wanted):
    """whom the word at i means: V, X, L, ? for another, or `wanted` where a pronoun is open"""
    who, possessive = person_at(t.words[i])
    if who:
        return who
    word = t.words[i].lower()
    if word in PRONOUN:
        fits = [w for w, p in t.people.items() if p.get("gender") in (None, PRONOUN[word])]
        if wanted in fits:
            return wanted
        return fits[0] if fits else "?"
    if word in ("they", "them", "who", "you", "i"):
        return wanted
    return "?"


def is_person(t, i):
    word = t.words[i]
    who, possessive = person_at(word)
    if who:
        return not possessive
    low = word.lower()
    if low in ("he", "she", "him"):
        return True
    if low == "her":  # not "her vase"
        return i + 1 >= len(t.words) or t.words[i + 1].lower() in ("for", "of", "about", "to", "that", "not", "because", "a", "an", "as", "with", "if", "when", ",", ".") \
            or (t.words[i + 1].lower() in make_quarrels.INSULTS and stem(t.words[i - 1]) in ("call", "find"))
    return word in pp.EVERY_NAME


def before(t, i, stop=".!?"):
    """places of the people before i in the same sentence, nearest first"""
    found = []
    for j in range(i - 1, -1, -1):
        if t.words[j] in stop:
            break
        if is_person(t, j):
            found.append(j)
    return found


def after(t, i, stop=".!?,;"):
    for j in range(i + 1, len(t.words)):
        if t.words[j] in stop:
            return None
        if is_person(t, j):
            return j
    return None


def subject(t, i, wanted):
    """who does the verb at i; none where the text does not say"""
    words = t.words
    low = [w.lower() for w in words]
    passive = any(low[j] in ("was", "were", "been", "being", "got", "is", "are", "be") for j in range(max(0, i - 3), i)) and not low[i].endswith("ing") \
        and not (low[i] in ANGER and low[i] not in ("called", "blamed", "scolded", "criticized", "insulted", "accused", "confronted"))
    if passive:
        for j in range(i + 1, min(i + 9, len(words))):
            if low[j] == "by" and j + 1 < len(words):
                k = j + 1 if is_person(t, j + 1) else after(t, j)
                return resolve(t, k, wanted) if k is not None else None
            if words[j] in ".;" or (words[j] == "," and j > i + 3):
                break
        return None
    places = before(t, i)
    if not places:
        return None
    # an -ing form after `apologize for`, `admit`, `regret` goes with the subject of that verb, not with whom it is said to
    if low[i].endswith("ing"):
        for j in range(i - 1, max(-1, i - 9), -1):
            if words[j] in ".!?":
                break
            if stem(low[j]) in ("apologize", "apologise", "admit", "confess", "regret", "sorry", "apology", "deny"):
                k = before(t, j)
                return resolve(t, k[0], wanted) if k else None
            if low[j] in ("for", "of", "about", "by", "with") and j >= places[0]:
                continue
    # nearest person, but not one that only is an object: "who" and "that" clauses, infinitives
    j = places[0]
    if low[i - 1] in ("to",) or (i > 1 and low[i - 2] == "to"):
        return resolve(t, j, wanted)
    return resolve(t, j, wanted)


def complaint(t):
    """the right person is angry with the right one"""
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
            continue  # what somebody else would do
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


def content(phrase):
    """the stems of a phrase's words that say something"""
    return [stem(w) for w in WORD.findall(phrase) if not w.startswith("#") and w[0].isalpha() and w.lower() not in CONTENTLESS and w.removesuffix("'s") not in pp.EVERY_NAME]


CONTENTLESS = set("a an the my me your our us his her their in on at of to for with by from about and or all any up out off down into over too much so not it is was were mr ms mrs".split())


def thing_words(noun):
    """words for a thing, by its last word"""
    head = re.split(r"\s", re.sub(r"\b(for|of|in|on|to|with|from|about|because)\b.*", "", noun).strip())[-1].lower() if noun else ""
    words = {head, stem(head)} | NOUNS.get(head, set()) | NOUNS.get(stem(head), set())
    if noun.lower().split()[0:1] != [head]:
        words |= {w.lower() for w in noun.split() if w.lower() not in CONTENTLESS and len(noun.split()) > 1}
    return {stem(w) for w in words} | words


def deed(t):
    """the thing and the deed are told, and the one at fault did it"""
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
    """a complaint about a thing names it, and a reason that was given"""
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
    """whose thing it is"""
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
    """promises, offers and advice come from the right one, and are those of the dialogue"""
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
                continue  # told of the one who receives it
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
