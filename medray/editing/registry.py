"""The registry of editors by `editor.kind`."""

from __future__ import annotations

from typing import Protocol

from medray.config import EditorConfig
from medray.editing.base import Editor
from medray.editing.findings import FindingsEditor
from medray.editing.llm.completion import Completer, Unserved
from medray.editing.llm.completion.model_directory import check_model


class Build(Protocol):
    """Makes the editor of a configuration. Raises ConfigError for settings that cannot work.

    `served` completes what a model of `editor.path` is asked; without it such a model is silent.
    """

    def __call__(self, config: EditorConfig, served: Completer | None = None) -> Editor: ...


def _findings(config: EditorConfig, served: Completer | None = None) -> Editor:
    return FindingsEditor(same_slot=config.same_slot)


def _llm(config: EditorConfig, served: Completer | None = None) -> Editor:
    from medray.editing.llm.editor import LLMEditor

    return LLMEditor(config, _completer(config, served))


def _combined(config: EditorConfig, served: Completer | None = None) -> Editor:
    from medray.editing.llm.combined import CombinedEditor
    from medray.editing.llm.editor import LLMEditor

    model = LLMEditor(config, _completer(config, served), strict=True)
    return CombinedEditor(FindingsEditor(same_slot=config.same_slot), model)


def _completer(config: EditorConfig, served: Completer | None) -> Completer:
    for directory in config.served:
        check_model(directory, "editor.path" if directory == config.path else "editor.judges")
    if config.url is None:
        return served or Unserved()
    from medray.editing.llm.client import Client  # imports an HTTP client

    return Client(config)


EDITORS: dict[str, Build] = {"findings": _findings, "llm": _llm, "findings+llm": _combined}
