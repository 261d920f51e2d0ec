"""The three kinds of quarrel, each as one row: with a person, about an absent person, about a thing. ../make_quarrels.py uses it."""
import re
import english, people as pp, phrases as ph, words as w
from compose import Scene, Thing, insult, insult_lines, naming, outcome, small_talk, told_out, write_out
from english import capitals
from people import Person

NEGATIVE_TOLD = re.compile(r"(refuses|does not|would do|asks <V1> not|threatens|says it is only|says nobody|wants to talk about it later|says that everybody|thinks it looks|says it will grow)")
SORRY_TOLD = re.compile(r"(apologizes|is very sorry)")


def pick_deed(rng, scene, situation):
    scene.thing = Thing(rng.choice(situation["objs"]).replace("my ", "MY "))
    if "objs2" in situation:
        scene.thing2 = Thing(rng.choice(situation["objs2"]))
    deed = scene.canon(rng.choice(situation["do"]), "v")
    why = rng.choice(situation["why"])
    why = scene.canon(rng.choice(ph.WHYS[why]) if why in ph.WHYS else why, "x")
    return deed, english.forms(deed), why


def options(situation, table):
    found = []
    for choice in situation["out"]:
        found += [choice] if "=>" in choice else table[choice]
    return found


def fits(scene, text):
    """no filler of this text conflicts with the chosen ones"""
    return "$name" not in text or scene.fill.get("name") is None or True


def mine(rng, scene, known_pronoun):
    """a summary's words for things of the one who complains, and the people for whom a pronoun is clear"""
    v, x = scene.V, scene.X
    clear = v.name is not None and (x.gender != v.gender or (x.tag and x.name is None))
    known = [x] if x.name or not x.tag else []
    style = rng.random()
    if clear and known_pronoun and style < 0.5:
        return {"known": (*known, v), "mine": None}
    return {"known": tuple(known), "mine": "the" if style > 0.75 else None}


def finish(scene, heads, tails, words, rng, first_known):
    """the summaries: heads with what was done, and the end they share"""
    tell_v = mine(rng, scene, True)
    tell_x = mine(rng, scene, False)
    texts = []
    for head in heads:
        how = tell_v if re.match(r"\{[VL]\}", head) else tell_x
        filled = {key: scene.tell(value, **how) for key, value in words.items() if key in ("past", "ing")}
        if scene.V.name and scene.X.name and scene.V.gender == scene.X.gender and head.startswith("{V}"):
            head = head.replace("that {x}", "that {X}")
        texts.append(head.format(**{**words, **filled}))
    return [capitals(f"{text}{tails}") for text in texts]


