"""A summary of a quarrel as words with marked people: finds the person that a word means, and who does a verb."""
import re
import make_quarrels
import people as pp
from meaning import ANGER, stem

WORD = re.compile(r"#Person\d#|[A-Za-z][A-Za-z-]*(?:'[A-Za-z]+)?|\d+|[.,;:!?]")
PRONOUN = {"he": "m", "him": "m", "his": "m", "himself": "m", "she": "f", "her": "f", "herself": "f", "hers": "f"}


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
        """the names of a person, longest first"""
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


def resolve(t, i, wanted):
    """the person that the word at i means: V, X, L, ? for another one, or `wanted` if a pronoun can mean several"""
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
    """positions of the people before i in the same sentence, nearest first"""
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
    """who does the verb at i; none if the text does not say"""
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
    # an -ing form after `apologize for`, `admit`, `regret` has the subject of that verb, not the person who is told
    if low[i].endswith("ing"):
        for j in range(i - 1, max(-1, i - 9), -1):
            if words[j] in ".!?":
                break
            if stem(low[j]) in ("apologize", "apologise", "admit", "confess", "regret", "sorry", "apology", "deny"):
                k = before(t, j)
                return resolve(t, k[0], wanted) if k else None
    return resolve(t, places[0], wanted)  # the nearest person


def content(phrase):
    """the stems of a phrase's content words"""
    return [stem(w) for w in WORD.findall(phrase) if not w.startswith("#") and w[0].isalpha() and w.lower() not in CONTENTLESS and w.removesuffix("'s") not in pp.EVERY_NAME]


CONTENTLESS = set("a an the my me your our us his her their in on at of to for with by from about and or all any up out off down into over too much so not it is was were mr ms mrs".split())
