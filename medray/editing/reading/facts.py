"""What a question and its reference together make known.

"Yes" to "Is the lesion on the left?" says as much as "The lesion is on the left.": a yes or
no is turned into the statement it stands for, so that all texts are compared alike.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from medray.editing.language.text import Mention, mentions, sentences
from medray.editing.ontology.lexicon import WORD, Ontology, ontology, phrase_words
from medray.editing.reading.claims import Reading, Statement, read, subject_of
from medray.editing.reading.compare import compare_statements, compare_study
from medray.editing.reading.question import opposite_word
from medray.editing.reading.ranking import Ranking, ranked, ranking


@dataclass(frozen=True, slots=True)
class Proposition:
    """What "Yes" to a closed question would assert; `asked` is the attribute in question."""

    asked: str
    statement: Statement | None = None
    study: Mention | None = None

    @property
    def error_type(self) -> str:
        """The kind of error a wrong yes or no is."""
        if self.asked == "heart":
            return "attribute"
        known = ontology().attributes.get(self.asked)
        return known.error_type if known else "presence"

    def told(self, word: bool) -> tuple[tuple[Statement, ...], tuple[Mention, ...]]:
        """The statement that a yes (True) or a no (False) makes."""
        if self.study is not None:
            return (), (self.study if word else replace(self.study, negated=True),)
        assert self.statement is not None
        if word:
            return (self.statement,), ()
        if self.asked == "presence":
            return (replace(self.statement, polarity=not self.statement.polarity),), ()
        if self.asked == "heart" and self.statement.head is not None:
            other = "normal" if self.statement.head.value == "enlarged" else "enlarged"
            return (replace(self.statement, head=replace(self.statement.head, value=other)),), ()
        details = tuple(_not(m) if m.attribute == self.asked else m for m in self.statement.details)
        return (replace(self.statement, details=details),), ()


@dataclass(frozen=True, slots=True)
class Facts:
    """The known side of a comparison. `reference` is the text it mainly comes from. `ranked`: the
    option that comes first, where the question asks for a `ranking`, "" where that is not told."""

    question: str
    reference: Reading
    word: bool | None
    proposition: Proposition | None
    statements: tuple[Statement, ...]
    study: tuple[Mention, ...]
    ranking: Ranking | None = None
    ranked: str = ""


def facts(question: str, reference: str) -> Facts:
    """Everything the reference says as an answer to the question."""
    reference = _without_echo(question, reference)
    reading = read(reference, subject=subject_of(question))
    proposal = proposition(question)
    word = reading.word
    if word is None and proposal is not None and " or " not in question.lower():
        word = _implied_word(proposal, reading)
    if word is None and (said := opposite_word(question, reference)) is not None:
        word = said[0]
    asked = ranking(question)
    first = ranked(asked, reference) if asked else None
    statements, study = reading.statements, reading.study
    if word is not None and proposal is not None:
        more, more_study = proposal.told(word)
        statements, study = (*statements, *more), (*study, *more_study)
    told = first.option if first else ""
    return Facts(question, reading, word, proposal, statements, study, asked, told)


def _without_echo(question: str, text: str) -> str:
    """What a text says after it has repeated the question: its last paragraph."""
    start = phrase_words(question)
    words = list(WORD.finditer(text))
    lead = 1 if words and words[0].group().lower() == "question" else 0
    said = tuple(word.group().lower() for word in words[lead : lead + len(start)])
    if not start or said != start or len(words) == lead + len(start):
        return text
    rest = text[words[lead + len(start) - 1].end() :].lstrip("?.: \t")
    return re.split(r"\n\s*\n", rest.strip())[-1].strip()


def proposition(question: str) -> Proposition | None:
    """What a closed question asks to be affirmed; None for open ones and those not understood."""
    onto = ontology()
    parts = sentences(question)
    if not parts:
        return None
    words = parts[-1]
    asks = {w.text for i, w in enumerate(words) if i == 0 or w.after_comma}
    if not asks & set(onto.language["questions"]["closed"]):
        return None
    reading = read(question, subject=subject_of(question))
    found = mentions(question, words, onto)
    said = {word.text for word in words}
    if any(m.attribute == "negation" for m in found) or (
        "or" in said and _offers_choice(found, onto)
    ):
        return None
    stated = (*reading.statements, *reading.uncertain)  # "Could this be a nodule?" asks for one
    if len(stated) == 1:
        return _of_statement(replace(stated[0], core=""), said, question, onto)
    if stated:
        return None
    asked = [m for m in reading.study if m.attribute not in ("organ", "count")]
    if len({m.attribute for m in asked}) == 1:
        return Proposition(asked[0].attribute, study=asked[0])
    return None


def asks_for(question: str, attribute: str) -> bool:
    """Whether the question has one of the phrases that make a loose attribute comparable."""
    low = f" {' '.join(w.text for s in sentences(question) for w in s)} "
    return any(f" {phrase} " in low for phrase in ontology().attributes[attribute].short_only)


def asks_what(question: str) -> bool:
    """Whether the question asks which findings there are."""
    words = {w.text for s in sentences(question) for w in s}
    language = ontology().language["questions"]
    return bool(words & set(language["what"])) and bool(words & set(language["found"]))


def _of_statement(
    statement: Statement, said: set[str], question: str, onto: Ontology
) -> Proposition | None:
    if statement.subject == "heart":
        return Proposition("heart", statement)
    attributes = list(dict.fromkeys(m.attribute for m in statement.details))
    if len(attributes) > 1:  # "in the left kidney" asks for the side
        attributes = [name for name in attributes if name != "site"]
    if statement.head is None:
        return Proposition(attributes[0], statement) if len(attributes) == 1 else None
    definite = question[: statement.head.start].lower().rstrip().endswith("the")
    asks_presence = bool(said & set(onto.language["questions"]["presence"]))
    if definite and not attributes and not asks_presence and statement.head.form != "":
        return None  # "Is the mass homogeneous?": a no does not deny the mass
    if (asks_presence and not definite) or not attributes:
        return Proposition("presence", statement)
    return Proposition(attributes[0], statement) if len(attributes) == 1 else None


def _offers_choice(found: Sequence[Mention], onto: Ontology) -> bool:
    """ "left or right", "CT or MRI": a choice between values, not a yes/no question."""
    values = {(m.attribute, m.value) for m in found if m.attribute in onto.attributes}
    return len(values) > len({attribute for attribute, _ in values})


def _not(mention: Mention) -> Mention:
    """What a "no" to this value says: the other value where there are only two."""
    attribute = ontology().attributes[mention.attribute]
    other = attribute.other(mention.value)
    if other is None or mention.form not in attribute.forms[other]:
        return replace(mention, negated=True)
    return replace(mention, value=other, surface=attribute.forms[other][mention.form])


def _implied_word(proposal: Proposition, reading: Reading) -> bool | None:
    """The yes or no that a reference without one amounts to."""
    statements, study = proposal.told(True)
    outcomes = compare_statements(statements, reading.statements)
    outcomes += compare_study(study, reading.study, ontology())
    asked = {proposal.asked, "kind"} if proposal.asked == "presence" else {proposal.asked}
    if any(not o.agrees for o in outcomes if o.attribute in asked):
        return False
    return True if any(o.attribute in asked for o in outcomes) else None
