"""One DeepSpeed rank of the learner."""

from __future__ import annotations

import contextlib
import gc
import math
import socket
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from actors.learner import reductions, saved_state
from actors.learner.deepspeed_internals import complete_shape
from actors.learner.frozen_weights import FrozenWeights
from actors.learner.gpu_memory import allocated, wait_for_memory
from actors.learner.optimizer_state import OptimizerState
from actors.learner.process_group import (
    deepspeed_config,
    open_meeting_point,
    reference_config,
    start_process_group,
)
from actors.weights.manifest import Manifest, Shard, pack, plan_shards
from actors.weights.staging import Staging, staging_size
from medray.config import Config
from medray.errors import RunFailed
from medray.objectives import find_objective
from medray.policy.export.weight_update import (
    ExportItem,
    Mode,
    Partitioning,
    export_items,
    numel_bytes,
)
from medray.policy.model.loading import DTYPES, ModelFacts, load_model, model_facts, reference_facts
from medray.policy.model.schedule import learning_rate
from medray.policy.model.tuning import base_model, frozen_copy, prepare_policy
from medray.policy.packing import PackedBatch, PackedPair
from medray.policy.picture import Picture
from medray.policy.saliency import Box, EncodedQuestion, hottest_box, saliency
from medray.policy.scoring.importance import importance_weights
from medray.policy.scoring.kto_baseline import log_ratios, mismatched_pairs
from medray.policy.scoring.ledger_scores import few_of_step, pair_scores, token_ratios
from medray.policy.scoring.score_pairs import (
    AdaptersOff,
    FrozenModel,
    Reference,
    SideRatios,
    batch_pairs,
    score_and_look,
    score_answers,
)
from medray.policy.scoring.scorer import Scorer
from medray.policy.shares import RankPairs, Share
from medray.records import PairScore, StepReport, TokenRatios


