"""Placement, spawning and calling of all actors: the only file that knows them all.

Every wait has a deadline and every failure a named cause. The driver sees records and
object references; pixels and tensors go from actor to actor through the object store.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import numpy as np
import ray

from actors.editor.actor import Editor
from actors.fleet.calls import ActorLost, ObjectsLost, answer
from actors.fleet.learner_group import Ranks, RanksLost
from actors.fleet.placement import Placement, Room
from actors.fleet.pool import Pool
from actors.fleet.restarts import Faults
from actors.fleet.rollouts import Rollouts
from actors.fleet.work import Edited, Golden, Update, Work, requests
from actors.generator.actor import Generator
from actors.learner.actor import Learner
from actors.weights.manifest import Manifest
from medray.config import Config
from medray.errors import RunFailed
from medray.policy.scoring.saliency import Box
from medray.records import Case, Pair, StepReport

SYNC_DEADLINE = 600.0  # seconds of one weight update of one generator


class Fleet:
    """Generators, editors and learners of one run, as one context manager."""

    def __init__(
        self, config: Config, placement: Placement, faults: Faults, *, learners: bool = True
    ) -> None:
        self.config, self.placement, self.faults = config, placement, faults
        self.golden: Golden | None = None
        self.learner = ray.remote(Learner)
        self.generator, editor = ray.remote(Generator), ray.remote(Editor)
        self.editors = Pool(
            "editor",
            "Editor",
            config.editor.replicas,
            lambda i: editor.options(**placement.editor).remote(config, i),
            faults,
        )
        self.generators = Pool(
            "generator",
            "Generator",
            config.generator.replicas,
            self._spawn_generator,
            faults,
            self._take_over,
        )
        world = config.learner.world_size if learners else 0
        self.room = Room(placement.bundle, world, shared=config.generator.colocated and learners)
        self.ranks = Ranks(self._spawn_rank, world, config.faults.deadline)
        self.joining: asyncio.Task[None] | None = None  # learners still loading
        self.rollouts = Rollouts(config, self.editors, self.generators, self.look)
        self.shards = 0

    async def __aenter__(self) -> Fleet:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if self.joining is not None:
            self.joining.cancel()
        await asyncio.gather(self.generators.close(), self.editors.close())
        self._dismiss_learners()

    async def start(self) -> None:
        """Load the model everywhere; returns when answers can be given.

        Starting is work for the CPUs, and generators take longest: they start at once, beside
        the editors, and the learners when the editors are done. `learners_ready` is called
        where they are needed.
        """
        self.generators.start()
        self.editors.start()
        await self.editors.wait_ready()
        if self.ranks.world:
            self.joining = asyncio.create_task(self._start_learners())
        await self.generators.wait_ready()

    async def learners_ready(self) -> None:
        """Return when all ranks have met and hold the model."""
        if self.joining is not None:
            joining, self.joining = self.joining, None
            await joining

    async def restart_learners(self) -> None:
        """New ranks in the place of lost ones, with the weights that the run began with."""
        self._dismiss_learners()
        await self._start_learners()

    async def look(
        self, answers: Sequence[Sequence[int]], views: Sequence[ray.ObjectRef]
    ) -> list[Box | None]:
        """Around what the policy looks at most for each of the answers, in order."""
        await self._hand_over_to_learners()
        told = await self.ranks.call("look", answers, *views)
        await self._hand_over_to_generators()
        boxes: list[Box | None] = [None] * len(answers)
        for rank, some in enumerate(told):
            boxes[rank :: self.ranks.world] = some
        return boxes

    async def learn(self, edited: Sequence[Edited], version: int) -> tuple[StepReport, float]:
        """One optimiser step on all batches: scores of all ranks together, and its seconds."""
        batches = [e.batch for e in edited if any(isinstance(o, Pair) for o in e.outcomes)]
        await self._hand_over_to_learners()
        step = await self.ranks.begin("step", version, *batches)
        began = time.monotonic()
        reports: list[StepReport] = await step
        seconds = time.monotonic() - began
        if len({report.skipped for report in reports}) != 1:
            raise RunFailed("learning", "ranks disagree on whether the step was skipped")
        scores = tuple(score for report in reports for score in report.scores)
        return StepReport(version, reports[0].metrics, scores, reports[0].skipped), seconds

    async def export(self) -> Update:
        """The learners' weights in the object store; every rank takes part in gathering.

        What these weights make of the golden prompts is on its way: generators take the weights
        over meanwhile, where they have GPUs of their own.
        """
        mode, returns = self.config.loop.sync, 1 + self.shards
        refs = await self.ranks.references("export", mode, returns=returns)
        manifest: Manifest = await answer(refs[0], SYNC_DEADLINE, "gathering weights")
        update = Update(manifest, refs[1:])
        if self.golden is not None:
            update.golden = await self.ranks.begin("score", self.golden.prompts)
            if self.config.generator.colocated:
                await update.golden
        await self._hand_over_to_generators()
        return update

    async def fetch(self, update: Update) -> tuple[Manifest, list[Any]]:
        """The weights themselves, here: for checkpoints only."""
        shards = [await answer(ref, SYNC_DEADLINE, "fetching weights") for ref in update.shards]
        return update.manifest, shards

    def offer(self, update: Update) -> None:
        """From now on answers come from these weights; whoever is at work finishes first."""
        self.generators.offer(update)

    async def taken_over(self, update: Update) -> None:
        """Return when the generators that answer hold the weights, proven on the golden set.

        Raises RanksLost where the learners died before they had scored it.
        """
        await self.generators.taken_over(update)
        if update.golden is not None:
            await asyncio.shield(update.golden)

    async def choose_golden(self, cases: Sequence[Case]) -> None:
        """Fix prompts with images and the answers of the present policy to measure the gap on."""
        work, _ = await self.rollouts.load([(f"golden-{i}", case) for i, case in enumerate(cases)])
        if not work:
            raise RunFailed("golden prompts", "none of the held-out images can be read")
        responses = await self.rollouts.generate(work, greedy=True)
        questions = [item.case.question for item in work]
        images = [item.image for item in work]
        encoded = await self.editors.run(lambda e, _: e.encode.remote(questions, *images))
        kept = [
            (item, list(response.token_ids), pair)
            for item, response, pair in zip(work, responses, encoded.value, strict=True)
            if response.token_ids
        ]
        # Owned by the driver: they must outlive every node that holds actors.
        owned = [
            Work(w.item_id, w.case, ray.put(await answer(w.image, SYNC_DEADLINE, "images")))
            for w, _, _ in kept
        ]
        asked, pictures = requests(owned, self.config.run.seed)
        self.golden = Golden(
            asked,
            [ids for _, ids, _ in kept],
            pictures,
            [(prompt, np.asarray(ids), x) for _, ids, (prompt, x) in kept],
        )

    async def save(self, directory: str) -> None:
        """Every rank's part of a checkpoint."""
        await self._hand_over_to_learners()
        await self.ranks.call("save", directory)
        await self._hand_over_to_generators()

    async def restore(self, directory: str) -> int:
        """Learners from a checkpoint; the policy version they then hold."""
        await self._hand_over_to_learners()
        return int((await self.ranks.call("load", directory))[0])

    async def _take_over(self, generator: Any, update: Update) -> None:
        """One generator's weight update and the proof that it has the learner's weights.

        Where the learners are lost there is nothing to compare with; the driver, who waits for
        them in `taken_over`, gives up all answers and goes back to its checkpoint.
        """
        version, golden = update.manifest.version, self.golden
        what = f"sending weights of version {version}"
        try:
            update.caches.update(await answer(generator.cache_stats.remote(), SYNC_DEADLINE, what))
            await answer(
                generator.update.remote(update.manifest, update.shards), SYNC_DEADLINE, what
            )
            if golden is None or update.golden is None:
                return
            scored = await answer(
                generator.score.remote(version, golden.requests, golden.answers, *golden.images),
                self.config.faults.deadline,
                "golden prompts",
            )
        except ObjectsLost as lost:
            raise ActorLost(what, "died", lost.why) from lost
        except RunFailed as failed:
            if isinstance(failed, ActorLost):
                raise
            raise ActorLost(what, "broken", str(failed)) from failed  # it may hold a mixture
        try:
            expected, *_ = await asyncio.shield(update.golden)
        except RanksLost:
            return
        gap = float(np.abs(np.concatenate(scored) - np.concatenate(expected)).mean())
        if not gap <= self.config.loop.max_logp_gap:
            raise RunFailed(
                f"logp_gap = {gap:.3f} nats",
                f"more than loop.max_logp_gap = {self.config.loop.max_logp_gap}",
                "the generators do not have the learner's weights",
            )
        update.gap = max(update.gap, gap)

    async def _start_learners(self) -> None:
        await self.ranks.start()
        counts = await self.ranks.call("shard_count", self.config.loop.sync)
        self.shards = counts[0]
        await self._hand_over_to_generators()

    async def _hand_over_to_learners(self) -> None:
        """Where both live on the same GPUs, only one side may hold their memory."""
        if self.config.generator.colocated:
            await self.generators.each(lambda generator, _: generator.sleep.remote())
            await self.ranks.call("resume")

    async def _hand_over_to_generators(self) -> None:
        """Learners leave the GPUs; an engine wakes by itself when it is asked something."""
        if self.config.generator.colocated:
            await self.ranks.call("rest")

    def _dismiss_learners(self) -> None:
        self.ranks.kill()
        self.room.leave()

    def _spawn_rank(self, rank: int) -> Any:
        options = self.placement.learner | self.room.at(rank)
        return self.learner.options(**options).remote(self.config, rank)

    def _spawn_generator(self, replica: int) -> Any:
        """On a GPU of its own, or beside a rank."""
        options = self.placement.generator | (self.room.at(replica) if self.room.shared else {})
        return self.generator.options(**options).remote(self.config, replica)
