"""The LLM editor: the model's verdict and replacements, applied by us and checked before use."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from medray.config import EditorConfig
from medray.editing.llm import check, prompts
from medray.editing.llm.chat import Chat
from medray.editing.llm.judges import score
from medray.editing.llm.replies import EditReply, VerdictReply
from medray.editing.llm.task import EditTask, JudgedEdit
from medray.errors import ItemError
from medray.records import Edit

BATCH_SECONDS = 1200.0  # per call; what is not finished by then is dropped, with its reason


class LLMEditor:
    """Any OpenAI-compatible chat endpoint as the editor.

    `edit` raises ItemError if the endpoint fails or its reply does not pass the checks, and
    abstains if the model cannot tell or finds no variant. Requests are sent with temperature 0;
    with a cache, the same arguments give the same result.
    """

    name = "llm"

    def __init__(self, config: EditorConfig) -> None:
        assert config.model is not None
        self.config, self.model = config, config.model
        self.version = f"1 model={self.model} prompts={prompts.version()}"
        self.chat = Chat(config)

    def edit(self, question: str, reference: str, answer: str, *, seed: int) -> Edit:
        """Judge the answer against the reference, and make the other side of the pair.

        The image is not sent here: only `edit_many` takes one. `seed` has no effect.
        """
        until = time.monotonic() + BATCH_SECONDS
        return self._edit(EditTask(question, reference, answer, seed), until)

    def edit_many(self, tasks: Sequence[EditTask]) -> list[JudgedEdit | ItemError]:
        """One result per task, `editor.concurrency` at a time."""
        until = time.monotonic() + BATCH_SECONDS

        def edit_one(task: EditTask) -> JudgedEdit | ItemError:
            try:
                return self._judged(task, until)
            except ItemError as error:
                return error

        with ThreadPoolExecutor(self.config.concurrency, "llm-editor") as pool:
            return list(pool.map(edit_one, tasks))

    def _judged(self, task: EditTask, until: float) -> JudgedEdit:
        edit = self._edit(task, until)
        if edit.verdict == "abstain" or not self.config.judges:
            return JudgedEdit(edit)
        right = edit.verdict == "right"
        correct, incorrect = (task.answer, edit.text) if right else (edit.text, task.answer)
        pair = {
            "question": task.question,
            "reference": task.reference,
            "correct": correct,
            "incorrect": incorrect,
        }
        relevance = score(self.chat, self.config.judges, pair, until=until)
        return JudgedEdit(edit, relevance.value, relevance.note)

    def _edit(self, task: EditTask, until: float) -> Edit:
        image = task.image if self.config.send_image else None
        inputs = _texts(task, task.answer)
        reply = self.chat.ask(self.model, "edit", inputs, EditReply, image=image, until=until)
        if reply.verdict == "cannot-tell":
            return Edit("abstain", reason="llm-cannot-tell")
        if reply.verdict == "right" and not reply.replacements:
            return Edit("abstain", reason="no-variant")
        edit = check.checked_edit(
            reply.verdict, task.answer, reply.replacements, self.config.max_edit_fraction
        )
        self._verify(task, edit, until)
        return edit

    def _verify(self, task: EditTask, edit: Edit, until: float) -> None:
        """Require that only the chosen side agrees with the reference: by the rules if they can
        decide, else by the model's verdict on the new text."""
        result = check.by_rules(task.question, task.reference, task.answer, edit)
        if result == "fails" and edit.verdict == "right":
            raise ItemError("llm-disagrees", "the rules contradict what the model calls right")
        if result == "unknown":
            inputs = _texts(task, edit.text)
            verdict = self.chat.ask(self.model, "verify", inputs, VerdictReply, until=until).verdict
            wanted = "right" if edit.verdict == "wrong" else "wrong"
            result = "holds" if verdict == wanted else "fails"
        if result == "fails" and edit.verdict == "wrong":
            raise ItemError("llm-still-wrong", "the corrected answer does not agree")
        if result == "fails":
            raise ItemError("llm-variant-not-wrong", "the variant is not wrong")


def _texts(task: EditTask, answer: str) -> dict[str, str]:
    return {"question": task.question, "reference": task.reference, "answer": answer}
