"""From contradictions to replacements: only what is wrong, in the answer's own words.

Three ways, from the smallest to the widest: the value alone; the clause, by the reference's
clause; for short answers, the answer. The caller takes the first that reads right again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from medray.editing.base import Replacement
from medray.editing.claims import Reading, Statement
from medray.editing.compare import Outcome
from medray.editing.facts import Facts
from medray.editing.grammar import affirm, deny, heart_phrase, lower_first, match_case, trimmed
from medray.editing.judge import Judgement, is_short
from medray.editing.lexicon import ontology, phrase_words
from medray.editing.rename import rename
from medray.editing.text import Mention

Place = tuple[int, int, str]
_T = TypeVar("_T")


class CannotRewrite(Exception):
    """This way does not lead to a sentence; another may."""


def candidates(judgement: Judgement, known: Facts) -> Iterator[list[Replacement]]:
    """Ways to resolve all contradictions of a wrong answer, the smallest first."""
    for way in (_by_value, _by_clause, _as_a_whole):
        try:
            yield way(judgement, known)
        except CannotRewrite:
            continue


def _by_value(judgement: Judgement, known: Facts) -> list[Replacement]:
    reading = judgement.answer
    found: list[Replacement] = []
    for outcomes in _by_statement(judgement.conflicts):
        statement = outcomes[0].statement
        if outcomes[0].attribute == "word":
            found += _word(judgement, outcomes[0], known)
        elif statement is None:
            found += _study(judgement, outcomes[0], known)
        else:
            found += _statement(reading, statement, outcomes, known)
    return found


def _by_clause(judgement: Judgement, known: Facts) -> list[Replacement]:
    found: list[Replacement] = []
    for outcomes in _by_statement(judgement.conflicts):
        first = outcomes[0]
        if first.attribute == "word":
            found += _word(judgement, first, known)
        elif first.statement is None:
            found += _study(judgement, first, known)
        else:
            found.append(_clause(judgement.answer, first))
    return found


def _as_a_whole(judgement: Judgement, known: Facts) -> list[Replacement]:
    reading, reference = judgement.answer, known.reference
    if not (is_short(reading) and is_short(reference) and reference.text):
        raise CannotRewrite
    new = reference.text[slice(*reference.body)]
    start, end = reading.body
    new = match_case(reading.text[start:end][:1], lower_first(new))
    return [_replacement((start, end, new), judgement.conflicts[0])]


def _by_statement(conflicts: Iterable[Outcome]) -> list[list[Outcome]]:
    """Conflicts of one statement together; those of no statement by themselves."""
    groups: dict[object, list[Outcome]] = {}
    for outcome in conflicts:
        key = outcome.attribute if outcome.statement is None else id(outcome.statement)
        groups.setdefault(key, []).append(outcome)
    return list(groups.values())


def _word(judgement: Judgement, outcome: Outcome, known: Facts) -> list[Replacement]:
    """The yes or no, and the rest of its sentence where nothing else sees to that."""
    reading = judgement.answer
    start, end = reading.word_span
    new = match_case(reading.text[start:end], "yes" if known.word else "no")
    found = [_replacement((start, end, new), outcome)]
    if reading.tail == (0, 0) or _seen_to(judgement):
        return found
    change = (
        affirm(reading.text, *reading.tail, _takes_article(reading.statements))
        if known.word
        else deny(reading.text, *reading.tail, _first_head(reading))
    )
    return [*found, _replacement(_sure(change), outcome)]


def _seen_to(judgement: Judgement) -> bool:
    """Whether the rest of the yes/no sentence was compared with the facts itself."""
    start, end = judgement.answer.tail
    for outcome in judgement.outcomes:
        place = outcome.mention.start if outcome.mention else -1
        if outcome.statement is not None and start <= outcome.statement.start < end:
            return True
        # an axis of the study agrees or is rewritten; where only "not this" is known, deny it
        if outcome.statement is None and start <= place < end and outcome.wanted is not None:
            return True
    return False


def _first_head(reading: Reading) -> int | None:
    return next((s.head.start for s in reading.statements if s.head), None)


def _study(judgement: Judgement, outcome: Outcome, known: Facts) -> list[Replacement]:
    reading, attribute = judgement.answer, ontology().attributes[outcome.attribute]
    if outcome.wanted is None:
        if reading.word is None:
            raise CannotRewrite
        return []  # denied with the yes or no it depends on
    told = outcome.wanted.surface in known.reference.text and known.reference.n_words > 1
    if attribute.short_only and told and is_short(reading) and is_short(known.reference):
        raise CannotRewrite  # "left kidney" and "head of the pancreas" share no frame
    said = [m for m in reading.study if m.attribute == outcome.attribute]
    return _values(said, outcome)


def _statement(
    reading: Reading, statement: Statement, outcomes: list[Outcome], known: Facts
) -> list[Replacement]:
    """All changes to one statement."""
    found: list[Replacement] = []
    renamed = next((o for o in outcomes if o.attribute == "kind"), None)
    dropped: set[str] = set()
    if renamed is not None:
        if (
            _has_more(statement, renamed.against)
            and is_short(reading)
            and is_short(known.reference)
        ):
            raise CannotRewrite  # what was said of the wrong finding need not hold of the right one
        places, dropped = _sure(rename(reading.text, statement, renamed.against, renamed.wanted))
        found += [_replacement(place, renamed) for place in places]
    for outcome in outcomes:
        if outcome.attribute == "presence":
            found.append(_presence(reading, statement, outcome))
        elif outcome.attribute == "heart":
            value = outcome.wanted.value if outcome.wanted else ""
            place = heart_phrase(reading.text, statement.start, statement.end, value)
            found.append(_replacement(_sure(place), outcome))
        elif outcome is not renamed and outcome.attribute not in dropped:
            found += _detail(reading, statement, outcome)
    return found


def _detail(reading: Reading, statement: Statement, outcome: Outcome) -> list[Replacement]:
    said = [m for m in statement.details if m.attribute == outcome.attribute]
    if outcome.wanted is None:
        place = deny(reading.text, statement.start, statement.end, None)
        return [_replacement(_sure(place), outcome)]
    if said[0].negated:
        place = affirm(reading.text, statement.start, statement.end, singular=True)
        return [_replacement(_sure(place), outcome)]
    return _values(said, outcome)


def _values(said: list[Mention], outcome: Outcome) -> list[Replacement]:
    """Every mention of a wrong value, by the wanted value in the same form."""
    wanted = outcome.wanted
    assert wanted is not None
    if len({m.value for m in said}) != 1:
        raise CannotRewrite
    attribute = ontology().attributes[wanted.attribute]
    found = []
    for m in said:
        new = attribute.forms.get(wanted.value, {}).get(m.form)
        if wanted.form == m.form and not (new and new[:2].isupper()):
            new = lower_first(wanted.surface)
        if new is None:
            raise CannotRewrite
        found.append(_replacement((m.start, m.end, match_case(m.surface, new)), outcome))
    return found


def _presence(reading: Reading, statement: Statement, outcome: Outcome) -> Replacement:
    """A finding that is not there, or one that is there and was denied."""
    if outcome.against and outcome.against.core and _has_own_clause(reading, statement):
        return _clause(reading, outcome)
    head = statement.head
    if statement.polarity:
        place = deny(reading.text, statement.start, statement.end, head.start if head else None)
    else:
        singular = _takes_article([statement])
        place = affirm(reading.text, statement.start, statement.end, singular)
    return _replacement(_sure(place), outcome)


def _has_more(statement: Statement, against: Statement | None) -> bool:
    """Whether more is said of a finding than a written reference says."""
    if against is None or not against.core:
        return False
    return bool({m.attribute for m in statement.details} - {m.attribute for m in against.details})


def _takes_article(statements: Sequence[Statement]) -> bool:
    """Whether the first finding named is one that "a" can stand before."""
    head = next((s.head for s in statements if s.head and s.subject == "lesion"), None)
    return (
        head is not None and head.form == "singular"
        and not ontology().findings[head.value].mass_noun
    )  # fmt: skip


def _clause(reading: Reading, outcome: Outcome) -> Replacement:
    """The statement's clause, by the reference's sentence."""
    statement, against = outcome.statement, outcome.against
    if statement is None or against is None or not against.core:
        raise CannotRewrite
    start, end = statement.sentence
    if not _has_sentence(reading, statement):
        start, end = _after_connector(reading.text, statement.start, statement.end), statement.end
    new = against.core if reading.text[start].isupper() else lower_first(against.core)
    if reading.text[start].isupper():
        new = new[:1].upper() + new[1:]
    return _replacement(trimmed(reading.text, start, end, new), outcome)


def _has_sentence(reading: Reading, statement: Statement) -> bool:
    """Whether a sentence says nothing else: one statement, or a list of denials."""
    together = [s for s in reading.statements if s.sentence == statement.sentence]
    return len(together) == 1 or not any(s.polarity for s in together)


def _has_own_clause(reading: Reading, statement: Statement) -> bool:
    """Whether a sentence can stand in the statement's place ("with a nodule" has no verb)."""
    said = phrase_words(reading.text[statement.start : statement.end])
    return _has_sentence(reading, statement) or bool(set(said) & set(ontology().language["verbs"]))


def _after_connector(text: str, start: int, end: int) -> int:
    """Past "and", "with" and the like."""
    first = text[start:end].split(maxsplit=1)
    if len(first) == 2 and first[0].lower() in ontology().language["connectors"]:
        return start + text[start:end].index(first[1], len(first[0]))
    return start


def _sure(change: _T | None) -> _T:
    if change is None:
        raise CannotRewrite
    return change


def _replacement(place: Place, outcome: Outcome) -> Replacement:
    return Replacement(*place, outcome.error_type, _reason(outcome))


def _reason(outcome: Outcome) -> str:
    """In a few words, for the ledger."""
    if outcome.attribute == "word":
        return "the reference answers the other way"
    if outcome.attribute == "presence" and outcome.statement is not None:
        named = outcome.statement.head.value if outcome.statement.head else "finding"
        return f"{named} is not there" if outcome.statement.polarity else f"{named} is there"
    said = outcome.mention.value if outcome.mention else "?"
    wanted = outcome.wanted.value if outcome.wanted else f"not {said}"
    return f"{outcome.attribute}: {wanted}, not {said}"
