"""The one way into every editor: what it may read, and where its edit belongs in the answer.

Only the final answer is judged and edited, in its own words; thoughts and marks stay as they are.
An edit that the thought before it contradicts is none.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from medray.editing.language.english import endless, is_english, too_long
from medray.editing.language.markup import (
    Unmarked,
    final_answer,
    final_text,
    unmarked,
    words_around,
)
from medray.editing.ontology.lexicon import ontology, phrase_words
from medray.editing.reading.facts import facts
from medray.editing.reading.judge import judge
from medray.records import Edit, EditedSentence, Span

_SENTENCE = re.compile(r"[^.!?;\n]+[.!?;]?")
_OPEN = re.compile(  # what is considered, not concluded
    r"\?|\b(?:wait|hmm|but|however|or|if|whether|maybe|perhaps|might|may|could|would|should|first|"
    r"initially|consider|let|check|look|possibl[ey]|options?)\b",
    re.IGNORECASE,
)
_POLARITY = frozenset(
    {"no", "not", "yes", "without", "never", "none", "any", "is", "are", "does", "do"}
)
_Side = tuple[str, int, str, Sequence[Span], Sequence[Span]]
# (question, reference, answer, first character that may be edited) → edit
EditText = Callable[[str, str, str, int], Edit]


@dataclass(frozen=True, slots=True)
class FinalAnswer:
    """What an editor reads of an answer: `part`, its final answer's words; `reference` without
    thoughts and marks; `around`, the words before and behind; `start`, the first character of the
    words that may be edited."""

    question: str
    reference: str
    answer: str
    part: Unmarked
    around: tuple[str, str]
    start: int

    def restored(self, edit: Edit) -> Edit:
        """An edit of the words as one of the answer as it is, or an abstention.

        `text-behind`: text follows the final answer, and no sentence of it can be edited alone;
        `markup`: every edit would break a mark. An edit is refused for pairs as
        `thought-contradicts` if the text around the final answer states what the edit denies.
        """
        if self.part.text == self.answer or edit.verdict == "abstain":
            return edit
        placed = _placed(self.answer, self.part, edit)
        if any(_contradicts(text, self, edit) for text in self.around):
            return replace(placed, sentences=(), refusal="thought-contradicts")
        if self.around[1]:  # what stands behind the answer was not edited with it
            placed = replace(placed, text="", answer_spans=(), text_spans=())
        if placed.text or placed.sentences:
            return placed
        return Edit("abstain", reason="text-behind" if self.around[1] else "markup")


def cut_final_answer(
    question: str, reference: str, answer: str, *, start: int = 0, english: bool
) -> FinalAnswer | Edit:
    """What an editor reads of an answer, or an abstention.

    Nothing before the character `start` of the answer may be edited. `english`: whether the editor
    reads English only. `too-long`: a text or a sentence of it is longer than any should be;
    `no-final-answer`: nothing follows a thought or a heading; `language`: a text is not English.
    """
    if too_long(question, reference, answer) or endless(question, reference, answer):
        return Edit("abstain", reason="too-long")
    found = final_answer(answer)
    if found is None:
        return Edit("abstain", reason="no-final-answer")
    part = unmarked(answer, *found)
    around = words_around(answer, *found)
    known = final_text(reference) or reference
    if english and not all(map(is_english, (question, known, part.text, *around))):
        return Edit("abstain", reason="language")
    first = bisect_left(part.places, start, 0, len(part.text))
    return FinalAnswer(question, known, answer, part, around, first)


def edit_final_answer(
    edit: EditText, question: str, reference: str, answer: str, *, start: int = 0, english: bool
) -> Edit:
    """The edit that `edit` makes of the final answer, with ranges of the answer as it is."""
    cut = cut_final_answer(question, reference, answer, start=start, english=english)
    if isinstance(cut, Edit):
        return cut
    return cut.restored(edit(question, cut.reference, cut.part.text, cut.start))


def _contradicts(text: str, cut: FinalAnswer, edit: Edit) -> bool:
    """Whether a thought states what the chosen side denies.

    A right answer stands as it was sampled: only the conclusion before it counts. A corrected one
    stands behind a thought that led to the error, so that nothing of the error may be in it.
    """
    if not text:
        return False
    if not all(map(is_english, (cut.question, cut.reference, text))):
        return edit.verdict == "wrong"  # the thought cannot be read: it may have led to the error
    known = facts(cut.question, cut.reference)
    concluded = [s for s in _SENTENCE.findall(text) if not _OPEN.search(s)]
    verdicts = [judge(sentence, known, same_slot=False).verdict for sentence in concluded]
    decided = [verdict for verdict in verdicts if verdict != "abstain"]
    if edit.verdict == "right":
        return decided[-1:] == ["wrong"]
    if "wrong" in decided or judge(text, known, same_slot=False).verdict == "wrong":
        return True
    removed, new = _changed_words(cut.part.text, edit)
    stated = set(phrase_words(text))
    if removed & stated - _POLARITY:
        return True
    only_denied = not removed - _POLARITY and not new - _POLARITY
    subject = set(phrase_words(f"{cut.question} {cut.part.text}")) - _POLARITY - _function_words()
    return only_denied and "right" not in decided and bool(subject & stated)


def _changed_words(answer: str, edit: Edit) -> tuple[set[str], set[str]]:
    """The words that an edit removes, and those that it puts in, without those on both sides."""
    removed: set[str] = set()
    new: set[str] = set()
    for text, start, result, spans, placed in _sides(answer, edit):
        for old, span in zip(spans, placed, strict=True):
            removed |= set(phrase_words(text[start + old.start : start + old.end]))
            new |= set(phrase_words(result[span.start : span.end]))
    common = removed & new
    return removed - common, new - common


def _sides(answer: str, edit: Edit) -> Iterator[_Side]:
    """(text, where it starts in the answer, its other side, spans of both)."""
    for sentence in edit.sentences:
        spans = sentence.answer_spans, sentence.text_spans
        yield answer, sentence.start, sentence.text, *spans
    if edit.text:
        yield answer, 0, edit.text, edit.answer_spans, edit.text_spans


def _function_words() -> frozenset[str]:
    language = ontology().language
    return frozenset({*language["question_words"], *language["study_words"], "this", "and", "with"})


def _placed(answer: str, part: Unmarked, edit: Edit) -> Edit:
    """An edit of the unmarked words as one of the answer; what would break a mark is left out."""
    moved = _moved(answer, part, edit.text, edit.answer_spans, edit.text_spans)
    rebuilt = _rebuilt(answer, 0, len(answer), *moved) if edit.text and moved else None
    text, old, new = rebuilt or ("", (), ())
    sentences = [_placed_sentence(answer, part, sentence) for sentence in edit.sentences]
    kept = tuple(sentence for sentence in sentences if sentence is not None)
    if sentences and not kept:  # no sentence of it is sure, so neither is the answer
        text, old, new = "", (), ()
    return replace(edit, text=text, answer_spans=old, text_spans=new, sentences=kept)


def _placed_sentence(answer: str, part: Unmarked, edited: EditedSentence) -> EditedSentence | None:
    """A sentence with the marks that touch it: "**Yes**, a nodule." begins with its asterisks."""
    shift = edited.start
    spans = [replace(s, start=s.start + shift, end=s.end + shift) for s in edited.answer_spans]
    source = part.text[edited.start : edited.end]
    if _applied(source, edited.text, edited.answer_spans, edited.text_spans) != edited.text:
        return None
    moved = _moved(answer, part, edited.text, spans, edited.text_spans)
    if moved is None:
        return None
    start, end = part.with_marks(answer, edited.start, edited.end)
    text, old, new = _rebuilt(answer, start, end, *moved)
    return replace(edited, start=start, end=end, text=text, answer_spans=old, text_spans=new)


def _moved(
    answer: str, part: Unmarked, text: str, spans: Sequence[Span], placed: Sequence[Span]
) -> tuple[list[Span], list[str]] | None:
    """Spans of the unmarked words as spans of the answer, and the texts that replace them."""
    moved = []
    for span in spans:
        place = part.place(span.start, span.end)
        if place is None:
            return None
        moved.append(replace(span, start=place[0], end=place[1]))
    return moved, [text[span.start : span.end] for span in placed]


def _rebuilt(
    answer: str, start: int, end: int, spans: Sequence[Span], texts: Sequence[str]
) -> tuple[str, tuple[Span, ...], tuple[Span, ...]]:
    """answer[start:end] with the spans replaced, and the spans of both sides, from its start."""
    parts, position, length = [], start, 0
    old, new = [], []
    for span, text in zip(spans, texts, strict=True):
        kept = answer[position : span.start]
        length += len(kept)
        old.append(replace(span, start=span.start - start, end=span.end - start))
        new.append(replace(span, start=length, end=length + len(text)))
        parts += [kept, text]
        length += len(text)
        position = span.end
    return "".join([*parts, answer[position:end]]), tuple(old), tuple(new)


def _applied(source: str, text: str, spans: Sequence[Span], placed: Sequence[Span]) -> str:
    """The source with its spans replaced by those of the text."""
    return _rebuilt(source, 0, len(source), spans, [text[s.start : s.end] for s in placed])[0]
