"""The smallest clinically wrong variant of a right answer.

It is found by correcting the answer against counterfactual facts, in which one thing is changed:
the same rewriting, in the answer's own words, and the same check afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from random import Random

from medray.editing.language.text import Mention
from medray.editing.ontology.levels import other_values
from medray.editing.ontology.lexicon import ontology, phrase_words
from medray.editing.reading.choice import alternatives, picked
from medray.editing.reading.claims import Statement, read
from medray.editing.reading.compare import Comparison
from medray.editing.reading.facts import Facts
from medray.editing.reading.judge import Judgement

_FINITE = re.compile(r"\b(?:is|are|was|were|shows?|appears?|has|have)\b", re.IGNORECASE)


def counterfactuals(
    judgement: Judgement, facts: Facts, rng: Random, prefer: Mapping[str, float] | None = None
) -> Iterator[Facts]:
    """The facts with one agreed thing changed, in random order, one change per thing.

    `prefer` gives weights of the error types that the changes are (1.0 if absent): the order is
    then drawn without replacement, each next one with a probability proportional to its weight.
    """
    agreed = {
        (c.attribute, c.statement.head.value if c.statement and c.statement.head else ""): c
        for c in judgement.comparisons
        if c.agrees
    }
    if any(c.attribute == "word" for c in agreed.values()):
        yield _with_other_word(facts)
        return
    comparisons = list(agreed.values())
    rng.shuffle(comparisons)
    makers: list[tuple[str, Callable[[], Facts | None]]] = [
        (comparison.error_type, partial(_changed, facts, comparison, rng))
        for comparison in comparisons
    ]
    makers += [
        ("presence", partial(_denied, facts, comparison, rng))
        for comparison in comparisons
        if comparison.attribute in ("kind", "presence")
        and comparison.fact
        and comparison.fact.polarity
    ]
    if prefer:  # Efraimidis-Spirakis weighted sampling: sort by exponential keys
        keys = [rng.expovariate(prefer.get(error_type, 1.0)) for error_type, _ in makers]
        makers = [makers[i] for i in sorted(range(len(makers)), key=keys.__getitem__)]
    for _, make in makers:
        counterfactual = make()
        if counterfactual is not None:
            yield counterfactual


def _changed(facts: Facts, comparison: Comparison, rng: Random) -> Facts | None:
    if comparison.attribute in ("opposite", "echo"):
        return _with_other_word(facts)
    if comparison.attribute in ("option", "alternative"):
        return _other_choice(facts, comparison.attribute, rng)
    if comparison.attribute not in (*ontology().attributes, "presence", "kind", "heart", "rank"):
        return None
    if comparison.mention is not None and _echoes(comparison.mention, facts):
        return None
    if comparison.attribute == "rank" and facts.ranking is not None:
        others = [option for option in facts.ranking.options if option != facts.ranked]
        without_text = replace(facts.reference, text="")
        return replace(facts, reference=without_text, ranked=rng.choice(others))
    values = _other_value(comparison, rng, facts.question)
    return None if values is None else _with(facts, comparison, *values)


def _echoes(mention: Mention, facts: Facts) -> bool:
    """Whether the answer only repeats what its open question says."""
    if facts.word is not None or re.search(r"\bor\b|^\W*how\b", facts.question, re.I):
        return False
    return set(phrase_words(mention.surface)) <= set(phrase_words(facts.question))


def _other_choice(facts: Facts, attribute: str, rng: Random) -> Facts | None:
    """The facts with another option of the question, or another of its alternatives."""
    bare = replace(facts, statements=(), study=(), reference=replace(facts.reference, text=""))
    if attribute == "option":
        others = [option for option in facts.options if option != facts.option]
        return replace(bare, option=rng.choice(others)) if others else None
    right = picked(facts.question, facts.reference.text)
    names = alternatives(facts.question)
    others_named = [name for i, name in enumerate(names) if right and i != right.index]
    if not others_named:
        return None
    name = rng.choice(others_named)
    written = re.search(re.escape(name), facts.question, re.IGNORECASE)
    return replace(bare, reference=read(written.group() if written else name))


def _denied(facts: Facts, comparison: Comparison, rng: Random) -> Facts:
    return _with(facts, comparison, _nothing(comparison, rng), None)


def _with_other_word(facts: Facts) -> Facts:
    word = not facts.word
    statements, study = facts.proposition.implied(word) if facts.proposition else ((), ())
    without_text = replace(facts.reference, text="")
    return replace(facts, reference=without_text, word=word, statements=statements, study=study)


def _other_value(
    comparison: Comparison, rng: Random, question: str
) -> tuple[Statement | None, Mention | None] | None:
    """The known statement, or the known mention about the study, with another value."""
    onto = ontology()
    fact, wanted = comparison.fact, comparison.wanted
    if comparison.attribute == "presence" and fact is not None and not fact.polarity:
        return _something(comparison, rng), None
    if wanted is None or comparison.mention is None or comparison.attribute == "presence":
        return None
    if comparison.attribute == "heart" and fact is not None:
        value = "normal" if wanted.value == "enlarged" else "enlarged"
        return replace(fact, head=replace(wanted, value=value), core=""), None
    if comparison.attribute == "kind" and fact is not None:
        if comparison.mention.surface.lower().endswith("ed"):
            return None  # "the clavicle is fractured" cannot name another finding
        kinds = onto.findings[wanted.value].plausible
        return (_renamed(fact, wanted, rng.choice(kinds)), None) if kinds else None
    stated = comparison.statement.head if comparison.statement else None
    if wanted.value == "both" and stated is not None and stated.form == "plural":
        return None  # "right effusions"
    attribute, form = onto.attributes[comparison.attribute], comparison.mention.form
    named = _named_by(question, attribute.name)
    values = other_values(attribute, wanted.value, wanted.surface, form, question, named)
    if not values:
        return None
    value, surface = rng.choice(values)
    new = replace(wanted, value=value, form=form, surface=surface)
    if fact is None:
        return None, new
    details = tuple(new if m.attribute == new.attribute else m for m in fact.details)
    return replace(fact, details=details, core=""), None


def _named_by(question: str, attribute: str) -> list[str]:
    """The values that a question offers as alternatives: "heart or lung?"."""
    if not re.search(r"\bor\b", question, re.IGNORECASE):
        return []
    parsed = read(question)
    mentions = [*parsed.study, *(m for s in parsed.statements for m in s.details)]
    return list(dict.fromkeys(m.value for m in mentions if m.attribute == attribute))


def _renamed(fact: Statement, head: Mention, kind: str) -> Statement:
    finding = ontology().findings[kind]
    details = tuple(m for m in fact.details if finding.zoned or m.attribute not in ("zone", "lobe"))
    new = replace(head, value=kind, form="singular", surface=finding.name)
    return replace(fact, head=new, details=details, core="")


def _something(comparison: Comparison, rng: Random) -> Statement | None:
    """A finding instead of none: of the denied kind if the denial names one."""
    onto = ontology()
    denied = (
        comparison.statement.head.value
        if comparison.statement and comparison.statement.head
        else ""
    )
    generic = not denied or onto.findings[denied].generic
    kind = rng.choice(onto.language["invented_kinds"]) if generic else denied
    templates = onto.language["invented"]
    if comparison.statement is not None and _FINITE.search(comparison.statement.core):
        templates = [template for template in templates if _FINITE.search(template)]
    template = rng.choice(templates)
    values = {
        name: rng.choice(choices)
        for name, choices in (
            ("size", ("small", "large")),
            ("side", ("left", "right")),
            ("zone", ("upper", "middle", "lower")),
        )
    }
    if not generic or comparison.mention is None or comparison.mention.form == "alone":
        head = Mention("kind", kind, "singular", 0, 0, 0, 0, onto.findings[kind].name)
        name = onto.findings[kind].name
        core = name if generic else ""
        return Statement("lesion", True, head, core=core)
    name = onto.findings[kind].name
    text = template.format(kind=name, Size=values["size"].capitalize(), **values)
    return read(text).statements[0]


def _nothing(comparison: Comparison, rng: Random) -> Statement:
    """The denial of a known finding."""
    onto = ontology()
    head = comparison.wanted or comparison.mention
    assert head is not None
    if onto.covers("lesion", head.value) and onto.findings[head.value].zoned:
        return read(rng.choice(onto.language["nothing"])).statements[0]
    return Statement("lesion", False, head)


def _with(
    facts: Facts, comparison: Comparison, statement: Statement | None, study: Mention | None
) -> Facts:
    """The facts with the one that `comparison` is based on replaced.

    Facts derived only from the question are dropped: they would still state the unchanged fact.
    """
    statements = facts.statements
    if statement is not None:
        statements = tuple(
            statement if s is comparison.fact else s
            for s in facts.statements
            if s is comparison.fact or s.core
        )
    mentions = tuple(
        study if study is not None and m.attribute == study.attribute else m for m in facts.study
    )
    without_text = replace(facts.reference, text="")  # the text states the unchanged fact
    return replace(facts, reference=without_text, statements=statements, study=mentions)
