"""The LLM editor: the model's verdict and replacements, made by us and checked before use."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from medray.config import EditorConfig
from medray.editing.llm import check, prompts
from medray.editing.llm.chat import Chat
from medray.editing.llm.judges import score
from medray.editing.llm.replies import EditReply, VerdictReply
from medray.editing.llm.task import Judged, Task
from medray.errors import ItemError
from medray.records import Edit

BATCH_SECONDS = 1200.0  # for one call; what is not done by then is dropped, with its reason


class LLMEditor:
    """Any OpenAI-compatible chat endpoint as the editor.

    `edit` raises ItemError where the endpoint fails or its reply does not pass the checks, and
    abstains where the model cannot tell or finds no variant. Requests are sent with temperature
    0; with a cache the same arguments give the same result.
    """

    name = "llm"

    def __init__(self, config: EditorConfig) -> None:
        assert config.model is not None
        self.config, self.model = config, config.model
        self.version = f"1 model={self.model} prompts={prompts.version()}"
        self.chat = Chat(config)

    def edit(self, question: str, reference: str, answer: str, *, seed: int) -> Edit:
        """Judge the answer against the reference, and make the other side of the pair.

        The image is not sent here: `edit_many` takes it. `seed` changes nothing.
        """
        until = time.monotonic() + BATCH_SECONDS
        return self._edit(Task(question, reference, answer, seed), until)

    def edit_many(self, tasks: Sequence[Task]) -> list[Judged | ItemError]:
        """One outcome per task, `editor.concurrency` at a time."""
        until = time.monotonic() + BATCH_SECONDS

        def one(task: Task) -> Judged | ItemError:
            try:
                return self._judged(task, until)
            except ItemError as error:
                return error

        with ThreadPoolExecutor(self.config.concurrency, "llm-editor") as pool:
            return list(pool.map(one, tasks))

    def _judged(self, task: Task, until: float) -> Judged:
        edit = self._edit(task, until)
        if edit.verdict == "abstain" or not self.config.judges:
            return Judged(edit)
        right = edit.verdict == "right"
        correct, incorrect = (task.answer, edit.text) if right else (edit.text, task.answer)
        pair = {
            "question": task.question,
            "reference": task.reference,
            "correct": correct,
            "incorrect": incorrect,
        }
        found = score(self.chat, self.config.judges, pair, until=until)
        return Judged(edit, found.value, found.note)

    def _edit(self, task: Task, until: float) -> Edit:
        image = task.image if self.config.send_image else None
        inputs = _texts(task, task.answer)
        reply = self.chat.ask(self.model, "edit", inputs, EditReply, image=image, until=until)
        if reply.verdict == "cannot-tell":
            return Edit("abstain", reason="llm-cannot-tell")
        if reply.verdict == "right" and not reply.replacements:
            return Edit("abstain", reason="no-variant")
        edit = check.made(
            reply.verdict, task.answer, reply.replacements, self.config.max_edit_fraction
        )
        self._verify(task, edit, until)
        return edit

    def _verify(self, task: Task, edit: Edit, until: float) -> None:
        """The chosen side agrees with the reference, the other does not: by the rules where they
        can tell, else by the model's verdict on the new text."""
        finding = check.offline(task.question, task.reference, task.answer, edit)
        if finding == "fails" and edit.verdict == "right":
            raise ItemError("llm-disagrees", "the rules contradict what the model calls right")
        if finding == "unknown":
            inputs = _texts(task, edit.text)
            verdict = self.chat.ask(self.model, "verify", inputs, VerdictReply, until=until).verdict
            wanted = "right" if edit.verdict == "wrong" else "wrong"
            finding = "holds" if verdict == wanted else "fails"
        if finding == "fails" and edit.verdict == "wrong":
            raise ItemError("llm-still-wrong", "the corrected answer does not agree")
        if finding == "fails":
            raise ItemError("llm-variant-not-wrong", "the variant is not wrong")


def _texts(task: Task, answer: str) -> dict[str, str]:
    return {"question": task.question, "reference": task.reference, "answer": answer}
