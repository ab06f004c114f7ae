"""The registry of editors by `editor.kind`."""

from __future__ import annotations

from collections.abc import Callable

from medray.config import EditorConfig
from medray.editing.base import Editor
from medray.editing.findings import FindingsEditor


def _llm(config: EditorConfig) -> Editor:
    from medray.editing.llm.editor import LLMEditor  # imports an HTTP client

    return LLMEditor(config)


EDITORS: dict[str, Callable[[EditorConfig], Editor]] = {
    "findings": lambda config: FindingsEditor(same_slot=config.same_slot),
    "llm": _llm,
}