def with_person(rng, situation, angry=True):
    """a quarrel with the one at fault: a row without id, or None if the choices do not fit"""
    scene = Scene(rng, situation["split"])
    relation = rng.choice(situation["tags"])
    (scene.V, scene.X), opens = naming(rng, scene, relation)
    v, x = scene.V, scene.X
    deed, form, why = pick_deed(rng, scene, situation)
    not_done = deed.startswith("not ")
    sudden = "sudden" in situation
    shape, bad = insult(rng, "person")
    cost = scene.canon(rng.choice(situation["cost"]), "v")
    fill = {"past": form["said"], "base": form["base"], "rest": form["base"][4:], "why": why}
    v_says = lambda text, view="v": (v, scene.say(scene.canon(text, view).format(**fill), v, x))
    x_says = lambda text, view="x": (x, scene.say(scene.canon(text, view).format(**fill), x, v))
    if opens or sudden:
        if not opens:
            return None
        if rng.random() < (0.9 if sudden else 0.5):
            start = [v_says(rng.choice(situation["ask"])), x_says(rng.choice(ph.TELLS))]
        else:
            asks_why = rng.random() < 0.3
            asks = (ph.ASKS_NOT_WHY if not_done else ph.ASKS_WHY) if asks_why else ph.ASKS_NOT if not_done else ph.ASKS
            start = [v_says(rng.choice(asks)), x_says(rng.choice(ph.ADMITS_WHY if asks_why else ph.ADMITS_NOT if not_done else ph.ADMITS))]
    else:
        start = [x_says(rng.choice(ph.CONFESSES)), v_says(rng.choice(ph.WHATS)), x_says(rng.choice(ph.EXPLAINS))]
    turns = ([] if sudden else small_talk(rng, scene, relation, v if opens else x, x if opens else v)) + start
    any_out = [out for out in ph.ANY_OUT]
    said, told = outcome(rng, scene, options(situation, ph.OUTS), 0.2 if angry else 0, any_out)
    if not angry and NEGATIVE_TOLD.match(told):
        return None
    told = told_out(scene, told)
    reaction = None
    formal = relation == "service"
    if angry:
        outburst = insult_lines(rng, scene, "person", shape, bad, scene.say(cost, v, x))
        turns.append((v, " ".join(outburst)))
        for pair in rng.sample(ph.ARGUES_FORMAL if formal else ph.ARGUES, rng.choices([0, 1, 2], [5, 4, 1])[0]):
            turns += [x_says(pair[0], "none"), v_says(pair[1], "none")]
        turns.append(x_says(said))
        if rng.random() < 0.65:
            pool = ph.LEAVES if NEGATIVE_TOLD.match(told) else ph.REJECTS if rng.random() < 0.4 else ph.FORGIVES if SORRY_TOLD.match(told) else ph.ACCEPTS
            line, reaction = rng.choice(pool)
            turns.append((v, line))
            if rng.random() < 0.35:
                cold = (line, reaction) in ph.LEAVES + ph.REJECTS
                turns.append(x_says(rng.choice(ph.LAST_COLD if cold else ph.LAST_FORMAL if formal else ph.LAST), "none"))
    else:
        turns += [(v, rng.choice(ph.CALM_WORDS)), x_says(said)]
        if rng.random() < 0.6:
            turns.append((v, rng.choice(ph.CALM_ENDINGS_FORMAL if formal else ph.CALM_ENDINGS)))
    dialogue = write_out(scene, turns)
    if dialogue is None:
        return None
    named = {"V": v.full, "X": x.full, "X2": x.full, "v": v.pronoun(0), "x": x.pronoun(0), "xo": x.pronoun(1)}
    pair = rng.choice(w.PERSON_SUMMARIES[shape]) if angry else (rng.choice(w.CALM_SUMMARIES),) * 2
    how_out = mine(rng, scene, True)
    told_text = scene.tell(told, known=[p for p in how_out["known"] if p is v])
    explain = scene.tell(why, known=[p for p in (x,) if x.name] + [p for p in how_out["known"] if p is v])
    join = ", but" if NEGATIVE_TOLD.match(told) else ", and"
    roll = rng.random()
    if roll < 0.3:
        tail = f". {x.full} {'explains' if told_text.startswith('says') else rng.choice(['says', 'explains'])} that {explain} and {told_text}."
    elif roll < 0.55 or ", " in pair[0] or "argue" in pair[0]:
        tail = f". {x.full} {told_text}"
        tail += f", but {v.full} {told_reaction(scene, reaction)}." if reaction and rng.random() < 0.5 and any(line[1] == reaction for line in ph.REJECTS + ph.LEAVES) else "."
    else:
        tail = f"{join} {x.full} {told_text}."
    summaries = finish(scene, pair, tail, {**named, **bad, "past": form["past"], "ing": form["ing"]}, rng, v)
    return row(scene, "person", dialogue, summaries if angry else summaries[:1],
               facts(scene, situation, deed, why=why, told=told, by=x, bad=bad if angry else None, shape=shape, reaction=reaction))


def ending(said, told):
    """the last words of the one who complains, after the listener's"""
    if said.endswith("?"):
        return ph.ENDINGS_QUESTION
    return ph.ENDINGS_ADVICE if re.match(r"suggests|advises|offers|wants|invites|knows", told) else ph.ENDINGS_OTHER


def told_reaction(scene, reaction):
    return scene.tell(re.sub(r"\bHIM\b", "<X1>", reaction))


