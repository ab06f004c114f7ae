"""Renames a finding, and adapts its location if the two kinds are located differently.

An effusion lies on a side, a nodule in a zone of a side: the name removes or adds the zone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from medray.editing.base import Change
from medray.editing.language.grammar import article, lower_first, match_case, takes_no_article
from medray.editing.language.text import Mention
from medray.editing.ontology.lexicon import ontology, phrase_words, plural
from medray.editing.reading.claims import Statement
from medray.editing.reading.compare import Comparison
from medray.editing.rewriting.counting import agreeing_verbs

_NOUN = r"(?:zone|lobe|lung|field|third|region)\b"

_TOKEN = re.compile(r"[\w'’-]+")
_NO_ADJECTIVE = frozenset(
    phrase_words(
        "called known named termed is are was were be been has have had show shows showed showing "
        "demonstrates reveals contains includes depicts suggests indicates represents appears of "
        "in on at to with without by from for and or but nor no not there this that it which as "
        "due than cause caused as like include including into within involving both seen noted"
    )
)

_PLURAL_VERB = re.compile(r"\b(?:are|were|suggest|indicate|represent|reflect)\b[^,;.]*$", re.I)
_THERE = re.compile(r"\bthere\s+(?:are|were)\b", re.IGNORECASE)


def rename(
    answer: str,
    statement: Statement,
    renamed: Comparison,
    others: Sequence[Comparison],
    context: str,
) -> tuple[list[Change], set[str]] | None:
    """The changes, and the attributes that need no change any more; None if there is no name.

    `others` are the contradictions in the statement's attributes, `context` is what question and
    reference say: what describes the wrong finding only, and is not named there, goes with it.
    """
    head, fact, wanted = statement.head, renamed.fact, renamed.wanted
    if head is None or wanted is None or head.form == "alone" or wanted.form in ("alone", ""):
        return None
    onto = ontology()
    old, new = onto.findings[head.value], onto.findings[wanted.value]
    several = wanted.form == "plural" and _of_several(answer[statement.start : head.start])
    name = lower_first(wanted.surface) if several else _name(head, wanted)
    zones = [m for m in statement.details if m.attribute == "zone"]
    if zones and not new.zoned:
        sides = statement.values("side")
        if sides and fact is not None and not fact.values("side"):
            return None  # nobody says on which side the other finding is
        changes = _without_zone(answer, statement, head, zones, name)
        return (changes, {"zone"}) if changes is not None else None
    if fact is not None and not zones and new.zoned and not old.zoned:
        name = _zone_before(fact) + name if len(answer.split()) > 3 else name
    mass_noun = several or new.mass_noun or takes_no_article(name)
    phrase = _phrase(answer, statement, head)
    kept, handled = _kept(answer, phrase, statement, fact, others, context)
    plain = len(kept) == len(phrase.words) and not (mass_noun and phrase.article)
    if plain:
        changes = [_rename_head(answer, head, name, mass_noun)]
        handled = set()
    else:
        changes = [_rename_phrase(answer, phrase, head, [*kept, name], mass_noun)]
    if head.form == "plural" and mass_noun and not several:
        start = changes[0].start
        changes += agreeing_verbs(answer, statement.start, start, head.end, singular=True)
    return changes, handled


def _of_several(before: str) -> bool:
    """Whether a finding is what several things are called: "the densities are a …"."""
    return _PLURAL_VERB.search(before) is not None and not _THERE.search(before)


def _name(head: Mention, wanted: Mention) -> str:
    """The reference's name for the finding, in the grammatical number of the answer's."""
    finding = ontology().findings[wanted.value]
    surface = lower_first(wanted.surface)
    if head.form == wanted.form or finding.mass_noun or takes_no_article(surface):
        return surface
    return plural(finding.name) if head.form == "plural" else finding.name


class _Phrase(NamedTuple):
    """The noun phrase that ends with a finding: its article, "" if it has none, and the words
    between, with their places."""

    start: int
    article: str
    words: tuple[tuple[str, int, int], ...]


def _phrase(answer: str, statement: Statement, head: Mention) -> _Phrase:
    """The noun phrase of the head: back to its article, or to a word that is no adjective."""
    words: list[tuple[str, int, int]] = []
    end = head.start
    for match in reversed(list(_TOKEN.finditer(answer, statement.start, head.start))):
        gap = answer[match.end() : end]
        word = match.group().lower()
        if gap.strip(" ,\t") or word in _NO_ADJECTIVE or len(words) > 6:
            break
        if word in ("a", "an", "the"):
            return _Phrase(match.start(), match.group(), tuple(reversed(words)))
        if "," in gap and words == []:
            break
        words.append((match.group(), match.start(), match.end()))
        end = match.start()
    joined: list[tuple[str, int, int]] = []
    for item in words:  # without an article, a comma ends the phrase
        if joined and "," in answer[item[2] : joined[-1][1]]:
            break
        joined.append(item)
    start = joined[-1][1] if joined else head.start
    return _Phrase(start, "", tuple(reversed(joined)))


def _kept(
    answer: str,
    phrase: _Phrase,
    statement: Statement,
    fact: Statement | None,
    others: Sequence[Comparison],
    context: str,
) -> tuple[list[str], set[str]]:
    """The words of the phrase that also describe the right finding, corrected where they
    contradict it, and the attributes corrected so."""
    known = {m.attribute for m in fact.details} if fact is not None else set()
    wanted = {c.attribute: c.wanted for c in others if c.wanted is not None}
    named = set(phrase_words(context))
    kept: list[str] = []
    handled: set[str] = set()
    for word, start, end in phrase.words:
        details = [m for m in statement.details if m.start < end and start < m.end]
        wrong = next((m for m in details if m.attribute in wanted), None)
        if wrong is not None:
            forms = ontology().attributes[wrong.attribute].forms[wanted[wrong.attribute].value]
            handled.add(wrong.attribute)
            if wrong.start == start and wrong.form in forms:
                corrected = match_case(wrong.surface, forms[wrong.form])
                kept.append(corrected + answer[wrong.end : end])
        elif any(m.attribute in known for m in details) or set(phrase_words(word)) <= named:
            kept.append(word)
    return kept, handled


def _rename_phrase(
    answer: str, phrase: _Phrase, head: Mention, words: Sequence[str], mass_noun: bool
) -> Change:
    """The phrase of the head replaced by other words, with an article if they take one."""
    text = " ".join(words)
    first = answer[phrase.start : phrase.start + 1]
    if phrase.article.lower() == "the" or (phrase.article and not mass_noun):
        lead = "the" if phrase.article.lower() == "the" else article(text)
        text = f"{lead} {text}"
    elif not mass_noun and head.form == "singular" and _is_mass(head):
        text = f"{article(text)} {text}"
    text = text[:1].upper() + text[1:] if first.isupper() else lower_first(text)
    return Change(phrase.start, head.end, text)


def _is_mass(head: Mention) -> bool:
    return ontology().findings[head.value].mass_noun or takes_no_article(head.surface)


def _rename_head(answer: str, head: Mention, name: str, mass_noun: bool) -> Change:
    """The head replaced by the name, with an article or without, as the name requires."""
    before = answer[: head.start]
    article_before = re.search(r"\b(an?)\s+$", before, re.IGNORECASE)
    if mass_noun and article_before:
        return Change(article_before.start(), head.end, match_case(article_before.group(1), name))
    verb = re.search(r"\b(is|shows?|to|of|with|by|suggests?|indicates?)\s+$", before, re.IGNORECASE)
    counted = not mass_noun and head.form == "singular"
    if verb and counted and (_is_mass(head) or verb[1].lower() in ("is", "show", "shows")):
        name = f"{article(name)} {name}"
    return Change(head.start, head.end, match_case(head.surface, name))


def _zone_before(fact: Statement) -> str:
    zone = next((m for m in fact.details if m.attribute == "zone" and m.form == "adjective"), None)
    return f"{lower_first(zone.surface)} zone " if zone else ""


def _without_zone(
    answer: str, statement: Statement, head: Mention, zones: list[Mention], name: str
) -> list[Change] | None:
    """ "in the left upper zone" → "on the left side", and the new name."""
    if len(zones) != 1:
        return None
    zone = zones[0]
    renamed = _rename_head(answer, head, name, ontology().findings[head.value].mass_noun)
    noun = re.compile(rf"\s+{_NOUN}", re.IGNORECASE).match(answer, zone.end)
    if noun is None:
        return None
    if not answer[noun.end() : head.start].strip() and noun.end() <= head.start:
        return [Change(zone.start, head.end, match_case(zone.surface, name))]
    clause_start = statement.start
    before = answer[clause_start : zone.start]
    sided = re.search(r"(?:\b(in)\s+)?\bthe\s+(?:left|right)\s+$", before, re.IGNORECASE)
    if sided:
        changes = [renamed, Change(zone.start, noun.end(), "side")]
        if sided.group(1):
            start = clause_start + sided.start(1)
            changes.append(Change(start, start + 2, match_case(sided.group(1), "on")))
        return changes
    inside = re.search(r"\bin\s+the\s+$", before, re.IGNORECASE)
    of_lung = re.compile(r"(\s+of)\s+the\s+(?:left|right)\s+(lung)\b", re.IGNORECASE).match(
        answer, noun.end()
    )
    if inside and of_lung:
        start = clause_start + inside.start()
        return [
            renamed,
            Change(start, of_lung.end(1), "on"),
            Change(of_lung.start(2), of_lung.end(2), "side"),
        ]
    return None
