"""The rules where they are sure, a language model where they abstain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from medray.editing.findings import FindingsEditor
from medray.editing.llm.completion import Dialogue
from medray.editing.llm.editor import LLMEditor
from medray.editing.llm.task import EditTask, JudgedEdit
from medray.errors import ItemError
from medray.records import Edit


class CombinedEditor:
    """The findings editor first; what it abstains from goes to the language model.

    The model's edits pass the same checks as those of the LLM editor alone. Judges, if there are
    any, score both, so that all pairs are weighed on one scale.
    """

    name = "findings+llm"

    def __init__(self, rules: FindingsEditor, model: LLMEditor) -> None:
        self.rules, self.model = rules, model
        self.version = f"{rules.version}+{model.version}"

    def edit(self, question: str, reference: str, answer: str, *, seed: int) -> Edit:
        """The rules' edit, or the model's if they abstain. Raises ItemError as `LLMEditor.edit`."""
        edit = self.rules.edit(question, reference, answer, seed=seed)
        if edit.verdict != "abstain":
            return edit
        return self.model.edit(question, reference, answer, seed=seed)

    def edit_many(self, tasks: Sequence[EditTask]) -> list[JudgedEdit | ItemError]:
        """One result per task, with a note of who made it."""
        edits = [self.rules.edit(t.question, t.reference, t.answer, seed=t.seed) for t in tasks]
        if any(edit.verdict == "abstain" for edit in edits):
            self.model.prepare()
        return self.model.run([self._judged(*each) for each in zip(tasks, edits, strict=True)])

    def _judged(self, task: EditTask, edit: Edit) -> Dialogue[JudgedEdit]:
        if edit.verdict == "abstain":
            return _by("llm", (yield from self.model.judged(task)))
        try:
            return _by("findings", (yield from self.model.rated(task, edit)))
        except ItemError:  # nothing may be sent; its severity then weighs the pair
            return _by("findings", JudgedEdit(edit))


def _by(who: str, judged: JudgedEdit) -> JudgedEdit:
    return replace(judged, note=f"by={who} {judged.note}".rstrip())