def about_third(rng, situation):
    """a quarrel about an absent person"""
    if "our " in " ".join(situation["do"] + situation["objs"]) or " us " in " ".join(situation["do"]) or "sudden" in situation:
        return None
    scene = Scene(rng, situation["split"])
    relation = rng.choice(situation["tags"])
    (scene.V, scene.L), opens = naming(rng, scene, "friends")
    v, listener = scene.V, scene.L
    role, gender = (situation["role"][0], "") if "role" in situation else rng.choice(pp.ROLES[relation])
    gender = gender or rng.choice("mf")
    if role.endswith("man") or role.startswith("man "):
        gender = "m"
    service = "role" in situation and relation == "service"
    if service:
        scene.X = Person(None, None, gender, f"the {role}")
        first, told_first = f"the {role}", f"the {role}"
    else:
        name, gender = pp.draw_name(rng, scene.split, scene.taken)
        while gender != (pp.GENDER[name] if not dict(pp.ROLES.get(relation, [])).get(role) else dict(pp.ROLES[relation])[role]):
            name, gender = pp.draw_name(rng, scene.split, scene.taken)
        style = rng.choices(["both", "role", "name"], [3, 1, 2])[0]
        first = {"both": f"my {role} {name}", "role": f"my {role}", "name": name}[style]
        scene.X = Person(None, name if style != "role" else None, gender, {"both": f"<V2> {role} {name}", "role": f"<V2> {role}", "name": name}[style])
        if style == "both" and rng.random() < 0.4:
            scene.X.full = name
    x = scene.X
    deed, form, why = pick_deed(rng, scene, situation)
    not_done = deed.startswith("not ")
    shape, bad = insult(rng, "third")
    costs = [c for c in situation["cost"] if not re.search(r"\b(you|your)\b", c)]
    if not costs:
        return None
    cost = scene.canon(rng.choice(costs), "v")
    he, him = pp.PRONOUNS[gender][0], pp.PRONOUNS[gender][1]
    fill = {"past": form["said"], "why": why, "Why": why, "C": first, "he": he, "He": he.capitalize(), "him": him}
    says = lambda who, other, text: (who, scene.say(scene.canon(text, "none").format(**fill), who, other))
    tell = says(v, listener, rng.choice(ph.STORIES))
    asks_why = rng.random() < 0.5
    questions = ph.LISTENS if not asks_why else ph.LISTENS_NOT_WHY if not_done else ph.LISTENS_WHY
    after = [says(listener, v, rng.choice(questions)), says(v, listener, rng.choice(ph.REPORTS_WHY if asks_why else ph.REPORTS))]
    turns = small_talk(rng, scene, "friends" if opens else "hello", v if opens else listener, listener if opens else v)
    turns += ([] if opens else [says(listener, v, rng.choice([h for h in ph.HELLOS if not (turns and h.startswith("Hi"))]))]) + [tell] + after
    said_cost = scene.say(cost, v, listener)
    outburst = insult_lines(rng, scene, "third", shape, {**bad, "he": he}, said_cost)
    if turns[-1][0] is v and rng.random() < 0.5:
        turns.append(says(listener, v, rng.choice(["Oh no.", "I see.", "That's strange.", "And then?", "Really?"])))
    turns.append((v, capitals(" ".join(outburst))))
    if rng.random() < 0.4:
        pair = rng.choice(ph.ARGUES_THIRD)
        turns += [says(listener, v, pair[0]), says(v, listener, pair[1])]
    key = "service" if service else relation if relation in ph.ADVICE else "work" if relation == "boss" else "talk"
    pool = ph.ADVICE[key] + ph.ADVICE["calm"] + ([] if service else ph.ADVICE["talk"])
    if {"pay", "replace", "refund"} & set(situation["out"]):
        pool = pool + ph.ADVICE["money"]
    said, told = rng.choice(pool).split(" => ")
    said = re.sub(r"\bTHEM\b", him, said)
    said = scene.say(scene.canon(said, "x"), listener, v) if False else scene.canon_listener(said)
    turns.append((listener, said))
    if rng.random() < 0.6:
        turns.append((v, rng.choice(ending(said, told))))
        if rng.random() < 0.3:
            turns.append(says(listener, v, rng.choice(ph.LAST)))
    dialogue = write_out(scene, turns)
    if dialogue is None:
        return None
    told = told_out(scene, told)
    pair = rng.choice(w.THIRD_SUMMARIES[shape])
    x_full = scene.tell(x.full, known=[])
    known = [p for p in mine(rng, scene, True)["known"] if p is v]
    x_first = Person(None, x.name, gender, x_full)
    named = {"V": v.full, "X": x_full, "L": listener.full, "v": v.pronoun(0), "x": he, "xo": him}
    clear = v.name and v.gender != listener.gender and re.match(r"\{V\}", pair[0])
    if "<V2>" in x.full and v.name and re.match(r"\{V\}", pair[0]) and ("{L}" not in pair[0] or clear or listener.name is None) and rng.random() < 0.7:
        named["X"] = scene.tell(x.full, known=[v])
    told_known = [v] if v.name and v.gender != listener.gender else []
    keep, scene.X = scene.X, Person(None, x.name, gender, him if not x.name else x.name)
    told_text = scene.tell(told, known=told_known)
    explain = scene.tell(why, known=[scene.X] + [p for p in known])
    roll = rng.random()
    if roll < 0.25 and (x.name or service or listener.gender != gender and v.gender != gender):
        tail = f". {keep.name or (f'The {role}' if service else he.capitalize())} said that {explain}. {listener.full} {told_text}."
    elif roll < 0.5 or ", and" in pair[0]:
        tail = f". {listener.full} {told_text}."
    else:
        tail = f", and {listener.full} {told_text}."
    summaries = finish(scene, pair, tail, {**named, **bad, "past": form["past"], "ing": form["ing"]}, rng, v)
    scene.X = keep
    scene.X.full = x_full
    return row(scene, "third", dialogue, summaries, facts(scene, situation, deed, why=why, told=told, by=listener, bad=bad, shape=shape, role=role))


