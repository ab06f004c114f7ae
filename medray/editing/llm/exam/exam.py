"""The exam that a language model sits before its edits are used."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any

import yaml

from medray.editing.llm.chat import Chat
from medray.editing.llm.check import checked_edit
from medray.editing.llm.completion import Dialogue
from medray.editing.llm.replies import EditReply, VerdictReply
from medray.errors import ItemError

PASS = 0.8  # share of the questions
_NO_ANSWER = {"llm-malformed", "llm-refused"}  # other reasons say nothing about what it knows

Run = Callable[[Sequence[Dialogue[bool]]], list[bool | ItemError]]


class Exam:
    """One model's exam. `refusal`: why its edits are not used; None if it passed."""

    def __init__(self, chat: Chat, model: str) -> None:
        self.chat, self.model = chat, model
        self.refusal: ItemError | None = None
        self._decided = False

    def sit(self, run: Run) -> None:
        """Ask all questions at once, unless that has been done. `run` has the dialogues."""
        if self._decided:
            return
        results = run(
            [self._answers(kind, item) for kind in ("read", "edit") for item in questions(kind)]
        )
        outages = [r for r in results if isinstance(r, ItemError) and r.reason not in _NO_ANSWER]
        if outages:
            self.refusal = outages[0]
            return
        self._decided, right = True, sum(result is True for result in results)
        passed = right >= PASS * len(results)
        why = f"{right} of {len(results)} right in the exam"
        self.refusal = None if passed else ItemError("llm-unqualified", why)
        if not passed:
            logging.getLogger(__name__).warning("the language model's edits are not used: %s", why)

    def _answers(self, kind: str, item: dict[str, Any]) -> Dialogue[bool]:
        """Whether the model answers a question right."""
        inputs = {key: item[key] for key in ("question", "reference", "answer")}
        if kind == "read":
            read = yield from self.chat.ask(self.model, "verify", inputs, VerdictReply)
            return read.verdict == item["verdict"]
        reply = yield from self.chat.ask(self.model, "edit", inputs, EditReply)
        if reply.verdict != item["verdict"]:
            return False
        if reply.verdict == "right":
            return True
        try:
            text = checked_edit("wrong", item["answer"], reply.replacements, 1.0).text
        except ItemError:
            return False
        return text in {item["answer"].replace(*item["change"], 1), *item.get("also", ())}


@functools.cache
def questions(kind: str) -> tuple[dict[str, Any], ...]:
    """The exam's questions of a kind: "read" or "edit"."""
    text = files(__package__).joinpath("exam.yaml").read_text(encoding="utf-8")
    return tuple(yaml.safe_load(text)[kind])
