"""What an editor holds of the language models that its run serves."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

import ray

from medray.config import LanguageModelConfig
from medray.editing.llm.completion import Body, Budget
from medray.errors import ItemError

_log = logging.getLogger(__name__)


class Served:
    """Completes requests by engines of this cluster: see `medray.editing.llm.completion`.

    engines: the actor of each model directory. Ray starts a lost one again, and gives it the
    requests that it had; if that does not help, each of them has its reason.
    """

    constrained, threads = True, 0

    def __init__(
        self, config: LanguageModelConfig, engines: Mapping[str, Any], identities: Mapping[str, str]
    ) -> None:
        self.config, self.engines, self.identities = config, engines, identities
        self.budget = Budget(config.requests, config.section)
        self._reported = False

    def __reduce__(self) -> tuple[type[Served], tuple[Any, ...]]:
        return (type(self), (self.config, self.engines, self.identities))  # a lock stays here

    def identity(self, model: str) -> str:
        return self.identities[model]

    def complete(self, bodies: Sequence[Body], until: float) -> list[str | ItemError]:
        """Each model's requests as one batch; equal ones are completed once."""
        replies: dict[str, str | ItemError] = {}
        batches: dict[str, dict[str, Body]] = {}  # by model, then by the request's text
        keys = [json.dumps(body, sort_keys=True) for body in bodies]
        for key, body in dict(zip(keys, bodies, strict=True)).items():
            try:
                self.budget.spend()
                batches.setdefault(body["model"], {})[key] = body
            except ItemError as error:
                replies[key] = error
        calls = {
            model: self.engines[model].complete.remote(list(batch.values()))
            for model, batch in batches.items()
        }
        for model, call in calls.items():
            replies |= zip(
                batches[model], self._result(call, len(batches[model]), until), strict=True
            )
        return [replies[key] for key in keys]

    def _result(self, call: Any, size: int, until: float) -> list[str | ItemError]:
        try:
            completed: list[str | ItemError] = ray.get(
                call, timeout=max(0.0, until - time.monotonic())
            )
            return completed
        except ray.exceptions.GetTimeoutError:
            why = "no reply in time"
        except ray.exceptions.RayError as error:
            why = type(error).__name__
        if not self._reported:
            self._reported = True
            _log.warning("a language model is unavailable (%s); see the drop reasons", why)
        return [ItemError("llm-unavailable", why)] * size
