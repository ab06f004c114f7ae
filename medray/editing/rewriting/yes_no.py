"""Turns a yes or no, with the clause behind it that says what was asked."""

from __future__ import annotations

import re

from medray.editing.base import CannotRewrite, Change, Replacement
from medray.editing.clauses import clauses, explanation
from medray.editing.language.grammar import content, match_case
from medray.editing.ontology.lexicon import WORD, ontology, phrase_words
from medray.editing.reading.claims import ParsedText
from medray.editing.reading.compare import Comparison
from medray.editing.reading.facts import Facts
from medray.editing.reading.judge import Judgement
from medray.editing.rewriting.polarity import affirm, deny, turn_opposite, without_modifiers
from medray.editing.rewriting.values import replacement, require, takes_article

ASKING = frozenset(
    phrase_words(
        "evidenc sign any present visibl identifi not evident shown found observ demonstrat "
        "explain describ pleas display contain includ depict reveal indicat suggest patient "
        "used taken don via exist locat"
    )
)  # the words of a question that its answer need not take up

_CLOSING = re.compile(
    r"which\s+(?:\w+ly\s+|also\s+)?(?:shows?|includes?|contains?)\s+[^,;.]+\.?$", re.I
)


_IS_NORMAL = re.compile(
    r"(?:the|this|it)\s[^,;.]*?(?:is|appears|looks|seems)\s+(?:to\s+be\s+)?"
    r"(?P<normal>(?:(?:completely|entirely|perfectly|generally|mostly|relatively)\s+)?(?:normal|healthy)"
    r"(?:,?\s+(?:with\s+no|with\s+an?\s+absence\s+of|without|showing\s+no|and\s+(?:shows|there\s+(?:is|are))\s+no|as\s+it\s+shows\s+no|as\s+there\s+are\s+no)"
    r"\b[^.;]*)?)\.?",
    re.IGNORECASE,
)


def turn_word(judgement: Judgement, comparison: Comparison, facts: Facts) -> list[Replacement]:
    """The yes or no, and the rest of its sentence unless that is handled separately."""
    parsed = judgement.answer
    start, end = parsed.word_span
    new = match_case(parsed.text[start:end], "yes" if facts.word else "no")
    replacements = [replacement(Change(start, end, new), comparison)]
    if parsed.tail == (0, 0) or _tail_is_handled(judgement, facts):
        return replacements
    start, end, about = _asked_clause(parsed, facts)
    if facts.word:
        change = affirm(parsed.text, start, end, takes_article(parsed.statements))
        change = change or turn_opposite(facts.question, parsed.text, start, end)
    else:
        heads = (s.head.start for s in parsed.statements if s.head and start <= s.head.start < end)
        head = next(heads, None)
        change = deny(parsed.text, start, end, head, about)
        if change and head is not None:  # "no fracture", and not "no displaced fracture"
            change = without_modifiers(parsed.text, change, head, facts.question)
    return [*replacements, replacement(require(change), comparison)]


def _asked_clause(parsed: ParsedText, facts: Facts) -> tuple[int, int, int | None]:
    """The clause behind a yes or no that says what was asked, and where in it.

    Another clause is not to be turned: "Yes, the image is a CT, and it shows the pancreas".
    """
    wanted = content(facts.question) - ASKING
    parts = list(clauses(parsed.text, *parsed.tail))
    for start, end in parts:
        named = explanation(parsed.text, start, end, narrowing=False)
        main = parsed.text[start : named[0] if named else end]
        if wanted and wanted <= content(main):
            last = (m.start() for m in WORD.finditer(main) if content(m.group()) & wanted)
            return start, end, start + max(last, default=0)
    closing = _CLOSING.search(parsed.text, *parsed.tail)
    if closing and not facts.word and wanted and wanted <= content(closing.group()):
        if _is_inside(parsed, closing.start()):
            raise CannotRewrite  # "the abdomen, which does not include the liver"
        return (*closing.span(), closing.end())
    subject = facts.proposition.study if facts.proposition else None
    if facts.proposition is None:
        raise CannotRewrite
    for start, end in parts:
        rest = wanted - content(subject.surface) if subject else set()
        if rest - content(parsed.text[start:end]):
            raise CannotRewrite
        same = (m for m in parsed.study if subject and m.value == subject.value)
        if (about := next((m.start for m in same if start <= m.start < end), None)) is not None:
            return start, end, about
    return (*parts[0], None)


def turn_normal(text: str, start: int, end: int) -> Change | None:
    """The change of a sentence that finds its subject normal into one that finds it abnormal: the
    rest of it, which denies more, goes.

    >>> turn_normal("The scan appears to be normal, with no lesions.", 0, 47)
    Change(start=23, end=46, text='abnormal')
    """
    normal = _IS_NORMAL.fullmatch(text[start:end])
    return (
        Change(start + normal.start("normal"), start + normal.end("normal"), "abnormal")
        if normal
        else None
    )


def _is_inside(parsed: ParsedText, position: int) -> bool:
    """Whether an organ named behind a position is part of one named before it."""
    part_of = ontology().attributes["organ"].part_of
    organs = [m for m in parsed.study if m.attribute == "organ"]
    before = {m.value for m in organs if m.start < position}
    return any(before & {*part_of.get(m.value, ())} for m in organs if m.start > position)


def _tail_is_handled(judgement: Judgement, facts: Facts) -> bool:
    """Whether the rest of the yes/no sentence was itself compared with the facts.

    If the question is not understood, an agreement there is about something else.
    """
    start, end = judgement.answer.tail
    for comparison in judgement.comparisons if facts.proposition else judgement.conflicts:
        statement, mention = comparison.statement, comparison.mention
        position = mention.start if mention else -1
        if statement is not None and start <= statement.start < end:
            return True
        # an attribute of the study agrees or is rewritten; if only "not this" is known, deny it
        if statement is None and start <= position < end and comparison.wanted is not None:
            return True
    return False
