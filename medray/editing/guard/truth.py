"""Whether each side of a pair says of the reference what it is there to say."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from medray.editing.language.grammar import content
from medray.editing.language.negation import n_negations
from medray.editing.language.text import Mention
from medray.editing.ontology.levels import REGIONS
from medray.editing.ontology.lexicon import ontology, phrase_words
from medray.editing.reading.claims import ParsedText, Statement, read
from medray.editing.reading.compare import Comparison
from medray.editing.reading.facts import Facts
from medray.editing.reading.judge import Judgement, judge
from medray.records import EditedSentence

_FINDING = frozenset({"presence", "kind", "word", "heart", "opposite", "presupposed", "slot"})
_NAMES = frozenset({"kind", "organ", "modality", "sequence", "plane"})  # of what there is one
_SIDES = frozenset({"left", "right"})
_ATTRIBUTES = frozenset({"side", "zone", "size", "grade"})
_VALUES = frozenset(
    phrase_words(
        "left right upper lower middle small large mild moderate severe bilateral unilateral "
        "smaller larger bigger higher"
    )
)
_BESIDE = re.compile(r"\b(?:left|right)\s+of\b", re.IGNORECASE)
_ASKS_SIDE = re.compile(
    r"\b(?:on|in|to|at|of)\s+(?:the|its|his|her)\s+(?:patient\W?s?\s+)?(?:left|right)"
    r"(?:\s+(?:side|lung|hemithorax|hemisphere|lobe|kidney))?\W*$|\b(?:left|right)(?:-sided)?\W*$",
    re.IGNORECASE,
)
_BY_QUESTION = frozenset({"opposite", "echo", "alternative", "option"})
_FOCUS = re.compile(
    r",?\s+(?:with\s+(?:a|the)\s+focus|focus\w*|concentrat\w+|specifically|particularly|especially|"
    r"highlighting)\b",
    re.IGNORECASE,
)
_NEGATION = re.compile(
    r"\b(?:no|not|nor|never|without|neither|cannot|absen\w+|non)\b|n['’]t\b", re.I
)
_LAST_WORD = re.compile(r"([A-Za-z-]+)\s+$")
_NO_MODIFIERS = frozenset(
    phrase_words(
        "a an the any no this that of in with and or for by be been show reveal have had to"
    )
)
_YES_NO = re.compile(
    r"\W*(yes|no)(?=\s*[,.;:!-]|\s+(?:the|there|it|this|that|these|i)\b)", re.IGNORECASE
)


def position(comparison: Comparison, parsed: ParsedText) -> int | None:
    """Where the text says what is compared; None if it has no place of its own."""
    if comparison.change is not None:
        return comparison.change.start
    if comparison.span != (0, 0):
        return comparison.span[0]
    if comparison.attribute == "word":
        return parsed.word_span[0]
    if comparison.statement is not None:
        named = comparison.mention or comparison.statement.head
        return named.start if named is not None else comparison.statement.start
    return comparison.mention.start if comparison.mention is not None else None


def is_attribute(comparison: Comparison) -> bool:
    """Whether a comparison is about an attribute of a finding, and not about the finding."""
    attribute = ontology().attributes.get(comparison.attribute)
    return (
        comparison.statement is not None and attribute is not None and attribute.about == "lesion"
    )


def conflicts_in(judgement: Judgement, start: int, end: int | None = None) -> list[Comparison]:
    """The contradictions that text[start:end] makes; those without a place are in any."""
    return list(_in(judgement, [c for c in judgement.comparisons if not c.agrees], start, end))


def agreements_in(judgement: Judgement, start: int, end: int | None = None) -> list[Comparison]:
    """The agreements of text[start:end]."""
    return list(_in(judgement, [c for c in judgement.comparisons if c.agrees], start, end))


def confirms(agreed: Sequence[Comparison], resolved: Sequence[Comparison]) -> bool:
    """Whether one of the agreements is about what was corrected."""
    attributes = {c.attribute for c in resolved}
    if attributes & _FINDING:
        attributes |= _FINDING
    return any(c.attribute in attributes for c in agreed)


def unconfirmed_finding(judgement: Judgement, start: int, known: Facts) -> bool:
    """Whether the text asserts a named finding that neither the reference nor the question does."""
    onto = ontology()
    query = read(known.question)
    stated = (*query.statements, *query.uncertain)
    named = [s.head.value for s in stated if s.head and s.subject == "lesion"]
    if known.word is False:
        named = []
    named += [
        s.head.value for s in known.statements if s.head and s.polarity and s.subject == "lesion"
    ]
    specific = [kind for kind in named if not onto.findings[kind].generic]
    confirmed = {
        id(c.statement)
        for c in judgement.comparisons
        if c.agrees and c.statement and not (specific and _is_generic(c.fact))
    }  # beside a nodule, "a lesion" confirms no cavity
    return any(
        s.polarity
        and s.subject == "lesion"
        and s.head is not None
        and s.head.start >= start
        and not onto.findings[s.head.value].generic
        and id(s) not in confirmed
        and not any(onto.compatible(s.head.value, kind) for kind in specific or named)
        for s in judgement.answer.statements
    )


def _is_generic(fact: Statement | None) -> bool:
    """Whether what is known names no kind."""
    head = fact.head if fact is not None and fact.subject == "lesion" else None
    return head is not None and ontology().findings[head.value].generic


def repeats_reference(known: Facts, text: str) -> bool:
    """Whether the text says the reference in its own words, without a denial."""
    words = " ".join(w for w in phrase_words(known.reference.text) if w not in ("a", "an", "the"))
    joined = " ".join(w for w in phrase_words(text) if w not in ("a", "an", "the"))
    denied = _NEGATION.search(text) and not _NEGATION.search(known.reference.text)
    return bool(words) and f" {words} " in f" {joined} " and not denied and known.word is None


def named_again(after: ParsedText, before: ParsedText, start: int) -> bool:
    """Whether text[start:] asserts a finding that the text before it did, or twice, and `before`
    does not."""
    onto = ontology()

    def named(parsed: ParsedText, first: int, last: int) -> Counter[str]:
        return Counter(
            s.head.value
            for s in parsed.statements
            if s.polarity and s.head and first <= s.head.start < last and s.subject == "lesion"
            if not onto.findings[s.head.value].generic
        )

    ours = named(after, start, len(after.text))
    theirs, earlier = named(before, start, len(before.text)), named(after, 0, start)
    return any(n > max(1, theirs[v]) or (v not in theirs and v in earlier) for v, n in ours.items())


def turned(resolved: Sequence[Comparison], known: Facts, edited: EditedSentence) -> bool:
    """Whether the correction turned a sentence that only the question's words decide, or denied a
    sign of what the reference denies altogether ("no blunting", for "consistent with effusion")."""
    if all(c.attribute in _BY_QUESTION for c in resolved):
        return True
    general = any(
        not s.polarity and s.head and ontology().findings[s.head.value].generic
        for s in known.statements
        if s.subject == "lesion" and s.head and s.head.value in ontology().findings
    )
    denied = _NEGATION.search(edited.text) is not None
    cut = any(span.start == span.end for span in edited.text_spans)
    return general and denied and cut and all(c.attribute == "presence" for c in resolved)


def still_said(removed: Sequence[tuple[str, str]], parsed: ParsedText, start: int) -> bool:
    """Whether what was removed is still asserted somewhere from `start` on."""
    asserted = {(m.attribute, m.value) for m in _asserted(parsed, start)}
    return any(claim in asserted for claim in removed if claim[0] in _NAMES)


def _asserted(parsed: ParsedText, start: int) -> Iterator[Mention]:
    for statement in (*parsed.statements, *parsed.uncertain):
        if not statement.polarity or statement.subject != "lesion":
            continue
        for mention in (statement.head, *statement.details):
            if mention is not None and mention.start >= start and not mention.negated:
                yield mention
    yield from (m for m in parsed.study if m.start >= start and not m.negated)


def wrong_values(conflicts: Sequence[Comparison]) -> list[tuple[str, str]]:
    """The (attribute, value) pairs that the contradictions assert."""
    values = []
    for c in conflicts:
        mention = c.mention or (c.statement.head if c.statement else None)
        asserts = c.statement is None or c.statement.polarity
        if mention is not None and asserts and not mention.negated and mention.attribute != "heart":
            values.append((mention.attribute, mention.value))
    return values


def guessed(known: Facts, edited: EditedSentence) -> bool:
    """Whether a correction names a side or another attribute that nobody states: "No" to "Is the
    right angle sharp?" says nothing of the left one."""
    if _BESIDE.search(known.reference.text) and any(
        _SIDES & set(phrase_words(words_at(edited.text, s.start, s.end))) for s in edited.text_spans
    ):
        return True  # "left of the midline" names no side
    if known.word is not False:
        return False
    stated = set(phrase_words(f"{known.question} {known.reference.text}"))
    for span in edited.text_spans:
        new = set(phrase_words(words_at(edited.text, span.start, span.end)))
        if (new & _SIDES or span.error_type in _ATTRIBUTES) and new & _VALUES - stated:
            return True
    return False


