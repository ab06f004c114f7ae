"""One DeepSpeed rank of the learner (the only file that imports deepspeed)."""

from __future__ import annotations

import contextlib
import copy
import math
import os
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from actors.weights import Manifest, Shard, describe, plan_shards, to_array
from medray.config import Config
from medray.errors import RunFailed
from medray.objectives import find_objective
from medray.policy.export import Mode, export_items
from medray.policy.loading import DTYPES, load_model, model_facts, prepare_policy
from medray.policy.packing import PackedBatch, PackedPair
from medray.policy.schedule import learning_rate
from medray.policy.scoring import SelectedLogits, build_sequences, score_pairs, token_logps
from medray.records import PairScore, StepReport

RENDEZVOUS_TIMEOUT = timedelta(minutes=5)


class Learner:
    """Trains on packed pairs; gives its weights away by version.

    Step n trains policy version n-1 into version n. Every rank gets the whole batch and takes
    its share, so that the result does not depend on the number of ranks.
    """

    def __init__(self, config: Config, rank: int) -> None:
        self.config, self.rank, self.world = config, rank, config.learner.world_size

    def __repr__(self) -> str:
        return f"Learner(rank={self.rank})"

    def rendezvous(self) -> tuple[str, int]:
        """Address and free port of this process's node, where the ranks are to meet."""
        import socket

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as route:
            route.connect(("192.0.2.1", 9))  # nothing is sent: only the outgoing address is asked
            address = str(route.getsockname()[0])
        with socket.socket() as probe:
            probe.bind((address, 0))
            return address, int(probe.getsockname()[1])

    def join(self, address: str, port: int) -> None:
        """Meet the other ranks and load the model."""
        self.device = _start_process_group(self.rank, self.world, address, port)
        config = self.config
        facts = model_facts(config.model)
        torch.manual_seed(config.run.seed)
        self.dtype = DTYPES[config.model.dtype]
        self.objective = find_objective(config.objective.name)
        self.hyper = self.objective.resolve(config.objective.hyperparameters)
        self.needs = self.objective.needs_for(self.hyper)
        self.version = 0
        self.accumulation = _micro_steps(config)
        self.engine, self.reference = self._build(load_model(facts.path, config.model.dtype))

    def step(self, policy_version: int, *batches: PackedBatch) -> StepReport:
        """One optimiser step on all pairs of `batches`; `policy_version` is the current one."""
        if policy_version != self.version:
            raise RunFailed(f"learner at version {self.version}", f"asked for {policy_version}")
        pairs = [pair for batch in batches for pair in batch.pairs]
        pixels = {key: array for batch in batches for key, array in batch.pixels.items()}
        lr = learning_rate(self.config.learner, self.version + 1, self.config.loop.steps)
        for group in self.engine.optimizer.param_groups:
            group["lr"] = lr
        scores, totals = self._accumulate(pairs, pixels)
        means = self._mean_over_ranks(totals)
        applied, norm = self._apply()
        self.version += int(applied)
        metrics = means | {"grad_norm": norm, "lr": lr}
        return StepReport(policy_version, tuple(metrics.items()), tuple(scores), not applied)

    def score(
        self, prompts: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]
    ) -> list[np.ndarray]:
        """Per-token log-probabilities of answers under the current policy.

        prompts: (prompt ids [P], answer ids [T], pixels [3, h, w]) each; returns float32 [T] each.
        """
        sequences = build_sequences(
            [p for p, _, _ in prompts], [a for _, a, _ in prompts],
            [np.ones(len(a), dtype=bool) for _, a, _ in prompts], [x for _, _, x in prompts],
            dtype=self.dtype, device=self.device,
        )  # fmt: skip
        self.engine.eval()
        with torch.no_grad():
            logps = token_logps(self.engine(**sequences.inputs), sequences.targets).cpu().numpy()
        cuts = np.cumsum([len(answer) for _, answer, _ in prompts])[:-1]
        return np.split(logps, cuts)

    def shard_count(self, mode: Mode) -> int:
        """How many shards `export` returns beside the manifest."""
        return len(plan_shards(export_items(self._policy, mode), self.dtype))

    def export(self, mode: Mode) -> tuple[Manifest, *tuple[Shard, ...]]:
        """(manifest, shard, …) on rank 0; the others only take part in gathering."""
        shards: list[Shard] = []
        specs = []
        for items in plan_shards(export_items(self._policy, mode), self.dtype):
            shard: Shard = {}
            dtypes = {}
            for item in items:
                with self._gathered(item.sources):
                    if self.rank == 0:
                        tensor = item.build()
                        shard[item.name], dtypes[item.name] = to_array(tensor), tensor.dtype
            shards.append(shard)
            specs.append(describe(shard, dtypes))
        size = sum(array.nbytes for shard in shards for array in shard.values())
        return (Manifest(self.version, mode, tuple(specs), size), *shards)

    def save(self, directory: str) -> None:
        """Optimiser state and trainable weights under `directory` (all ranks call it)."""
        self.engine.save_checkpoint(
            directory, tag="state", client_state={"version": self.version},
            save_latest=False, exclude_frozen_parameters=True,
        )  # fmt: skip

    def load(self, directory: str) -> int:
        """Continue from `save`; returns the policy version. The caller has checked the manifest."""
        _, state = self.engine.load_checkpoint(
            directory, tag="state", load_module_strict=False,
        )  # fmt: skip
        if state is None:
            raise RunFailed(str(Path(directory)), "DeepSpeed found no state there")
        self.version = int(state["version"])
        return self.version

    @property
    def _policy(self) -> Any:
        return self.engine.module.policy

    def _build(self, model: Any) -> tuple[Any, Any]:
        """The DeepSpeed engine, and the frozen reference where it is a model of its own."""
        import deepspeed

        reference = None
        if self.config.model.lora is None and self.needs.reference:
            reference = SelectedLogits(copy.deepcopy(model)).to(self.device).eval()
            reference.requires_grad_(False)
        scorer = SelectedLogits(prepare_policy(model, self.config.model)).to(self.device)
        trained = [p for p in scorer.parameters() if p.requires_grad]
        learner = self.config.learner
        optimizer = torch.optim.AdamW(trained, lr=learner.lr, weight_decay=learner.weight_decay)
        engine, *_ = deepspeed.initialize(
            model=scorer, model_parameters=trained, optimizer=optimizer,
            config=_deepspeed_config(self.config, self.accumulation),
        )  # fmt: skip
        _forget_trial_step(engine)
        return engine, reference

    def _accumulate(
        self, pairs: Sequence[PackedPair], pixels: dict[str, np.ndarray]
    ) -> tuple[list[PairScore], dict[str, float]]:
        """Forward and backward over this rank's share; the pair scores and metric sums."""
        self.engine.train()
        mine = list(range(self.rank, len(pairs), self.world))
        chunks = np.array_split(np.asarray(mine, dtype=int), self.accumulation)
        scored: list[PairScore] = []
        totals: dict[str, float] = {"count": float(len(mine))}
        for number, chunk in enumerate(chunks, 1):
            # Ranks step in lockstep: one with nothing left runs a pair of weight zero.
            rows = [pairs[i] for i in chunk] or [pairs[0]]
            scores = self._scores(rows, pixels)
            loss, metrics = self.objective(scores, **self.hyper)
            share = len(chunk) and self.world / len(pairs)
            self.engine.backward((loss * share).sum(), scale_wrt_gas=False)
            if len(chunk):
                scored += _pair_scores(rows, scores, loss)
                for name, value in ({"loss": loss.detach()} | metrics).items():
                    totals[name] = totals.get(name, 0.0) + float(value.sum())
            if number < self.accumulation:
                self.engine.step()  # only counts the micro-batch
        return scored, totals

    def _apply(self) -> tuple[bool, float]:
        """The optimiser step: (applied, gradient norm before clipping).

        DeepSpeed skips on a non-finite gradient, on all ranks alike. Its plain float32 mode
        (ZeRO 0) does not look: there the gradients, already reduced, are looked at here.
        """
        engine = self.engine
        if isinstance(engine.optimizer, torch.optim.AdamW):
            gradients = [p.grad for g in engine.optimizer.param_groups for p in g["params"]]
            norm = torch.nn.utils.get_total_norm([g for g in gradients if g is not None])
            if not torch.isfinite(norm):
                engine.zero_grad()
                engine.micro_steps += 1  # the micro-batch that engine.step() would have counted
                return False, math.inf
            engine.step()
            return True, float(norm)
        before = engine.skipped_steps
        engine.step()
        return engine.skipped_steps == before, float(engine.get_global_grad_norm())

    def _scores(self, rows: Sequence[PackedPair], pixels: dict[str, np.ndarray]) -> dict[str, Any]:
        return score_pairs(
            rows, pixels, self.needs, policy=self.engine, reference=self._reference_logits,
            dtype=self.dtype, device=self.device,
        )  # fmt: skip

    def _reference_logits(self, **inputs: Tensor) -> Tensor:
        if self.reference is not None:
            return self.reference(**inputs)
        with self._policy.disable_adapter():
            return self.engine(**inputs)

    @contextlib.contextmanager
    def _gathered(self, parameters: Sequence[torch.nn.Parameter]) -> Iterator[None]:
        if self.config.learner.zero_stage < 3:
            yield
            return
        import deepspeed

        with deepspeed.zero.GatheredParameters(list(parameters)):
            yield

    def _mean_over_ranks(self, totals: dict[str, float]) -> dict[str, float]:
        names = sorted(_METRICS & totals.keys()) if self.rank == 0 else []
        if self.world > 1:
            shared: list[Any] = [names]
            torch.distributed.broadcast_object_list(shared, src=0)
            names = shared[0]
        values = torch.tensor([totals.get(n, 0.0) for n in [*names, "count"]], dtype=torch.float64)
        values = values.to(self.device)
        if self.world > 1:
            torch.distributed.all_reduce(values)
        *sums, count = values.tolist()
        return {name: total / max(count, 1.0) for name, total in zip(names, sums, strict=True)}


