"""Placement, spawning and calling of all actors: the only file that knows them all.

Every wait has a deadline and every failure a named cause. The driver sees records and
object references; pixels and tensors go from actor to actor through the object store.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayError, RayTaskError

from actors.editor import Editor
from actors.generator import Generator, Request
from actors.learner import Learner
from actors.resources import Placement
from actors.weights import Manifest
from medray.config import Config
from medray.errors import MedrayError, RunFailed
from medray.imaging.corruption import case_seed
from medray.records import Case, Dropped, Pair, Response, StepReport

START_DEADLINE = 900.0  # seconds: loading a large model from slow storage
CALL_DEADLINE = 1800.0
SYNC_DEADLINE = 600.0
CHUNK = 256  # cases per call of an editor, at most


@dataclass(frozen=True, slots=True)
class Work:
    """One item to answer: its id, its case, and its image in the object store."""

    item_id: str
    case: Case
    image: ray.ObjectRef


@dataclass(frozen=True, slots=True)
class Edited:
    """One editor call's outcomes, and its batch in the object store."""

    outcomes: list[Pair | Dropped]
    batch: ray.ObjectRef


@dataclass(frozen=True, slots=True)
class Sync:
    """One weight update: what moved, how long it took, how well both sides agree (nats)."""

    bytes: int
    seconds: float
    logp_gap: float


