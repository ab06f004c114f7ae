"""The findings editor: judges by claims, changes only what is wrong, and checks its own result."""

from __future__ import annotations

from collections.abc import Mapping

from medray.editing.correcting import corrected_answer, corrected_sentences
from medray.editing.final_answer import edit_final_answer
from medray.editing.reading.facts import facts
from medray.editing.reading.judge import judge
from medray.editing.sentences import split
from medray.editing.varying import varied
from medray.records import Edit
from medray.seeds import text_stream


class FindingsEditor:
    """Rule-based, offline and deterministic.

    Every edited sentence is read again by the guard: the corrected one must agree with the
    reference, the varied one contradict it. If nothing can be compared, or no sentence is sure, it
    abstains with a reason: empty-answer, not-comparable, uncertain, cannot-rewrite, no-variant.
    Of a wrong answer it may also be the guard's (`guard.REASONS`).

    `prefer` weights the types of error that a wrong variant may contain: a type of twice the
    weight is tried first twice as often. None: all equally often. `same_slot`: also judge by the
    weaker rule that another value in the slot that a question asks for is wrong; the reasons of
    such edits begin with "same slot, other value".

    >>> FindingsEditor().edit("Which side?", "Left", "Right", seed=0).text
    'Left'
    """

    name = "findings"
    version = "10"

    def __init__(
        self, prefer: Mapping[str, float] | None = None, *, same_slot: bool = True
    ) -> None:
        self.prefer, self.same_slot = prefer, same_slot
        if prefer:
            self.version += " aimed"  # its variants differ from those of the plain version

    def edit(
        self, question: str, reference: str, answer: str, *, seed: int, start: int = 0
    ) -> Edit:
        """Judge the final answer against the reference, and make the other side of its sentences.

        Only sentences that begin at or after the character `start` are edited: what stands before
        was not sampled, and is context.
        """

        def edit(question: str, reference: str, answer: str, start: int) -> Edit:
            return self._edit(question, reference, answer, seed, start)

        return edit_final_answer(edit, question, reference, answer, start=start, english=True)

    def _edit(self, question: str, reference: str, answer: str, seed: int, start: int) -> Edit:
        """The edit of an answer without thoughts and marks."""
        known = facts(question, reference)
        judgement = judge(answer, known, same_slot=self.same_slot)
        if judgement.verdict == "abstain":
            return Edit("abstain", reason=judgement.reason)
        parts = split(answer)
        if judgement.verdict == "wrong":
            sentences, reason = corrected_sentences(answer, parts, judgement, known, start)
            return corrected_answer(answer, parts, judgement, known, sentences, reason, start)
        rng = text_stream(seed, question, reference, answer)
        return varied(answer, parts, judgement, known, rng, self.prefer, start)
