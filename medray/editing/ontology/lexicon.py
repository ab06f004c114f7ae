"""The ontology as data: the YAML files beside this module, indexed for look-up.

To add a word, a finding or an attribute, edit ``ontology/*.yaml``.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from medray.editing.ontology.measures import measures_agree

_FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of finding; `name` is how it is written, `covered_by` the more general kinds.

    `device`: a line, a tube, hardware; no disease. `broad`: a name that many diagnoses share.
    """

    ident: str
    name: str
    covered_by: frozenset[str]
    plausible: tuple[str, ...]
    zoned: bool
    generic: bool
    mass_noun: bool
    device: bool = False
    broad: bool = False


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute with mutually exclusive values; `forms[value][form]` is the phrase to write."""

    name: str
    about: str
    error_type: str
    binary: tuple[str, ...]
    variants: tuple[str, ...]
    short_only: tuple[str, ...]
    forms: Mapping[str, Mapping[str, str]]
    part_of: Mapping[str, frozenset[str]]
    pattern: re.Pattern[str] | None

    def related(self, one: str, other: str) -> bool:
        """Whether both values can be true at once: equal, or one a part of the other."""
        if self.pattern is not None:
            return measures_agree(one, other)
        no_parts: frozenset[str] = frozenset()
        return (
            one == other
            or one in self.part_of.get(other, no_parts)
            or other in self.part_of.get(one, no_parts)
        )

    def other(self, value: str) -> str | None:
        """The value that "not `value`" means if only two are possible, else None."""
        return dict(zip(self.binary, reversed(self.binary), strict=True)).get(value)


@dataclass(frozen=True, slots=True)
class Entry:
    """A meaning of a phrase: an attribute, its value, and the grammatical form of the phrase."""

    attribute: str
    value: str
    form: str = ""


@dataclass(frozen=True, slots=True)
class Ontology:
    """The complete ontology. `entries` maps a phrase, as lower-case words, to its meanings."""

    findings: Mapping[str, Finding]
    attributes: Mapping[str, Attribute]
    severity: dict[str, float]
    language: Mapping[str, Any]
    entries: Mapping[tuple[str, ...], tuple[Entry, ...]]
    longest: int

    def covers(self, general: str, kind: str) -> bool:
        """Whether denying `general` denies `kind`."""
        return general == kind or general in self.findings[kind].covered_by

    def compatible(self, one: str, other: str) -> bool:
        """Whether one finding can be called both: the same kind, or one more general."""
        return self.covers(one, other) or self.covers(other, one)


@functools.cache
def ontology() -> Ontology:
    """The bundled ontology, read once."""
    attributes, language, severity = map(_load, ("attributes", "language", "severity"))
    findings = {**_load("findings"), **_load("conditions"), **_load("devices")}
    attributes["organ"]["values"] = _load("places")
    for row in attributes.values():
        _close_parts(row["values"])
    entries: dict[tuple[str, ...], tuple[Entry, ...]] = {}
    phrases = (
        *_finding_phrases(findings),
        *_attribute_phrases(attributes),
        *_language_phrases(language),
    )
    for phrase, entry in phrases:
        key = phrase_words(phrase)
        if entry not in entries.get(key, ()):
            entries[key] = (*entries.get(key, ()), entry)
    return Ontology(
        findings={ident: _finding(ident, row) for ident, row in findings.items()},
        attributes={name: _attribute(name, row) for name, row in attributes.items()},
        severity=severity,
        language=language,
        entries=entries,
        longest=max(map(len, entries)),
    )


def _load(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((_FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    return loaded


def _close_parts(values: Mapping[str, dict[str, Any]]) -> None:
    """A part of a part is a part: adds what contains a value's containers to its `part_of`."""
    direct = {value: tuple(row.get("part_of", ())) for value, row in values.items()}
    for value, row in values.items():
        containers, waiting = dict.fromkeys(direct[value]), list(direct[value])
        while waiting:
            for outer in direct[waiting.pop()]:
                if outer not in containers:
                    containers[outer] = None
                    waiting.append(outer)
        if containers:
            row["part_of"] = list(containers)


WORD = re.compile(r"\d+\.\d+|[^\W_]+")


def phrase_words(phrase: str) -> tuple[str, ...]:
    """The lower-case words of a phrase.

    >>> phrase_words("X-ray of T2")
    ('x', 'ray', 'of', 't2')
    """
    return tuple(WORD.findall(phrase.lower()))


def plural(name: str) -> str:
    """The regular plural of the last word.

    >>> plural("rib fracture"), plural("opacity"), plural("mass"), plural("metastasis")
    ('rib fractures', 'opacities', 'masses', 'metastases')
    """
    if name.endswith("sis"):
        return name[:-2] + "es"
    if name.endswith(("s", "x", "ch", "sh")):
        return name + "es"
    return name[:-1] + "ies" if name.endswith("ty") else name + "s"


def _finding(ident: str, row: Mapping[str, Any]) -> Finding:
    return Finding(
        ident,
        row["names"][0],
        frozenset(row.get("covered_by", ())),
        tuple(row.get("plausible", ())),
        row.get("zoned", True),
        row.get("generic", False),
        row.get("mass_noun", False),
        row.get("device", False),
        row.get("broad", False),
    )


def _attribute(name: str, row: Mapping[str, Any]) -> Attribute:
    values = row["values"]
    forms = {
        value: {form: phrases[0] for form, phrases in by_form.items() if form != "part_of"}
        for value, by_form in values.items()
    }
    part_of = {value: frozenset(by_form.get("part_of", ())) for value, by_form in values.items()}
    pattern = re.compile(row["pattern"], re.IGNORECASE) if "pattern" in row else None
    return Attribute(
        name,
        row["about"],
        row["error_type"],
        tuple(row.get("binary", ())),
        tuple(row.get("variants", row.get("binary", values))),
        tuple(row.get("short_only", ())),
        forms,
        part_of,
        pattern,
    )


def _finding_phrases(findings: Mapping[str, Any]) -> Iterator[tuple[str, Entry]]:
    for ident, row in findings.items():
        for name in row["names"]:
            yield name, Entry("kind", ident, "singular")
            yield plural(name), Entry("kind", ident, "plural")
        for name in row.get("plurals", ()):
            yield name, Entry("kind", ident, "plural")


def _attribute_phrases(attributes: Mapping[str, Any]) -> Iterator[tuple[str, Entry]]:
    for name, row in attributes.items():
        for value, by_form in row["values"].items():
            for form, phrases in by_form.items():
                for phrase in phrases if form != "part_of" else ():
                    yield phrase, Entry(name, value, form)
                    if form == "noun":
                        yield plural(phrase), Entry(name, value, form)


def _language_phrases(language: Mapping[str, Any]) -> Iterator[tuple[str, Entry]]:
    for kind, phrases in language["nothing_found"].items():
        yield from ((phrase, Entry("clear", kind)) for phrase in phrases)
    for kind, phrases in language["something_found"].items():
        yield from ((phrase, Entry("clear", kind, "not")) for phrase in phrases)
    for value, phrases in language["negation"].items():
        yield from ((phrase, Entry("negation", value)) for phrase in phrases)
    for attribute, source in (
        ("open", "open"),
        ("ignored", "ignored"),
        ("comparison", "comparisons"),
        ("definition", "definitions"),
        ("landmark", "landmarks"),
    ):
        yield from ((phrase, Entry(attribute, "")) for phrase in language[source])
    for role in ("subject", "normal", "enlarged", "finding"):
        yield from ((phrase, Entry("heart-" + role, role)) for phrase in language["heart"][role])
