"""Placement, spawning and calling of all actors: the only file that knows every kind of them.

Every wait has a deadline and every failure a named cause. The loop sees records and object
references only; pixels and tensors travel between actors through the object store.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import numpy as np
import ray

from actors.editor import Editor, Packer
from actors.fleet.calls import OBJECT_DEADLINE, ActorLost, ObjectsLost, await_ref
from actors.fleet.gpu_turns import GpuTurns
from actors.fleet.items import NO_CANARIES, CanaryPrompts, EditedBatch, WeightUpdate
from actors.fleet.learner_group import LearnerGroup, LearnersLost, LearnersStart
from actors.fleet.localisation import needs_localiser
from actors.fleet.placement import LearnerPlacementGroup, Placement, actor_name
from actors.fleet.pool import LEAST_PATIENCE, Pool, RestartBudget
from actors.fleet.served import LanguageModels
from actors.generator import Generator
from actors.learner import Learner
from actors.localiser import Localiser
from actors.weights.manifest import Manifest
from medray.config import Config
from medray.errors import DiskFault, RunFailed
from medray.objectives import answers_needed, needs_of
from medray.policy.saliency import Box
from medray.policy.shares import Share, share_out, weigh
from medray.records import Pair, StepReport

ADOPTIONS = 20  # times the longest one so far: a generator that takes so long stands still


class Fleet:
    """Generators, editors, their language models, and learners of one run: a context manager."""

    def __init__(
        self,
        config: Config,
        placement: Placement,
        budget: RestartBudget,
        *,
        learners: bool = True,
        generators: bool = True,
    ) -> None:
        """Without `learners` nothing is trained, without `generators` nothing is answered."""
        self.config, self.placement, self.budget = config, placement, budget
        self.canaries: CanaryPrompts | None = None  # None: weight updates are not proven
        world = config.learner.world_size if learners else 0
        shared = config.generator.colocated and learners
        self.placement_group = LearnerPlacementGroup(placement.bundle, world, shared=shared)
        self.learners = LearnerGroup(self._spawn_rank, world, config.faults.deadline)
        self.editors, self.localisers = self._editor_pool(), self._localiser_pool()
        self.models = LanguageModels(
            config, placement.language_model, budget, lambda error: self.editors.fail(error)
        )
        self.generators = Pool(
            "generator",
            "Generator",
            config.generator.replicas if generators else 0,
            self._spawn_generator,
            budget,
            self._adopt_weights,
        )
        # Cleared while learners that had to leave look for a place: they come first.
        self.room = asyncio.Event()
        self.room.set()
        # Cleared until new learners offer weights: earlier ones may be lost with their node.
        self._offer_lasts = asyncio.Event()
        self._offer_lasts.set()
        for pool in self.pools:
            pool.may_start = self.room.wait
        self.turns = GpuTurns(self.generators, self.learners, shared=shared)
        self.learners_start = LearnersStart(self._start_learners, self._leave_places)
        self._shards = 0  # of one weight update
        self._longest_adoption = 0.0  # seconds

    @property
    def pools(self) -> tuple[Pool, ...]:
        """All replicas; their kinds are names of `Placement` too."""
        return self.generators, self.editors, self.localisers

    async def __aenter__(self) -> Fleet:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.learners_start.cancel()
        await asyncio.gather(*(pool.close() for pool in self.pools), self.models.close())
        self.dismiss_learners()
        self.placement_group.remove()

    async def start(self) -> None:
        """Load the model everywhere; returns when responses can be generated.

        Starting keeps the CPUs busy, and generators take longest: they start at once, beside the
        editors and localisers, and the learners once these are ready, or at once if there are no
        generators. `learners_ready` waits for them.
        """
        if self.learners.world:
            await self.placement_group.reserve()
        self.generators.start()
        if self.learners.world and answers_needed(self.config):  # else nothing is edited
            await self.models.start()
        self.editors.start()
        self.localisers.start()
        if self.generators.size:
            await asyncio.gather(self.editors.wait_ready(), self.localisers.wait_ready())
        if self.learners.world:
            self.learners_start.begin()
        if self.turns.shared:
            await self.learners_ready()  # before anybody wakes an engine
        await self.models.wait_ready()
        await asyncio.gather(self.editors.wait_ready(), self.generators.wait_ready())

    async def reset(self, config: Config, budget: RestartBudget) -> None:
        """Begin another run on the processes of this one; `learners_ready` waits for the learners.

        The run starts from what it would start from on new ones. `medray.study.reuse` says in what
        its configuration may differ. Raises RunFailed if an actor is lost: close this fleet then.
        """
        await self.learners_ready()
        self.config, self.budget, self.models.budget = config, budget, budget
        self.canaries, self._shards = None, 0
        self.editors = await self._renewed(self.editors, self._editor_pool())
        self.localisers = await self._renewed(self.localisers, self._localiser_pool())
        await self.generators.reset(config, budget, self.generators.patience)
        await asyncio.gather(self.editors.wait_ready(), self.localisers.wait_ready())
        self.learners_start.begin(self._reset_learners)
        if self.turns.shared:
            await self.learners_ready()

    async def learners_ready(self) -> None:
        """Return when all ranks have met and loaded the model."""
        await self.learners_start.finished()

    async def restart_learners(self) -> None:
        """Replace lost ranks by new ones, with the weights that the run began with."""
        self.dismiss_learners()
        if not self.turns.shared:  # else they wait for generators, and move together in any case
            self._offer_lasts.clear()
        await self._start_learners()

    async def saliency_boxes(
        self, answers: Sequence[Sequence[int]], questions: Sequence[ray.ObjectRef]
    ) -> list[tuple[int, Box] | None]:
        """For each answer, in order, a box around what the policy looks at most for it, and the
        number of the image that it is on."""
        await self.learners_ready()
        await self.turns.to_learners()
        by_rank = await self.learners.call("saliency_boxes", answers, *questions)
        await self.turns.to_generators()
        boxes: list[tuple[int, Box] | None] = [None] * len(answers)
        for rank, part in enumerate(by_rank):
            boxes[rank :: self.learners.world] = part
        return boxes

    async def learn(self, edits: Sequence[EditedBatch], version: int) -> tuple[StepReport, float]:
        """One optimiser step on all pairs: the report of all ranks together, and its seconds."""
        shares = self._shares(edits)
        await self.turns.to_learners()
        step = await self.learners.begin_each(
            "step", [(version, share, *batches) for share, batches in shares]
        )
        start = time.monotonic()
        reports: list[StepReport] = await step
        seconds = time.monotonic() - start
        if len({report.skipped for report in reports}) != 1:
            raise RunFailed("learning", "ranks disagree on whether the step was skipped")
        scores = tuple(score for report in reports for score in report.scores)
        ratios = tuple(ratio for report in reports for ratio in report.token_ratios)
        report = StepReport(version, reports[0].metrics, scores, reports[0].skipped, ratios)
        return report, seconds

    def _shares(self, edits: Sequence[EditedBatch]) -> list[tuple[Share, list[ray.ObjectRef]]]:
        """The pairs that each rank learns from, and the batches that it reads."""
        relevance = {
            r.pair_id: r.relevance for e in edits for r in e.results if isinstance(r, Pair)
        }
        weights = weigh(relevance, weighted=self.config.learner.weighting == "relevance")
        batches = [pair for e in edits for pair in zip(e.contents, e.batches, strict=True)]
        complete = needs_of(self.config.objective).kto_baseline  # of all pairs, on every rank
        return share_out(batches, weights, self.learners.world, complete=complete)

    async def export(self) -> WeightUpdate:
        """The learners' weights in the object store; every rank takes part in gathering them.

        Learners score the canary prompts afterwards. If generators have GPUs of their own, they
        adopt the weights in the meantime.
        """
        mode, returns = self.config.loop.sync, 1 + self._shards
        await self.turns.to_learners()  # a checkpoint may have let them rest
        refs = await self.learners.references("export", mode, returns=returns)
        manifest: Manifest = await await_ref(refs[0], OBJECT_DEADLINE, "gathering weights")
        update = WeightUpdate(manifest, refs[1:])
        if self.canaries is not None:
            update.canary_logps = await self.learners.begin("score", self.canaries.prompts)
            if self.config.generator.colocated:
                await update.canary_logps
        await self.turns.to_generators()
        return update

    async def fetch(self, update: WeightUpdate) -> tuple[Manifest, list[Any]]:
        """The weights themselves, in this process: for checkpoints only."""
        shards = [await await_ref(r, OBJECT_DEADLINE, "fetching weights") for r in update.shards]
        return update.manifest, shards

    def offer(self, update: WeightUpdate) -> None:
        """Generate with these weights from now on; running calls finish first."""
        self._offer_lasts.set()
        self.generators.offer(update)

    async def wait_adopted(self, update: WeightUpdate) -> None:
        """Return when all ready generators have the weights, proven on the canary prompts.

        Raises LearnersLost if the learners died before they had scored them.
        """
        await self.generators.wait_adopted(update)
        if update.canary_logps is not None:
            await asyncio.shield(update.canary_logps)

    async def save(self, directory: str) -> None:
        """Every rank's part of a checkpoint."""
        await self.turns.to_learners()
        await self.learners.call("save", directory)
        await self.turns.to_generators()

    async def restore(self, directory: str) -> int:
        """Load the learners from a checkpoint; returns the policy version they then have."""
        await self.turns.to_learners()
        return int((await self.learners.call("load", directory))[0])

    async def _adopt_weights(self, generator: Any, update: WeightUpdate) -> None:
        """One generator's weight update, and the proof that it has the learners' weights."""
        await self._offer_lasts.wait()
        if update is not self.generators.offered:
            return  # the pool goes on with that one
        version, canaries = update.manifest.version, self.canaries
        what = f"sending weights of version {version}"
        try:
            if canaries is None or update.canary_logps is None:
                canaries = NO_CANARIES
            call = generator.adopt.remote(
                update.parcel, canaries.requests, canaries.answers, *canaries.images
            )
            begin = time.monotonic()
            stats, scored = await await_ref(call, self._adoption_deadline, what)
            self._longest_adoption = max(self._longest_adoption, time.monotonic() - begin)
            update.cache_stats.update(stats)
        except ObjectsLost as lost:
            raise ActorLost(what, "died", lost.why) from lost
        except RunFailed as failed:
            if isinstance(failed, ActorLost | DiskFault):
                raise
            raise ActorLost(what, "broken", str(failed)) from failed  # weights may be mixed
        if update.canary_logps is not None and scored:
            await self._prove(update, update.canary_logps, scored)

    @property
    def _adoption_deadline(self) -> float:
        """Seconds in which a generator must take new weights. How long they travel shows at the
        first update; later ones have `faults.deadline`, or far longer than any took so far."""
        if not self._longest_adoption:
            return OBJECT_DEADLINE
        enough = max(self.config.faults.deadline, ADOPTIONS * self._longest_adoption)
        return min(OBJECT_DEADLINE, enough)

    async def _prove(
        self,
        update: WeightUpdate,
        canary_logps: asyncio.Task[list[Any]],
        scored: Sequence[np.ndarray],
    ) -> None:
        """Compare a generator's canary log-probabilities with the learners'.

        Raises RunFailed above loop.max_logp_gap. If the learners are lost there is nothing to
        compare with: the driver, which waits in `wait_adopted`, returns to its checkpoint.
        """
        try:
            expected, *_ = await asyncio.shield(canary_logps)
        except LearnersLost:
            return
        gap = float(np.abs(np.concatenate(scored) - np.concatenate(expected)).mean())
        if not gap <= self.config.loop.max_logp_gap:  # NaN included
            raise RunFailed(
                f"logp_gap = {gap:.3f} nats",
                f"more than loop.max_logp_gap = {self.config.loop.max_logp_gap}",
                "the generators do not have the learner's weights",
            )
        update.logp_gap = max(update.logp_gap, gap)

    async def _renewed(self, pool: Pool, other: Pool) -> Pool:
        """`pool` for this run, or `other` if it needs actors of another kind or number."""
        if (pool.name, pool.size) == (other.name, other.size):
            await pool.reset(self.config, self.budget, other.patience)
            return pool
        await pool.close()
        other.may_start = self.room.wait
        other.start()
        return other

    async def _start_learners(self) -> None:
        await self.placement_group.reserve()
        self.room.set()
        await self.turns.clear_for_learners()
        await self.learners.start()
        await self._count_shards()

    async def _reset_learners(self) -> None:
        await self.turns.to_learners()
        await self.learners.reset(self.config)
        await self._count_shards()

    async def _count_shards(self) -> None:
        self._shards, *_ = await self.learners.call("shard_count", self.config.loop.sync)
        await self.turns.to_generators()

    def dismiss_learners(self) -> None:
        """End all ranks, also those that start; `restart_learners` begins with new ones."""
        self.learners_start.cancel()
        self.learners.kill()
        self.turns.learners_left()
        self.placement_group.release()

    def _leave_places(self) -> None:
        """Before learners that still load begin anew; replicas wait until they have a place."""
        self.room.clear()
        self.learners.kill()
        self.placement_group.release()

    def _spawn_rank(self, rank: int) -> Any:
        options = self.placement.learner | self.placement_group.options(rank)
        options |= self._named("Learner", rank)
        return ray.remote(Learner).options(**options).remote(self.config, rank)

    @property
    def _maker(self) -> type[Editor | Packer]:
        """What makes pairs: of answers, or of what the dataset gives."""
        return Editor if answers_needed(self.config) else Packer

    def _editor_pool(self) -> Pool:
        replicas, name = self.config.editor.replicas, self._maker.__name__
        spawn, patience = self._spawn_editor, _patience(self.config)
        return Pool("editor", name, replicas, spawn, self.budget, patience=patience)

    def _localiser_pool(self) -> Pool:
        needed = self.learners.world and needs_localiser(self.config)
        replicas = self.config.localiser.replicas if needed else 0
        return Pool("localiser", "Localiser", replicas, self._spawn_localiser, self.budget)

    def _spawn_localiser(self, replica: int) -> Any:
        options = self.placement.localiser | self._named("Localiser", replica)
        localiser = ray.remote(Localiser).options(**options)
        return localiser.remote(self.config, replica)

    def _spawn_editor(self, replica: int) -> Any:
        options = self.placement.editor | self._named(self._maker.__name__, replica)
        maker = ray.remote(self._maker).options(**options)
        models = (self.models.served,) if self._maker is Editor else ()
        return maker.remote(self.config, replica, *models)

    def _spawn_generator(self, replica: int) -> Any:
        """On a GPU of its own, or on a rank's."""
        shared = self.placement_group.options(replica) if self.placement_group.shared else {}
        options = self.placement.generator | shared | self._named("Generator", replica)
        return ray.remote(Generator).options(**options).remote(self.config, replica)

    def _named(self, kind: str, number: int) -> dict[str, str]:
        return {"name": actor_name(self.config, kind, number)}


def _patience(config: Config) -> float:
    """Seconds that an editor may take for one answer: a language model is asked several times."""
    requests = 2 + len(config.editor.judges) if config.editor.kind != "findings" else 0
    return LEAST_PATIENCE + requests * config.editor.timeout
