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
from medray.editing.reading.claims import ParsedText, Statement
from medray.editing.reading.nouns import calls_new, fullest, is_of_the_rest, nearest, same_noun

# "No acute infarct" does not exclude a chronic one, "no nodule on the left" one on the right.
_NORMAL_HEART = Mention("heart", "normal", "normal", 0, 0, 0, 0, "normal")
_PLACES = ("side", "zone", "lobe", "quadrant")
PLACE_OR_TIME = ("side", "zone", "lobe", "quadrant", "territory", "site", "age")


@dataclass(frozen=True, slots=True)
class Comparison:
    """One comparison that could be made.

    `attribute`: "word" (yes or no), "presence", "kind", "heart" or an attribute of the ontology.
    `statement` and `mention` are the answer's, `fact` and `wanted` the known ones; `wanted` is
    None if the known side only excludes a value. `change` resolves a contradiction for which
    there is no statement; `span` are the characters that contradict if nothing else says it.
    """

    agrees: bool
    attribute: str
    error_type: str
    statement: Statement | None = None
    mention: Mention | None = None
    fact: Statement | None = None
    wanted: Mention | None = None
    change: Change | None = None
    span: tuple[int, int] = (0, 0)


def compare_statements(
    statements: Sequence[Statement],
    known: Sequence[Statement],
    *,
    all_named: bool = False,
    report: bool = False,
    open_question: bool = False,
) -> list[Comparison]:
    """All comparisons of an answer's statements with the known ones.

    `all_named`: the question asks what is found, so the known findings are complete.
    `report`: the known statements are a report's, so another finding is no misnaming of a known
    one. `open_question`: the question asks for something else than a description, so that "the
    disease" agrees with nothing.
    """
    onto = ontology()
    comparisons: list[Comparison] = []
    for statement in statements:
        if statement.subject == "heart":
            comparisons += _heart(statement, known)
        elif not statement.polarity:
            comparisons += _denial(statement, known, onto)
        else:
            named = (all_named, report, open_question)
            comparisons += _lesion(statement, statements, known, onto, *named)
    return comparisons


def compare_study(
    mentions: Sequence[Mention], known: Sequence[Mention], onto: Ontology, *, where: bool = False
) -> list[Comparison]:
    """All comparisons of what both sides state about the study (modality, plane, organ, …).

    `where`: the question asks for a place, so that what contains the known one does not say it.
    """
    comparisons = []
    for attribute in dict.fromkeys(m.attribute for m in mentions):
        ours = [m for m in mentions if m.attribute == attribute and not m.negated]
        theirs = [m for m in known if m.attribute == attribute and not m.negated]
        excluded = {m.value for m in known if m.attribute == attribute and m.negated}
        if attribute == "organ":
            excluded = set()  # "no bony abnormality" does not say that there is no bone
        if not ours or not (theirs or excluded):
            continue
        related = onto.attributes[attribute].related
        agrees = any(related(a.value, b.value) for a in ours for b in theirs)
        contradicts = bool(theirs) or {m.value for m in ours} <= excluded
        if agrees and where and attribute == "organ" and not _says_where(ours, theirs, onto):
            continue
        if agrees or contradicts:
            wanted = theirs[0] if theirs else None
            kind = onto.attributes[attribute].error_type
            comparisons.append(Comparison(agrees, attribute, kind, None, ours[0], None, wanted))
    return comparisons


def _says_where(ours: Sequence[Mention], theirs: Sequence[Mention], onto: Ontology) -> bool:
    """Whether a stated place is a known one or inside it: "the abdomen" is not yet "the cecum"."""
    part_of = onto.attributes["organ"].part_of
    return any(
        a.value == b.value or b.value in part_of.get(a.value, ()) for a in ours for b in theirs
    )


