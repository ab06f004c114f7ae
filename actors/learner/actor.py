"""One DeepSpeed rank of the learner (the only file that imports deepspeed)."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from actors.learner import optimizer_state as learner_state
from actors.weights.manifest import Manifest, Shard, pack, plan_shards
from medray.config import Config, LearnerConfig
from medray.errors import RunFailed
from medray.objectives import find_objective
from medray.policy.export.weight_update import Mode, export_items
from medray.policy.model.loading import DTYPES, ModelFacts, load_model, model_facts, reference_facts
from medray.policy.model.schedule import learning_rate
from medray.policy.model.tuning import frozen_copy, prepare_policy
from medray.policy.packing import PackedBatch, PackedPair, merge_batches
from medray.policy.scoring.importance import importance_weights
from medray.policy.scoring.kto_baseline import log_ratios, mismatches
from medray.policy.scoring.ledger_scores import pair_scores
from medray.policy.scoring.saliency import Box, View, hottest_box, saliency
from medray.policy.scoring.score_pairs import (
    AdaptersOff,
    FrozenModel,
    Reference,
    score_answers,
    score_pairs,
    share_out,
)
from medray.policy.scoring.scorer import Scorer
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
        self._build(load_model(facts.path, config.model.dtype), facts)

    def step(self, policy_version: int, *batches: PackedBatch) -> StepReport:
        """One optimiser step on all pairs of `batches`; `policy_version` is the current one."""
        if policy_version != self.version:
            raise RunFailed(f"learner at version {self.version}", f"asked for {policy_version}")
        pairs = merge_batches(batches)
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

        prompts: (prompt ids [P], answer ids [T], picture) each; returns float32 [T] each.
        """
        self.engine.eval()
        return score_answers(prompts, policy=self.scorer, call=self.engine)

    def look(self, answers: Sequence[Sequence[int]], *parts: Sequence[View]) -> list[Box | None]:
        """Around what the current policy looks at most for answers: this rank's share of them.

        answers: token ids [T] of each item, T above 0; parts: the items' views, in order. Of n
        items, rank r answers for r, r + world, …; None where nothing depends on the image.
        """
        self.engine.eval()
        views = [view for part in parts for view in part]
        mine = range(len(views))[self.rank :: self.world]
        # Ranks gather weights in lockstep: one with nothing left looks at what does not count.
        rounds = math.ceil(len(views) / self.world)
        boxes = []
        for i in (*mine, *[0] * (rounds - len(mine))):
            ids = np.asarray(answers[i], dtype=np.int64)
            # Past the engine, which would take the backward pass for one of training.
            heat = saliency(self.scorer, views[i], ids, np.ones(len(ids), dtype=bool))
            boxes.append(hottest_box(heat, self.config.corruption.saliency_share))
        return boxes[: len(mine)]

    def shard_count(self, mode: Mode) -> int:
        """How many shards `export` returns beside the manifest."""
        return len(plan_shards(export_items(self._policy, mode), self.dtype))

    def export(self, mode: Mode) -> tuple[Manifest, *tuple[Shard, ...]]:
        """(manifest, shard, …) on rank 0; the others only take part in gathering."""
        plan = plan_shards(export_items(self._policy, mode), self.dtype)
        return pack(plan, self.version, mode, self._gathered, keep=self.rank == 0)

    def save(self, directory: str) -> None:
        """Masters, moments and random state into `directory` (all ranks call it)."""
        learner_state.save(Path(directory), self.masters, self.version, self._place)

    def load(self, directory: str) -> int:
        """Continue from `save`, of any number of ranks and ZeRO stage; returns the version.

        RunFailed where the state is of another model. The caller has checked the manifest.
        """
        self.version = learner_state.load(Path(directory), self.masters, self._place)
        return self.version

    @property
    def _place(self) -> learner_state.Place:
        return learner_state.Place(self.rank, self.world, self.config.run.seed)

    def rest(self) -> None:
        """Give the GPU's memory back until `resume`: everything waits in host memory.

        DeepSpeed moves what it trains (ZeRO 1 and 2, which `generator.colocated` asks for).
        """
        self.engine.offload_states(pin_memory=self.device.type == "cuda")
        self._move_frozen("cpu")
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def resume(self) -> None:
        """Take the GPU's memory again, before the next call that computes."""
        self._move_frozen(self.device)
        self.engine.reload_states()
        self.masters.relink()

    def _move_frozen(self, device: torch.device | str) -> None:
        models = [self.scorer]
        if isinstance(self.reference, FrozenModel):
            models.append(self.reference.scorer)
        for tensor in (t for m in models for t in (*m.parameters(), *m.buffers())):
            if not tensor.requires_grad:
                tensor.data = tensor.data.to(device)

    @property
    def _policy(self) -> Any:
        return self.scorer.policy

    def _build(self, model: Any, facts: ModelFacts) -> None:
        """The DeepSpeed engine around the scorer, and the frozen reference."""
        import deepspeed

        learner = self.config.learner

        def scorer_of(policy: Any) -> Scorer:
            scorer = Scorer(
                policy, facts.architecture, facts.image_token, row_tokens=learner.row_tokens
            )
            return scorer.to(self.device)

        policy = prepare_policy(model, self.config.model)
        other = self._other_model(policy)
        frozen = None if other is None else scorer_of(other).eval()
        self.scorer = scorer_of(policy)
        if learner.gradient_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        trained = [p for p in self.scorer.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=learner.lr, weight_decay=learner.weight_decay)
        self.engine, *_ = deepspeed.initialize(
            model=self.scorer,
            model_parameters=trained,
            optimizer=optimizer,
            config=_deepspeed_config(self.config, self.accumulation),
        )
        stage = learner.zero_stage
        self.masters = learner_state.Masters(self.engine, policy, stage, deepspeed)
        self.reference: Reference = AdaptersOff(self.scorer, self.engine)
        if frozen is not None:
            self.reference = FrozenModel(frozen, same_vision=self.config.model.reference is None)

    def _other_model(self, policy: Any) -> Any:
        """The reference where it is a model of its own, else None."""
        if not self.needs.reference:
            return None
        if (named := reference_facts(self.config.model)) is not None:
            return load_model(named.path, self.config.model.dtype).requires_grad_(False)
        if self.config.model.lora is not None:
            return None
        # ZeRO-3 takes the policy's weights apart: nothing of them can be shared.
        return frozen_copy(policy, share=self.config.learner.zero_stage < 3)

    def _accumulate(
        self, pairs: Sequence[PackedPair], pixels: dict[str, np.ndarray]
    ) -> tuple[list[PairScore], dict[str, float]]:
        """Forward and backward over this rank's share; the pair scores and metric sums."""
        self.engine.train()
        shares = share_out(pairs, self.needs, self.scorer.layout, self.world * self.accumulation)
        mine = shares[self.rank :: self.world]
        extra = self._baseline(pairs, pixels)
        scored: list[PairScore] = []
        totals: dict[str, float] = {"count": float(sum(map(len, mine)))}
        for number, chunk in enumerate(mine, 1):
            # Ranks step in lockstep: one with nothing left runs a pair of weight zero.
            rows = [pairs[i] for i in chunk] or [pairs[0]]
            scores = self._scores(rows, pixels) | extra
            loss, metrics = self._loss(rows, scores)
            share = len(chunk) and self.world / len(pairs)
            self.engine.backward((loss * share).sum(), scale_wrt_gas=False)
            if chunk:
                scored += pair_scores(rows, scores, loss)
            for name, value in ({"loss": loss.detach()} | metrics).items():
                totals.setdefault(name, 0.0)
                totals[name] += float(value.sum()) if chunk else 0.0
            if number < self.accumulation:
                self.engine.step()  # only counts the micro-batch
        return scored, totals

    def _loss(
        self, rows: Sequence[PackedPair], scores: dict[str, Any]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The objective's loss and metrics, [B] each, corrected for answers that lag behind."""
        loss, metrics = self.objective(scores, **self.hyper)
        if (clip := self.config.loop.importance_clip) is None:
            return loss, metrics
        weights, told = importance_weights(rows, scores, self.needs, clip)
        return loss * weights, metrics | told

    def _baseline(
        self, pairs: Sequence[PackedPair], pixels: dict[str, np.ndarray]
    ) -> dict[str, Tensor]:
        """z0 of the whole batch, on all ranks alike, where the objective reads it."""
        matches = mismatches(pairs) if self.needs.kto_baseline else []
        if not matches:
            return {}
        rounds = math.ceil(len(matches) / (self.world * self.config.learner.micro_batch))
        total = 0.0
        for own in np.array_split(np.arange(self.rank, len(matches), self.world), rounds):
            # In lockstep, as in _accumulate: a rank with nothing left reads what does not count.
            ratios = log_ratios(
                [matches[i] for i in own] or matches[:1],
                pixels,
                policy=self.scorer,
                reference=self.reference,
                call=self.engine,
            )
            total += sum(ratios) if len(own) else 0.0
        summed = torch.tensor(total, dtype=torch.float64, device=self.device)
        if self.world > 1:
            torch.distributed.all_reduce(summed)
        return {"z0": (summed / len(matches)).clamp(min=0).float()}

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
            rows, pixels, self.needs, policy=self.scorer, reference=self.reference, call=self.engine
        )

    @contextlib.contextmanager
    def _gathered(self, parameters: Sequence[torch.nn.Parameter]) -> Iterator[None]:
        if self.config.learner.zero_stage < 3:
            yield
            return
        import deepspeed

        with deepspeed.zero.GatheredParameters(list(parameters)):
            yield

    def _mean_over_ranks(self, totals: dict[str, float]) -> dict[str, float]:
        names = sorted(totals.keys() - {"count"})  # the same on every rank
        values = torch.tensor([totals[n] for n in [*names, "count"]], dtype=torch.float64)
        values = values.to(self.device)
        if self.world > 1:
            torch.distributed.all_reduce(values)
        *sums, count = values.tolist()
        return {name: total / max(count, 1.0) for name, total in zip(names, sums, strict=True)}


