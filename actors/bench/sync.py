"""`medray bench sync` on Ray: real exports, the object store, real vLLM engines."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, redirect_stdout
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch

from actors.fleet import plan_placement
from actors.generator import Generator
from actors.generator.receive import ShardSource, pull
from actors.weights.manifest import Manifest, Shard, pack, plan_shards, verify
from medray.bench.learner.worker_protocol import device_name
from medray.bench.sync import PlainCopies, SyncSettings, adapter_bytes, summarise, write_lookalike
from medray.config import Config
from medray.errors import UserError
from medray.policy.export.weight_update import Mode, export_items, numel_bytes
from medray.policy.model.chat import ChatCodec
from medray.policy.model.loading import DTYPES, load_model, model_facts
from medray.policy.model.tuning import prepare_policy
from medray.policy.scoring.score_pairs import score_answers
from medray.policy.scoring.scorer import Scorer
from medray.records import Request

QUESTION = "Describe the chest radiograph."
ANSWER = list(range(40, 72))  # any tokens will do
WARM_UPS = 8  # until the store's memory has been touched once: first touches take 0.5 s
HEADROOM = 3  # updates that fit the object store: one in use, one being made, one spare


class Sender:
    """Rank 0 of a learner without its optimiser: sends the same weights by the same code."""

    def __init__(self, config: Config) -> None:
        self.facts = model_facts(config.model)
        self.dtype = DTYPES[config.model.dtype]
        gpu = torch.cuda.is_available()
        model = load_model(self.facts.path, config.model.dtype)
        self.policy: Any = prepare_policy(model, config.model).to("cuda" if gpu else "cpu")
        self.device = torch.device("cuda" if gpu else "cpu")

    def facts_of(self, mode: Mode) -> tuple[int, int, str]:
        """Bytes and shards of one update, and the device they come from."""
        items = export_items(self.policy, mode)
        shards = plan_shards(items, self.dtype)
        return sum(numel_bytes(items, self.dtype)), len(shards), device_name(self.device)

    def step(self) -> None:
        """Other weights, as after a step."""
        with torch.no_grad():
            for parameter in self.policy.parameters():
                if parameter.requires_grad:
                    parameter.mul_(1.01)

    def export(
        self, mode: Mode, version: int
    ) -> tuple[tuple[float, float], Manifest, *tuple[Shard, ...]]:
        """((begin, end) on the node's clock, manifest, shard, …)."""
        begin = time.monotonic()
        plan = plan_shards(export_items(self.policy, mode), self.dtype)
        packed = pack(plan, version, mode, lambda _: nullcontext())
        return ((begin, time.monotonic()), *packed)

    def score(self, image: np.ndarray) -> np.ndarray:
        """Log-probabilities of ANSWER under the present weights, float32 [T]."""
        prompt, pictures = ChatCodec(self.facts.path, self.facts.limits).encode(QUESTION, image)
        scorer = Scorer(self.policy, self.facts.architecture, self.facts.image_token).eval()
        return score_answers([(prompt, np.asarray(ANSWER), pictures)], policy=scorer)[0]


class Receiver:
    """Takes an update as a generator does, stage by stage, into memory of its own."""

    def __init__(self) -> None:
        self.memory: dict[str, np.ndarray] = {}

    def take(self, manifest: Manifest, parts: Sequence[ShardSource]) -> dict[str, float]:
        """Seconds of pull, verify and copy."""
        clock = [time.monotonic()]
        shards = [pull(part, f"shard {i}") for i, part in enumerate(parts, 1)]
        clock.append(time.monotonic())
        for specs, shard in zip(manifest.shards, shards, strict=True):
            verify(specs, shard)
        clock.append(time.monotonic())
        for shard in shards:
            for name, array in shard.items():
                np.copyto(self.memory.setdefault(name, np.empty_like(array)), array)
        clock.append(time.monotonic())
        names = ("pull", "verify", "copy")
        return {n: b - a for n, (a, b) in zip(names, pairwise(clock), strict=True)}


class Round:
    """One update after the other, from one sender into so many engines and receivers."""

    def __init__(self, sender: Any, generators: Sequence[Any], receivers: Sequence[Any]) -> None:
        self.sender, self.generators, self.receivers = sender, generators, receivers
        self.version, self.copies = 0, PlainCopies()
        _, self.shards, _ = ray.get(sender.facts_of.remote("full"))

    def turn(self, count: int) -> dict[str, float]:
        """Seconds of every stage of one update of the first `count` generators."""
        self.version += 1
        ray.get(self.sender.step.remote())
        begin = time.monotonic()
        export = self.sender.export.options(num_returns=2 + self.shards)
        times, manifest, *shards = export.remote("full", self.version)
        began, ended = ray.get(times)
        stored = time.monotonic()
        ray.get([g.update.remote(manifest, shards) for g in self.generators[:count]])
        confirmed = time.monotonic()
        stages = ray.get([r.take.remote(manifest, shards) for r in self.receivers[:count]])
        arrays = [array for shard in ray.get(shards) for array in shard.values()]
        return {
            "export": ended - began,
            "put": stored - ended,
            "load": confirmed - stored,
            "seconds": confirmed - begin,
            **{name: max(each[name] for each in stages) for name in stages[0]},
            **self.copies.times(arrays),
        }

    def gap(self) -> float:
        """Mean difference of sender and generators on one answer, nats per token."""
        image = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)
        request = Request("bench", "bench", QUESTION, (0,), 0)
        theirs = ray.get(
            [g.score.remote(self.version, [request], [ANSWER], image) for g in self.generators]
        )
        ours = ray.get(self.sender.score.remote(image))
        return max(float(np.abs(each[0] - ours).mean()) for each in theirs)


