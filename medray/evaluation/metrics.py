"""Metrics of the answers of one checkpoint, by rules that anyone can recompute.

A phantom's truth is complete: anything else that an answer asserts contradicts it; paragraphs about
phantoms are read by their own grammar. For a real case only the reference is known, and only what
contradicts the reference counts as wrong.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from medray.editing.language.english import is_english
from medray.editing.language.markup import final_text
from medray.editing.ontology.lexicon import ontology, phrase_words
from medray.editing.reading.claims import Statement, claims, read, subject_of
from medray.editing.reading.facts import facts, proposition
from medray.editing.reading.judge import judge
from medray.editing.reading.options import chosen_option, options
from medray.evaluation import chests
from medray.evaluation.assertion import Assertion
from medray.records import Case

_YES_NO = re.compile(r"\b(yes|no)\b", re.IGNORECASE)
RATES = (
    *("report_exact", "closed_accuracy", "choice_accuracy", "open_recall"),
    *("hallucination_rate", "finding_f1"),
)


def evaluate(cases: Sequence[Case], answers: Mapping[str, str]) -> dict[str, object]:
    """All metrics of the cases that have an answer (by case_id); None if a metric does not apply.

    Only the final answer counts, not the thoughts before it; without one an answer is empty.

    n                   distinct studies (images)
    answers             answers evaluated
    report_exact        share of reports with known truth that assert it all and nothing else
    closed_accuracy     share of closed answers whose first yes/no is the reference's
    choice_accuracy     share of multiple-choice answers that choose the reference's option
    open_recall         mean share of the reference's words that the open answers contain
    hallucination_rate  contradicted attributes / asserted attributes, over all answers
    finding_f1          micro F1 of the findings positively asserted in reports
    unread              share of the sentences about phantoms in paragraphs that are out of grammar
    by_error_type       {type: {"asserted": …, "contradicted": …, "rate": …}}
    """
    answered = [
        (case, final_text(answers[case.case_id])) for case in cases if case.case_id in answers
    ]
    asserted = [(case, answer, assertions(case, answer)) for case, answer in answered]
    tally: dict[str, Counter[str]] = {}
    for _, _, case_assertions in asserted:
        for assertion in case_assertions:
            counts = tally.setdefault(assertion.error_type, Counter(asserted=0, contradicted=0))
            counts.update(asserted=1, contradicted=int(assertion.contradicted))
    total = sum(counts["asserted"] for counts in tally.values())
    wrong = sum(counts["contradicted"] for counts in tally.values())
    return {
        "n": len({case.image_sha256 or case.image for case, _ in answered}),
        "answers": len(answered),
        "report_exact": _mean(
            _exact(case, case_assertions)
            for case, _, case_assertions in asserted
            if case.answer_type == "report" and case.truth
        ),
        "closed_accuracy": _mean(
            _closed(case, answer) for case, answer in answered if case.answer_type == "closed"
        ),
        "choice_accuracy": _mean(
            _choice(case, answer) for case, answer in answered if case.answer_type == "choice"
        ),
        "open_recall": _mean(
            _recall(case.reference, answer)
            for case, answer in answered
            if case.answer_type == "open"
        ),
        "hallucination_rate": wrong / total if total else None,
        "finding_f1": _finding_f1(
            [(case, answer) for case, answer in answered if case.answer_type == "report"]
        ),
        "unread": _mean(
            share
            for case, answer in answered
            if chests.is_chest(case)
            for share in chests.unread(case, answer)
        ),
        "by_error_type": {kind: _with_rate(tally[kind]) for kind in sorted(tally)},
    }


def _with_rate(counts: Mapping[str, int]) -> dict[str, float]:
    return {**counts, "rate": counts["contradicted"] / counts["asserted"]}


def compare_table(
    before: Mapping[str, object], after: Mapping[str, object]
) -> list[tuple[str, float | None, float | None]]:
    """Rows (name, before, after): the rates, and the contradicted share by error type."""
    rows = [(name, _number(before.get(name)), _number(after.get(name))) for name in RATES]
    shares = [_shares(result) for result in (before, after)]
    for kind in sorted({*shares[0], *shares[1]}):
        rows.append((f"wrong {kind}", shares[0].get(kind), shares[1].get(kind)))
    return rows


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


def _exact(case: Case, asserted: Sequence[Assertion]) -> bool:
    """Whether an answer asserts all of the truth, nothing else, and contradicts nothing."""
    if chests.is_chest(case):
        return chests.is_exact(case, asserted)
    positive = {(a.attribute, a.value) for a in asserted if not a.value.startswith("not ")}
    return positive == set(case.truth) and not any(a.contradicted for a in asserted)


def _closed(case: Case, answer: str) -> bool:
    expected, given = (_YES_NO.search(text) for text in (case.reference, answer))
    if expected is None:  # a choice ("CT or MRI?")
        return judge(answer, facts(case.question, case.reference)).verdict == "right"
    return given is not None and given.group().lower() == expected.group().lower()


def _choice(case: Case, answer: str) -> bool:
    """Whether an answer chooses the reference's option, by its letter or its text."""
    listed = options(case.question)
    stated = chosen_option(answer, listed)
    return stated is not None and stated == chosen_option(case.reference, listed)


def _recall(reference: str, answer: str) -> float:
    expected, given = set(phrase_words(reference)), set(phrase_words(answer))
    return len(expected & given) / len(expected) if expected else 0.0


def _finding_f1(reports: Sequence[tuple[Case, str]]) -> float | None:
    """Micro F1 over findings, counting an enlarged heart as one. None if there are no findings."""
    hits = asserted_total = true_total = 0
    for case, answer in reports:
        asserted = _findings(_statements(case.question, answer))
        if chests.is_chest(case):
            asserted, true = chests.findings(case, answer)
        elif case.truth:
            truth = dict(case.truth)
            true = {truth.get("kind", "none")} - {"none"}
            true |= {"cardiomegaly"} if truth.get("heart") == "enlarged" else set()
        else:
            true = _findings(_statements(case.question, case.reference))
        hits += len(asserted & true)
        asserted_total += len(asserted)
        true_total += len(true)
    return 2 * hits / (asserted_total + true_total) if asserted_total + true_total else None


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


def _mean(values: Iterable[float]) -> float | None:
    numbers = [float(value) for value in values]
    return sum(numbers) / len(numbers) if numbers else None


def _shares(result: Mapping[str, object]) -> dict[str, float]:
    table = result.get("by_error_type")
    if not isinstance(table, Mapping):
        return {}
    return {str(kind): float(counts["rate"]) for kind, counts in table.items()}


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None
