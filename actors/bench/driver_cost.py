"""What the driver's own process costs with many generators and editors, which only wait.

The driver's code is that of a run: it has a handle, a task and messages of its own for each
replica. Several replicas may be one process, because hundreds do not fit on a small machine.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import ray

from actors.bench.simulated import SimulatedEditor, SimulatedGenerator
from actors.fleet import Fleet, Item, RestartBudget, Rollouts, StepRollout, plan_placement
from actors.fleet.items import WeightUpdate
from actors.generator import PART
from actors.weights.manifest import Manifest, TensorSpec
from medray.bench.loop import Cost, editors_for
from medray.config import Config
from medray.records import Case
from medray.targeting import EditContext

PIECE = 32  # answers of one call of a generator
ANSWERS = 4  # to one case
ROUNDS = 8
PAUSE = 1.0  # seconds of one simulated call of a generator
EDIT_SECONDS = 0.02  # of one answer
UPDATES = 4
TENSORS, SHARDS = 291, 54  # of a 7B model
BEAT = 0.01  # seconds between two looks at the event loop


async def measure_cost(generators: int, per_process: int) -> Cost:
    """CPU time of this process per answer and per weight update, beyond idling."""
    config = Config.model_validate(
        {
            "data": {"kind": "phantom"},
            "generator": {"replicas": generators, "responses": ANSWERS},
            "editor": {"replicas": editors_for(generators)},
        }
    )
    budget = RestartBudget(config.faults, lambda text: None)
    placement = plan_placement(config, learners=False, require=False)  # they only wait
    fleet = Fleet(config, placement, budget, learners=False)
    fleet.generators.spawn = _hosts(lambda: _actor(SimulatedGenerator, PAUSE, PART), per_process)
    fleet.editors.spawn = _hosts(lambda: _actor(SimulatedEditor, EDIT_SECONDS), per_process)
    fleet.generators.start()
    fleet.editors.start()
    try:
        await asyncio.gather(fleet.generators.wait_ready(), fleet.editors.wait_ready())
        return await _measure(fleet, generators)
    finally:
        await asyncio.gather(fleet.generators.close(), fleet.editors.close())


async def _measure(fleet: Fleet, generators: int) -> Cost:
    rollouts = Rollouts(fleet)
    items = _items(generators * PIECE)
    images, _ = await rollouts.load(items)
    await rollouts.generate(images, greedy=False)
    idle = _Usage()
    await asyncio.sleep(ROUNDS * PAUSE)
    idle.stop()

    answering = _Usage()
    for _ in range(ROUNDS):
        assert len(await rollouts.generate(images, greedy=False)) == len(items)
    answering.stop()

    lags: list[float] = []
    watch = asyncio.create_task(_watch(lags))
    complete = _Usage()
    for number in range(ROUNDS):
        done = StepRollout(number, 0)
        await rollouts.extend(done, items, EditContext(0))
        assert len(done.pairs) == len(items)
    complete.stop()
    watch.cancel()

    updates = [_update(number) for number in range(UPDATES)]
    updating = _Usage()
    for update in updates:
        fleet.offer(update)
        await fleet.wait_adopted(update)
    updating.stop()

    count, rate = ROUNDS * len(items), idle.cpu / idle.wall
    return Cost(
        items=count,
        driver_us_per_item=answering.beyond(rate) / count * 1e6,
        rollout_us_per_item=complete.beyond(rate) / count * 1e6,
        update_us_per_generator=updating.beyond(rate) / UPDATES / generators * 1e6,
        lag_ms=float(np.quantile(lags, 0.99)) * 1e3,
        lag_max_ms=max(lags) * 1e3,
        idle_ms_per_s=rate * 1e3,
        seconds=answering.wall,
        busy=ROUNDS * PAUSE / answering.wall,
    )


class _Usage:
    """Seconds of CPU and of the clock, until it is stopped."""

    def __init__(self) -> None:
        self.cpu, self.wall = time.process_time(), time.perf_counter()

    def stop(self) -> None:
        self.cpu, self.wall = time.process_time() - self.cpu, time.perf_counter() - self.wall

    def beyond(self, idle: float) -> float:
        """CPU seconds beyond those that an idle process uses, `idle` per second."""
        return self.cpu - idle * self.wall


async def _watch(lags: list[float]) -> None:
    """How much later than it should the event loop comes back to this task, each time."""
    while True:
        start = time.perf_counter()
        await asyncio.sleep(BEAT)
        lags.append(time.perf_counter() - start - BEAT)


def _actor(kind: type, *arguments: Any) -> Any:
    return ray.remote(kind).options(num_cpus=0).remote(*arguments)


def _hosts(spawn: Callable[[], Any], per_process: int) -> Callable[[int], Any]:
    """The actor of each replica: the same one for `per_process` of them."""
    made: dict[int, Any] = {}

    def of(index: int) -> Any:
        number = index // per_process
        if number not in made:
            made[number] = spawn()
        return made[number]

    return of


def _items(count: int) -> list[Item]:
    question = "Is there a nodule in the left lung?"
    cases = [
        Case(f"c{n}", f"c{n}.png", "00", question, "No", "closed")
        for n in range(-(-count // ANSWERS))
    ]
    return [Item(f"s000001-b0-{i:05d}", cases[i // ANSWERS]) for i in range(count)]


def _update(version: int) -> WeightUpdate:
    """Weights of as many tensors and shards as those of a 7B model, without their values."""
    shape, dtype = (4096, 4096), "bfloat16"
    specs = [TensorSpec(f"model.layers.{n}.weight", shape, dtype, n) for n in range(TENSORS)]
    parts = tuple(tuple(specs[n::SHARDS]) for n in range(SHARDS))
    shards = [ray.put({}) for _ in range(SHARDS)]
    return WeightUpdate(Manifest(version, "full", parts, 0), shards)
