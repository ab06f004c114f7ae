"""How a text answers its question without naming a finding: "normal" when asked whether something
looks abnormal, or a denial of what the question takes for granted."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from medray.editing.base import Change
from medray.editing.language.grammar import match_case
from medray.editing.language.text import stem
from medray.editing.ontology.lexicon import Ontology, ontology, phrase_words
from medray.editing.reading.claims import ParsedText, Statement, read
from medray.editing.reading.compare import Comparison

_SENTENCE = re.compile(r"[^.!?;\n]+[.!?;]?")
_DIRECTION = re.compile(r"\s+(?:to|towards?)\s+the\s+(?:left|right)\b", re.IGNORECASE)
_NOT = re.compile(r"\b(?:no|not|nor|neither|never|without|nothing)\b|n['’]t\b", re.IGNORECASE)


def opposite_word(question: str, text: str) -> tuple[bool, Change] | None:
    """The yes or no that a text implies by a word of the question or its opposite, and the change
    that reverses it; None if it has neither or both.

    >>> opposite_word("Does the brain look abnormal?", "The brain appears to be normal.")
    (False, Change(start=24, end=30, text='abnormal'))
    """
    words = phrase_words(question)
    if not words or words[0] not in ontology().language["questions"]["closed"] or "or" in words:
        return None
    pairs = [
        (word, pair[1 - i])
        for pair in ontology().language["opposites"]
        for i, word in enumerate(pair)
        if word in words
    ]
    if len({word for word, _ in pairs}) != 1 or any(other in words for _, other in pairs):
        return None
    word = pairs[0][0]
    language = ontology().language
    about = set(words) - {word} - set(language["question_words"])
    about = about or set(language["study_words"])
    for sentence in _SENTENCE.finditer(text):
        in_sentence = set(phrase_words(sentence.group()))
        opposed = [pair for pair in pairs if pair[1] in in_sentence]
        if not about & in_sentence or (word in in_sentence) == bool(opposed):
            continue
        old, new = (word, pairs[0][1]) if word in in_sentence else (opposed[0][1], word)
        match = re.compile(rf"\b{old}\b", re.IGNORECASE).search(text, *sentence.span())
        denied = _NOT.search(sentence.group()) or _hedge().search(sentence.group())
        if match is not None and not denied:
            end = match.end()
            direction = _DIRECTION.match(text, end)
            if direction is not None and old == "deviated":
                end = direction.end()  # "deviated to the right" is one value
            return word in in_sentence, Change(match.start(), end, match_case(match.group(), new))
    return None


def compare_opposite(question: str, word: bool | None, text: str) -> list[Comparison]:
    """Compares an answer without a yes or no with the known one."""
    implied = opposite_word(question, text) if word is not None else None
    if implied is None:
        return []
    return [Comparison(implied[0] == word, "opposite", "presence", change=implied[1])]


def compare_normal(question: str, word: bool | None, answer: ParsedText) -> list[Comparison]:
    """Compares a normal study with the known yes or no to "Is it abnormal?" or "Is it normal?"."""
    language = ontology().language
    words = phrase_words(question)
    if word is None or not words or words[0] not in language["questions"]["closed"]:
        return []
    abnormal = bool(set(words) & set(language["asks_abnormal"]))
    normal = bool(set(words) & set(language["asks_normal"]))
    denials = [s for s in answer.statements if s.head and not s.polarity]
    general = [s for s in denials if s.head and s.head.value == "abnormality"]
    if {"lung", "lungs"} & set(words):
        general += [s for s in denials if s.head and s.head.form == ""]  # "normal lungs"
    general += [
        s
        for s in answer.narrow
        if not s.polarity and {stem(w) for w in words} & {stem(w) for w in _subject(answer, s)}
    ]
    asserted = any(s.polarity and s.head for s in answer.statements if s.subject == "lesion")
    if abnormal == normal or _NOT.search(question):
        return []
    if asserted or any(s.head and s.head.value == "enlarged" for s in answer.statements):
        found = next(s for s in answer.statements if s.polarity and s.head)
        of_image = abnormal and not any(m.attribute == "organ" for m in read(question).study)
        if not of_image or general or word:
            return []
        return [Comparison(False, "opposite", "presence", found, found.head)]
    if not general:
        return []
    return [Comparison(normal == word, "opposite", "presence", general[0], general[0].head)]


def compare_presupposed(
    question: str, reference: ParsedText, answer: ParsedText
) -> list[Comparison]:
    """Whether an answer denies what the question takes for granted and the reference states.

    "What symptoms will it bring?" "None." is contradicted by a reference that lists some.
    """
    words = phrase_words(question)
    text, known = answer.text, reference.text.strip()
    if not known or not words:
        return []
    if words[0] in ontology().language["questions"]["closed"]:
        return []
    comparisons = _denies_the_asked(words, question, known, answer)
    for name, entry in ontology().language["presupposed"].items():
        if not set(words) & set(entry["asks"]):
            continue
        denials = list(_denials(tuple(entry["denied"]), text))
        if not denials or (name == "abnormality" and _partly(reference, answer)):
            continue
        if list(_denials(tuple(entry["denied"]), known)):
            comparisons.append(Comparison(True, "presupposed", "presence"))
            continue
        start, end = denials[0].start(), denials[-1].end()
        start += len(text[start:end]) - len(text[start:end].lstrip())
        new = known
        if text[start:end].endswith(".") and new[-1:].isalnum():
            new += "."
        comparisons.append(
            Comparison(False, "presupposed", "presence", change=Change(start, end, new))
        )
    return comparisons


def _subject(answer: ParsedText, statement: Statement) -> list[str]:
    """The words for the organs that a narrow denial is about."""
    inside = (m for m in answer.study if statement.start <= m.start < statement.end)
    return [w for m in inside if m.attribute == "organ" for w in phrase_words(m.surface)]


def _denies_the_asked(
    words: tuple[str, ...], question: str, known: str, answer: ParsedText
) -> list[Comparison]:
    """Whether an answer denies the finding whose place is asked for: "Where is the effusion?"."""
    onto = ontology()
    if not set(words) & set(onto.language["asks_place"]) or _NOT.search(known):
        return []
    asked_for = read(question, "lesion").statements
    if len(asked_for) != 1 or asked_for[0].head is None:
        return []
    head = asked_for[0].head
    for s in answer.statements:
        if s.head is None or s.subject != asked_for[0].subject:
            continue
        denied = (
            s.head.value == "normal" if s.subject == "heart" else _denies_kind(s, head.value, onto)
        )
        if denied:
            change = Change(*s.sentence, known if known.endswith(".") else known + ".")
            return [Comparison(False, "presupposed", "presence", change=change)]
    return []


def _denies_kind(statement: Statement, kind: str, onto: Ontology) -> bool:
    return (
        not statement.polarity
        and not statement.details
        and statement.head is not None
        and onto.covers(statement.head.value, kind)
    )


def _partly(reference: ParsedText, answer: ParsedText) -> bool:
    """Whether an answer finds something, or only denies it of organs not in the reference."""
    findings = ontology().findings
    stated = [s.head for s in answer.statements if s.polarity and s.head]
    if any(head.value not in findings or not findings[head.value].generic for head in stated):
        return True
    known, named = (
        {m.value for m in parsed.study if m.attribute == "organ"} for parsed in (reference, answer)
    )
    modalities = {m.value for m in answer.study if m.attribute == "modality"}
    return bool(named) and not modalities and not known & named


def _denials(patterns: tuple[str, ...], text: str) -> Iterator[re.Match[str]]:
    """The sentences of a text that match a denial and have no reservation."""
    denial, reservation = _any_of(patterns), _reservation()
    for sentence in _SENTENCE.finditer(text):
        if denial.search(sentence.group()) and not reservation.search(sentence.group()):
            yield sentence


@functools.cache
def _any_of(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


@functools.cache
def _hedge() -> re.Pattern[str]:
    words = "|".join(map(re.escape, ontology().language["open"]))
    return re.compile(rf"\b(?:{words})\b", re.IGNORECASE)


@functools.cache
def _reservation() -> re.Pattern[str]:
    language = ontology().language
    words = "|".join(map(re.escape, (*language["open"], *language["reserve"])))
    return re.compile(rf"\b(?:{words})\b", re.IGNORECASE)