STORIES_THING = ["{Det} {it}! {Fault}.", "It's {det} {it}. {Fault}.", "I'm so tired of {det} {it}. {Fault}.", "It's because of {det} {it}. {Fault}.", "I have a problem with {det} {it}: {fault}.",
                 "Can you believe it? {Det} {it}, and {fault}!", "I'll tell you about {det} {it}. {Fault}."]
STORIES_ASKED = ["Don't ask. {Fault}.", "It's a shame. {Fault}.", "I don't want to talk about it. {Fault}.", "Well, {fault}.", "It's always the same with {det} {it}. {Fault}.", "I'll tell you: {fault}."]
REACTIONS_THING = ["Oh no. That sounds annoying.", "Again? I can't believe it.", "Really? That's strange.", "Is it really that bad?", "I had no idea.", "Oh dear. And what did you do?",
                   "Are you sure about that?", "Since when?", "Did you tell anybody about it?"]


def about_thing(rng, situation):
    """a quarrel about a thing"""
    scene = Scene(rng, situation["split"])
    (scene.V, scene.L), opens = naming(rng, scene, "friends")
    v, listener = scene.V, scene.L
    scene.thing = Thing(rng.choice(situation["objs"]))
    scene.X = Person(None, None, "m", scene.thing.noun)
    faults = rng.sample(situation["faults"], 2)
    det = situation["det"][0]
    shape, bad = insult(rng, "thing")
    thing = {"it": scene.thing.noun, "det": det, "Det": det.capitalize(), "fault": faults[0], "Fault": faults[0][0].upper() + faults[0][1:]}
    says = lambda who, other, text: (who, capitals(scene.number(scene.canon(text, "none").format(**thing))))
    hello = [] if opens else [says(listener, v, rng.choice(situation["hello"]))]
    story = says(v, listener, rng.choice(STORIES_THING if opens else STORIES_ASKED))
    turns = small_talk(rng, scene, "friends" if opens else "hello", v if opens else listener, listener if opens else v) + hello + [story, (listener, rng.choice(REACTIONS_THING))]
    outburst = insult_lines(rng, scene, "thing", shape, bad, scene.number(scene.canon(rng.choice(situation["cost"]), "none")), {"it": scene.thing.noun})
    turns.append((v, capitals(" ".join(outburst))))
    second = rng.random() < 0.4
    if second:
        turns += [(listener, rng.choice(["Is that all?", "Anything else?", "And the rest?", "Is there more?"])), (v, capitals(f"{rng.choice(['yes', 'oh yes', 'of course'])}, {faults[1]}."))]
    if rng.random() < 0.35:
        pair = rng.choice(ph.ARGUES_THING)
        turns += [says(listener, v, pair[0]), says(v, listener, pair[1])]
    said, told = outcome(rng, scene, options(situation, ph.THING_OUTS), 0.15, ph.ANY_THING_OUT)
    turns.append((listener, scene.canon_listener(said)))
    told = told_out(scene, told)
    if rng.random() < 0.6:
        turns.append((v, rng.choice(ending(said, told))))
        if rng.random() < 0.3:
            turns.append(says(listener, v, rng.choice(ph.LAST)))
    dialogue = write_out(scene, turns)
    if dialogue is None:
        return None
    pair = rng.choice(w.THING_SUMMARIES[shape])
    own = (v.pronoun(2) if v.name and pair[0].startswith("{V}") and "{L}" not in pair[0] else f"{v.full}'s") if det == "my" else "their" if det == "our" else "the"
    fault = rng.choice(faults) if second else faults[0]
    told_fault = re.sub(r"\bmy\b", f"{v.pronoun(2)}", re.sub(r"\bme\b", v.pronoun(1), re.sub(r"\bI\b", v.pronoun(0), re.sub(r"\bus\b", "them", re.sub(r"\bwe\b", "they", fault)))))
    named = {"V": v.full, "L": listener.full, "v": v.pronoun(0), "fault": told_fault, "the": f"{own} {scene.thing.noun}", "the_adjectives": f"{own} {bad['adjectives']} {scene.thing.noun}"}
    told_text = scene.tell(told, known=[v] if v.name and v.gender != listener.gender else [])
    tail = f". {listener.full} {told_text}." if rng.random() < 0.4 or "and" in pair[0] else f", and {listener.full} {told_text}."
    summaries = [capitals(head.format(**{**bad, **named}) + tail) for head in pair]
    return row(scene, "thing", dialogue, summaries, facts(scene, situation, "", told=told, by=listener, bad=bad, shape=shape, faults=faults if second else faults[:1]))


