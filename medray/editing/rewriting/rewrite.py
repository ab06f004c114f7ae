"""From contradictions to replacements: only what is wrong, in the answer's own words.

Seven strategies, from the smallest change to the largest: replace the value alone; what fills the
slot that the question asks for; the clause, by
the reference's clause; a yes/no sentence, by the statement that the other one stands for; the
denial of all abnormalities, by a sentence that names them; a short answer, by the reference; a
yes/no sentence that cannot be corrected, by its yes or no. The caller takes the first that is sure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from medray.editing.base import CannotRewrite, Change, Replacement
from medray.editing.clauses import explanation
from medray.editing.language.grammar import content, lower_first, match_case, smallest
from medray.editing.ontology.lexicon import ontology, phrase_words
from medray.editing.reading.claims import Statement
from medray.editing.reading.compare import Comparison
from medray.editing.reading.facts import Facts, asks_what
from medray.editing.reading.judge import Judgement, is_short
from medray.editing.rewriting.declare import declared, is_seen, shown
from medray.editing.rewriting.places import named_place
from medray.editing.rewriting.values import (
    in_place,
    replace_clause,
    replacement,
    require,
    rewrite_statement,
    rewrite_study,
)
from medray.editing.rewriting.yes_no import ASKING, turn_normal, turn_word
from medray.editing.sentences import split

_SAME_FORM = 0.7  # of the words of the statement that a question asks to confirm
_BEGINNING = 5  # letters
_WHICH = re.compile(
    r"\W*which\s+(?:(?:does|do)\s+not\s|(?:\w+ly\s+|also\s+)?(?:shows?|includes?|contains?)\s)[^,;]*$",
    re.I,
)
_SHARED = 0.5  # of the question's words, for the answer to be about what it asks
_THERE_IS_NONE = re.compile(r"\W*(?:there\s+(?:is|are)\s+)?no\b", re.IGNORECASE)


def candidates(judgement: Judgement, facts: Facts) -> Iterator[list[Replacement]]:
    """Rewrites that resolve all contradictions of a wrong answer, the smallest change first."""
    for strategy in (_by_value, _by_slot, _by_clause, *_LARGER):
        try:
            yield strategy(judgement, facts)
        except CannotRewrite:
            continue


def _by_value(judgement: Judgement, facts: Facts) -> list[Replacement]:
    parsed = judgement.answer
    replacements: list[Replacement] = []
    for comparisons in _by_statement(judgement.conflicts):
        statement = comparisons[0].statement
        if comparisons[0].change is not None:
            replacements += [
                in_place(judgement.answer.text, require(c.change), c, facts) for c in comparisons
            ]
        elif comparisons[0].attribute == "word":
            replacements += turn_word(judgement, comparisons[0], facts)
        elif statement is None:
            replacements += rewrite_study(judgement, comparisons[0], facts)
        else:
            replacements += rewrite_statement(parsed, statement, comparisons, facts)
    return replacements


def _by_slot(judgement: Judgement, facts: Facts) -> list[Replacement]:
    """The object or the place of one wrong sentence replaced by what the reference names, or what
    is said to be normal called abnormal."""
    answer = judgement.answer
    first = judgement.conflicts[0]
    part = next((p for p in split(answer.text) if p.end == len(answer.text.rstrip())), None)
    if part is None or answer.word is not None or facts.report or facts.options:
        raise CannotRewrite
    sentence, reference = answer.text[part.start : part.end], facts.reference.text
    if facts.word is not None:
        wanted = "asks_abnormal" if facts.word else "asks_normal"
        named = set(phrase_words(facts.question)) & set(ontology().language[wanted])
        change = turn_normal(sentence, 0, len(sentence)) if named else None
    elif asks_what(facts.question):
        change = shown(sentence, reference)
    else:
        change = named_place(facts.question, sentence, reference)
    start, end, text = require(change)
    return [replacement(Change(part.start + start, part.start + end, text), first)]


def _by_clause(judgement: Judgement, facts: Facts) -> list[Replacement]:
    replacements: list[Replacement] = []
    for comparisons in _by_statement(judgement.conflicts):
        first = comparisons[0]
        if first.change is not None:
            replacements += [
                in_place(judgement.answer.text, require(c.change), c, facts) for c in comparisons
            ]
        elif first.attribute == "word":
            replacements += turn_word(judgement, first, facts)
        elif first.statement is None:
            replacements += rewrite_study(judgement, first, facts)
        else:
            replacements.append(replace_clause(judgement.answer, first, report=facts.report))
    return replacements


def _by_reference(judgement: Judgement, facts: Facts) -> list[Replacement]:
    parsed, reference = judgement.answer, facts.reference
    if not (is_short(parsed) and is_short(reference) and reference.text):
        raise CannotRewrite
    new = reference.text[slice(*reference.body)]
    start, end = parsed.body
    new = match_case(parsed.text[start:end][:1], lower_first(new))
    return [replacement(Change(start, end, new), judgement.conflicts[0])]


def _by_question(judgement: Judgement, facts: Facts) -> list[Replacement]:
    """The sentence of a wrong yes or no replaced by the statement that the other one stands for."""
    parsed = judgement.answer
    first = _wrong_word(judgement)
    statement = declared(facts.question, affirmed=bool(facts.word))
    start, end = parsed.word_span[0], parsed.tail[1]
    if first is None or statement is None or end <= start:
        raise CannotRewrite
    explained = explanation(parsed.text, parsed.word_span[1] + 5, end, narrowing=False)
    main = parsed.text[parsed.tail[0] : explained[0] if explained else end]
    reason = parsed.text[explained[0] : end] if explained else ""
    if not _is_asked(facts.question, statement, main, reason):
        raise CannotRewrite  # the sentence says something else
    word = match_case(parsed.text[slice(*parsed.word_span)], "yes" if facts.word else "no")
    changes = smallest(parsed.text, Change(start, end, f"{word}, {statement}"))
    replacements = [replacement(change, first) for change in changes]
    return [*replacements, *_behind(judgement, facts, first, end)]


def _is_asked(question: str, statement: str, main: str, reason: str) -> bool:
    """Whether a sentence says what a question asks: by its words, by its form ("this is a study of
    the head"), or in a last clause (", which does not include the heart")."""
    wanted, stated = _begins(content(question)), _begins(content(main))
    if len(wanted & stated) >= _SHARED * len(wanted):
        return True
    declared_words = phrase_words(statement)
    same = sum(word in phrase_words(main) for word in declared_words)
    if same >= _SAME_FORM * len(declared_words):
        return True
    needed = content(question) - ASKING
    return needed <= content(reason) and _WHICH.match(reason) is not None


def _begins(words: Iterable[str]) -> set[str]:
    """The beginnings of words: of "cortex" and "cortical" the same."""
    return {word[:_BEGINNING] for word in words}


def _by_naming(judgement: Judgement, facts: Facts) -> list[Replacement]:
    """The denial of all abnormalities replaced by a sentence that names the known ones."""
    sentence = is_seen(facts.reference.text)
    if sentence is None or len(judgement.conflicts) != 1:
        raise CannotRewrite
    denial = judgement.conflicts[0]
    statement = denial.statement
    if denial.attribute == "presupposed" and denial.change is not None:
        start, end = denial.change.start, denial.change.end
    elif statement is not None and _denies_all(statement) and _is_sentence(judgement, statement):
        start, end = statement.sentence
    else:
        raise CannotRewrite
    if not _THERE_IS_NONE.match(judgement.answer.text, start):
        raise CannotRewrite
    stop = "." if judgement.answer.text[start:end].rstrip().endswith(".") else ""
    return [replacement(Change(start, end, f"{sentence}{stop}"), denial)]


def _denies_all(statement: Statement) -> bool:
    head = statement.head
    return not statement.polarity and head is not None and _is_generic(head.value)


def _is_generic(kind: str) -> bool:
    return kind in ontology().findings and ontology().findings[kind].generic


def _is_sentence(judgement: Judgement, statement: Statement) -> bool:
    return [s.sentence for s in judgement.answer.statements].count(statement.sentence) == 1


def _word_alone(judgement: Judgement, facts: Facts) -> list[Replacement]:
    """The yes or no without the rest of its sentence; other contradictions by value."""
    parsed = judgement.answer
    first = _wrong_word(judgement)
    start, end = parsed.word_span[0], parsed.tail[1]
    if first is None or end <= start:
        raise CannotRewrite
    if len(phrase_words(parsed.text[start:end])) > parsed.n_words / 2 + 1:
        raise CannotRewrite  # little of the answer would be left
    new = match_case(parsed.text[slice(*parsed.word_span)], "yes" if facts.word else "no")
    change = Change(start, end, new)
    return [replacement(change, first), *_behind(judgement, facts, first, end)]


def _wrong_word(judgement: Judgement) -> Comparison | None:
    return next((c for c in judgement.conflicts if c.attribute == "word"), None)


def _behind(
    judgement: Judgement, facts: Facts, first: Comparison, end: int
) -> Iterator[Replacement]:
    """The other contradictions behind the sentence of the yes or no, by value."""
    for comparisons in _by_statement(c for c in judgement.conflicts if c is not first):
        statement, mention = comparisons[0].statement, comparisons[0].mention
        position = statement.start if statement else mention.start if mention else end
        if position < end:
            continue
        if comparisons[0].change is not None:
            yield from (
                in_place(judgement.answer.text, require(c.change), c, facts) for c in comparisons
            )
        elif statement is None:
            yield from rewrite_study(judgement, comparisons[0], facts)
        else:
            yield from rewrite_statement(judgement.answer, statement, comparisons, facts)


def _by_statement(conflicts: Iterable[Comparison]) -> list[list[Comparison]]:
    """The conflicts grouped by statement; those without one, by attribute."""
    groups: dict[object, list[Comparison]] = {}
    for comparison in conflicts:
        key = comparison.attribute if comparison.statement is None else id(comparison.statement)
        groups.setdefault(key, []).append(comparison)
    return list(groups.values())


_LARGER = (_by_question, _by_naming, _by_reference, _word_alone)