def _heart(statement: Statement, known: Sequence[Statement]) -> list[Comparison]:
    heart_facts = [k for k in known if k.subject == "heart"]
    states = {k.head.value for k in heart_facts if k.head}
    if statement.head is None:
        return []
    if not heart_facts and statement.head.value == "enlarged":
        return [
            Comparison(False, "heart", "attribute", statement, statement.head, fact, _NORMAL_HEART)
            for fact in known
            if _finds_nothing(fact)
        ][:1]
    if len(states) != 1:
        return []
    agrees = statement.head.value in states
    fact = heart_facts[0]
    return [Comparison(agrees, "heart", "attribute", statement, statement.head, fact, fact.head)]


def _finds_nothing(fact: Statement) -> bool:
    """Whether a known statement denies any abnormality, of no place or age in particular."""
    head = fact.head
    return head is not None and head.value == "abnormality" and not (fact.polarity or fact.details)


def _denial(statement: Statement, known: Sequence[Statement], onto: Ontology) -> list[Comparison]:
    """ "No nodule": contradicted by a nodule, confirmed by a denial of the same kind."""
    assert statement.head is not None
    kind = statement.head.value
    lesions = [k for k in known if k.subject == "lesion" and k.head]
    for fact in lesions:
        contradicts = fact.polarity and fact.head and onto.covers(kind, fact.head.value)
        if contradicts and is_of_the_rest(statement):
            continue  # "the remaining lung fields are clear"
        if contradicts and not elsewhere(statement, fact) and not _is_old(statement, fact, onto):
            return [_presence(False, statement, fact)]
    hearts = [k for k in known if k.subject == "heart" and k.head and k.head.value == "enlarged"]
    if kind == "abnormality" and hearts and not statement.values("age"):
        return [_presence(False, statement, hearts[0])]
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
    report: bool,
    open_question: bool,
) -> list[Comparison]:
    """An asserted finding: matched with the best-fitting known finding, or denied, or neither."""
    lesion_facts = [k for k in known if k.subject == "lesion"]
    present = [k for k in lesion_facts if k.polarity]
    matching = [k for k in present if _matches(statement, k, report, onto)]
    denials = [k for k in lesion_facts if _denies(k, statement, onto)]
    # what the reference denies by name takes precedence over the guess that one finding was
    # mistaken for another, and over a general word for disease
    explicit = [k for k in denials if k.core and k.head and not onto.findings[k.head.value].generic]
    new = [k for k in explicit if calls_new(statement) and calls_new(k)]
    if new:
        return [_presence(False, statement, new[0])]
    if explicit and all(not k.head or onto.findings[k.head.value].generic for k in matching):
        return [_presence(False, statement, explicit[0])]
    detailed = [k for k in matching if k.details]
    if matching:
        if (
            report
            and statement.head is not None
            and not onto.findings[statement.head.value].generic
        ):
            named = [k for k in matching if k.head and not onto.findings[k.head.value].generic]
            matching, detailed = named or matching, [k for k in named if k.details] or detailed
        matching = fullest(detailed or matching)  # an impression that repeats one adds nothing
        matching = nearest(statement, matching) if report else matching
        options = [_details(statement, k, onto) for k in matching]
        best = min(range(len(options)), key=lambda i: sum(not c.agrees for c in options[i]))
        return [*_named(statement, matching[best], onto, open_question), *options[best]]
    in_sentence = [s for s in statements if s.sentence == statement.sentence and s.polarity]
    unmatched = not any(_matches(s, k, report, onto) for s in in_sentence for k in present)
    kinds = {k.head.value for k in present if k.head and _renamable(statement, k.head.value, onto)}
    related = {kind for kind in kinds if _related_kind(statement, kind, onto)}
    kinds = related if (report or len(kinds) > 1) and len(related) == 1 else kinds
    only = len(kinds) == 1
    if report and kinds != related:
        only = only and unmatched and _instead(statement, statements, known, onto)
    if (only or (kinds and all_named and not report)) and unmatched and statement.head:
        # of several known statements of one kind, prefer one that comes from a text
        named = [k for k in present if k.head and k.head.value in kinds]
        fact = next((k for k in named if k.core), named[0])
        mistaken = Comparison(False, "kind", "kind", statement, statement.head, fact, fact.head)
        return [mistaken, *_details(statement, fact, onto)]
    hearts = [k for k in known if k.subject == "heart" and k.head and k.head.value == "enlarged"]
    if all_named and hearts and not present and statement.head and unmatched and not denials:
        specific = not onto.findings[statement.head.value].generic
        spoken = any(s.subject == "heart" for s in statements)
        return [_presence(False, statement, hearts[0])] if specific and not spoken else []
    return [_presence(False, statement, denials[0])] if denials else []


