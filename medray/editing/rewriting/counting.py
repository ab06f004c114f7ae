"""Changes the number of a finding, with the noun, the article and the verb that agree with it."""

from __future__ import annotations

import functools
import re

from medray.editing.base import Change
from medray.editing.language.grammar import article, match_case
from medray.editing.language.text import Mention
from medray.editing.ontology.lexicon import ontology, phrase_words, plural
from medray.editing.reading.claims import Statement

_VERBS = {"is": "are", "was": "were", "shows": "show", "has": "have", "measures": "measure"}


def recount(answer: str, statement: Statement, count: Mention, wanted: Mention) -> list[Change]:
    """The changes that turn `count` into `wanted`: "two nodules are" into "a single nodule is"."""
    forms = ontology().attributes["count"].forms[wanted.value]
    singular = wanted.value == "one"
    same_number = singular == (count.value == "one")
    new = forms.get(count.form, forms["word"])
    if not same_number and count.form != "digit":
        new = wanted.surface.lower() if wanted.form != "digit" else forms["word"]
    start = count.start
    article_before = re.search(r"\b(an?)\s+$", answer[:start], re.IGNORECASE)
    if article_before and not singular:
        start = article_before.start()
    elif (
        singular
        and not article_before
        and new in ("single", "solitary")
        and start > statement.start
    ):
        new = f"{article(new)} {new}"
    changes = [Change(start, count.end, match_case(answer[start : count.end], new))]
    head = statement.head
    if same_number or head is None:
        return changes
    noun = _singular(head.surface) if singular else plural(head.surface)
    if noun.lower() != head.surface.lower():
        changes.append(Change(head.start, head.end, noun))
    before = re.search(r"\b(is|are|was|were)\s+$", answer[statement.start : start], re.IGNORECASE)
    after = re.match(r"\s+(is|are|was|were|shows?|ha(?:s|ve)|measures?)\b", answer[head.end :])
    for match, offset in ((before, statement.start), (after, head.end)):
        if match and (verb := _verb(match.group(1), singular)):
            changes.append(Change(offset + match.start(1), offset + match.end(1), verb))
    return changes


def _verb(verb: str, singular: bool) -> str:
    other = {many: one for one, many in _VERBS.items()} if singular else _VERBS
    return match_case(verb, other.get(verb.lower(), ""))


def _singular(surface: str) -> str:
    return match_case(surface, _singulars().get(phrase_words(surface), surface))


@functools.cache
def _singulars() -> dict[tuple[str, ...], str]:
    """The singular of every finding's regular plural, by the words of the plural."""
    onto = ontology()
    names = [
        " ".join(key)
        for key, entries in onto.entries.items()
        if any(e.attribute == "kind" and e.form == "singular" for e in entries)
    ]
    return {phrase_words(plural(name)): name for name in names}