def run_sync(task: SyncSettings, progress: Callable[[str], None] = print) -> dict[str, Any]:
    """Everything that is printed, as one tree of plain values."""
    with (
        tempfile.TemporaryDirectory(prefix="medray-sync-") as folder,
        redirect_stdout(sys.stderr),  # DeepSpeed, where transformers finds it, warns on stdout
    ):
        progress("writing a model")
        shape = write_lookalike(Path(folder), task.gigabytes)
        ray.init(
            address="local",
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            num_cpus=max(os.cpu_count() or 1, 2),
            object_store_memory=int(HEADROOM * task.gigabytes * 1.2e9) + 200 * 2**20,
        )
        try:
            return _measure(task, Path(folder), shape, progress)
        finally:
            ray.shutdown()


def _measure(
    task: SyncSettings, folder: Path, shape: dict[str, int], progress: Callable[[str], None]
) -> dict[str, Any]:
    config = _config(folder, task)
    placement = plan_placement(config)
    sender = ray.remote(Sender).options(**placement.learner).remote(config)
    progress("starting vLLM")
    generators = [
        ray.remote(Generator).options(**placement.generator).remote(config, i)
        for i in range(task.generators)
    ]
    receivers = [ray.remote(Receiver).options(num_cpus=0).remote() for _ in generators]
    size, shards, device = ray.get(sender.facts_of.remote("full"))
    ray.get([generator.policy_version.remote() for generator in generators])
    updates = Round(sender, generators, receivers)
    first = updates.turn(task.generators)["seconds"]
    rounds: dict[int, list[dict[str, float]]] = {}
    for count in sorted({1, task.generators}):
        for _ in range(WARM_UPS):
            updates.turn(count)
        rounds[count] = []
        for number in range(task.repeats):
            progress(f"{count} generators, update {number + 1} of {task.repeats}")
            rounds[count].append(updates.turn(count))
    updates.turn(task.generators)  # all of them hold the last version
    facts = {
        "device": device,
        "threads": torch.get_num_threads(),
        "shape": shape,
        "full_bytes": size,
        "adapter_bytes": adapter_bytes(folder),
        "shards": shards,
        "first_seconds": first,
        "logp_gap": updates.gap(),
    }
    return summarise(task, facts, rounds)


def _config(folder: Path, task: SyncSettings) -> Config:
    """A run with full fine-tuning of the language model; one GPU has room for sender and engine."""
    model = {"path": str(folder), "lora": None, "trainable": ("language",)}
    generator: dict[str, Any] = {"replicas": task.generators}
    if torch.cuda.device_count() == 1:
        if task.generators > 1:
            what, why = f"--generators {task.generators}", "one GPU has room for one engine"
            raise UserError(what, why, "use --generators 1")
        generator |= {"colocated": True, "memory": 0.6}
    return Config.model_validate(
        {"model": model, "data": {"kind": "phantom"}, "generator": generator}
    )
