"""Says another number of a finding, with the noun, the article and the verb that go with it."""

from __future__ import annotations

import functools
import re

from medray.editing.language.grammar import article, match_case
from medray.editing.language.text import Mention
from medray.editing.ontology.lexicon import ontology, phrase_words, plural
from medray.editing.reading.claims import Statement

Place = tuple[int, int, str]
_VERBS = {"is": "are", "was": "were", "shows": "show", "has": "have", "measures": "measure"}


def recount(answer: str, statement: Statement, said: Mention, wanted: Mention) -> list[Place]:
    """The changes that make "a single nodule is" of "two nodules are", and the like."""
    forms = ontology().attributes["count"].forms[wanted.value]
    single = wanted.value == "one"
    same_number = single == (said.value == "one")
    new = forms.get(said.form, forms["word"])
    if not same_number and said.form != "digit":
        new = wanted.surface.lower() if wanted.form != "digit" else forms["word"]
    start = said.start
    given = re.search(r"\b(an?)\s+$", answer[:start], re.IGNORECASE)
    if given and not single:
        start = given.start()
    elif single and not given and new in ("single", "solitary") and start > statement.start:
        new = f"{article(new)} {new}"
    places = [(start, said.end, match_case(answer[start : said.end], new))]
    head = statement.head
    if same_number or head is None:
        return places
    noun = _singular(head.surface) if single else plural(head.surface)
    if noun.lower() != head.surface.lower():
        places.append((head.start, head.end, noun))
    before = re.search(r"\b(is|are|was|were)\s+$", answer[statement.start : start], re.IGNORECASE)
    after = re.match(r"\s+(is|are|was|were|shows?|ha(?:s|ve)|measures?)\b", answer[head.end :])
    for match, origin in ((before, statement.start), (after, head.end)):
        if match and (verb := _verb(match.group(1), single)):
            places.append((origin + match.start(1), origin + match.end(1), verb))
    return places


def _verb(verb: str, single: bool) -> str:
    other = {many: one for one, many in _VERBS.items()} if single else _VERBS
    return match_case(verb, other.get(verb.lower(), ""))


def _singular(surface: str) -> str:
    return match_case(surface, _singulars().get(phrase_words(surface), surface))


@functools.cache
def _singulars() -> dict[tuple[str, ...], str]:
    """Plural, as words, → singular, of every finding that is written as a regular plural."""
    onto = ontology()
    names = [
        " ".join(key)
        for key, entries in onto.entries.items()
        if any(e.attribute == "kind" and e.form == "singular" for e in entries)
    ]
    return {phrase_words(plural(name)): name for name in names}
