"""Real DeepSpeed learners in processes of their own, for tests."""

from __future__ import annotations

import os
import signal

import ray
import torch

from actors.fleet import plan_placement
from actors.learner.actor import Learner
from actors.weights.manifest import tensors
from medray.config import Config, load_config
from medray.policy.packing import PackedBatch
from medray.policy.shares import Share, content_of, share_out, split_by_images, weigh
from medray.records import StepReport
from tests.support.paths import ROOT

HOSTS: dict[int, list] = {}  # world size → its processes
ADDRESS: dict[int, tuple[str, int]] = {}


def config(*overrides: str) -> Config:
    base = ["loop.batch=10", "learner.micro_batch=2", "learner.lr=1e-3", "model.dtype=float32"]
    return load_config(ROOT / "configs/quickstart.yaml", [*base, *overrides])


def host_class() -> type:
    """Made here so that it travels by value: workers cannot import a test module."""

    class Host:
        """One process that hosts learners one after the other: the real class, started once."""

        def join(self, cfg, rank: int, address: str, port: int) -> None:
            self.learner = Learner(cfg, rank)
            self.learner.join(address, port)

        def limit_logits(self, values: int) -> None:
            """Make the head work in chunks, as a large vocabulary would."""
            from medray.policy.scoring import head

            head.CHUNK_VALUES = values

        def reads_all(self) -> bool:
            """Whether every rank needs the pairs of all."""
            return self.learner.needs.kto_baseline

        def pid(self) -> int:
            import os

            return os.getpid()

        def call(self, verb: str, *arguments):
            return getattr(self.learner, verb)(*arguments)

        def dtype(self) -> torch.dtype:
            return self.learner.dtype

        def gradients(self) -> list[str]:
            """The parameters that hold a gradient."""
            parameters = self.learner.scorer.named_parameters()
            return [name for name, parameter in parameters if parameter.grad is not None]

        def reference_sizes(self) -> tuple[int, int]:
            """Values of the reference's weights on this rank, and in all."""
            sizes = [
                (p.ds_tensor.numel(), p.ds_numel)
                for p in self.learner.reference.scorer.parameters()
            ]
            own, complete = zip(*sizes, strict=True)
            return sum(own), sum(complete)

        def weights(self) -> dict:
            """What the forward pass reads, by name, in float32."""
            found = {}
            for name, parameter in self.learner.optimizer_state.parameters.items():
                with self.learner._gathered([parameter]):
                    found[name] = parameter.detach().float().clone()
            return found

    return Host


def start(cfg: Config) -> list:
    """A fresh learner on every rank; one process group per world size."""
    world = cfg.learner.world_size
    if world not in HOSTS:
        options = plan_placement(cfg).learner | {"num_cpus": 0}
        HOSTS[world] = [ray.remote(host_class()).options(**options).remote() for _ in range(world)]
        ADDRESS[world] = Learner(cfg, 0).rendezvous()
    hosts = HOSTS[world]
    ray.get([host.join.remote(cfg, rank, *ADDRESS[world]) for rank, host in enumerate(hosts)])
    return hosts


def dismiss(world: int) -> None:
    """The next learners of this world get new processes: ZeRO-3 leaves functions of its own in
    torch, which round otherwise in bf16, and a learner of a run has a process to itself."""
    for host in HOSTS.pop(world, []):
        ray.kill(host)


def kill(hosts: list, pids: list[int]) -> None:
    """SIGKILL to every process of a world; the next learners of its size get new ones."""
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    del HOSTS[len(hosts)]


def call(hosts: list, verb: str, *arguments) -> list:
    return ray.get([host.call.remote(verb, *arguments) for host in hosts])


def step(hosts: list, version: int, *given: PackedBatch) -> list[StepReport]:
    """One step on the pairs of all batches."""
    calls = [
        host.call.remote("step", version, share, *own)
        for host, (share, own) in zip(hosts, shares_of(hosts, *given), strict=True)
    ]
    return ray.get(calls)


def shares_of(hosts: list, *given: PackedBatch) -> list[tuple[Share, list[PackedBatch]]]:
    """What each rank learns from, and the batches that it reads, as in a run."""
    relevance = {pair.pair_id: pair.relevance for batch in given for pair in batch.pairs}
    parts = [part for batch in given for part in split_by_images(batch)]
    weights, complete = weigh(relevance, weighted=True), ray.get(hosts[0].reads_all.remote())
    batches = [(content_of(part), part) for part in parts]
    return share_out(batches, weights, len(hosts), complete=complete)


def loss_of(reports: list[StepReport]) -> float:
    return dict(reports[0].metrics)["loss"]


def exported(learners: list) -> dict[str, torch.Tensor]:
    """Weights by name, as a generator would receive them."""
    manifest, *shards = call(learners, "export", "full")[0]
    return {name: t.float() for name, t in tensors(manifest, shards)}