_METRICS = {"loss", "loss_rank", "loss_visual", "loss_kl", "reward_margin", "reward_accuracy"}


def _pair_scores(
    rows: Sequence[PackedPair], scores: dict[str, Any], loss: Tensor
) -> list[PairScore]:
    """Log-probabilities summed over the tokens that the objective reads."""

    def total(side: str, name: str) -> list[float]:
        branch = scores[f"clean/{side}"]
        return branch[name].detach().sum(-1).tolist() if name in branch else [math.nan] * len(rows)

    columns = zip(
        (row.pair_id for row in rows), loss.detach().tolist(),
        total("chosen", "policy_logp"), total("rejected", "policy_logp"),
        total("chosen", "ref_logp"), total("rejected", "ref_logp"), strict=True,
    )  # fmt: skip
    return [PairScore(*column) for column in columns]


def _micro_steps(config: Config) -> int:
    """Micro-batches per rank and step, so that a full batch fits."""
    most = config.loop.batch * config.generator.responses
    return math.ceil(most / (config.learner.world_size * config.learner.micro_batch))


def _deepspeed_config(config: Config, accumulation: int) -> dict[str, Any]:
    return {
        "train_micro_batch_size_per_gpu": config.learner.micro_batch,
        "gradient_accumulation_steps": accumulation,
        "gradient_clipping": config.learner.clip,
        "zero_optimization": {"stage": config.learner.zero_stage},
        "bf16": {"enabled": config.model.dtype == "bfloat16"},
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 10**9,
    }