class Fleet:
    """Generators, editors and learners of one run, as one context manager."""

    def __init__(self, config: Config, placement: Placement, *, learners: bool = True) -> None:
        self.config = config
        self.joining: list[ray.ObjectRef] = []  # learners still loading
        self.shards = 0
        self.golden: Golden | None = None
        self.editors = [
            ray.remote(Editor).options(**placement.editor).remote(config, i)
            for i in range(config.editor.replicas)
        ]
        self.generators = [
            ray.remote(Generator).options(**placement.generator).remote(config, i)
            for i in range(config.generator.replicas)
        ]
        self.learner = ray.remote(Learner).options(**placement.learner)
        self.ranks = config.learner.world_size if learners else 0
        self.learners: list[Any] = []

    def __enter__(self) -> Fleet:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        for actor in [*self.generators, *self.editors, *self.learners]:
            ray.kill(actor)

    def start(self) -> None:
        """Load the model everywhere; returns when answers can be given.

        On a small machine starting is work for the CPUs, so learners start behind the editors
        and beside the generators, which take longest; `wait_for_learners` is called where they
        are needed.
        """
        self._ready(self.editors)
        self.learners = [self.learner.remote(self.config, rank) for rank in range(self.ranks)]
        if self.learners:
            meet = self.learners[0].rendezvous.remote()
            address, port = collect([meet], START_DEADLINE, "start of the learners")[0]
            self.joining = [learner.join.remote(address, port) for learner in self.learners]
        self._ready(self.generators)

    def _ready(self, actors: Sequence[Any]) -> None:
        collect([actor.__ray_ready__.remote() for actor in actors], START_DEADLINE, "start")

    def wait_for_learners(self) -> None:
        """Return when all ranks have met and hold the model."""
        if self.joining:
            collect(self.joining, START_DEADLINE, "start of the learners")
            self.joining = []
            count = self.learners[0].shard_count.remote(self.config.loop.sync)
            self.shards = collect([count], START_DEADLINE, "start of the learners")[0]

    def load(self, items: Sequence[tuple[str, Case]]) -> tuple[list[Work], list[tuple[str, str]]]:
        """Images into the object store, once per case → (work, [(item id, reason dropped)])."""
        cases = {case.case_id: case for _, case in items}
        chunks = list(_chunks(list(cases.values()), self._share(len(cases))))
        calls = [
            self.editors[i % len(self.editors)]
            .load.options(num_returns=1 + len(chunk))
            .remote(chunk)
            for i, chunk in enumerate(chunks)
        ]
        reasons: dict[str, str] = {}
        images: dict[str, ray.ObjectRef] = {}
        told = collect([refs[0] for refs in calls], CALL_DEADLINE, "loading images")
        for chunk, refs, said in zip(chunks, calls, told, strict=True):
            for case, ref, reason in zip(chunk, refs[1:], said, strict=True):
                reasons[case.case_id], images[case.case_id] = reason, ref
        work = [
            Work(item_id, case, images[case.case_id])
            for item_id, case in items
            if not reasons[case.case_id]
        ]
        dropped = [
            (item_id, reasons[case.case_id]) for item_id, case in items if reasons[case.case_id]
        ]
        return work, dropped

    def generate(self, work: Sequence[Work], version: int, *, greedy: bool) -> list[Response]:
        """One response per item, in order, from generators that hold exactly `version`."""
        shares = _chunks(work, max(1, -(-len(work) // len(self.generators))))
        calls = []
        for i, share in enumerate(shares):
            requests, images = self._requests(share)
            generator = self.generators[i % len(self.generators)]
            calls.append(generator.generate.remote(version, requests, greedy, *images))
        answers = collect(calls, CALL_DEADLINE, "generation")
        return [response for share in answers for response in share]

    def edit(
        self, work: Sequence[Work], responses: Sequence[Response], version: int
    ) -> list[Edited]:
        """Pairs and batches, one call per editor's share."""
        both = list(zip(work, responses, strict=True))
        shares = list(_chunks(both, self._share(len(both))))
        calls = []
        for i, share in enumerate(shares):
            cases = [item.case for item, _ in share]
            said = [response for _, response in share]
            editor = self.editors[i % len(self.editors)]
            images = [item.image for item, _ in share]
            calls.append(editor.edit.options(num_returns=2).remote(version, cases, said, *images))
        outcomes = collect([call[0] for call in calls], CALL_DEADLINE, "editing")
        return [Edited(o, call[1]) for o, call in zip(outcomes, calls, strict=True)]

    def learn(self, edited: Sequence[Edited], version: int) -> StepReport:
        """One optimiser step on all batches; scores of all ranks together."""
        batches = [e.batch for e in edited if any(isinstance(o, Pair) for o in e.outcomes)]
        calls = [learner.step.remote(version, *batches) for learner in self.learners]
        reports: list[StepReport] = collect(calls, CALL_DEADLINE, "learning")
        if len({report.skipped for report in reports}) != 1:
            raise RunFailed("learning", "ranks disagree on whether the step was skipped")
        scores = tuple(score for report in reports for score in report.scores)
        return StepReport(version, reports[0].metrics, scores, reports[0].skipped)

    def sync(self) -> Sync:
        """The learner's weights into every generator, proven on the golden prompts."""
        begin = time.perf_counter()
        manifest_ref, *shards = self._exports()
        manifest: Manifest = collect([manifest_ref], SYNC_DEADLINE, "gathering weights")[0]
        updates = [g.update.remote(manifest_ref, *shards) for g in self.generators]
        collect(updates, SYNC_DEADLINE, f"sending weights of version {manifest.version}")
        seconds = time.perf_counter() - begin
        return Sync(manifest.bytes, seconds, self.logp_gap(manifest.version))

    def send(self, manifest: Manifest, shards: Sequence[Any]) -> None:
        """Weights that are already here (of a checkpoint) into every generator."""
        refs = [ray.put(manifest), *[ray.put(shard) for shard in shards]]
        updates = [generator.update.remote(*refs) for generator in self.generators]
        collect(updates, SYNC_DEADLINE, f"sending weights of version {manifest.version}")

    def logp_gap(self, version: int) -> float:
        """Worst replica's mean |log p(learner) − log p(generator)| per token of the golden set."""
        assert self.golden is not None, "choose_golden comes first"
        golden = self.golden
        theirs = [
            g.score.remote(version, golden.requests, golden.answers, *golden.images)
            for g in self.generators
        ]
        ours = [learner.score.remote(golden.prompts) for learner in self.learners]
        learned, *_ = collect(ours, CALL_DEADLINE, "golden prompts (learner)")
        told = collect(theirs, CALL_DEADLINE, "golden prompts (generator)")
        expected = np.concatenate(learned)
        return max(float(np.abs(np.concatenate(t) - expected).mean()) for t in told)

    def choose_golden(self, cases: Sequence[Case]) -> None:
        """Fix prompts with images and the answers of the present policy to measure the gap on."""
        work, _ = self.load([(f"golden-{i}", case) for i, case in enumerate(cases)])
        if not work:
            raise RunFailed("golden prompts", "none of the held-out images can be read")
        responses = self.generate(work, 0, greedy=True)
        questions = [item.case.question for item in work]
        requests, images = self._requests(work)
        encoded = collect(
            [self.editors[0].encode.remote(questions, *[item.image for item in work])],
            CALL_DEADLINE, "golden prompts",
        )[0]  # fmt: skip
        answers = [list(response.token_ids) for response in responses]
        prompts = [(p, np.asarray(a), x) for (p, x), a in zip(encoded, answers, strict=True) if a]
        kept = [bool(a) for a in answers]
        self.golden = Golden(
            [r for r, k in zip(requests, kept, strict=True) if k],
            [a for a in answers if a], images, prompts,
        )  # fmt: skip

    def save(self, directory: str) -> None:
        collect([r.save.remote(directory) for r in self.learners], CALL_DEADLINE, "saving")

    def restore(self, directory: str) -> int:
        """Learners from a checkpoint; the policy version they then hold."""
        calls = [learner.load.remote(directory) for learner in self.learners]
        return int(collect(calls, CALL_DEADLINE, "loading the checkpoint")[0])

    def export(self) -> tuple[Manifest, list[Any]]:
        """The learner's weights here, as (manifest, shards): for checkpoints only."""
        manifest, *shards = collect(self._exports(), SYNC_DEADLINE, "gathering weights")
        return manifest, shards

    def _exports(self) -> list[ray.ObjectRef]:
        """References of rank 0's manifest and shards; every rank takes part in gathering."""
        mode, returns = self.config.loop.sync, 1 + self.shards
        exports = [x.export.options(num_returns=returns).remote(mode) for x in self.learners]
        return exports[0]

    def _share(self, items: int) -> int:
        """Items of one editor call: an equal share each, in calls of bounded size."""
        return max(1, min(CHUNK, -(-items // len(self.editors))))

    def _requests(self, share: Sequence[Work]) -> tuple[list[Request], list[ray.ObjectRef]]:
        """Requests of one call and each picture they name, once."""
        index: dict[str, int] = {}
        images: list[ray.ObjectRef] = []
        requests = []
        for item in share:
            case = item.case
            if case.case_id not in index:
                index[case.case_id] = len(images)
                images.append(item.image)
            seed = case_seed(item.item_id, self.config.run.seed)
            requests.append(
                Request(item.item_id, case.case_id, case.question, index[case.case_id], seed)
            )
        return requests, images


@dataclass(frozen=True, slots=True)
class Golden:
    """Prompts with images and fixed answers, as generators and as learners take them."""

    requests: list[Request]
    answers: list[list[int]]
    images: list[ray.ObjectRef]
    prompts: list[tuple[np.ndarray, np.ndarray, np.ndarray]]


def collect(refs: Sequence[ray.ObjectRef], deadline: float, what: str) -> list[Any]:
    """ray.get with a deadline and a cause in plain words."""
    try:
        return ray.get(list(refs), timeout=deadline)
    except GetTimeoutError:
        raise RunFailed(what, f"no answer within {deadline:.0f} s", "see the Ray logs") from None
    except RayTaskError as error:
        cause = error.cause
        if isinstance(cause, MedrayError):
            raise cause from None
        raise RunFailed(what, _first_line(cause or error), "see the Ray logs") from error
    except RayActorError as error:
        raise RunFailed(what, f"an actor died: {_first_line(error)}", "see the Ray logs") from error
    except RayError as error:
        raise RunFailed(what, _first_line(error), "see the Ray logs") from error


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines() or [type(error).__name__]
    return f"{type(error).__name__}: {text[0]}"[:500]


def _chunks(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
