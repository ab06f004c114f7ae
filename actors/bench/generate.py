"""`medray bench generate` on Ray: the run's generator, and vLLM as it is, in turns."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from typing import Any

import numpy as np
import ray

from actors.cluster import connect
from actors.fleet import plan_placement
from actors.generator import Generator
from actors.generator.plain import PlainEngine
from medray.bench.generate import ACTOR, PLAIN, Answered, GenerateSettings, Sides, summarise
from medray.config import Config
from medray.records import Request

QUESTION = "Describe the chest radiograph."
MEMORY = 0.42  # share of a GPU for each side, where both have the same one
# In the errors of torch and vLLM; the last two as an engine starts.
OUT_OF_MEMORY = (
    "OutOfMemoryError",
    "out of memory",
    "Free memory on device",
    "No available memory",
)


def _wait_for(handle: Any) -> None:
    ray.get(handle.__ray_ready__.remote())


def _cpu_seconds(handle: Any) -> float:
    """What an actor's process has used so far."""
    return float(ray.get(handle.__ray_call__.remote(lambda _: time.process_time())))


class _Bench:
    """Both sides on one machine; one that runs out of memory is left out from then on."""

    def __init__(self, task: GenerateSettings) -> None:
        gpus = ray.cluster_resources().get("GPU", 0)
        shared = gpus == 1
        config = _config(task, memory=MEMORY if shared else 0.85)
        options = plan_placement(config, learners=False).generator
        options |= {"num_gpus": 0.5} if shared else {}
        self.task = task
        self.actor = ray.remote(Generator).options(**options).remote(config, 0)
        self.plain = ray.remote(PlainEngine).options(**options).remote(config)
        self.errors: dict[str, str] = {}
        self.device = "GPU" if gpus else "CPU"

    def start(self) -> None:
        """Load the model on one side after the other: a GPU's memory is measured while they do."""
        for side, handle in ((ACTOR, self.actor), (PLAIN, self.plain)):
            self._guarded(side, _wait_for, handle)

    def round(self, number: int, *, greedy: bool = False) -> Sides:
        """Both sides answer the same questions about images that neither has seen."""
        chance = np.random.default_rng(number)
        shape = self.task.size, self.task.size, 3
        images = [
            ray.put(chance.integers(0, 256, shape, dtype=np.uint8))
            for _ in range(self.task.prompts)
        ]
        requests = [
            Request(f"i{n}", f"c{n}", QUESTION, (n,), number * self.task.prompts + n)
            for n in range(self.task.prompts)
        ]
        turns = [(ACTOR, self._by_actor), (PLAIN, self._by_plain)]
        answered = {}
        for side, answer in turns if number % 2 else turns[::-1]:
            found = self._guarded(side, answer, requests, images, greedy)
            if found is not None:
                answered[side] = found
        return answered

    def _by_actor(
        self, requests: Sequence[Request], images: Sequence[ray.ObjectRef], greedy: bool
    ) -> Answered:
        cpu, start = _cpu_seconds(self.actor), time.perf_counter()
        call = self.actor.generate.options(num_returns="streaming")
        parts = [ray.get(part) for part in call.remote(0, requests, greedy, *images)]
        seconds = time.perf_counter() - start
        by_id = {response.item_id: response for part in parts for response in part}
        cpu = _cpu_seconds(self.actor) - cpu
        return Answered(seconds, cpu, [by_id[request.item_id].token_ids for request in requests])

    def _by_plain(
        self, requests: Sequence[Request], images: Sequence[ray.ObjectRef], greedy: bool
    ) -> Answered:
        seconds, cpu, answers = ray.get(self.plain.generate.remote(requests, greedy, *images))
        return Answered(seconds, cpu, [tuple(answer) for answer in answers])

    def _guarded(self, side: str, work: Callable[..., Any], *arguments: Any) -> Any:
        """What `work` returns; None if the side has run out of memory, now or before."""
        if side in self.errors:
            return None
        try:
            return work(*arguments)
        except ray.exceptions.RayError as error:
            if not any(words in str(error) for words in OUT_OF_MEMORY):
                raise
            self.errors[side] = "out of memory"
            return None


def run_generate(task: GenerateSettings, progress: Callable[[str], None]) -> dict[str, Any]:
    """Everything that is printed, as one tree of plain values."""
    with redirect_stdout(sys.stderr), connect(None):
        bench = _Bench(task)
        progress("starting both engines")
        bench.start()
        greedy = bench.round(0, greedy=True)  # and warm-up
        bench.round(1)  # warm-up
        rounds = []
        for number in range(1, task.repeats + 1):
            progress(f"round {number} of {task.repeats}")
            rounds.append(bench.round(number + 1))
        return summarise(task, bench.device, greedy, rounds, bench.errors)


def _config(task: GenerateSettings, *, memory: float) -> Config:
    generator = {"temperature": task.temperature, "max_new_tokens": task.tokens, "memory": memory}
    return Config.model_validate(
        {
            "model": {"path": task.model, "dtype": task.dtype},
            "data": {"kind": "phantom"},
            "generator": generator | {"max_num_seqs": task.sequences},
            "loop": {"sync": "full"},
        }
    )