def _forget_trial_step(engine: Any) -> None:
    """DeepSpeed's bf16 ZeRO-0 optimiser allocates its state by a step on zero gradients.

    AdamW counts it, and its bias correction would then shrink the first real steps by a
    quarter (measured: 0.74 of lr); the count goes back to zero.
    """
    inner = getattr(engine.optimizer, "optimizer", engine.optimizer)
    for state in inner.state.values():
        if torch.is_tensor(state.get("step")) and not state["exp_avg_sq"].any():
            state["step"].zero_()


def _start_process_group(rank: int, world: int, address: str, port: int) -> torch.device:
    """Environment, then DeepSpeed's process group: gloo on CPUs, NCCL on GPUs."""
    gpu = torch.cuda.is_available()
    os.environ.update(
        RANK=str(rank), LOCAL_RANK="0", WORLD_SIZE=str(world),
        MASTER_ADDR=address, MASTER_PORT=str(port),
    )  # fmt: skip
    if not gpu:
        os.environ["DS_ACCELERATOR"] = "cpu"
    import deepspeed

    if not gpu:
        # The shared-memory collectives would be compiled for a minute; gloo does without.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed(
        "nccl" if gpu else "gloo", auto_mpi_discovery=False, timeout=RENDEZVOUS_TIMEOUT
    )
    return torch.device("cuda", 0) if gpu else torch.device("cpu")
