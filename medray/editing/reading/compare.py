"""Holds the statements of an answer against what is known: agreements and contradictions.

What only one side says is neither: an omission is not an error, and what the reference does
not speak of is unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from medray.editing.language.text import Mention
from medray.editing.ontology.lexicon import Ontology, ontology
from medray.editing.reading.claims import Statement

# "No acute infarct" leaves a chronic one open, "no nodule on the left" one on the right.
_APART = ("side", "zone", "lobe", "quadrant", "territory", "site", "age")


@dataclass(frozen=True, slots=True)
class Outcome:
    """One comparison that could be made.

    `attribute`: "word" (yes or no), "presence", "kind", "heart" or an attribute of the ontology.
    `statement` and `mention` are the answer's, `against` and `wanted` the known ones; `wanted`
    is None where the known side only says what is not so. `change`: the characters [start, end) of
    the answer and the text that resolves it, where no statement is made.
    """

    agrees: bool
    attribute: str
    error_type: str
    statement: Statement | None = None
    mention: Mention | None = None
    against: Statement | None = None
    wanted: Mention | None = None
    change: tuple[int, int, str] | None = None


def compare_statements(
    said: Sequence[Statement], known: Sequence[Statement], *, all_named: bool = False
) -> list[Outcome]:
    """All comparisons of an answer's statements with the known ones.

    `all_named`: the question asks what is found, so the known findings are all there are.
    """
    onto = ontology()
    outcomes: list[Outcome] = []
    for statement in said:
        if statement.subject == "heart":
            outcomes += _heart(statement, known)
        elif not statement.polarity:
            outcomes += _denial(statement, known, onto)
        else:
            outcomes += _lesion(statement, said, known, onto, all_named)
    return outcomes


def compare_study(
    said: Sequence[Mention], known: Sequence[Mention], onto: Ontology
) -> list[Outcome]:
    """Comparisons of what both sides say of the study (modality, plane, organ, …)."""
    outcomes = []
    for attribute in dict.fromkeys(m.attribute for m in said):
        ours = [m for m in said if m.attribute == attribute and not m.negated]
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
            outcomes.append(Outcome(agrees, attribute, kind, None, ours[0], None, wanted))
    return outcomes


def _heart(statement: Statement, known: Sequence[Statement]) -> list[Outcome]:
    facts = [k for k in known if k.subject == "heart"]
    states = {k.head.value for k in facts if k.head}
    if len(states) != 1 or statement.head is None:
        return []
    agrees = statement.head.value in states
    return [
        Outcome(agrees, "heart", "attribute", statement, statement.head, facts[0], facts[0].head)
    ]


def _denial(statement: Statement, known: Sequence[Statement], onto: Ontology) -> list[Outcome]:
    """ "No nodule": contradicted by a nodule, agreed with by a denial of the same."""
    assert statement.head is not None
    kind = statement.head.value
    lesions = [k for k in known if k.subject == "lesion" and k.head]
    for fact in lesions:
        denied = fact.polarity and fact.head and onto.covers(kind, fact.head.value)
        if denied and not _elsewhere(statement, fact):
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
    said: Sequence[Statement],
    known: Sequence[Statement],
    onto: Ontology,
    all_named: bool,
) -> list[Outcome]:
    """An asserted finding: matched with the known finding it fits best, or denied, or neither."""
    facts = [k for k in known if k.subject == "lesion"]
    present = [k for k in facts if k.polarity]
    matching = [k for k in present if _same_finding(statement, k, onto)]
    if matching:
        choices = [_details(statement, k, onto) for k in matching]
        best = min(range(len(choices)), key=lambda i: sum(not o.agrees for o in choices[i]))
        return [*_named(statement, matching[best], onto), *choices[best]]
    in_sentence = [s for s in said if s.sentence == statement.sentence and s.polarity]
    alone = not any(_same_finding(s, k, onto) for s in in_sentence for k in present)
    denied = [k for k in facts if _denies(k, statement, onto)]
    # what the reference spells out goes before the guess that one finding was taken for another
    named = [k for k in denied if k.core and k.head and not onto.findings[k.head.value].generic]
    if named:
        return [_presence(False, statement, named[0])]
    kinds = {k.head.value for k in present if k.head}
    kin = {kind for kind in kinds if _kin(statement, kind, onto)}
    kinds = kin if len(kinds) > 1 and len(kin) == 1 else kinds
    if (len(kinds) == 1 or (kinds and all_named)) and alone and statement.head:
        # several known statements of one kind: the one that was written out serves best
        named = [k for k in present if k.head and k.head.value in kinds]
        fact = next((k for k in named if k.core), named[0])
        wrong = Outcome(False, "kind", "kind", statement, statement.head, fact, fact.head)
        return [wrong, *_details(statement, fact, onto)]
    return [_presence(False, statement, denied[0])] if denied else []


def _denies(fact: Statement, statement: Statement, onto: Ontology) -> bool:
    """Whether a known denial is about an asserted finding."""
    if fact.polarity or fact.head is None or statement.head is None:
        return False
    return onto.covers(fact.head.value, statement.head.value) and not _elsewhere(statement, fact)


def _kin(statement: Statement, kind: str, onto: Ontology) -> bool:
    """Whether two kinds are of one narrower class: an epidural and a subdural hematoma."""
    if statement.head is None:
        return False
    shared = onto.findings[statement.head.value].covered_by & onto.findings[kind].covered_by
    return any(not onto.findings[ident].generic for ident in shared)


def _same_finding(one: Statement, other: Statement, onto: Ontology) -> bool:
    if one.subject != "lesion" or one.head is None or other.head is None:
        return one.subject == other.subject == "lesion"
    return onto.compatible(one.head.value, other.head.value)


def _elsewhere(one: Statement, other: Statement) -> bool:
    """Whether the two speak of different places or times, so that both may be so."""
    for name in _APART:
        here, there = one.values(name), other.values(name)
        if here and there and not here & there and "both" not in here | there:
            return True
    return False


def _named(statement: Statement, fact: Statement, onto: Ontology) -> list[Outcome]:
    """The agreement on the finding itself: on its kind where both name one."""
    if statement.head is None or fact.head is None:
        return []
    specific = not (
        onto.findings[statement.head.value].generic or onto.findings[fact.head.value].generic
    )
    if specific:
        return [Outcome(True, "kind", "kind", statement, statement.head, fact, fact.head)]
    return [_presence(True, statement, fact)]


def _presence(agrees: bool, statement: Statement, fact: Statement) -> Outcome:
    return Outcome(agrees, "presence", "presence", statement, statement.head, fact, fact.head)


def _details(statement: Statement, fact: Statement, onto: Ontology) -> list[Outcome]:
    """Attribute by attribute, where both sides speak of it."""
    outcomes = []
    for name in dict.fromkeys(m.attribute for m in statement.details):
        said, known = statement.values(name), fact.values(name)
        said_not, known_not = (s.values(name, negated=True) for s in (statement, fact))
        mention = next(m for m in statement.details if m.attribute == name)
        wanted = next((m for m in fact.details if m.attribute == name and not m.negated), None)
        if said and known:
            related = onto.attributes[name].related
            agrees = any(related(a, b) for a in said for b in known)
        elif said and known_not:
            if not said <= known_not:
                continue
            agrees = False
        elif said_not and known:
            if not said_not & known:
                continue
            agrees = False
        else:
            continue
        kind = onto.attributes[name].error_type
        outcomes.append(Outcome(agrees, name, kind, statement, mention, fact, wanted))
    return outcomes
