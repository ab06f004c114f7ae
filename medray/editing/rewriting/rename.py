"""Calls a finding by another name, and makes the place fit where the kinds differ in shape.

An effusion lies on a side, a nodule in a zone of a side: the zone goes or comes with the name.
"""

from __future__ import annotations

import re

from medray.editing.language.grammar import lower_first, match_case
from medray.editing.language.text import Mention
from medray.editing.ontology.lexicon import ontology, plural
from medray.editing.reading.claims import Statement

Place = tuple[int, int, str]
_NOUN = r"(?:zone|lobe|lung|field|third|region)\b"


def rename(
    answer: str, statement: Statement, against: Statement | None, wanted: Mention | None
) -> tuple[list[Place], set[str]] | None:
    """The changes, and the attributes that no longer need any; None where it cannot be said."""
    head = statement.head
    if head is None or wanted is None or head.form == "alone" or wanted.form in ("alone", ""):
        return None
    onto = ontology()
    old, new = onto.findings[head.value], onto.findings[wanted.value]
    name = _name(head, wanted)
    zones = [m for m in statement.details if m.attribute == "zone"]
    if zones and not new.zoned:
        places = _without_zone(answer, statement, head, zones, name)
        return (places, {"zone"}) if places is not None else None
    if against is not None and not zones and new.zoned and not old.zoned:
        name = _zone_before(against) + name if len(answer.split()) > 3 else name
    return [_in_place(answer, head, name, new.mass_noun)], set()


def _name(head: Mention, wanted: Mention) -> str:
    """The reference's own name in the number of the answer's."""
    canonical = ontology().findings[wanted.value].name
    if head.form == wanted.form:
        return lower_first(wanted.surface)
    return plural(canonical) if head.form == "plural" else canonical


def _in_place(answer: str, head: Mention, name: str, mass_noun: bool) -> Place:
    """The name, with an article where it needs one and without where it takes none."""
    before = answer[: head.start]
    given = re.search(r"\b(an?)\s+$", before, re.IGNORECASE)
    if mass_noun and given:
        return given.start(), head.end, match_case(given.group(1), name)
    verb = re.search(r"\b(is|shows?)\s+$", before, re.IGNORECASE)
    if verb and not mass_noun and head.form == "singular":
        name = f"a {name}"
    return head.start, head.end, match_case(head.surface, name)


def _zone_before(against: Statement) -> str:
    zone = next(
        (m for m in against.details if m.attribute == "zone" and m.form == "adjective"), None
    )
    return f"{lower_first(zone.surface)} zone " if zone else ""


def _without_zone(
    answer: str, statement: Statement, head: Mention, zones: list[Mention], name: str
) -> list[Place] | None:
    """ "in the left upper zone" → "on the left side", and the new name."""
    if len(zones) != 1:
        return None
    zone = zones[0]
    named = _in_place(answer, head, name, ontology().findings[head.value].mass_noun)
    noun = re.compile(rf"\s+{_NOUN}", re.IGNORECASE).match(answer, zone.end)
    if noun is None:
        return None
    if not answer[noun.end() : head.start].strip() and noun.end() <= head.start:
        return [(zone.start, head.end, match_case(zone.surface, name))]
    clause_start = statement.start
    before = answer[clause_start : zone.start]
    sided = re.search(r"(?:\b(in)\s+)?\bthe\s+(?:left|right)\s+$", before, re.IGNORECASE)
    if sided:
        places = [named, (zone.start, noun.end(), "side")]
        if sided.group(1):
            place = clause_start + sided.start(1)
            places.append((place, place + 2, match_case(sided.group(1), "on")))
        return places
    inside = re.search(r"\bin\s+the\s+$", before, re.IGNORECASE)
    of_lung = re.compile(r"(\s+of)\s+the\s+(?:left|right)\s+(lung)\b", re.IGNORECASE).match(
        answer, noun.end()
    )
    if inside and of_lung:
        start = clause_start + inside.start()
        return [named, (start, of_lung.end(1), "on"), (of_lung.start(2), of_lung.end(2), "side")]
    return None
