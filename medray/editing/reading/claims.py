"""Parses free text into statements about findings and the heart, and those into claims.

A text is parsed sentence by sentence; a sentence with several findings is cut between them, so
that each keeps its own attributes and its own negation.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from medray.editing.language.assertion import asserted
from medray.editing.language.negation import carries, negate
from medray.editing.language.sections import without_structure
from medray.editing.language.segments import (
    Segment,
    clause_start,
    clause_stop,
    cut,
    names_a_thing,
    of_unknown_noun,
    own_sides,
)
from medray.editing.language.text import Mention, Word, mentions, sentences
from medray.editing.ontology.lexicon import Ontology, ontology

_MAX_GAP = 4  # words from a number to the noun it counts: "two small left lung nodules"


@dataclass(frozen=True, slots=True)
class Statement:
    """What one clause states about one subject.

    `subject`: "lesion" or "heart". `head` names the finding (attribute "kind"), None if the
    clause only has attributes ("On the left."). A lesion statement with `polarity` False denies
    its head. The heart's `head` has attribute "heart" and value normal or enlarged, negation
    already applied. `details` are the attributes. Characters: the clause [start, end) and its
    `sentence`; `core` is the sentence's text, "" if the statement does not come from a text.
    """

    subject: str
    polarity: bool
    head: Mention | None
    details: tuple[Mention, ...] = ()
    start: int = 0
    end: int = 0
    sentence: tuple[int, int] = (0, 0)
    core: str = ""

    def values(self, attribute: str, *, negated: bool = False) -> frozenset[str]:
        """The values given for an attribute; "left" and "right" together are "both"."""
        values = {
            m.value for m in self.details if m.attribute == attribute and m.negated == negated
        }
        two_sided = attribute == "side" and ("both" in values or {"left", "right"} <= values)
        return frozenset({"both"} if two_sided else values)


@dataclass(frozen=True, slots=True)
class ParsedText:
    """A text's leading yes or no, its statements, and its mentions about the study.

    `tail` is what follows a yes or no in the same sentence, [0, 0) if nothing does; `body` runs
    from the first word to the last. `uncertain` are the statements under a hedge ("possible",
    "cannot be excluded"): kept apart because they neither assert nor deny. `hedged`: the text
    contains a hedge. `narrow` are denials in general terms of something narrower ("no bony
    abnormality"): they deny no finding. Headings, and sections that are not about this image,
    count for nothing.
    """

    text: str
    word: bool | None
    word_span: tuple[int, int]
    tail: tuple[int, int]
    body: tuple[int, int]
    statements: tuple[Statement, ...]
    study: tuple[Mention, ...]
    n_words: int
    uncertain: tuple[Statement, ...] = ()
    hedged: bool = False
    narrow: tuple[Statement, ...] = ()
    n_sentences: int = 0


@dataclass(frozen=True, slots=True)
class Claim:
    """One asserted or denied attribute, and the characters that express it.

    >>> [(c.attribute, c.value, c.polarity) for c in claims("No left nodule.")]
    [('presence', 'nodule', False)]
    """

    subject: str
    attribute: str
    value: str
    polarity: bool
    start: int
    end: int


def claims(text: str, question: str = "") -> tuple[Claim, ...]:
    """All claims of a text; the question determines what a short answer is about."""
    parsed = read(text, subject=subject_of(question))
    result = [
        Claim("study", m.attribute, m.value, not m.negated, m.start, m.end) for m in parsed.study
    ]
    for s in parsed.statements:
        name = s.head.value if s.head and s.subject == "lesion" else s.subject
        if s.head:
            attribute = "presence" if s.subject == "lesion" else "heart"
            result.append(
                Claim(name, attribute, s.head.value, s.polarity, s.head.start, s.head.end)
            )
        for m in s.details if s.polarity else ():
            result.append(Claim(name, m.attribute, m.value, not m.negated, m.start, m.end))
    return tuple(sorted(result, key=lambda claim: (claim.start, claim.end)))


@functools.lru_cache(maxsize=1024)
def subject_of(question: str) -> str:
    """What an answer that names no subject is about: "heart" or "lesion"."""
    onto = ontology()
    heart = finding = False
    for words in sentences(question):
        for m in mentions(question, words, onto):
            heart = heart or m.attribute in ("heart-subject", "heart-finding")
            finding = finding or m.attribute == "kind"
    return "heart" if heart and not finding else "lesion"


@functools.lru_cache(maxsize=1024)
def read(text: str, subject: str = "lesion") -> ParsedText:
    """Parse a text. Never raises: what is not understood is ignored."""
    onto = ontology()
    parts = sentences(without_structure(text))
    n_sentences = len(parts)
    word, word_span, tail = None, (0, 0), (0, 0)
    body = (parts[0][0].start, parts[-1][-1].end) if parts else (0, 0)
    if (
        parts
        and (answer_word := _answer_word(first := _past_lead(parts[0], onto), onto)) is not None
    ):
        word, word_span = answer_word, (first[0].start, first[0].end)
        tail = (first[1].start, first[-1].end) if first[1:] else (0, 0)
        parts = [p for p in (first[1:], *parts[1:]) if p]
    found = _Found()
    standalone = _standalone(text, parts, subject, onto)
    for words in parts if standalone is None else ():
        _read_sentence(text, words, subject, found, onto)
    certain = (standalone,) if standalone else tuple(found.statements)
    n_words = sum(map(len, parts))
    return ParsedText(
        text,
        word,
        word_span,
        tail,
        body,
        certain,
        tuple(found.study),
        n_words,
        tuple(found.uncertain),
        found.hedged,
        tuple(found.narrow),
        n_sentences,
    )


_ADVICE = frozenset({"should", "advised", "advise", "recommended", "recommend", "advisable"})


@dataclass(slots=True)
class _Found:
    """What the sentences of a text state, in text order."""

    statements: list[Statement] = field(default_factory=list)
    uncertain: list[Statement] = field(default_factory=list)
    narrow: list[Statement] = field(default_factory=list)
    study: list[Mention] = field(default_factory=list)
    hedged: bool = False


def _read_sentence(
    text: str, words: Sequence[Word], subject: str, found: _Found, onto: Ontology
) -> None:
    """Adds what one sentence states. A hedge carries over to what is listed after it."""
    in_sentence = asserted(text, words, mentions(text, words, onto), onto)
    carried = False
    for index, segment in enumerate(cut(words, negate(words, in_sentence, onto), onto)):
        new, narrow = _statement(text, words, segment, subject, onto)
        cues = [m for m in segment.mentions if m.attribute == "open"]
        found.hedged = found.hedged or bool(cues)
        carried = carried and index > 0 and carries(words, segment, onto)
        hedged = carried or (new and any(_hedges(words, cue, new[0].head, onto) for cue in cues))
        carried = bool(hedged and (carried or new))
        target = found.narrow if narrow else found.uncertain if hedged else found.statements
        target.extend(new)
        if not (cues and _is_hypothetical(cues, text)) and not _is_advice(words, segment):
            found.study += _study(words, segment, () if narrow else new, onto)


def _is_hypothetical(cues: Sequence[Mention], text: str) -> bool:
    """Whether a segment speaks of images in general: "an MRI would typically show"."""
    return any(cue.surface.lower() in ("would", "typically", "usually") for cue in cues)


def _is_advice(words: Sequence[Word], segment: Segment) -> bool:
    """Whether a segment says what is to be done: "CT is advised" names no modality of the image."""
    return any(word.text in _ADVICE for word in words[segment.first : segment.last + 1])


def _hedges(words: Sequence[Word], cue: Mention, head: Mention | None, onto: Ontology) -> bool:
    """Whether a finding is in a hedge's scope: not past "but", nor back over a comma."""
    if head is None:
        return True
    backwards = head.last < cue.first
    between = (
        words[head.last + 1 : cue.first + 1] if backwards else words[cue.last + 1 : head.first]
    )
    return not any(
        word.text in onto.language["breaks"] or (backwards and word.after_comma) for word in between
    )


def _past_lead(words: tuple[Word, ...], onto: Ontology) -> tuple[Word, ...]:
    """A sentence without its "The answer is", if more follows."""
    texts = [word.text for word in words]
    for lead in onto.language["answer_leads"]:
        length = len(lead.split())
        if texts[:length] == lead.split() and words[length:]:
            return words[length:]
    return words


def _answer_word(words: Sequence[Word], onto: Ontology) -> bool | None:
    """The yes or no that a text begins with ("No nodule" has none: it denies a nodule)."""
    first, answers = words[0].text, onto.language["answer_words"]
    if first in answers["yes"]:
        return True
    if first not in answers["no"]:
        return None
    rest = words[1:]
    if not rest or rest[0].after_comma:
        return False if first != "not" else None
    new_clause = rest[0].text in (*onto.language["fresh_start"], *answers["no"], *answers["yes"])
    return False if new_clause and first != "not" else None


def _standalone(
    text: str, parts: Sequence[Sequence[Word]], subject: str, onto: Ontology
) -> Statement | None:
    """The statement of a phrase like "Normal" or "None" that makes up the entire text."""
    if len(parts) != 1:
        return None
    words = parts[0]
    texts = tuple(word.text for word in words)
    for polarity, table in ((False, "nothing_found_alone"), (True, "something_found_alone")):
        for kind, phrases in onto.language[table].items():
            if texts in {tuple(phrase.split()) for phrase in phrases} and subject != "heart":
                span = (words[0].start, words[-1].end)
                surface = text[slice(*span)]
                head = Mention("kind", kind, "alone", *span, 0, len(words) - 1, surface)
                return Statement("lesion", polarity, head, (), *span, span, surface)
    return None


def _statement(
    text: str, words: Sequence[Word], segment: Segment, subject: str, onto: Ontology
) -> tuple[list[Statement], bool]:
    """The statement a segment makes, if it makes one, and whether it is a narrow denial."""
    in_segment = segment.mentions
    sentence = (words[0].start, words[-1].end)
    location = (
        words[segment.first].start,
        words[segment.last].end,
        sentence,
        text[slice(*sentence)],
    )
    details = tuple(
        m
        for m in in_segment
        if m.attribute in onto.attributes and onto.attributes[m.attribute].about == "lesion"
    )
    head = next((m for m in segment.heads if m.attribute == "kind"), None)
    specific = (m for m in segment.heads if m.attribute == "kind")
    head = next((m for m in specific if not onto.findings[m.value].generic), head)
    details = tuple(m for m in details if _belongs(m, head))
    details = own_sides(words, head, details, onto)
    if head is not None:
        narrow = head.negated and _narrow(words, segment, head, onto)
        return [Statement("lesion", not head.negated, head, details, *location)], narrow
    clear = next((m for m in segment.heads if m.attribute == "clear"), None)
    if clear is not None:
        polarity = clear.negated != (clear.form == "not")
        sides = tuple(m for m in details if m.attribute == "side")
        about = _narrow_clear(words, segment, clear, onto)
        denial = Statement("lesion", polarity, replace(clear, attribute="kind"), sides, *location)
        return [denial], about
    other = subject == "heart" and names_a_thing(words, segment)
    state = _heart_state(segment, "" if other else subject)
    if state is not None:
        return [Statement("heart", True, state, (), *location)], False
    own = tuple(m for m in details if not of_unknown_noun(words, m, segment, onto))
    if own and subject == "lesion" and not segment.heads:
        return [Statement("lesion", True, None, own, *location)], False
    return [], False


def _narrow_clear(words: Sequence[Word], segment: Segment, clear: Mention, onto: Ontology) -> bool:
    """Whether an "unremarkable" is of one organ only: "the mediastinum is unremarkable"."""
    if not onto.findings[clear.value].generic or clear.value == "lesion":
        return False
    general = set(onto.language["general_organs"])
    if any(m.attribute == "organ" and m.value not in general for m in segment.mentions):
        return not any(m.attribute == "modality" for m in segment.mentions)
    if any(m.attribute == "heart-subject" for m in segment.mentions):
        return True
    if clear.surface.lower() != "unremarkable":
        return False
    known = {i for m in segment.mentions for i in range(m.first, m.last + 1)}
    plain = {*onto.language["question_words"], *onto.language["study_words"], "otherwise", "and"}
    before = range(segment.first, clear.first)
    return any(i not in known and words[i].text not in plain for i in before)


def _belongs(mention: Mention, head: Mention | None) -> bool:
    """Whether a detail belongs to the head: a number precedes it, a site needs a named finding."""
    if mention.attribute == "number":
        return head is not None and 0 < head.first - mention.last <= _MAX_GAP
    if mention.attribute == "site":
        return head is not None and not head.first <= mention.first <= head.last
    return True


def _narrow(words: Sequence[Word], segment: Segment, head: Mention, onto: Ontology) -> bool:
    """Whether a denial in general terms is about something narrower ("no bony abnormality")."""
    if not onto.findings[head.value].generic:
        return False
    cues = [m.last for m in segment.mentions if m.attribute == "negation" and m.last < head.first]
    recognised = {i for m in segment.mentions for i in range(m.first, m.last + 1)}
    before = range(max(cues, default=segment.first - 1) + 1, head.first)
    modifiers = set(onto.language["general_modifiers"])
    if not cues:  # "no effusion or any other abnormality"
        modifiers |= {"or", "nor", "and", "other"}
    if any(i not in recognised and words[i].text not in modifiers for i in before):
        return True
    clause = range(clause_start(words, head.first), clause_stop(words, head.last))
    organs = set(onto.language["general_organs"])
    return any(
        m.attribute == "organ" and m.value not in organs and m.first in clause
        for m in segment.mentions
    )


def _study(
    words: Sequence[Word], segment: Segment, statements: Sequence[Statement], onto: Ontology
) -> list[Mention]:
    """A segment's mentions about the study; the heart, if a statement is about it, is no organ,
    and neither is a landmark ("below the liver")."""
    heart = any(statement.subject == "heart" for statement in statements)
    landmarks = [m.last for m in segment.mentions if m.attribute == "landmark"]
    denials = [m for m in segment.mentions if m.attribute == "negation" and m.value == "not"]
    denied = {i for m in denials for i in range(clause_start(words, m.first), m.first)}
    return [
        _denied(m) if m.attribute == "organ" and m.first in denied else m
        for m in _about_study(segment, heart, landmarks, onto)
    ]


def _denied(mention: Mention) -> Mention:
    """An organ in a clause with a "not" is not claimed: "the lungs do not appear in pairs"."""
    return replace(mention, negated=True)


def _about_study(
    segment: Segment, heart: bool, landmarks: Sequence[int], onto: Ontology
) -> list[Mention]:
    return [
        m
        for m in segment.mentions
        if m.attribute in onto.attributes
        and onto.attributes[m.attribute].about == "study"
        and not (heart and m.attribute == "organ" and m.value == "heart")
        and not (m.attribute == "organ" and any(0 < m.first - i <= _MAX_GAP for i in landmarks))
    ]


def _heart_state(segment: Segment, subject: str) -> Mention | None:
    """The state of the heart, negation applied, if the clause is about the heart."""
    about_heart = any(m.attribute.startswith("heart-") for m in segment.heads)
    if not about_heart and (subject != "heart" or segment.heads):
        return None
    for role, value in (("finding", "enlarged"), ("enlarged", "enlarged"), ("normal", "normal")):
        for m in segment.mentions:
            if m.attribute == "heart-" + role:
                other = "normal" if value == "enlarged" else "enlarged"
                return replace(m, attribute="heart", form=role, value=other if m.negated else value)
    return None