def words_at(text: str, start: int, end: int) -> str:
    """The whole words that a span touches, however narrowly an editor cut it."""
    while start > 0 and text[start - 1].isalnum() and text[start : start + 1].isalnum():
        start -= 1
    while 0 < end < len(text) and text[end].isalnum() and text[end - 1].isalnum():
        end += 1
    return text[start:end]


def other_word(text: str, known: Facts) -> bool:
    """Whether a text begins with the yes or no that is wrong, wherever it stands in the answer."""
    match = _YES_NO.match(text)
    return (
        match is not None and known.word is not None and (match[1].lower() == "yes") != known.word
    )


def against_its_word(text: str, known: Facts) -> bool:
    """ "No, the image shows a mass" to "Does the image show a mass?", and the like."""
    match = _YES_NO.match(text)
    if match is None:
        return False
    clause = re.split(r",?\s+(?:which|because|since|as|but|while)\b", text[match.end() :])[0]
    wanted = content(known.question)
    if not wanted or not wanted <= content(clause):
        return False
    return (_NEGATION.search(clause) is None) == (match[1].lower() == "no")


def states_otherwise(known: Facts, parsed: ParsedText, start: int) -> bool:
    """Whether text[start:] gives a finding a value that no mention of it in the reference has, but
    some have another one, or denies a value that one has: "not in the upper zone"."""
    onto = ontology()
    for statement in parsed.statements:
        if not statement.polarity or statement.subject != "lesion" or statement.head is None:
            continue
        facts = [
            fact
            for fact in known.reference.statements
            if fact.polarity and fact.subject == "lesion" and _may_be_same(statement, fact)
        ]
        for mention in statement.details:
            values = (
                {
                    m.value
                    for m in fact.details
                    if m.attribute == mention.attribute and not m.negated
                }
                | fact.values(mention.attribute)
                for fact in facts
            )
            stated = set[str]().union(*values)  # "bilateral, worse on the left" says both
            related = onto.attributes[mention.attribute].related
            agrees = any(related(mention.value, value) for value in stated)
            if mention.start >= start and stated and agrees == mention.negated:
                return True
    return False


