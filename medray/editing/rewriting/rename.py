"""Renames a finding, and adapts its location if the two kinds are located differently.

An effusion lies on a side, a nodule in a zone of a side: the name removes or adds the zone.
"""

from __future__ import annotations

import re

from medray.editing.base import Change
from medray.editing.language.grammar import lower_first, match_case
from medray.editing.language.text import Mention
from medray.editing.ontology.lexicon import ontology, plural
from medray.editing.reading.claims import Statement

_NOUN = r"(?:zone|lobe|lung|field|third|region)\b"


def rename(
    answer: str, statement: Statement, fact: Statement | None, wanted: Mention | None
) -> tuple[list[Change], set[str]] | None:
    """The changes, and the attributes that need no change any more; None if there is no name."""
    head = statement.head
    if head is None or wanted is None or head.form == "alone" or wanted.form in ("alone", ""):
        return None
    onto = ontology()
    old, new = onto.findings[head.value], onto.findings[wanted.value]
    name = _name(head, wanted)
    zones = [m for m in statement.details if m.attribute == "zone"]
    if zones and not new.zoned:
        changes = _without_zone(answer, statement, head, zones, name)
        return (changes, {"zone"}) if changes is not None else None
    if fact is not None and not zones and new.zoned and not old.zoned:
        name = _zone_before(fact) + name if len(answer.split()) > 3 else name
    return [_rename_head(answer, head, name, new.mass_noun)], set()


def _name(head: Mention, wanted: Mention) -> str:
    """The reference's name for the finding, in the grammatical number of the answer's."""
    canonical = ontology().findings[wanted.value].name
    if head.form == wanted.form:
        return lower_first(wanted.surface)
    return plural(canonical) if head.form == "plural" else canonical


def _rename_head(answer: str, head: Mention, name: str, mass_noun: bool) -> Change:
    """The head replaced by the name, with an article or without, as the name requires."""
    before = answer[: head.start]
    article_before = re.search(r"\b(an?)\s+$", before, re.IGNORECASE)
    if mass_noun and article_before:
        return Change(article_before.start(), head.end, match_case(article_before.group(1), name))
    verb = re.search(r"\b(is|shows?)\s+$", before, re.IGNORECASE)
    if verb and not mass_noun and head.form == "singular":
        name = f"a {name}"
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
