"""The facts that a question and its reference establish together.

"Yes" to "Is the lesion on the left?" means the same as "The lesion is on the left.": a yes or
no is turned into the statement it stands for, so that all texts are compared in the same way.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from medray.editing.language.text import Mention, mentions, sentences
from medray.editing.ontology.lexicon import WORD, Ontology, ontology, phrase_words
from medray.editing.reading.claims import ParsedText, Statement, read, subject_of
from medray.editing.reading.compare import compare_statements, compare_study
from medray.editing.reading.echo import echo
from medray.editing.reading.options import Option, chosen_option, options, stem_of
from medray.editing.reading.question import opposite_word
from medray.editing.reading.ranking import Ranking, ranked, ranking

_TO_SUBJECT = 2  # words: "is the"
_PREDICATE = 2  # words behind "right": "lung normal"


@dataclass(frozen=True, slots=True)
class Proposition:
    """What "Yes" to a closed question would assert about `attribute`."""

    attribute: str
    statement: Statement | None = None
    study: Mention | None = None

    @property
    def error_type(self) -> str:
        """The type of error of a wrong yes or no."""
        if self.attribute == "heart":
            return "attribute"
        attribute = ontology().attributes.get(self.attribute)
        return attribute.error_type if attribute else "presence"

    def implied(self, word: bool) -> tuple[tuple[Statement, ...], tuple[Mention, ...]]:
        """What a yes (True) or a no (False) states about findings and about the study."""
        if self.study is not None:
            return (), (self.study if word else replace(self.study, negated=True),)
        assert self.statement is not None
        if word:
            return (self.statement,), ()
        if self.attribute == "presence":
            return (replace(self.statement, polarity=not self.statement.polarity),), ()
        if self.attribute == "heart" and self.statement.head is not None:
            other = "normal" if self.statement.head.value == "enlarged" else "enlarged"
            return (replace(self.statement, head=replace(self.statement.head, value=other)),), ()
        details = tuple(
            _not(m) if m.attribute == self.attribute else m for m in self.statement.details
        )
        return (replace(self.statement, details=details),), ()


@dataclass(frozen=True, slots=True)
class Facts:
    """The known side of a comparison, mainly from the text `reference`. If the question asks for a
    `ranking`, `ranked` is the option that comes first, "" if unknown. `report`: the reference
    describes an image in several statements; what it does not mention is unknown. Of a
    multiple-choice question `question` is the part before its `options`, and the reference is the
    text of the `option` that is right."""

    question: str
    reference: ParsedText
    word: bool | None
    proposition: Proposition | None
    statements: tuple[Statement, ...]
    study: tuple[Mention, ...]
    ranking: Ranking | None = None
    ranked: str = ""
    report: bool = False
    options: tuple[Option, ...] = ()
    option: Option | None = None


def facts(question: str, reference: str) -> Facts:
    """Everything the reference states as an answer to the question."""
    listed = options(question)
    right = chosen_option(reference, listed) if listed else None
    question = stem_of(question)
    reference = right.text if right else _without_echo(question, reference)
    parsed = read(reference, subject=subject_of(question))
    proposal = proposition(question)
    word = parsed.word
    if word is None and proposal is not None and " or " not in question.lower():
        word = _implied_word(proposal, parsed)
    if word is None and (opposite := opposite_word(question, reference)) is not None:
        word = opposite[0]
    if word is None and (echoed := echo(question, reference)) is not None:
        word = echoed.word
    query = ranking(question)
    first = ranked(query, reference) if query else None
    statements, study = parsed.statements, parsed.study
    if word is not None and proposal is not None:
        more, more_study = proposal.implied(word)
        statements, study = (*statements, *more), (*study, *more_study)
    first_option = first.option if first else ""
    report = parsed.word is None and _is_report(question, parsed)
    return Facts(
        question,
        parsed,
        word,
        proposal,
        statements,
        study,
        query,
        first_option,
        report,
        listed,
        right,
    )


def _is_report(question: str, reference: ParsedText) -> bool:
    """Whether a reference is a description of its own and not a list of what is asked for."""
    several = len({s.sentence for s in reference.statements}) > 1 or reference.n_sentences > 1
    return several or (len(reference.statements) > 1 and not asks_what(question))


def _without_echo(question: str, text: str) -> str:
    """The last paragraph of a text that starts by repeating the question, else the text."""
    echo = phrase_words(question)
    words = list(WORD.finditer(text))
    lead = 1 if words and words[0].group().lower() == "question" else 0
    opening = tuple(word.group().lower() for word in words[lead : lead + len(echo)])
    if not echo or opening != echo or len(words) == lead + len(echo):
        return text
    rest = text[words[lead + len(echo) - 1].end() :].lstrip("?.: \t")
    return re.split(r"\n\s*\n", rest.strip())[-1].strip()


@functools.lru_cache(maxsize=4096)
def proposition(question: str) -> Proposition | None:
    """What a closed question asks to confirm; None for open ones and those not understood."""
    onto = ontology()
    parts = sentences(question)
    while len(parts) > 1 and parts[-1][0].text in onto.language["questions"]["requests"]:
        parts.pop()  # "Is there a mass? Explain."
    if not parts:
        return None
    words = parts[-1]
    asks = {w.text for i, w in enumerate(words) if i == 0 or w.after_comma}
    if not asks & set(onto.language["questions"]["closed"]):
        return None
    question = question[: words[-1].end]
    parsed = read(question, subject=subject_of(question))
    in_question = mentions(question, words, onto)
    question_words = {word.text for word in words}
    if any(m.attribute == "negation" for m in in_question) or (
        "or" in question_words and _offers_choice(in_question, onto)
    ):
        return None
    stated = (*parsed.statements, *parsed.uncertain)  # "Could this be a nodule?" asks for it
    if len(stated) == 1:
        return _of_statement(replace(stated[0], core=""), question_words, question, onto)
    if stated:
        return None
    study = [
        m
        for m in parsed.study
        if not onto.attributes[m.attribute].short_only and not _is_subject(question, m)
    ]
    if len({m.attribute for m in study}) == 1:
        return Proposition(study[0].attribute, study=study[0])
    return None


def _is_subject(question: str, mention: Mention) -> bool:
    """Whether a question is about what it mentions: the CT of "Does this CT show contrast?"."""
    before = phrase_words(question[: mention.start])[-1:]
    following = phrase_words(question[mention.end :])
    return before in (("this",), ("the",), ("these",)) and len(following) > 1


@functools.lru_cache(maxsize=4096)
def asks_for(question: str, attribute: str) -> bool:
    """Whether the question has a phrase that makes a `short_only` attribute comparable."""
    normalised = f" {' '.join(w.text for s in sentences(question) for w in s)} "
    return any(
        f" {phrase} " in normalised for phrase in ontology().attributes[attribute].short_only
    )


@functools.lru_cache(maxsize=1024)
def asks_what(question: str) -> bool:
    """Whether the question asks which findings there are."""
    words = {w.text for s in sentences(question) for w in s}
    language = ontology().language["questions"]
    return bool(words & set(language["what"])) and bool(words & set(language["found"]))


def _of_statement(
    statement: Statement, question_words: set[str], question: str, onto: Ontology
) -> Proposition | None:
    if statement.subject == "heart":
        return Proposition("heart", statement)
    attributes = list(dict.fromkeys(m.attribute for m in statement.details))
    if len(attributes) > 1:  # "in the left kidney" asks for the side
        attributes = [name for name in attributes if name != "site"]
    asks_presence = bool(question_words & set(onto.language["questions"]["presence"]))
    if statement.head is None and _of_subject(question, statement.details):
        return None  # "Is the right lung normal in size?" does not ask for the side
    if statement.head is None:
        sure = len(attributes) == 1 and not asks_presence  # "Is the cerebellum present?"
        return Proposition(attributes[0], statement) if sure else None
    before = phrase_words(question[: statement.head.start])[-1:]
    definite = bool(before) and before[0] in ("the", "this", "that", "these", "those")
    if definite and not attributes and not asks_presence and statement.head.form != "":
        return None  # "Is the mass homogeneous?": a no does not deny the mass
    if (asks_presence and not definite) or not attributes:
        return Proposition("presence", statement)
    return Proposition(attributes[0], statement) if len(attributes) == 1 else None


def _of_subject(question: str, details: Sequence[Mention]) -> bool:
    """Whether an attribute describes the subject of a question, and its predicate follows."""
    before = phrase_words(question[: details[0].start]) if details else ()
    following = phrase_words(question[details[-1].end :]) if details else ()
    subject = 0 < len(before) <= _TO_SUBJECT and before[-1] in ("is", "are", "the", "does", "do")
    return subject and len(following) >= _PREDICATE


def _offers_choice(in_question: Sequence[Mention], onto: Ontology) -> bool:
    """ "left or right", "CT or MRI": a choice between values, not a yes/no question."""
    values = {(m.attribute, m.value) for m in in_question if m.attribute in onto.attributes}
    return len(values) > len({attribute for attribute, _ in values})


def _not(mention: Mention) -> Mention:
    """What a "no" to this value means: the other value if there are only two."""
    attribute = ontology().attributes[mention.attribute]
    other = attribute.other(mention.value)
    if other is None or mention.form not in attribute.forms[other]:
        return replace(mention, negated=True)
    return replace(mention, value=other, surface=attribute.forms[other][mention.form])


def _implied_word(proposal: Proposition, parsed: ParsedText) -> bool | None:
    """The yes or no that a reference without one implies."""
    statements, study = proposal.implied(True)
    comparisons = compare_statements(statements, parsed.statements)
    comparisons += compare_study(study, parsed.study, ontology())
    relevant = (
        {proposal.attribute, "kind"} if proposal.attribute == "presence" else {proposal.attribute}
    )
    if any(not c.agrees for c in comparisons if c.attribute in relevant):
        return False
    return True if any(c.attribute in relevant for c in comparisons) else None