def cuts_what_is_right(known: Facts, sampled: str, text: str) -> bool:
    """Whether a finding that the reference asserts is named in the sampled sentence alone, or one
    that it does not assert was denied there alone."""
    onto = ontology()

    def named(parsed: ParsedText) -> set[str]:
        stated = (*parsed.statements, *parsed.uncertain)
        heads = {s.head.value for s in stated if s.polarity and s.head and s.subject == "lesion"}
        return {value for value in heads if not onto.findings[value].generic}

    def denied(parsed: ParsedText) -> set[str]:
        heads = {s.head.value for s in parsed.statements if not s.polarity and s.head}
        return {value for value in heads if not onto.findings[value].generic}

    asserted = named(known.reference)
    before, after = read(sampled), read(text)
    if known.word is None and n_negations(sampled) > 1:  # a list has one denial
        silent = denied(before) - denied(after) - named(after)
        if not all(any(onto.covers(v, a) for a in asserted) for v in silent):
            return True
    lost = named(before) - named(after)
    return any(onto.compatible(value, other) for value in lost for other in asserted)


def loses_region(known: Facts, sampled: str, text: str) -> bool:
    """Whether a text leaves out the region of the body that its sampled sentence names beside the
    wrong organ, and the reference names no region: "the abdomen, with a focus on the spleen"."""

    def organs(parsed: ParsedText) -> set[str]:
        return {m.value for m in parsed.study if m.attribute == "organ"}

    focus = _FOCUS.search(sampled)
    wanted = organs(known.reference)
    if known.word is not None or focus is None or not wanted or wanted & {*REGIONS}:
        return False
    return bool(organs(read(sampled[: focus.start()])) & {*REGIONS} - organs(read(text)))