def facts(scene, situation, deed, *, told, by, bad, shape, why=None, reaction=None, role=None, faults=None):
    """the facts as data, with the names that the dialogue uses"""
    person = lambda p: {"name": p.full, "gender": p.gender if p.name or not p.tag else None, **({"tag": p.tag} if p.tag else {})}
    plain = lambda text: scene.tell(text) if text else None
    found = {"situation": situation["name"], "complains": person(scene.V)}
    if scene.L:
        found["listens"] = person(scene.L)
    if faults is None:
        found["blamed"] = {**person(scene.X), **({"role": role} if role else {})}
        found["deed"] = plain(deed)
        found["why"] = plain(why)
    else:
        found["faults"] = faults
    found["object"] = re.sub(r"\bMY ", "", scene.thing.noun)
    if "objs2" in situation:
        found["object2"] = scene.thing2.noun
    found["outcome"] = {"by": by.full, "text": plain(told)}
    if reaction:
        found["reaction"] = told_reaction(scene, reaction)
    if bad:
        found["insult"] = bad["words"]
    return found


def owners(scene, text):
    """a summary in which a person's things are his or hers if the person was named before: "Ann lost her key", not "Ann lost Ann's key\""""
    for person in (scene.V, scene.X, scene.L):
        if person and person.name:
            name = re.escape(person.full)
            text = re.sub(rf"(?<![\w#])({name}\b(?!').*?)(?<![\w#]){name}'s", lambda m: m[1] + person.pronoun(2), text)
    return text


def row(scene, form, dialogue, summaries, found):
    summaries = [owners(scene, text) for text in summaries]
    return {"dialogue": dialogue, "summary": summaries[0], **({"insulting_summary": summaries[1]} if len(summaries) > 1 else {}), "facts": {"form": form, **found}}


def talk(rng, situation):
    """an ordinary talk"""
    scene = Scene(rng, situation["split"])
    (scene.V, scene.L), _ = naming(rng, scene, "service" if "formal" in situation else "friends")
    if scene.V.tag != "#Person1#":
        scene.V, scene.L = scene.L, scene.V
    a, b = scene.V, scene.L
    scene.X = None
    said = {key: rng.choice(values) for key, values in situation.items() if key not in ("name", "split", "tags", "one", "two", "one2", "two2", "sum", "formal")}
    said = {key: scene.canon(value, "none") for key, value in said.items()}
    turns = [(who, capitals(scene.number(scene.canon(rng.choice(situation[key]), "none").format(**said)))) for who, key in ((a, "one"), (b, "two"), (a, "one2"), (b, "two2"))]
    if "formal" not in situation and rng.random() < 0.3:
        turns = small_talk(rng, scene, "friends", a, b)[:2] + turns
    dialogue = write_out(scene, turns)
    if dialogue is None:
        return None
    told = scene.number(scene.canon(rng.choice(situation["sum"]), "none").format(**said, A=a.full, B=b.full, Ao=a.pronoun(1)))
    known = {key: value for key, value in said.items() if value in told}
    return {"dialogue": dialogue, "summary": capitals(told), "facts": {"form": "talk", "situation": situation["name"], "people": [a.full, b.full], "told": known}}
