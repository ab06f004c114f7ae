"""From cases to pairs: images are loaded, questions answered, answers edited as they come.

Whatever is lost on the way with a node or an actor is done again; no item counts twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import ray

from actors.fleet.calls import ObjectsLost
from actors.fleet.pool import Answer, Pool
from actors.fleet.work import Came, Edited, Rollout, Update, Waiting, Work, pieces, requests, shares
from medray.config import Config
from medray.imaging.corruption import SALIENCY
from medray.imaging.regions import labelled
from medray.objectives import needs_of
from medray.policy.scoring.saliency import Box
from medray.records import Case, Region, Response
from medray.targeting import ErrorTargets

RELOADS = 3  # of images that were lost with their node

T = TypeVar("T")
Look = Callable[[Sequence[Sequence[int]], Sequence[ray.ObjectRef]], Awaitable[list[Box | None]]]


@dataclass(slots=True)
class _Answered:
    """What became of one piece of work: responses in order, when they were said, their edits."""

    responses: list[Response]
    said: Answer
    edits: list[Answer] = field(default_factory=list)


class Rollouts:
    """What generators and editors do for the driver. `look`: whom to ask where the policy looks."""

    def __init__(self, config: Config, editors: Pool, generators: Pool, look: Look) -> None:
        self.config, self.editors, self.generators, self.look = config, editors, generators, look
        reads_corrupt = needs_of(config.objective).corrupt
        self.looks = reads_corrupt and config.corruption.region == "lesion-or-saliency"

    async def load(
        self, items: Sequence[tuple[str, Case]]
    ) -> tuple[list[Work], list[tuple[str, str]]]:
        """Images into the object store, once per case → (work, [(item id, reason dropped)])."""
        cases = list({case.case_id: case for _, case in items}.values())
        calls = [self._load_some(some) for some in shares(cases, self.config.editor.replicas)]
        found: dict[str, tuple[str, ray.ObjectRef]] = {}
        for part in await asyncio.gather(*calls):
            found |= part
        work = [
            Work(i, case, found[case.case_id][1]) for i, case in items if not found[case.case_id][0]
        ]
        unusable = [(i, found[case.case_id][0]) for i, case in items if found[case.case_id][0]]
        return work, unusable

    async def generate(self, work: Sequence[Work], *, greedy: bool) -> list[Response]:
        """One response per item, in order, with the newest weights offered."""
        asked = pieces(work, self.config.generator.replicas)
        answers = await asyncio.gather(*[self._say(piece, greedy=greedy) for piece in asked])
        return [response for answer in answers for response in answer.responses]

    async def make(
        self, items: Sequence[tuple[str, Case]], version: int, targets: ErrorTargets
    ) -> Rollout:
        """Answers and pairs of the items, edited as they come; they will train `version`."""
        begin = time.monotonic()
        work, unusable = await self.load(items)
        done = Rollout(unusable, load=time.monotonic() - begin)
        looked = 0.0
        if self.looks:
            parts, looked = await self._answer_look_and_edit(work, version, targets)
        else:
            asked = pieces(work, self.config.generator.replicas)
            parts = await asyncio.gather(*[self._answer(p, version, targets) for p in asked])
        for part in parts:
            done.responses += part.responses
            done.edited += [Edited(edit.value, edit.refs[1]) for edit in part.edits]
        done.generate = busy([part.said for part in parts])
        done.edit = looked + busy([edit for part in parts for edit in part.edits])
        return done

    async def _load_some(self, cases: Sequence[Case]) -> dict[str, tuple[str, ray.ObjectRef]]:
        """By case id: why it cannot be used ("" where it can), and its image."""
        loaded = await self.editors.run(
            lambda editor, _: editor.load.options(num_returns=1 + len(cases)).remote(cases)
        )
        told = zip(cases, loaded.value, loaded.refs[1:], strict=True)
        return {case.case_id: (reason, ref) for case, reason, ref in told}

    async def _answer(self, work: Sequence[Work], version: int, targets: ErrorTargets) -> _Answered:
        """Answers of one piece, and their edits, made while the rest is still being said."""
        edits: list[asyncio.Task[list[Answer]]] = []

        def came(items: Sequence[Work], said: Sequence[Response]) -> None:
            edits.append(asyncio.create_task(self._edit(items, said, version, targets)))

        try:
            answered = await self._say(work, came, greedy=False)
            made = await asyncio.gather(*edits)
        finally:
            for edit in edits:
                edit.cancel()
            await asyncio.gather(*edits, return_exceptions=True)
        answered.edits = [answer for each in made for answer in each]
        return answered

    async def _answer_look_and_edit(
        self, work: Sequence[Work], version: int, targets: ErrorTargets
    ) -> tuple[list[_Answered], float]:
        """All answers, then where the policy looks (and its seconds), then all edits: learners,
        which look, may share the generators' GPUs."""
        replicas = self.config.generator.replicas
        asked = pieces(work, replicas)
        parts = await asyncio.gather(*[self._say(piece, greedy=False) for piece in asked])
        begin = time.monotonic()
        responses = [response for part in parts for response in part.responses]
        located = await self._locate(work, responses)
        looked = time.monotonic() - begin
        both = zip(pieces(located, replicas), parts, strict=True)
        edits = [self._edit(piece, part.responses, version, targets) for piece, part in both]
        for part, made in zip(parts, await asyncio.gather(*edits), strict=True):
            part.edits = made
        return parts, looked

    async def _say(
        self, work: Sequence[Work], came: Came | None = None, *, greedy: bool
    ) -> _Answered:
        """The responses to one piece."""
        waiting = Waiting(work, came)

        async def ask(some: Sequence[Work]) -> Answer:
            waiting.renew(some)
            return await self._ask(waiting, greedy)

        try:
            said = await self._reloading(work, ask)
        finally:
            responses = waiting.close()
        return _Answered(responses, said)

    async def _ask(self, waiting: Waiting, greedy: bool) -> Answer:
        """Have one generator answer what is left; its answers go to `waiting`."""

        def submit(generator: Any, held: Update | None) -> ray.ObjectRefGenerator:
            version = held.manifest.version if held is not None else 0
            asked, images = requests(waiting.left, self.config.run.seed)
            call = generator.generate.options(num_returns="streaming")
            return call.remote(version, asked, greedy, *images)

        return await self.generators.run(submit, waiting.take)

    async def _edit(
        self,
        work: Sequence[Work],
        responses: Sequence[Response],
        version: int,
        targets: ErrorTargets,
    ) -> list[Answer]:
        return await self._reloading(
            work, lambda some: self._edit_all(some, responses, version, targets)
        )

    async def _edit_all(
        self,
        work: Sequence[Work],
        responses: Sequence[Response],
        version: int,
        targets: ErrorTargets,
    ) -> list[Answer]:
        both = list(zip(work, responses, strict=True))
        parts = shares(both, self.config.editor.replicas)
        calls = [self._edit_some(part, version, targets) for part in parts]
        return list(await asyncio.gather(*calls))

    async def _edit_some(
        self, share: Sequence[tuple[Work, Response]], version: int, targets: ErrorTargets
    ) -> Answer:
        cases, said = [item.case for item, _ in share], [response for _, response in share]
        images = [item.image for item, _ in share]
        return await self.editors.run(
            lambda editor, _: editor.edit.options(num_returns=2).remote(
                version, cases, said, *images, targets=targets
            )
        )

    async def _locate(self, work: Sequence[Work], responses: Sequence[Response]) -> list[Work]:
        """The same work; a case without a region has what the policy looked at for its answer."""
        labels, located = self.config.corruption.labels, list(work)
        asked = [
            i
            for i, (item, said) in enumerate(zip(work, responses, strict=True))
            if said.token_ids and not labelled(item.case.regions, labels)
        ]
        if not asked:
            return located
        calls = [
            self._reloading([work[i] for i in share], self._view)
            for share in shares(asked, self.config.editor.replicas)
        ]
        views = [view.refs[1] for view in await asyncio.gather(*calls)]
        answers = [responses[i].token_ids for i in asked]
        boxes = await self.look(answers, views)
        for i, box in zip(asked, boxes, strict=True):
            if box is not None:
                case, seen = work[i].case, Region(SALIENCY, box=box, source=SALIENCY)
                case = replace(case, regions=(*case.regions, seen))
                located[i] = replace(work[i], case=case)
        return located

    async def _view(self, work: Sequence[Work]) -> Answer:
        questions, images = [item.case.question for item in work], [item.image for item in work]
        return await self.editors.run(
            lambda editor, _: editor.view.options(num_returns=2).remote(questions, *images)
        )

    async def _reloading(
        self, work: Sequence[Work], call: Callable[[Sequence[Work]], Awaitable[T]]
    ) -> T:
        """What `call(work)` gives; images that a lost node held are read again."""
        for _ in range(RELOADS):
            try:
                return await call(work)
            except ObjectsLost:
                work, gone = await self.load([(item.item_id, item.case) for item in work])
                if gone:
                    raise
        return await call(work)


def busy(calls: Sequence[Answer]) -> float:
    """Seconds in which at least one of the calls was at work."""
    seconds, until = 0.0, 0.0
    for call in sorted(calls, key=lambda c: c.began):
        seconds += max(0.0, call.ended - max(call.began, until))
        until = max(until, call.ended)
    return seconds
