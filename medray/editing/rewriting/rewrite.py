"""From contradictions to replacements: only what is wrong, in the answer's own words.

Four ways, from the smallest to the widest: the value alone; the clause, by the reference's
clause; for short answers, the answer; of a yes/no sentence that cannot be mended, the yes or no.
The caller takes the first that reads right again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from medray.editing.base import Replacement
from medray.editing.language.grammar import heart_phrase, lower_first, match_case, trimmed
from medray.editing.language.text import Mention
from medray.editing.ontology.lexicon import ontology, phrase_words
from medray.editing.reading.claims import Reading, Statement
from medray.editing.reading.compare import Outcome
from medray.editing.reading.facts import Facts
from medray.editing.reading.judge import Judgement, is_short, names_the_picture, told_organs
from medray.editing.rewriting.counting import recount
from medray.editing.rewriting.overlaps import asides, one_per_word
from medray.editing.rewriting.polarity import affirm, deny, turn_opposite
from medray.editing.rewriting.rename import rename

Place = tuple[int, int, str]
_T = TypeVar("_T")
_HANGING = re.compile(r"\s+(without|but no)\b")
_DENIAL = re.compile(r"\b(?:no|not|nor|without|absent)\b|n['’]t\b", re.IGNORECASE)


class CannotRewrite(Exception):
    """This way does not lead to a sentence; another may."""


def candidates(judgement: Judgement, known: Facts) -> Iterator[list[Replacement]]:
    """Ways to resolve all contradictions of a wrong answer, the smallest first."""
    for way in (_by_value, _by_clause, _as_a_whole, _word_alone):
        try:
            yield way(judgement, known)
        except CannotRewrite:
            continue


def _by_value(judgement: Judgement, known: Facts) -> list[Replacement]:
    reading = judgement.answer
    found: list[Replacement] = []
    for outcomes in _by_statement(judgement.conflicts):
        statement = outcomes[0].statement
        if outcomes[0].change is not None:
            found += [_replacement(_sure(o.change), o) for o in outcomes]
        elif outcomes[0].attribute == "word":
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
        if first.change is not None:
            found += [_replacement(_sure(o.change), o) for o in outcomes]
        elif first.attribute == "word":
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


def _word_alone(judgement: Judgement, known: Facts) -> list[Replacement]:
    """The yes or no without the rest of its sentence; what else is wrong, by value."""
    reading = judgement.answer
    first = next((o for o in judgement.conflicts if o.attribute == "word"), None)
    start, end = reading.word_span[0], reading.tail[1]
    if first is None or end <= start:
        raise CannotRewrite
    if len(phrase_words(reading.text[start:end])) > reading.n_words / 2 + 1:
        raise CannotRewrite  # nothing much of the answer would be left
    new = match_case(reading.text[slice(*reading.word_span)], "yes" if known.word else "no")
    found = [_replacement((start, end, new), first)]
    for outcomes in _by_statement(o for o in judgement.conflicts if o is not first):
        statement, mention = outcomes[0].statement, outcomes[0].mention
        place = statement.start if statement else mention.start if mention else end
        if place < end:
            continue
        if outcomes[0].change is not None:
            found += [_replacement(_sure(o.change), o) for o in outcomes]
        elif statement is None:
            found += _study(judgement, outcomes[0], known)
        else:
            found += _statement(reading, statement, outcomes, known)
    return found


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
    if reading.tail == (0, 0) or _seen_to(judgement, known):
        return found
    if known.word:
        change = affirm(reading.text, *reading.tail, _takes_article(reading.statements))
        change = change or turn_opposite(known.question, reading.text, *reading.tail)
    else:
        head, about = _first_head(reading), _asked_of(reading, known)
        change = deny(reading.text, *reading.tail, head, about)
    return [*found, _replacement(_sure(change), outcome)]


def _asked_of(reading: Reading, known: Facts) -> int | None:
    """Where the answer names what the question asks to be affirmed of the study."""
    asked = known.proposition.study if known.proposition else None
    same = (m for m in reading.study if asked and m.value == asked.value)
    return next((m.start for m in same if reading.tail[0] <= m.start < reading.tail[1]), None)


def _seen_to(judgement: Judgement, known: Facts) -> bool:
    """Whether the rest of the yes/no sentence was compared with the facts itself.

    Where the question is not understood, an agreement there is about something else.
    """
    start, end = judgement.answer.tail
    for outcome in judgement.outcomes if known.proposition else judgement.conflicts:
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
    if outcome.attribute == "count":
        for statement in reading.statements:
            if outcome.mention and statement.head and _counted(statement, outcome.mention):
                places = recount(reading.text, statement, outcome.mention, outcome.wanted)
                return [_replacement(place, outcome) for place in places]
    told = outcome.wanted.surface in known.reference.text and known.reference.n_words > 1
    if attribute.short_only and told and is_short(reading) and is_short(known.reference):
        raise CannotRewrite  # "left kidney" and "head of the pancreas" share no frame
    said = [m for m in reading.study if m.attribute == outcome.attribute]
    meant = {m.value for m in told_organs(reading.study, reading.text, known.question)}
    said = [m for m in said if m.value in meant and not names_the_picture(m, reading.study)] or said
    kept, extra = asides(reading.text, said)
    return [*_values(kept, outcome), *(_replacement(place, outcome) for place in extra)]


def _counted(statement: Statement, mention: Mention) -> bool:
    return any(m.attribute == "number" and m.start == mention.start for m in statement.details)


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
            found += _presence(reading, statement, outcome)
        elif outcome.attribute == "heart":
            value = outcome.wanted.value if outcome.wanted else ""
            place = heart_phrase(reading.text, statement.start, statement.end, value)
            if place is None:  # "does not show an enlarged heart"
                place = affirm(reading.text, statement.start, statement.end, singular=True)
            found.append(_replacement(_sure(place), outcome))
            if value == "normal" and found[-1].text.lower().startswith("no "):
                found += _hanging(reading.text, statement, outcome)
        elif outcome is not renamed and outcome.attribute not in dropped:
            found += _detail(reading, statement, outcome)
    return one_per_word(found, {o.attribute: o.wanted.value for o in outcomes if o.wanted})


def _detail(reading: Reading, statement: Statement, outcome: Outcome) -> list[Replacement]:
    said = [m for m in statement.details if m.attribute == outcome.attribute]
    if outcome.wanted is None:
        place = deny(reading.text, statement.start, statement.end, None)
        return [_replacement(_sure(place), outcome)]
    if outcome.attribute == "number":
        places = recount(reading.text, statement, said[0], outcome.wanted)
        return [_replacement(place, outcome) for place in places]
    if all(m.negated for m in said):
        place = affirm(reading.text, statement.start, statement.end, singular=True)
        return [_replacement(_sure(place), outcome)]
    return _values(said, outcome)


def _values(said: list[Mention], outcome: Outcome) -> list[Replacement]:
    """Every mention of a wrong value, by the wanted value in the same form.

    "On the right, not on the left": where the wanted value is what is denied, the two swap.
    """
    wanted = outcome.wanted
    assert wanted is not None
    wrong = {m.value for m in said if not m.negated}
    if len(wrong) != 1:
        raise CannotRewrite
    attribute = ontology().attributes[wanted.attribute]
    found = []
    for m in said:
        if m.negated and m.value != wanted.value:
            continue
        value = next(iter(wrong)) if m.negated else wanted.value
        new = attribute.forms.get(value, {}).get(m.form)
        if wanted.form == m.form and not m.negated and not (new and new[:2].isupper()):
            new = lower_first(wanted.surface)
        if new is None:
            raise CannotRewrite
        found.append(_replacement((m.start, m.end, match_case(m.surface, new)), outcome))
    return found


def _presence(reading: Reading, statement: Statement, outcome: Outcome) -> list[Replacement]:
    """A finding that is not there, or one that is there and was denied."""
    whole = bool(outcome.against and outcome.against.core and _has_own_clause(reading, statement))
    if whole and not _in_place(reading, statement, outcome):
        return [_clause(reading, outcome)]
    try:
        return _turned(reading, statement, outcome)
    except CannotRewrite:
        if not whole:
            raise
        return [_clause(reading, outcome)]


def _in_place(reading: Reading, statement: Statement, outcome: Outcome) -> bool:
    """Whether a clause is better turned in its own words than replaced by the reference's."""
    against, together = outcome.against, _together(reading, statement)
    assert against is not None
    if statement.head and statement.head.form == "" and statement.values("side"):
        return True
    if len(together) > 1 or (against.start, against.end) != against.sentence:
        return True
    head = against.head
    spelled = head is not None and head.form in ("singular", "plural")
    generic = spelled and head is not None and ontology().findings[head.value].generic
    return statement.polarity and spelled and not generic