def located_otherwise(parsed: ParsedText, start: int) -> bool:
    """Whether text[start:] places a finding where the text before it, hedged or not, does not place
    the same one: "This right opacity may be infectious. …, there is an opacity on the left." """
    onto = ontology()
    stated = [*parsed.statements, *parsed.uncertain]
    stated = [s for s in stated if s.polarity and s.head and s.subject == "lesion"]
    for later in stated:
        for earlier in stated:
            if later.head is None or earlier.head is None:
                continue
            if not earlier.head.start < start <= later.head.start:
                continue
            if not onto.compatible(later.head.value, earlier.head.value):
                continue
            for attribute in ("side", "zone"):
                ours, theirs = later.values(attribute), earlier.values(attribute)
                if "both" not in ours | theirs and ours and theirs and not ours & theirs:
                    return True
    return False


def takes_back(known: Facts, prefix: str, text: str) -> bool:
    """Whether a text denies a finding of which its prefix asserts a sign that the reference does
    not confirm: no pneumonia, of a lobe that is consolidated."""
    onto = ontology()
    denied = [s for s in read(text).statements if not s.polarity and s.head]
    if not denied:
        return False
    claimed = [c.statement for c in judge(prefix, known).conflicts if c.attribute == "presence"]
    for sign in claimed:
        if sign is None or not sign.polarity or sign.head is None:
            continue
        for s in denied:
            kind = s.head.value if s.head else ""
            if kind == sign.head.value or onto.findings[kind].generic:
                continue
            places = [{(m.attribute, m.value) for m in t.details} for t in (s, sign)]
            if sign.head.value in onto.findings[kind].plausible or places[0] & places[1]:
                return True
    return False


def other_modifier(known: Facts, parsed: ParsedText, start: int) -> bool:
    """Whether text[start:] describes a finding by a word that the rules do not know, and the
    reference the same finding by another one: "a smooth nodule", "a lobulated nodule"."""
    theirs: dict[str, set[str]] = {}
    for fact in known.reference.statements:
        if fact.polarity and fact.head and fact.subject == "lesion":
            word = _modifier(known.reference, fact)
            theirs.setdefault(fact.head.value, set()).update({word} - {""})
    return any(
        word not in theirs[statement.head.value]
        for statement in parsed.statements
        if statement.polarity and statement.head and statement.head.start >= start
        if theirs.get(statement.head.value)
        if (word := _modifier(parsed, statement))
    )


def _modifier(parsed: ParsedText, statement: Statement) -> str:
    """The word right before a finding, if it is no attribute that the rules know."""
    if statement.head is None:
        return ""
    match = _LAST_WORD.search(parsed.text[: statement.head.start])
    known = (*statement.details, *parsed.study)
    if match is None or any(m.start <= match.start(1) < m.end for m in known):
        return ""
    word = match[1].lower()
    return "" if word in _NO_MODIFIERS or word.endswith("s") else word


def _may_be_same(one: Statement, other: Statement) -> bool:
    return (
        one.head is None
        or other.head is None
        or ontology().compatible(one.head.value, other.head.value)
    )


def _in(
    judgement: Judgement, comparisons: Sequence[Comparison], start: int, end: int | None
) -> Iterator[Comparison]:
    stop = len(judgement.answer.text) if end is None else end
    for comparison in comparisons:
        at = position(comparison, judgement.answer)
        if at is None or start <= at < max(stop, start + 1):
            yield comparison
