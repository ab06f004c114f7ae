"""What a localiser is asked to find: concepts, read from the claims of the texts by rules.

The list is closed: the findings of the ontology, the heart, and organs. `concepts.yaml` holds the
phrases.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from medray.editing.ontology.lexicon import ontology
from medray.editing.reading.claims import Statement, read, subject_of
from medray.editing.reading.facts import facts

HEART = "heart"
_FILE = Path(__file__).parent / "concepts.yaml"


@dataclass(frozen=True, slots=True)
class Concept:
    """`name`: of the finding or organ in the ontology; `phrase`: what a visual tool reads."""

    name: str
    phrase: str


@functools.lru_cache(maxsize=4096)
def concepts(question: str, reference: str, answer: str = "") -> tuple[Concept, ...]:
    """What to look for in the picture of a case, in the order of the texts.

    What the reference asserts, alone or as an answer to the question. Else what the question names
    and the reference does not deny; else what the answer asserts and the reference does not deny;
    else, if it denies nothing, the organs that reference and question name. Nothing is looked for
    that the reference denies: it is not there.

    >>> [c.phrase for c in concepts("Is there an effusion?", "Yes.")]
    ['pleural effusion']
    >>> concepts("Is there an effusion?", "No.", "Yes, there is an effusion.")
    ()
    """
    known = facts(question, reference)
    denied = {s.head.value for s in known.statements if s.head and not s.polarity}
    in_question = read(question, subject=subject_of(question))
    in_answer = read(answer, subject=subject_of(question))
    for statements in (
        known.statements,
        (*in_question.statements, *in_question.uncertain),
        in_answer.statements,
    ):
        if found := _listed(claimed(statements), denied):
            return found
    if denied:
        return ()
    study = (*known.study, *in_question.study)
    organs = [m.value for m in study if m.attribute == "organ" and not m.negated]
    phrases = _data()["organs"]
    return tuple(Concept(name, phrases[name]) for name in dict.fromkeys(organs) if name in phrases)


def claimed(statements: Iterable[Statement]) -> list[str]:
    """The findings that statements assert, and the heart if they are about it."""
    names = []
    for statement in statements:
        if statement.subject == HEART:
            names.append(HEART)
        elif statement.polarity and statement.head is not None:
            names.append(statement.head.value)
    return list(dict.fromkeys(names))


def mentioned(text: str, question: str) -> frozenset[str]:
    """The findings that a text asserts, denies or suspects, and the heart if it is about it."""
    parsed = read(text, subject=subject_of(question))
    statements = (*parsed.statements, *parsed.uncertain)
    heads = {s.head.value for s in statements if s.head and s.subject != HEART}
    return frozenset(heads | ({HEART} if any(s.subject == HEART for s in statements) else set()))


def phrase(name: str) -> str:
    """What a visual tool reads for a finding or the heart; "" if it has no place in a picture."""
    data = _data()
    if name == HEART:
        return str(data["heart"])
    if name in data["nowhere"]:
        return ""
    return str(data["phrases"].get(name) or ontology().findings[name].name)


def _listed(names: Iterable[str], denied: set[str]) -> tuple[Concept, ...]:
    """The concepts of findings; more general ones only if there is nothing more specific."""
    onto = ontology()
    present = [n for n in names if n == HEART or not any(onto.covers(d, n) for d in denied)]
    specific = [n for n in present if n == HEART or not onto.findings[n].generic]
    return tuple(Concept(name, text) for name in specific or present if (text := phrase(name)))


@functools.cache
def _data() -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    return data