def _turned(reading: Reading, statement: Statement, outcome: Outcome) -> list[Replacement]:
    """The clause in its own words, asserting what it denied or denying what it asserted."""
    head, text = statement.head, reading.text
    if statement.polarity:
        place = deny(text, statement.start, statement.end, head.start if head else None)
        found = [_replacement(_sure(place), outcome)]
        return [*found, *_hanging(text, statement, outcome)]
    sides = [m for m in statement.details if m.attribute == "side"]
    other = ontology().attributes["side"].other(sides[0].value) if len(sides) == 1 else None
    if head and head.form == "" and other:  # "the left lung is clear", and it is the right one
        new = ontology().attributes["side"].forms[other].get(sides[0].form)
        place = (sides[0].start, sides[0].end, match_case(sides[0].surface, _sure(new)))
        return [_replacement(place, outcome)]
    following = [s for s in _together(reading, statement) if s.start > statement.start]
    if any(not s.polarity and not _DENIAL.search(text[s.start : s.end]) for s in following):
        raise CannotRewrite  # "no mass or nodule": the denial is shared
    place = affirm(text, statement.start, statement.end, _takes_article([statement]))
    return [_replacement(_sure(place), outcome)]


def _hanging(text: str, statement: Statement, outcome: Outcome) -> list[Replacement]:
    """ "No effusion without nodule": the denial that follows one that is new hangs on it."""
    hanging = _HANGING.match(text, statement.end)
    if hanging is None:
        return []
    new = "or" if hanging.group(1) == "without" else "and no"
    return [_replacement((*hanging.span(1), new), outcome)]


def _together(reading: Reading, statement: Statement) -> list[Statement]:
    """The statements of one sentence."""
    return [s for s in reading.statements if s.sentence == statement.sentence]


def _has_more(statement: Statement, against: Statement | None) -> bool:
    """Whether more is said of a finding than a written reference says."""
    if against is None or not against.core:
        return False
    return bool({m.attribute for m in statement.details} - {m.attribute for m in against.details})


def _takes_article(statements: Sequence[Statement]) -> bool:
    """Whether the first finding named is one that "a" can stand before."""
    head = next((s.head for s in statements if s.head and s.subject == "lesion"), None)
    return (
        head is not None
        and head.form == "singular"
        and not ontology().findings[head.value].mass_noun
    )


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
    together = _together(reading, statement)
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
    if outcome.change is not None:
        return f"{outcome.attribute}: the reference says otherwise"
    if outcome.attribute == "presence" and outcome.statement is not None:
        named = outcome.statement.head.value if outcome.statement.head else "finding"
        return f"{named} is not there" if outcome.statement.polarity else f"{named} is there"
    said = outcome.mention.value if outcome.mention else "?"
    wanted = outcome.wanted.value if outcome.wanted else f"not {said}"
    return f"{outcome.attribute}: {wanted}, not {said}"
