"""What one answer asserts, and whether it is right, by rules that anyone can recompute.

A phantom's truth is complete: anything else that an answer asserts contradicts it; paragraphs about
phantoms are read by their own grammar. For a real case only the reference is known, and only what
contradicts the reference counts as wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from medray.editing.language.english import endless, is_english
from medray.editing.ontology.lexicon import ontology, phrase_words
from medray.editing.reading.claims import Statement, claims, read, subject_of
from medray.editing.reading.facts import facts, proposition
from medray.editing.reading.judge import judge
from medray.editing.reading.options import chosen_option, options
from medray.evaluation import chests
from medray.evaluation.assertion import Assertion
from medray.records import Case

_YES_NO = re.compile(r"\b(yes|no)\b", re.IGNORECASE)


def assertions(case: Case, answer: str) -> list[Assertion]:
    """What the answer asserts about the case, without duplicates; nothing if it is not English."""
    if not all(map(is_english, (case.question, case.reference, answer))):
        return []
    against = _against_truth if case.truth else _against_reference
    if chests.is_chest(case):
        against = chests.assertions
    asserted = against(case, answer)
    return list(dict.fromkeys(asserted))


def _against_truth(case: Case, answer: str) -> Iterable[Assertion]:
    truth = dict(case.truth)
    for statement in _statements(case.question, answer):
        if statement.subject == "heart":
            value = statement.head.value if statement.head else ""
            yield Assertion("heart", value, "attribute", value != truth.get("heart"))
            continue
        yield from _head(statement, truth)
        for m in statement.details if statement.polarity else ():
            kind = ontology().attributes[m.attribute].error_type
            agrees = (m.value == truth.get(m.attribute)) != m.negated
            value = f"not {m.value}" if m.negated else m.value
            yield Assertion(m.attribute, value, kind, not agrees)


def _head(statement: Statement, truth: Mapping[str, str]) -> Iterable[Assertion]:
    """The finding that a statement asserts or denies, compared with the complete truth."""
    if statement.head is None:
        return
    onto, kind, real = ontology(), statement.head.value, truth.get("kind", "none")
    covered = real in onto.findings and onto.covers(kind, real)
    if not statement.polarity:
        value = "none" if onto.findings[kind].generic else f"not {kind}"
        yield Assertion("kind", value, "presence", covered)
    elif onto.findings[kind].generic or real == "none":
        yield Assertion("kind", kind, "presence", not covered)
    else:
        yield Assertion("kind", kind, "kind", kind != real)


def _against_reference(case: Case, answer: str) -> Iterable[Assertion]:
    """Comparisons with the reference; other claims of the answer count as not contradicted."""
    judgement = judge(answer, facts(case.question, case.reference))
    compared = set()
    for outcome in judgement.comparisons:
        m = outcome.mention
        compared.add((m.start, m.end) if m else None)
        value = m.value if m else str(judgement.answer.word)
        yield Assertion(outcome.attribute, value, outcome.error_type, not outcome.agrees)
    for claim in claims(answer, case.question):
        if (claim.start, claim.end) not in compared:
            attribute = ontology().attributes.get(claim.attribute)
            default = "attribute" if claim.attribute == "heart" else "presence"
            kind = attribute.error_type if attribute else default
            yield Assertion(claim.attribute, claim.value, kind, False)


def _statements(question: str, answer: str) -> list[Statement]:
    """What an answer states, including its yes or no."""
    reading = read(answer, subject=subject_of(question))
    proposal = proposition(question)
    statements = list(reading.statements)
    if reading.word is not None and proposal is not None:
        statements += proposal.implied(reading.word)[0]
    return statements


def is_exact(case: Case, asserted: Sequence[Assertion]) -> bool:
    """Whether an answer asserts all of the truth, nothing else, and contradicts nothing."""
    if chests.is_chest(case):
        return chests.is_exact(case, asserted)
    positive = {(a.attribute, a.value) for a in asserted if not a.value.startswith("not ")}
    return positive == set(case.truth) and not any(a.contradicted for a in asserted)


def is_right_word(case: Case, answer: str) -> bool:
    expected, given = (_YES_NO.search(text) for text in (case.reference, answer))
    if expected is None and endless(answer):
        return False
    if expected is None:  # a choice ("CT or MRI?")
        return judge(answer, facts(case.question, case.reference)).verdict == "right"
    return given is not None and given.group().lower() == expected.group().lower()


def is_right_choice(case: Case, answer: str) -> bool:
    """Whether an answer chooses the reference's option, by its letter or its text."""
    listed = options(case.question)
    stated = chosen_option(answer, listed)
    return stated is not None and stated == chosen_option(case.reference, listed)


def word_recall(reference: str, answer: str) -> float:
    expected, given = set(phrase_words(reference)), set(phrase_words(answer))
    return len(expected & given) / len(expected) if expected else 0.0


def finding_counts(case: Case, answer: str) -> tuple[float, float]:
    """Twice the findings that a report rightly asserts, and those asserted plus those true: their
    sums over reports give the micro F1. An enlarged heart counts as a finding."""
    if chests.is_chest(case):
        asserted, true = chests.findings(case, answer)
    else:
        asserted = _findings(_statements(case.question, answer))
        true = _true_findings(case)
    return 2.0 * len(asserted & true), float(len(asserted) + len(true))


def _true_findings(case: Case) -> set[str]:
    if not case.truth:
        return _findings(_statements(case.question, case.reference))
    truth = dict(case.truth)
    true = {truth.get("kind", "none")} - {"none"}
    return true | ({"cardiomegaly"} if truth.get("heart") == "enlarged" else set())


def _findings(statements: Iterable[Statement]) -> set[str]:
    findings = set()
    for statement in statements:
        if statement.head is None or not statement.polarity:
            continue
        if statement.subject == "lesion":
            findings.add(statement.head.value)
        elif statement.head.value == "enlarged":
            findings.add("cardiomegaly")
    return findings