class Learner:
    """Trains on packed pairs, and exports its weights by version.

    Step n trains policy version n-1 into version n. Every rank gets its share of the pairs, and of
    their pictures only what it needs; the result does not depend on the number of ranks.
    """

    def __init__(self, config: Config, rank: int) -> None:
        self.config, self.rank, self.world = config, rank, config.learner.world_size
        self.meeting_point: socket.socket | None = None  # of all ranks, on rank 0

    def __repr__(self) -> str:
        return f"Learner(rank={self.rank})"

    def rendezvous(self) -> tuple[str, int]:
        """Address and free port of this process's node, for all ranks to meet at."""
        self.meeting_point = open_meeting_point()
        address, port = self.meeting_point.getsockname()
        return str(address), int(port)

    def join(self, address: str, port: int) -> None:
        """Meet the other ranks and load the model."""
        self.device = start_process_group(self.rank, self.world, address, port, self.meeting_point)
        self._begin()

    def reset(self, config: Config) -> None:
        """Begin another run with the same ranks: all but the processes is as after `join`."""
        for engine in (self.engine, self.reference_engine):
            if engine is not None:
                engine.destroy()
        del self.engine, self.reference_engine, self.scorer, self.reference, self.optimizer_state
        gc.collect()  # engines refer to themselves
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        self.config = config
        self._begin()

    def _begin(self) -> None:
        """The model, the objective and the optimiser as this configuration says, at version 0."""
        config = self.config
        facts = model_facts(config.model)
        torch.manual_seed(config.run.seed)
        self.dtype = DTYPES[config.model.dtype]
        self.objective = find_objective(config.objective.name)
        self.hyperparameters = self.objective.resolve(config.objective.hyperparameters)
        self.needs = self.objective.needs_for(self.hyperparameters)
        self.version = 0
        self.staging: Staging | None = None  # made when weights leave a GPU for the first time
        try:
            model = load_model(facts.path, config.model.dtype)
            self._build(model, facts)
        except (MemoryError, torch.OutOfMemoryError) as error:
            first = (str(error).splitlines() or ["not enough memory"])[0]
            todo = "give the learner more of it, or shard with learner.zero_stage=3"
            raise RunFailed(f"{self!r}: loading the model", first, todo) from error

    def step(self, policy_version: int, share: Share, *batches: PackedBatch) -> StepReport:
        """One optimiser step of all ranks from `policy_version`, the current one.

        `batches` hold the pairs of this rank's share, and one pair at least; for an objective with
        a baseline, all pairs of all ranks.
        """
        if policy_version != self.version:
            raise RunFailed(f"learner at version {self.version}", f"{policy_version} was expected")
        pairs = RankPairs.of(share, batches)
        lr = learning_rate(self.config.learner, self.version + 1, self.config.loop.steps)
        for group in self.engine.optimizer.param_groups:
            group["lr"] = lr
        scores, few, totals = self._accumulate(pairs)
        means = reductions.means(totals, self.device)
        applied, norm = self._apply()
        self.version += int(applied)
        metrics = tuple((means | {"grad_norm": norm, "lr": lr}).items())
        return StepReport(policy_version, metrics, tuple(scores), not applied, tuple(few))

    def score(
        self, prompts: Sequence[tuple[np.ndarray, np.ndarray, Sequence[Picture]]]
    ) -> list[np.ndarray]:
        """Per-token log-probabilities of answers under the current policy.

        prompts: (prompt ids [P], answer ids [T], pictures) each; returns float32 [T] each.
        """
        self.engine.eval()
        return score_answers(prompts, policy=self.scorer, call=self.engine)

    def saliency_boxes(
        self, answers: Sequence[Sequence[int]], *parts: Sequence[EncodedQuestion]
    ) -> list[tuple[int, Box] | None]:
        """Boxes around what the current policy looks at most, each with the number of its image:
        this rank's share of the answers.

        answers: token ids [T] of each item, T above 0; parts: the items' questions, in order. Of n
        items, rank r handles r, r + world, …; None if nothing depends on the image.
        """
        self.engine.eval()
        questions = [question for part in parts for question in part]
        mine = range(len(questions))[self.rank :: self.world]
        # Ranks gather weights in lockstep: one with nothing left computes a box that is discarded.
        rounds = math.ceil(len(questions) / self.world)
        boxes = []
        for i in (*mine, *[0] * (rounds - len(mine))):
            ids = np.asarray(answers[i], dtype=np.int64)
            # Not through the engine, which would count the backward pass as one of training.
            heats = saliency(self.scorer, questions[i], ids, np.ones(len(ids), dtype=bool))
            boxes.append(hottest_box(heats, self.config.corruption.saliency_share))
        return boxes[: len(mine)]

    def shard_count(self, mode: Mode) -> int:
        """Number of shards that `export` returns besides the manifest."""
        return len(self._shards(mode))

    def export(self, mode: Mode) -> tuple[Manifest, *tuple[Shard, ...]]:
        """(manifest, shard, …) on rank 0; the others only take part in gathering weights."""
        return pack(self._shards(mode), self.version, mode, self._gathered, keep=self.rank == 0)

    def _shards(self, mode: Mode) -> list[list[ExportItem]]:
        kept = Partitioning(complete_shape, temporary=self.config.learner.zero_stage == 3)
        items = export_items(self._policy, mode, kept)
        if self.device.type == "cuda" and self.rank == 0 and mode == self.config.loop.sync:
            if self.staging is None:
                self.staging = Staging(staging_size(numel_bytes(items, self.dtype)))
            items = export_items(self._policy, mode, replace(kept, to_host=self.staging.to_host))
        return plan_shards(items, self.dtype)

    def save(self, directory: str) -> None:
        """Write masters, moments and random state into `directory` (all ranks call it)."""
        saved_state.save(Path(directory), self.optimizer_state, self.version, self._rank_info)

    def load(self, directory: str) -> int:
        """Continue from `save`, of any number of ranks and any ZeRO stage; returns the version.

        Raises RunFailed if the state is of another model. The caller has checked the manifest.
        """
        self.version = saved_state.load(Path(directory), self.optimizer_state, self._rank_info)
        return self.version

    @property
    def _rank_info(self) -> saved_state.RankInfo:
        return saved_state.RankInfo(self.rank, self.world, self.config.run.seed)

    def rest(self) -> None:
        """Release the GPU's memory until `resume`; everything moves to host memory.

        DeepSpeed moves what it trains (ZeRO-1 and 2, which `generator.colocated` requires).
        """
        before = allocated(self.device)
        self.engine.offload_states(pin_memory=self.device.type == "cuda")
        self.frozen.to_host()
        self.left_gpu = before - allocated(self.device)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def resume(self) -> None:
        """Take the GPU's memory again, before the next call that computes."""
        wait_for_memory(self.device, self.left_gpu)
        self.frozen.to_device()
        self.engine.reload_states()
        self.optimizer_state.relink_moments()

    @property
    def _policy(self) -> Any:
        return self.scorer.policy

    def _build(self, model: Any, facts: ModelFacts) -> None:
        """The DeepSpeed engine around the scorer, and the reference."""
        import deepspeed

        learner = self.config.learner

        def scorer_of(policy: Any) -> Scorer:
            scorer = Scorer(
                policy, facts.architecture, facts.image_token, row_tokens=learner.row_tokens
            )
            return scorer.to(self.device)

        policy = prepare_policy(model, self.config.model)
        sharded = learner.zero_stage == 3
        # Sharded ones are loaded one after the other: the host holds one complete model at a time.
        other = None if sharded else self._other_model(policy, facts)
        reference = None if other is None else scorer_of(other).eval()
        self.scorer = scorer_of(policy)
        if learner.gradient_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        trained = [p for p in self.scorer.parameters() if p.requires_grad]
        # Fused: no temporary copies of a complete partition, and all threads of an offloaded one.
        optimizer = torch.optim.AdamW(
            trained, lr=learner.lr, weight_decay=learner.weight_decay, fused=True
        )
        self.engine, *_ = deepspeed.initialize(
            model=self.scorer,
            model_parameters=trained,
            optimizer=optimizer,
            config=deepspeed_config(self.config, sum(p.numel() for p in trained)),
        )
        self.optimizer_state = OptimizerState(self.engine, policy, learner.zero_stage, deepspeed)
        self.reference_engine: Any = None
        if sharded and (other := self._other_model(policy, facts)) is not None:
            reference = scorer_of(other).eval()
            self.reference_engine, *_ = deepspeed.initialize(
                model=reference, config=reference_config(self.config)
            )
            # The policy's head reads its weights: they are gathered together.
            for weight in base_model(other).lm_head.parameters():
                deepspeed.zero.register_external_parameter(self.scorer.head, weight)
        self.reference: Reference = AdaptersOff(self.scorer, self.engine)
        if reference is not None:
            own_vision = self.config.model.reference is not None
            self.reference = FrozenModel(reference, same_vision=not own_vision)
        models = [self.scorer] if reference is None else [self.scorer, reference]
        self.frozen = FrozenWeights(models, self.device)

    def _other_model(self, policy: Any, facts: ModelFacts) -> Any:
        """The reference if it is a model of its own, else None."""
        if not self.needs.reference:
            return None
        named = reference_facts(self.config.model)
        if named is None and self.config.model.lora is not None:
            return None
        if named is None and self.config.learner.zero_stage < 3:
            return frozen_copy(policy)
        path = (named or facts).path
        return load_model(path, self.config.model.dtype).requires_grad_(False)

    def _accumulate(
        self, pairs: RankPairs
    ) -> tuple[list[PairScore], list[TokenRatios], dict[str, float]]:
        """Forward and backward over this rank's own pairs; their scores, the log-ratios of a few by
        token, and metric sums."""
        self.engine.train()
        micro_batch = self.config.learner.micro_batch
        mine = batch_pairs(pairs.own, self.needs, self.scorer.layout, micro_batch)
        mine += [[]] * (reductions.largest(len(mine), self.device) - len(mine))
        extra, few = self._baseline(pairs), self._few(pairs)
        scored: list[PairScore] = []
        ratios: list[TokenRatios] = []
        totals: dict[str, float] = {"count": float(sum(map(len, mine)))}
        for number, chunk in enumerate(mine, 1):
            # How many there are differs from step to step: the engine is told which is the last.
            self.engine.set_gradient_accumulation_boundary(number == len(mine))
            # Ranks step in lockstep: one with nothing left runs a pair with weight zero.
            rows = [pairs.own[i] for i in chunk] or pairs.read[:1]
            looked_at = [i for i, pair in enumerate(rows) if chunk and pair.pair_id in few]
            scores, found = self._scores(rows, pairs.pixels, looked_at)
            scores |= extra
            loss, metrics = self._loss(rows, scores)
            part = len(chunk) and self.world / pairs.of_step
            self.engine.backward((loss * part).sum(), scale_wrt_gas=False)
            if chunk:
                scored += pair_scores(rows, scores, loss)
                ratios += map(token_ratios, [rows[i] for i in looked_at], found)
            for name, value in ({"loss": loss.detach()} | metrics).items():
                totals.setdefault(name, 0.0)
                totals[name] += float(value.sum()) if chunk else 0.0
        return scored, ratios, totals

    def _few(self, pairs: RankPairs) -> set[str]:
        """Ids of its own pairs that are looked at by token; none without a reference."""
        if not self.needs.reference:
            return set()
        return few_of_step(pairs.own, pairs.of_step, self.config, self.rank, self.version)

    def _loss(
        self, rows: Sequence[PackedPair], scores: dict[str, Any]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The objective's loss and metrics, [B] each, corrected for answers of older policies."""
        loss, metrics = self.objective(scores, **self.hyperparameters)
        if (clip := self.config.loop.importance_clip) is None:
            return loss, metrics
        weights, ratios = importance_weights(rows, scores, self.needs, clip)
        return loss * weights, metrics | ratios

    def _baseline(self, pairs: RankPairs) -> dict[str, Tensor]:
        """z0 of the complete batch, equal on all ranks, if the objective reads it."""
        matches = mismatched_pairs(pairs.read) if self.needs.kto_baseline else []
        if not matches:
            return {}
        rounds = math.ceil(len(matches) / (self.world * self.config.learner.micro_batch))
        total = 0.0
        for own in np.array_split(np.arange(self.rank, len(matches), self.world), rounds):
            # In lockstep, as in _accumulate: a rank with nothing left computes discarded ratios.
            ratios = log_ratios(
                [matches[i] for i in own] or matches[:1],
                pairs.pixels,
                policy=self.scorer,
                reference=self.reference,
                call=self.engine,
            )
            total += sum(ratios) if len(own) else 0.0
        summed = reductions.total(torch.tensor(total, dtype=torch.float64, device=self.device))
        return {"z0": (summed / len(matches)).clamp(min=0).float()}

    def _apply(self) -> tuple[bool, float]:
        """The optimiser step: (applied, gradient norm before clipping).

        DeepSpeed skips the step on a non-finite gradient, on all ranks alike. Its plain float32
        mode (ZeRO-0) does not check: there the reduced gradients are checked here.
        """
        engine = self.engine
        if isinstance(engine.optimizer, torch.optim.AdamW):
            gradients = [p.grad for g in engine.optimizer.param_groups for p in g["params"]]
            norm = torch.nn.utils.get_total_norm([g for g in gradients if g is not None])
            if not torch.isfinite(norm):
                engine.zero_grad()
                return False, math.inf
            engine.step()
            return True, float(norm)
        before = engine.skipped_steps
        engine.step()
        return engine.skipped_steps == before, float(engine.get_global_grad_norm())

    def _scores(
        self, rows: Sequence[PackedPair], pixels: dict[str, Picture], looked_at: Sequence[int]
    ) -> tuple[dict[str, Any], list[SideRatios]]:
        return score_and_look(
            rows,
            pixels,
            self.needs,
            looked_at,
            policy=self.scorer,
            reference=self.reference,
            call=self.engine,
        )

    @contextlib.contextmanager
    def _gathered(self, parameters: Sequence[torch.nn.Parameter]) -> Iterator[None]:
        if self.config.learner.zero_stage < 3:
            yield
            return
        import deepspeed

        with deepspeed.zero.GatheredParameters(list(parameters)):
            yield
