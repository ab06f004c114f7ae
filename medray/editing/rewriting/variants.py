"""The smallest clinically wrong variant of a right answer.

It is found by correcting the answer against a world in which one thing is otherwise: the same
surgery, in the answer's own words, and the same check afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from random import Random

from medray.editing.language.text import Mention
from medray.editing.ontology.lexicon import ontology
from medray.editing.reading.claims import Statement, read
from medray.editing.reading.compare import Outcome
from medray.editing.reading.facts import Facts
from medray.editing.reading.judge import Judgement


def other_worlds(
    judgement: Judgement, known: Facts, rng: Random, prefer: Mapping[str, float] | None = None
) -> Iterator[Facts]:
    """The facts with one agreed thing changed, in a random order, one change per thing.

    `prefer` weighs the types of error that the changes are (1.0 for one that it leaves out): each
    place in the order then goes to one of those left with a chance in proportion to its weight.
    """
    agreed = {
        (o.attribute, o.statement.head.value if o.statement and o.statement.head else ""): o
        for o in judgement.outcomes
        if o.agrees
    }
    if any(o.attribute == "word" for o in agreed.values()):
        yield _other_word(known)
        return
    outcomes = list(agreed.values())
    rng.shuffle(outcomes)
    worlds: list[tuple[str, Callable[[], Facts | None]]] = [
        (outcome.error_type, partial(_otherwise, known, outcome, rng)) for outcome in outcomes
    ]
    worlds += [
        ("presence", partial(_denied, known, outcome, rng))
        for outcome in outcomes
        if outcome.attribute in ("kind", "presence")
        and outcome.against
        and outcome.against.polarity
    ]
    if prefer:  # exponential times: who waits shortest comes first
        times = [rng.expovariate(prefer.get(error_type, 1.0)) for error_type, _ in worlds]
        worlds = [worlds[i] for i in sorted(range(len(worlds)), key=times.__getitem__)]
    for _, make in worlds:
        world = make()
        if world is not None:
            yield world


def _otherwise(known: Facts, outcome: Outcome, rng: Random) -> Facts | None:
    if outcome.attribute == "opposite":
        return _other_word(known)
    if outcome.attribute == "rank" and known.ranking is not None:
        others = [option for option in known.ranking.options if option != known.ranked]
        unwritten = replace(known.reference, text="")
        return replace(known, reference=unwritten, ranked=rng.choice(others))
    changed = _change(outcome, rng)
    return None if changed is None else _with(known, outcome, *changed)


def _denied(known: Facts, outcome: Outcome, rng: Random) -> Facts:
    return _with(known, outcome, _nothing(outcome, rng), None)


def _other_word(known: Facts) -> Facts:
    word = not known.word
    statements, study = known.proposition.told(word) if known.proposition else ((), ())
    unwritten = replace(known.reference, text="")
    return replace(known, reference=unwritten, word=word, statements=statements, study=study)


def _change(outcome: Outcome, rng: Random) -> tuple[Statement | None, Mention | None] | None:
    """The known statement, or the known mention of the study, with another value."""
    onto = ontology()
    fact, wanted = outcome.against, outcome.wanted
    if outcome.attribute == "presence" and fact is not None and not fact.polarity:
        return _something(outcome, rng), None
    if wanted is None or outcome.mention is None or outcome.attribute == "presence":
        return None
    if outcome.attribute == "heart" and fact is not None:
        value = "normal" if wanted.value == "enlarged" else "enlarged"
        return replace(fact, head=replace(wanted, value=value), core=""), None
    if outcome.attribute == "kind" and fact is not None:
        kinds = onto.findings[wanted.value].plausible
        return (_renamed(fact, wanted, rng.choice(kinds)), None) if kinds else None
    attribute, form = onto.attributes[outcome.attribute], outcome.mention.form
    fitting = [v for v in attribute.variants if form in attribute.forms[v]]
    values = [v for v in fitting if not attribute.related(v, wanted.value)]
    if not values:
        return None
    value = rng.choice(values)
    new = replace(wanted, value=value, form=form, surface=attribute.forms[value][form])
    if fact is None:
        return None, new
    details = tuple(new if m.attribute == new.attribute else m for m in fact.details)
    return replace(fact, details=details, core=""), None


def _renamed(fact: Statement, head: Mention, kind: str) -> Statement:
    finding = ontology().findings[kind]
    details = tuple(m for m in fact.details if finding.zoned or m.attribute not in ("zone", "lobe"))
    new = replace(head, value=kind, form="singular", surface=finding.name)
    return replace(fact, head=new, details=details, core="")


def _something(outcome: Outcome, rng: Random) -> Statement | None:
    """A finding where nothing was found: of the denied kind if the denial names one."""
    onto = ontology()
    denied = outcome.statement.head.value if outcome.statement and outcome.statement.head else ""
    generic = not denied or onto.findings[denied].generic
    kind = rng.choice(onto.language["invented_kinds"]) if generic else denied
    template = rng.choice(onto.language["invented"])
    values = {
        name: rng.choice(choices)
        for name, choices in (
            ("size", ("small", "large")),
            ("side", ("left", "right")),
            ("zone", ("upper", "middle", "lower")),
        )
    }
    if not generic or outcome.mention is None or outcome.mention.form == "alone":
        head = Mention("kind", kind, "singular", 0, 0, 0, 0, onto.findings[kind].name)
        name = onto.findings[kind].name
        core = name if generic else ""
        return Statement("lesion", True, head, core=core)
    name = onto.findings[kind].name
    text = template.format(kind=name, Size=values["size"].capitalize(), **values)
    return read(text).statements[0]


def _nothing(outcome: Outcome, rng: Random) -> Statement:
    """The denial of what was found."""
    onto = ontology()
    head = outcome.wanted or outcome.mention
    assert head is not None
    if onto.covers("lesion", head.value):
        return read(rng.choice(onto.language["nothing"])).statements[0]
    return Statement("lesion", False, head)


def _with(
    known: Facts, outcome: Outcome, statement: Statement | None, study: Mention | None
) -> Facts:
    """The facts with the one that `outcome` rests on replaced.

    What was only derived from the question goes: it would still hold the unchanged fact.
    """
    statements = known.statements
    if statement is not None:
        statements = tuple(
            statement if s is outcome.against else s
            for s in known.statements
            if s is outcome.against or s.core
        )
    mentions = tuple(
        study if study is not None and m.attribute == study.attribute else m for m in known.study
    )
    unwritten = replace(known.reference, text="")  # it says what is so, not what this world says
    return replace(known, reference=unwritten, statements=statements, study=mentions)
