"""The judge: requests to the model of `eval.judge`, and its dialogues about many answers."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any, TypeVar

from medray.config import JudgeConfig
from medray.editing.llm.chat import Chat, write_request
from medray.editing.llm.completion import Completer, Dialogue, converse
from medray.editing.llm.completion.model_directory import check_model
from medray.editing.llm.prompts import material
from medray.errors import ConfigError, ItemError
from medray.evaluation.judging.replies import FactsReply, JudgeReply, schema

R = TypeVar("R", bound=JudgeReply)
T = TypeVar("T")
_REPLY_TOKENS = 4096  # a report's findings are long
_BATCH, _BATCH_SECONDS = 64, 1200.0  # dialogues side by side, and their time together
_SAMPLE = {"question": "Is there a nodule?", "reference": "Yes, in the left lung."}
# Reasons of a failure that will be there at the next request, too.
_LASTING = {"llm-unreachable", "llm-refused", "llm-unavailable"}


class Judge:
    """The model as a judge of texts. It sees no image and nothing that names a patient."""

    def __init__(self, config: JudgeConfig, completer: Completer) -> None:
        assert config.name is not None
        self.model = config.name
        self.section = config.section
        self.chat = Chat(config, completer)

    def describe(self) -> dict[str, str]:
        """Which model, as far as is known of it, and which prompts."""
        name = self.chat.completer.identity(self.model)
        return {"model": name, "prompts": _prompts_version()}

    def ask(self, prompt: str, inputs: dict[str, Any], kind: type[R]) -> Dialogue[R]:
        """The reply to one of our prompts about `inputs`. Raises ItemError if there is none that
        can be read."""
        form = schema(kind) if self.chat.completer.constrained else None
        body = write_request(
            self.model, prompt, _instructions(prompt), material(inputs), form, tokens=_REPLY_TOKENS
        )
        return (yield from self.chat.send(body, "", kind))

    def run(self, dialogues: Sequence[Dialogue[T]]) -> list[T | ItemError]:
        """The result of every dialogue, in order; or why it has none."""
        results: list[T | ItemError] = []
        for start in range(0, len(dialogues), _BATCH):
            until = time.monotonic() + _BATCH_SECONDS
            some = dialogues[start : start + _BATCH]
            results += converse(some, self.chat.completer, until)
        return results

    def require_reachable(self) -> None:
        """Ask once about a text of our own, before anything costly is done for the judge.

        Raises ConfigError if the model cannot be reached, or refuses. A reply that cannot be read
        is none of both: later ones may be better, and those that are not are counted.
        """
        (result,) = self.run([self.ask("facts", _SAMPLE, FactsReply)])
        if isinstance(result, ItemError) and result.reason in _LASTING:
            raise ConfigError(
                f"{self.section} = {self.model}",
                f"does not reply ({result.what})",
                f"check {self.section}.url, .model and .api_key_env, and that it is running",
            )


def open_judge(config: JudgeConfig) -> Judge | None:
    """The judge at an endpoint, which replies; None if its model has to be served first.

    Raises ConfigError if there is no judge, or if it cannot work.
    """
    if config.path is not None:
        check_model(config.path, f"{config.section}.path")
        return None
    if config.url is None:
        raise ConfigError(
            config.section,
            "no model is named that judges",
            f"give {config.section}.url and {config.section}.model, or {config.section}.path",
        )
    from medray.editing.llm.client import Client  # imports an HTTP client

    judge = Judge(config, Client(config))
    judge.require_reachable()
    return judge


@cache
def _instructions(name: str) -> str:
    """The system message of one prompt."""
    text = files(__package__).joinpath(f"prompts/{name}.txt").read_text(encoding="utf-8")
    return text.strip()


@cache
def _prompts_version() -> str:
    """Eight hexadecimal digits that change whenever the text of a prompt does."""
    folder = files(__package__).joinpath("prompts")
    names = sorted(file.name for file in folder.iterdir())
    text = "\0".join(folder.joinpath(name).read_text(encoding="utf-8") for name in names)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