def _micro_steps(config: Config) -> int:
    """Micro-batches per rank and step, so that a full batch fits."""
    most = config.loop.batch * config.generator.responses
    return math.ceil(most / (config.learner.world_size * config.learner.micro_batch))


def _deepspeed_config(config: Config, accumulation: int) -> dict[str, Any]:
    return {
        "train_micro_batch_size_per_gpu": config.learner.micro_batch,
        "gradient_accumulation_steps": accumulation,
        "gradient_clipping": config.learner.clip,
        "zero_optimization": _zero(config.learner),
        "bf16": {"enabled": config.model.dtype == "bfloat16"},
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 10**9,
    }


def _zero(learner: LearnerConfig) -> dict[str, Any]:
    """DeepSpeed's zero_optimization: the stage, and what lives in host memory."""
    zero: dict[str, Any] = {"stage": learner.zero_stage}
    if learner.offload in ("optimizer", "all"):
        zero["offload_optimizer"] = {"device": "cpu"}
    if learner.offload == "all":
        zero["offload_param"] = {"device": "cpu"}
    return zero


def _start_process_group(rank: int, world: int, address: str, port: int) -> torch.device:
    """Environment, then DeepSpeed's process group: gloo on CPUs, NCCL on GPUs."""
    gpu = torch.cuda.is_available()
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK="0",
        WORLD_SIZE=str(world),
        MASTER_ADDR=address,
        MASTER_PORT=str(port),
    )
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
