"""Compares the statements of an answer with the known ones: agreements and contradictions.

What only one side states is neither: an omission is not an error, and what the reference does
not mention is unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from medray.editing.base import Change
from medray.editing.language.text import Mention
from medray.editing.ontology.lexicon import Ontology, ontology
from medray.editing.reading.claims import Statement

# "No acute infarct" does not exclude a chronic one, "no nodule on the left" one on the right.
_PLACE_OR_TIME = ("side", "zone", "lobe", "quadrant", "territory", "site", "age")


@dataclass(frozen=True, slots=True)
class Comparison:
    """One comparison that could be made.

    `attribute`: "word" (yes or no), "presence", "kind", "heart" or an attribute of the ontology.
    `statement` and `mention` are the answer's, `fact` and `wanted` the known ones; `wanted` is
    None if the known side only excludes a value. `change` resolves a contradiction for which
    there is no statement.
    """

    agrees: bool
    attribute: str
    error_type: str
    statement: Statement | None = None
    mention: Mention | None = None
    fact: Statement | None = None
    wanted: Mention | None = None
    change: Change | None = None


def compare_statements(
    statements: Sequence[Statement], known: Sequence[Statement], *, all_named: bool = False
) -> list[Comparison]:
    """All comparisons of an answer's statements with the known ones.

    `all_named`: the question asks what is found, so the known findings are complete.
    """
    onto = ontology()
    comparisons: list[Comparison] = []
    for statement in statements:
        if statement.subject == "heart":
            comparisons += _heart(statement, known)
        elif not statement.polarity:
            comparisons += _denial(statement, known, onto)
        else:
            comparisons += _lesion(statement, statements, known, onto, all_named)
    return comparisons


def compare_study(
    mentions: Sequence[Mention], known: Sequence[Mention], onto: Ontology
) -> list[Comparison]:
    """All comparisons of what both sides state about the study (modality, plane, organ, …)."""
    comparisons = []
    for attribute in dict.fromkeys(m.attribute for m in mentions):
        ours = [m for m in mentions if m.attribute == attribute and not m.negated]
        theirs = [m for m in known if m.attribute == attribute and not m.negated]
        excluded = {m.value for m in known if m.attribute == attribute and m.negated}
        if not ours or not (theirs or excluded):
            continue
        related = onto.attributes[attribute].related
        agrees = any(related(a.value, b.value) for a in ours for b in theirs)
        contradicts = bool(theirs) or {m.value for m in ours} <= excluded
        if agrees or contradicts:
            wanted = theirs[0] if theirs else None
            kind = onto.attributes[attribute].error_type
            comparisons.append(Comparison(agrees, attribute, kind, None, ours[0], None, wanted))
    return comparisons


def _heart(statement: Statement, known: Sequence[Statement]) -> list[Comparison]:
    heart_facts = [k for k in known if k.subject == "heart"]
    states = {k.head.value for k in heart_facts if k.head}
    if len(states) != 1 or statement.head is None:
        return []
    agrees = statement.head.value in states
    fact = heart_facts[0]
    return [Comparison(agrees, "heart", "attribute", statement, statement.head, fact, fact.head)]


def _denial(statement: Statement, known: Sequence[Statement], onto: Ontology) -> list[Comparison]:
    """ "No nodule": contradicted by a nodule, confirmed by a denial of the same kind."""
    assert statement.head is not None
    kind = statement.head.value
    lesions = [k for k in known if k.subject == "lesion" and k.head]
    for fact in lesions:
        contradicts = fact.polarity and fact.head and onto.covers(kind, fact.head.value)
        if contradicts and not _elsewhere(statement, fact):
            return [_presence(False, statement, fact)]
    for fact in lesions:
        if fact.polarity or fact.head is None:
            continue
        other = fact.head.value
        if onto.covers(other, kind) or onto.covers(kind, other):
            return [_presence(True, statement, fact)]
    return []


def _lesion(
    statement: Statement,
    statements: Sequence[Statement],
    known: Sequence[Statement],
    onto: Ontology,
    all_named: bool,
) -> list[Comparison]:
    """An asserted finding: matched with the best-fitting known finding, or denied, or neither."""
    lesion_facts = [k for k in known if k.subject == "lesion"]
    present = [k for k in lesion_facts if k.polarity]
    matching = [k for k in present if _same_finding(statement, k, onto)]
    if matching:
        options = [_details(statement, k, onto) for k in matching]
        best = min(range(len(options)), key=lambda i: sum(not c.agrees for c in options[i]))
        return [*_named(statement, matching[best], onto), *options[best]]
    in_sentence = [s for s in statements if s.sentence == statement.sentence and s.polarity]
    unmatched = not any(_same_finding(s, k, onto) for s in in_sentence for k in present)
    denials = [k for k in lesion_facts if _denies(k, statement, onto)]
    # what the reference denies by name takes precedence over the guess that one finding was
    # mistaken for another
    explicit = [k for k in denials if k.core and k.head and not onto.findings[k.head.value].generic]
    if explicit:
        return [_presence(False, statement, explicit[0])]
    kinds = {k.head.value for k in present if k.head}
    related = {kind for kind in kinds if _related_kind(statement, kind, onto)}
    kinds = related if len(kinds) > 1 and len(related) == 1 else kinds
    if (len(kinds) == 1 or (kinds and all_named)) and unmatched and statement.head:
        # of several known statements of one kind, prefer one that comes from a text
        named = [k for k in present if k.head and k.head.value in kinds]
        fact = next((k for k in named if k.core), named[0])
        mistaken = Comparison(False, "kind", "kind", statement, statement.head, fact, fact.head)
        return [mistaken, *_details(statement, fact, onto)]
    return [_presence(False, statement, denials[0])] if denials else []


def _denies(fact: Statement, statement: Statement, onto: Ontology) -> bool:
    """Whether a known denial is about an asserted finding."""
    if fact.polarity or fact.head is None or statement.head is None:
        return False
    return onto.covers(fact.head.value, statement.head.value) and not _elsewhere(statement, fact)


def _related_kind(statement: Statement, kind: str, onto: Ontology) -> bool:
    """Whether two kinds share a specific class: an epidural and a subdural hematoma."""
    if statement.head is None:
        return False
    shared = onto.findings[statement.head.value].covered_by & onto.findings[kind].covered_by
    return any(not onto.findings[ident].generic for ident in shared)


def _same_finding(one: Statement, other: Statement, onto: Ontology) -> bool:
    if one.subject != "lesion" or one.head is None or other.head is None:
        return one.subject == other.subject == "lesion"
    return onto.compatible(one.head.value, other.head.value)


def _elsewhere(one: Statement, other: Statement) -> bool:
    """Whether the two are about different places or times, so that both can be true."""
    for name in _PLACE_OR_TIME:
        ours, theirs = one.values(name), other.values(name)
        if ours and theirs and not ours & theirs and "both" not in ours | theirs:
            return True
    return False


def _named(statement: Statement, fact: Statement, onto: Ontology) -> list[Comparison]:
    """The agreement on the finding itself: on its kind if both name one."""
    if statement.head is None or fact.head is None:
        return []
    specific = not (
        onto.findings[statement.head.value].generic or onto.findings[fact.head.value].generic
    )
    if specific:
        return [Comparison(True, "kind", "kind", statement, statement.head, fact, fact.head)]
    return [_presence(True, statement, fact)]


def _presence(agrees: bool, statement: Statement, fact: Statement) -> Comparison:
    return Comparison(agrees, "presence", "presence", statement, statement.head, fact, fact.head)


def _details(statement: Statement, fact: Statement, onto: Ontology) -> list[Comparison]:
    """The comparisons of each attribute that both sides mention."""
    comparisons = []
    for name in dict.fromkeys(m.attribute for m in statement.details):
        stated, known = statement.values(name), fact.values(name)
        stated_not, known_not = (s.values(name, negated=True) for s in (statement, fact))
        mention = next(m for m in statement.details if m.attribute == name)
        wanted = next((m for m in fact.details if m.attribute == name and not m.negated), None)
        if stated and known:
            related = onto.attributes[name].related
            agrees = any(related(a, b) for a in stated for b in known)
        elif stated and known_not:
            if not stated <= known_not:
                continue
            agrees = False
        elif stated_not and known:
            if not stated_not & known:
                continue
            agrees = False
        else:
            continue
        kind = onto.attributes[name].error_type
        comparisons.append(Comparison(agrees, name, kind, statement, mention, fact, wanted))
    return comparisons