def _denies(fact: Statement, statement: Statement, onto: Ontology) -> bool:
    """Whether a known denial is about an asserted finding."""
    if fact.polarity or fact.head is None or statement.head is None:
        return False
    if _is_old(fact, statement, onto):
        return False
    broader = fact.core and fact.head.value != statement.head.value
    if broader and any(fact.values(a) and not statement.values(a) for a in _PLACES):
        return False  # a clear left lung says nothing of a finding without a side
    return onto.covers(fact.head.value, statement.head.value) and not elsewhere(statement, fact)


def _instead(
    statement: Statement,
    statements: Sequence[Statement],
    known: Sequence[Statement],
    onto: Ontology,
) -> bool:
    """Whether a located finding stands in place of a short report's only one.

    A report of one finding and the heart, and an answer that names another one that is mistaken
    for it (`plausible`, both ways) and nowhere the known one.
    """
    present = [k for k in known if k.subject == "lesion" and k.polarity and k.head]
    others = [k for k in known if k.subject == "lesion" and k not in present]
    if len(present) != 1 or others or not statement.details or statement.head is None:
        return False
    if any(_same_finding(s, present[0], onto) for s in statements if s.polarity and s.head):
        return False
    stated, real = onto.findings[statement.head.value], onto.findings[_kind(present[0])]
    return stated.ident in real.plausible and real.ident in stated.plausible


def _renamable(statement: Statement, kind: str, onto: Ontology) -> bool:
    """Whether an asserted finding can be another's wrong name: a device is no disease."""
    if statement.head is None:
        return False
    stated, known = onto.findings[statement.head.value], onto.findings[kind]
    return stated.device == known.device and not stated.broad and not known.broad


def _related_kind(statement: Statement, kind: str, onto: Ontology) -> bool:
    """Whether two kinds share a specific class: an epidural and a subdural hematoma."""
    if statement.head is None:
        return False
    shared = onto.findings[statement.head.value].covered_by & onto.findings[kind].covered_by
    return any(not onto.findings[ident].generic for ident in shared)


def _matches(one: Statement, other: Statement, report: bool, onto: Ontology) -> bool:
    """Whether two statements can be about one finding, in a report also by what they name."""
    return _same_finding(one, other, onto) and (not report or same_noun(one, other))


def _same_finding(one: Statement, other: Statement, onto: Ontology) -> bool:
    if one.subject != "lesion" or one.head is None or other.head is None:
        return one.subject == other.subject == "lesion"
    return onto.compatible(one.head.value, other.head.value)


def _is_old(denial: Statement, fact: Statement, onto: Ontology) -> bool:
    """Whether "no acute abnormality" leaves a known finding alone: a scar, a calcification."""
    if denial.head is None or fact.head is None or not onto.findings[denial.head.value].generic:
        return False
    acute = "acute" in {m.value for m in denial.details if m.attribute == "age"}
    age = fact.values("age")
    known = age == {"acute"} or (not age and fact.head.value in onto.language["acute_findings"])
    return acute and not known


