"""The LLM editor: the model's verdict and replacements, applied by us and checked before use."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from medray.config import EditorConfig
from medray.editing.final_answer import cut_final_answer
from medray.editing.llm import check, prompts
from medray.editing.llm.chat import Chat
from medray.editing.llm.completion import Completer, Dialogue, converse
from medray.editing.llm.exam import Exam
from medray.editing.llm.judges import score
from medray.editing.llm.replies import EditReply, VerdictReply
from medray.editing.llm.task import EditTask, JudgedEdit
from medray.errors import ItemError
from medray.records import Edit

BATCH_SECONDS = 1200.0  # per call; what is not finished by then is dropped, with its reason

T = TypeVar("T")


class LLMEditor:
    """A language model as the editor, wherever its completions come from.

    `edit` raises ItemError if the model gives no reply or one that does not pass the checks, and
    abstains if the model cannot tell, finds no variant, or the guard refuses its edit. `strict`:
    only what the rules confirm is accepted, so that it has to be English, else also what they do
    not understand and the model confirms. The model sees the final answer of a marked one. A model
    that is served here, or that is strictly checked, sits an exam first: if it fails, none of its
    edits is used. Requests are sent with temperature 0; with a cache, the same arguments give the
    same result.
    """

    name = "llm"

    def __init__(self, config: EditorConfig, completer: Completer, *, strict: bool = False) -> None:
        model = config.path or config.model
        assert model is not None
        self.config, self.model, self.strict = config, model, strict
        self.version = f"2 model={completer.identity(model)} prompts={prompts.version()}"
        self.chat = Chat(config, completer)
        self.exam = Exam(self.chat, model) if strict or completer.constrained else None

    def edit(self, question: str, reference: str, answer: str, *, seed: int) -> Edit:
        """Judge the answer against the reference, and make the other side of the pair.

        No image is sent here: only `edit_many` takes some. `seed` has no effect.
        """
        self.prepare()
        (result,) = self.run([self._edit(EditTask(question, reference, answer, seed))])
        if isinstance(result, ItemError):
            raise result
        return result

    def edit_many(self, tasks: Sequence[EditTask]) -> list[JudgedEdit | ItemError]:
        """One result per task; requests that can go out at the same time do so."""
        if tasks:
            self.prepare()
        return self.run([self.judged(task) for task in tasks])

    def prepare(self) -> None:
        """Have the model sit its exam, once, if it has to: before its edits are asked for."""
        if self.exam is not None:
            self.exam.sit(self.run)

    def run(self, dialogues: Sequence[Dialogue[T]]) -> list[T | ItemError]:
        """The result of each dialogue with the model, in order."""
        until = time.monotonic() + BATCH_SECONDS
        return converse(dialogues, self.chat.completer, until)

    def judged(self, task: EditTask) -> Dialogue[JudgedEdit]:
        """The edit of one answer, and its relevance."""
        edit = yield from self._edit(task)
        return (yield from self.rated(task, edit))

    def rated(self, task: EditTask, edit: Edit) -> Dialogue[JudgedEdit]:
        """An edit, whoever made it, with its relevance if there are judges."""
        if edit.verdict == "abstain" or not self.config.judges:
            return JudgedEdit(edit)
        check.require_anonymous(task)
        correct, incorrect = _sides(task.answer, edit)
        pair = {
            "question": task.question,
            "reference": task.reference,
            "correct": correct,
            "incorrect": incorrect,
        }
        relevance = yield from score(self.chat, self.config.judges, pair)
        return JudgedEdit(edit, relevance.value, relevance.note)

    def _edit(self, task: EditTask) -> Dialogue[Edit]:
        if self.exam is not None and self.exam.refusal is not None:
            raise self.exam.refusal
        check.require_anonymous(task)
        cut = cut_final_answer(task.question, task.reference, task.answer, english=self.strict)
        if isinstance(cut, Edit):
            return cut
        words = replace(task, reference=cut.reference, answer=cut.part.text)
        return cut.restored((yield from self._edit_words(words)))

    def _edit_words(self, task: EditTask) -> Dialogue[Edit]:
        """The edit of an answer without thoughts and marks."""
        images = task.images if self.config.send_image else ()
        inputs = _texts(task, task.answer)
        reply = yield from self.chat.ask(self.model, "edit", inputs, EditReply, images=images)
        if reply.verdict == "cannot-tell":
            return Edit("abstain", reason="llm-cannot-tell")
        if reply.verdict == "right" and not reply.replacements:
            return Edit("abstain", reason="no-variant")
        edit = check.checked_edit(
            reply.verdict, task.answer, reply.replacements, self.config.max_edit_fraction
        )
        return (yield from self._accepted(task, edit))

    def _accepted(self, task: EditTask, edit: Edit) -> Dialogue[Edit]:
        """What the rules, the guard and, if they do not understand it, the model accept of it."""
        result = check.by_rules(task.question, task.reference, task.answer, edit)
        if result == "fails":
            raise _failure(edit)
        sure = check.guarded(task, edit)
        complete = sum(len(s.answer_spans) for s in sure.sentences) == len(edit.answer_spans)
        if self.strict or (result == "holds" and complete):
            return sure
        yield from self._verify(task, edit)
        return check.guarded(task, edit, verified=True)

    def _verify(self, task: EditTask, edit: Edit) -> Dialogue[None]:
        """Require that the model agrees with the chosen side and contradicts the rejected one.

        It reads each by itself and does not know which is which: a model that calls everything
        right, or wrong, confirms nothing.
        """
        new = "right" if edit.verdict == "wrong" else "wrong"
        if not (yield from self._reads_as(new, task, edit.text)):
            raise _failure(edit)
        if not (yield from self._reads_as(edit.verdict, task, task.answer)):
            raise ItemError("llm-disagrees", "read by itself, the answer is judged otherwise")

    def _reads_as(self, verdict: str, task: EditTask, text: str) -> Dialogue[bool]:
        """Whether the model, given nothing but the texts, calls `text` that."""
        inputs = _texts(task, text)
        reply = yield from self.chat.ask(self.model, "verify", inputs, VerdictReply)
        return reply.verdict == verdict


def _texts(task: EditTask, answer: str) -> dict[str, str]:
    return {"question": task.question, "reference": task.reference, "answer": answer}


def _sides(answer: str, edit: Edit) -> tuple[str, str]:
    """(correct, incorrect); up to the worst sentence, if not all of the edit is sure."""
    other = edit.text
    if not other:
        worst = edit.sentences[0]
        answer, other = answer[: worst.end], answer[: worst.start] + worst.text
    return (answer, other) if edit.verdict == "right" else (other, answer)


def _failure(edit: Edit) -> ItemError:
    if edit.verdict == "wrong":
        return ItemError("llm-still-wrong", "the corrected answer does not agree")
    return ItemError("llm-variant-not-wrong", "the variant is not wrong, or the answer is")
