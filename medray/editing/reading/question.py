"""What a text says to its question without naming a finding: "normal" where it is asked whether
something looks abnormal, and that there is nothing of what the question takes for granted."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from medray.editing.language.grammar import match_case
from medray.editing.ontology.lexicon import ontology, phrase_words
from medray.editing.reading.claims import Reading
from medray.editing.reading.compare import Outcome

Place = tuple[int, int, str]
_SENTENCE = re.compile(r"[^.!?;\n]+[.!?;]?")
_NOT = re.compile(r"\b(?:no|not|nor|neither|never|without|nothing)\b|n['’]t\b", re.IGNORECASE)


def opposite_word(question: str, text: str) -> tuple[bool, Place] | None:
    """The yes or no that a text amounts to by a word of the question or its opposite, and the
    change that makes it the other; None where neither is said, or both are.

    >>> opposite_word("Does the brain look abnormal?", "The brain appears to be normal.")
    (False, (24, 30, 'abnormal'))
    """
    asked = phrase_words(question)
    if not asked or asked[0] not in ontology().language["questions"]["closed"] or "or" in asked:
        return None
    pairs = [
        (word, pair[1 - i])
        for pair in ontology().language["opposites"]
        for i, word in enumerate(pair)
        if word in asked
    ]
    if len({word for word, _ in pairs}) != 1 or any(other in asked for _, other in pairs):
        return None
    word = pairs[0][0]
    language = ontology().language
    about = set(asked) - {word} - set(language["question_words"])
    about = about or set(language["study_words"])
    for sentence in _SENTENCE.finditer(text):
        said = set(phrase_words(sentence.group()))
        found = [pair for pair in pairs if pair[1] in said]
        if not about & said or (word in said) == bool(found):
            continue
        old, new = (word, pairs[0][1]) if word in said else (found[0][1], word)
        match = re.compile(rf"\b{old}\b", re.IGNORECASE).search(text, *sentence.span())
        if match is not None and not _NOT.search(text, sentence.start(), match.start()):
            return word in said, (*match.span(), match_case(match.group(), new))
    return None


def compare_opposite(question: str, word: bool | None, text: str) -> list[Outcome]:
    """An answer without a yes or no against the known one."""
    said = opposite_word(question, text) if word is not None else None
    if said is None:
        return []
    return [Outcome(said[0] == word, "opposite", "presence", change=said[1])]


def compare_presupposed(question: str, reference: Reading, answer: Reading) -> list[Outcome]:
    """Whether an answer denies what the question takes for granted and the reference tells.

    "What symptoms will it bring?" "None." is contradicted by a reference that lists some.
    """
    asked = phrase_words(question)
    text, told = answer.text, reference.text.strip()
    if not told or not asked:
        return []
    if asked[0] in ontology().language["questions"]["closed"]:
        return []
    outcomes = []
    for name, thing in ontology().language["presupposed"].items():
        if not set(asked) & set(thing["asks"]):
            continue
        said = list(_denials(tuple(thing["denied"]), text))
        if not said or (name == "abnormality" and _partly(reference, answer)):
            continue
        if list(_denials(tuple(thing["denied"]), told)):
            outcomes.append(Outcome(True, "presupposed", "presence"))
            continue
        start, end = said[0].start(), said[-1].end()
        start += len(text[start:end]) - len(text[start:end].lstrip())
        new = told
        if text[start:end].endswith(".") and new[-1:].isalnum():
            new += "."
        outcomes.append(Outcome(False, "presupposed", "presence", change=(start, end, new)))
    return outcomes


def _partly(reference: Reading, answer: Reading) -> bool:
    """Whether an answer finds something, or only denies it of organs that are not meant."""
    if any(s.polarity and s.head for s in answer.statements):
        return True
    meant, said = (
        {m.value for m in reading.study if m.attribute == "organ"}
        for reading in (reference, answer)
    )
    named = {m.value for m in answer.study if m.attribute == "modality"}
    return bool(said) and not named and not meant & said


def _denials(patterns: tuple[str, ...], text: str) -> Iterator[re.Match[str]]:
    """The sentences of a text that deny a thing, without reserve."""
    cue, reserve = _any_of(patterns), _reserve()
    for sentence in _SENTENCE.finditer(text):
        if cue.search(sentence.group()) and not reserve.search(sentence.group()):
            yield sentence


@functools.cache
def _any_of(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


@functools.cache
def _reserve() -> re.Pattern[str]:
    language = ontology().language
    words = "|".join(map(re.escape, (*language["open"], *language["reserve"])))
    return re.compile(rf"\b(?:{words})\b", re.IGNORECASE)
