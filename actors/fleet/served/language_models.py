"""The language models that a run serves: started, watched, restarted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import ray

from actors.fleet.calls import START_DEADLINE, ActorLost, await_ref
from actors.fleet.placement import actor_name
from actors.fleet.pool import RestartBudget
from actors.judge import LanguageModel, Served
from medray.config import Config
from medray.editing.llm.completion.model_directory import identity_of
from medray.errors import MedrayError, RunFailed

WATCH = 2.0  # seconds between two looks at an engine
# Their weights never change, so Ray itself may start them again: the editors keep their handles,
# and a request that was lost is repeated once. How often is for the run's budget to say.
RESTARTS = {"max_restarts": -1, "max_task_retries": 1}


class LanguageModels:
    """One engine for each directory of `editor.path` and its judges; none if they are elsewhere.

    `on_failure` gets the error if one of them is lost for good.
    """

    def __init__(
        self,
        config: Config,
        options: dict[str, Any],
        budget: RestartBudget,
        on_failure: Callable[[MedrayError], None],
        engine: type = LanguageModel,
    ) -> None:
        self.engine = engine  # the class of the actors
        self.config, self.options, self.budget = config, options | RESTARTS, budget
        self.on_failure = on_failure
        self.engines: dict[str, Any] = {}
        self.served: Served | None = None  # for editors, once started
        self._watching: list[asyncio.Task[None]] = []
        self._leaving: set[Any] = set()  # engines that Ray starts again elsewhere

    async def start(self) -> None:
        """Spawn the engines; `wait_ready` returns when they answer."""
        directories = self.config.editor.served
        identities = {d: await asyncio.to_thread(identity_of, d) for d in directories}
        self.engines = {d: self._spawn(number, d) for number, d in enumerate(directories)}
        if self.engines:
            self.served = Served(self.config.editor, self.engines, identities)

    def _spawn(self, number: int, directory: str) -> Any:
        options = self.options | {"name": actor_name(self.config, "LanguageModel", number)}
        return ray.remote(self.engine).options(**options).remote(directory, self.config.run.seed)

    async def wait_ready(self) -> None:
        """Return when every engine answers, and watch them from then on. Raises RunFailed."""
        for directory, engine in self.engines.items():
            who = f"LanguageModel({Path(directory).name})"
            process = await await_ref(engine.process.remote(), START_DEADLINE, who)
            self._leaving.discard(engine)  # it left while it loaded
            self._watching.append(asyncio.create_task(self._watch(engine, who, process)))

    def leave(self, directories: Collection[str]) -> None:
        """Have Ray start these engines again on another node; charged to nobody."""
        for directory in directories:
            self._leaving.add(self.engines[directory])
            ray.kill(self.engines[directory], no_restart=False)

    async def close(self) -> None:
        """End all engines."""
        for task in self._watching:
            task.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)
        for engine in self.engines.values():
            ray.kill(engine)

    async def _watch(self, engine: Any, who: str, process: str) -> None:
        """Count the restarts of one engine; end it when the run can afford no more of them."""
        while True:
            await asyncio.sleep(WATCH)
            before = process
            try:
                process = await await_ref(engine.process.remote(), self._deadline, who)
                if before in (process, ""):
                    continue
                lost = ActorLost(who, "died", "its process ended unexpectedly")
            except ActorLost as error:
                lost, process = error, ""  # that of the next one is not known yet
                if lost.cause != "died" and engine not in self._leaving:
                    ray.kill(engine, no_restart=False)
            if engine in self._leaving:
                self._leaving.discard(engine)
                self.budget.count("editor", "drained")
                continue
            if not self.budget.spend("editor", who, lost):
                ray.kill(engine)
                self.on_failure(RunFailed(f"no {who} is left", str(lost), "raise faults.editor"))
                return

    @property
    def _deadline(self) -> float:
        """Seconds; a batch may be in progress."""
        return max(self.config.faults.deadline, START_DEADLINE)