def compare_narrow(
    answer: ParsedText, reference: ParsedText, known: Sequence[Statement], *, report: bool
) -> list[Comparison]:
    """Comparisons of "no bony abnormality" and "the mediastinum is unremarkable", on either side.

    A finding that is always in that organ contradicts it; another such denial agrees, and so does
    a report that mentions neither the organ nor a finding in it.
    """
    onto = ontology()
    related = onto.attributes["organ"].related
    present = [k for k in known if k.subject == "lesion" and k.polarity and k.head]
    of_organ = onto.language["findings_of"]
    mentioned = {m.value for m in reference.study if m.attribute == "organ"}
    mentioned |= {o for o, kinds in of_organ.items() for k in present if _kind(k) in kinds}
    normal = [(n, organs) for n in reference.narrow if (organs := _denied_organs(n, reference))]
    comparisons = []
    for denial in answer.narrow:
        organs = _denied_organs(denial, answer)
        wrong = next((k for k in present if _excludes(denial, organs, k, onto)), None)
        same = next((n for n, others in normal if organs & others), None)
        if wrong is not None:
            comparisons.append(_presence(False, denial, wrong))
        elif same is not None:
            comparisons.append(_presence(True, denial, same))
        elif report and organs and not any(related(a, b) for a in organs for b in mentioned):
            comparisons.append(Comparison(True, "presence", "presence", denial, denial.head))
    for statement in answer.statements:
        if statement.polarity and statement.subject == "lesion" and statement.head:
            found = [n for n, organs in normal if _excludes(n, organs, statement, onto)]
            comparisons += [_presence(False, statement, n) for n in found[:1]]
    return comparisons


def _denied_organs(denial: Statement, text: ParsedText) -> set[str]:
    """The organs of which a denial in general terms is; none if it is no denial."""
    inside = (m for m in text.study if denial.start <= m.start < denial.end)
    return set() if denial.polarity else {m.value for m in inside if m.attribute == "organ"}


def _excludes(denial: Statement, organs: set[str], finding: Statement, onto: Ontology) -> bool:
    """Whether a finding is always in an organ that a denial finds normal."""
    part_of = onto.attributes["organ"].part_of
    inside = any(
        _kind(finding) in kinds
        for organ, kinds in onto.language["findings_of"].items()
        if organs & {organ, *part_of.get(organ, ())}
    )
    return inside and not elsewhere(denial, finding) and not _is_old(denial, finding, onto)


def _kind(statement: Statement) -> str:
    return statement.head.value if statement.head else ""


def elsewhere(one: Statement, other: Statement) -> bool:
    """Whether the two are about different places or times, so that both can be true."""
    for name in PLACE_OR_TIME:
        ours, theirs = one.values(name), other.values(name)
        if ours and theirs and not ours & theirs and "both" not in ours | theirs:
            return True
    return False


def _named(
    statement: Statement, fact: Statement, onto: Ontology, open_question: bool
) -> list[Comparison]:
    """The agreement on the finding itself: on its kind if both name one."""
    if statement.head is None or fact.head is None:
        return []
    specific = not (
        onto.findings[statement.head.value].generic or onto.findings[fact.head.value].generic
    )
    if specific:
        return [Comparison(True, "kind", "kind", statement, statement.head, fact, fact.head)]
    if open_question:
        return []  # "the disease" names none
    return [_presence(True, statement, fact)]


def _presence(agrees: bool, statement: Statement, fact: Statement) -> Comparison:
    return Comparison(agrees, "presence", "presence", statement, statement.head, fact, fact.head)


def _details(statement: Statement, fact: Statement, onto: Ontology) -> list[Comparison]:
    """The comparisons of each attribute that both sides mention."""
    comparisons = []
    for name in dict.fromkeys(m.attribute for m in statement.details):
        stated, known = statement.values(name), fact.values(name)
        unnamed = statement.head is fact.head is None and bool(fact.core)
        if name == "side" and unnamed and "both" in known - stated:
            continue  # "right kidney 10 cm, left kidney 11 cm" is no one thing on both sides
        stated_not, known_not = (s.values(name, negated=True) for s in (statement, fact))
        mention = next(m for m in statement.details if m.attribute == name)
        wanted = next((m for m in fact.details if m.attribute == name and not m.negated), None)
        if stated and known:
            related = onto.attributes[name].related
            agrees = all(
                any(related(a, b) for b in larger)
                for smaller, larger in [sorted((stated, known), key=len)]
                for a in smaller
            )
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
