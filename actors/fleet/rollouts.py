"""From cases to pairs: load images, generate responses, edit them as they arrive.

Whatever is lost with a node or an actor is done again; every item counts exactly once.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import ray

from actors.editor.batches import count_batches
from actors.fleet.batching import (
    MIN_EDIT,
    AnswersByCase,
    OnResponses,
    PendingResponses,
    build_requests,
    editor_calls,
    generator_calls,
    images_in_order,
)
from actors.fleet.calls import ActorLost, ObjectsLost
from actors.fleet.cases import REASON, BrokenCases, Found, Trial, bisect
from actors.fleet.fleet import Fleet
from actors.fleet.items import EditedBatch, Item, StepRollout, Unusable, WeightUpdate
from actors.fleet.loading import load_views
from actors.fleet.localisation import find_regions, needs_localiser
from actors.fleet.pool import CallResult, union_seconds
from medray.imaging.corruption import SALIENCY
from medray.imaging.regions import labelled
from medray.objectives import answers_needed, needs_of
from medray.records import Case, Continuation, Dropped, EditResults, Region, Response
from medray.targeting import EditContext

MAX_RELOADS = 3  # of images that were lost with their node

_NO_CALL = CallResult(None, [], 0.0, 0.0)
_NOTHING = ray.ObjectRef.nil()  # in the place of what a call would have returned

T = TypeVar("T")
Generated = tuple[list[Response], CallResult]  # the responses to one call's items, and the call


class Rollouts:
    """What the generators and editors of a fleet do for the loop."""

    def __init__(self, fleet: Fleet, broken: BrokenCases | None = None) -> None:
        """`broken`: the cases that are known to take actors along."""
        self.fleet, self.config = fleet, fleet.config
        self.broken = broken or BrokenCases()
        reads_corrupt = needs_of(self.config.objective).corrupt
        region = self.config.corruption.region
        self.needs_saliency = reads_corrupt and region == "lesion-or-saliency"
        self.needs_localiser = needs_localiser(self.config)

    async def load(self, items: Sequence[Item]) -> tuple[list[Item], list[Unusable]]:
        """Views of images into the object store, once per image → (items with their view and with
        regions at its scale, unusable items)."""
        return await load_views(self.fleet.editors, items, self.broken, self._blame)

    async def generate(self, items: Sequence[Item], *, greedy: bool) -> list[Response]:
        """One response per item, in order, by the newest weights offered; none to a broken case."""
        calls = generator_calls(items, self._generators)
        generated = await asyncio.gather(*[self._generate(call, greedy=greedy) for call in calls])
        return [response for responses, _ in generated for response in responses]

    async def extend(
        self,
        rollout: StepRollout,
        items: Sequence[Item],
        context: EditContext,
        answers: Mapping[str, Response] | None = None,
    ) -> None:
        """Add `items` to `rollout`, with their responses and pairs.

        `answers`: the responses by item id, if they were given before.
        """
        start = time.monotonic()
        rollout.items += items
        usable, unusable = await self.load(items)
        rollout.unusable += unusable
        rollout.load_seconds += time.monotonic() - start
        if not answers_needed(self.config):
            await self._pack(rollout, usable, context)
            return
        if answers is not None:
            await self._edit_given(rollout, usable, answers, context)
            return
        going_on = usable
        while going_on:
            edits = await self._round(rollout, going_on, context)
            going_on = _continued(going_on, edits, self.config.editor.pairs_per_answer)

    async def _pack(
        self, rollout: StepRollout, items: Sequence[Item], context: EditContext
    ) -> None:
        """Add the pairs that the cases of `items` give."""
        parts = editor_calls(items, self._editors)
        packed = [self._with_images(part, self._pack_call(context.version)) for part in parts]
        found = await asyncio.gather(*packed)
        calls = [call for part in found for _, call in part.results]
        rollout.unusable += [
            Unusable(item.item_id, item.case.case_id, self._blame(item.case, lost))
            for part in found
            for item, lost in part.broken
        ]
        rollout.edits += [EditedBatch.of(call) for call in calls]
        rollout.edit_seconds += union_seconds(calls)

    def _pack_call(
        self, version: int
    ) -> Callable[[Sequence[Item]], Awaitable[Found[Item, CallResult]]]:
        async def pack(items: Sequence[Item], trial: Trial) -> CallResult:
            item_ids, cases = [item.item_id for item in items], [item.case for item in items]
            images = images_in_order(items)
            return await self.fleet.editors.run(
                lambda packer, _: packer.pack.options(num_returns=self._returns(cases)).remote(
                    version, item_ids, cases, *images
                ),
                **trial,
            )

        return lambda items: bisect(items, pack)

    def _blame(self, case: Case, lost: ActorLost) -> str:
        """Remember a case that took actors along; the reason for which its items are dropped."""
        self.broken.add(case, lost, self.fleet.budget.announce)
        return REASON

    async def _edit_given(
        self,
        rollout: StepRollout,
        items: Sequence[Item],
        answers: Mapping[str, Response],
        context: EditContext,
    ) -> None:
        """Add the pairs of answers that were given before."""
        answered = [item for item in items if item.item_id in answers]
        rollout.unusable += [
            Unusable(item.item_id, item.case.case_id, "not-answered")
            for item in items
            if item.item_id not in answers
        ]
        responses = [answers[item.item_id] for item in answered]
        if self.needs_saliency:
            answered = await self._locate(answered, responses)
        calls = await self._edit(answered, responses, context) if answered else []
        rollout.responses += responses
        rollout.edits += [EditedBatch.of(call) for call in calls]
        rollout.edit_seconds += union_seconds(calls)

    async def _round(
        self, rollout: StepRollout, items: Sequence[Item], context: EditContext
    ) -> list[EditedBatch]:
        """Add one round of responses to `items`, all of the same round, and what became of them."""
        if self.needs_saliency:
            generated, calls = await self._generate_locate_edit(rollout, items, context)
        else:
            generated, calls = await self._generate_and_edit(items, context)
        responses = [response for responses, _ in generated for response in responses]
        edits = [EditedBatch.of(call) for call in calls]
        if items[0].round:  # an answer that does not go on has its pairs already
            rollout.continued += responses
        else:
            rollout.responses += responses
            answered = {response.item_id for response in responses}
            rollout.unusable += [
                Unusable(item.item_id, item.case.case_id, REASON)
                for item in items
                if item.item_id not in answered
            ]
        rollout.edits += edits
        rollout.generate_seconds += union_seconds([call for _, call in generated])
        rollout.edit_seconds += union_seconds(calls)
        return edits

    def _returns(self, cases: Sequence[Case]) -> int:
        """Objects that a call which makes pairs of `cases` returns."""
        return 1 + count_batches(cases, self.config.learner.world_size)

    @property
    def _editors(self) -> int:
        return self.config.editor.replicas

    @property
    def _generators(self) -> int:
        return self.config.generator.replicas

    async def _generate_and_edit(
        self, items: Sequence[Item], context: EditContext
    ) -> tuple[list[Generated], list[CallResult]]:
        """All responses and their edits; editing starts while generation is still running."""
        calls = generator_calls(items, self._generators)
        parts = await asyncio.gather(*[self._generate_and_edit_call(c, context) for c in calls])
        return [part for part, _ in parts], [edit for _, edits in parts for edit in edits]

    async def _generate_and_edit_call(
        self, items: Sequence[Item], context: EditContext
    ) -> tuple[Generated, list[CallResult]]:
        tasks: list[asyncio.Task[list[CallResult]]] = []

        def on_responses(items: Sequence[Item], responses: Sequence[Response]) -> None:
            tasks.append(asyncio.create_task(self._edit(items, responses, context)))

        answers = AnswersByCase(items, on_responses)
        try:
            generated = await self._generate(items, answers.receive, greedy=False)
            answers.flush()
            edits = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return generated, [edit for part in edits for edit in part]

    async def _generate_locate_edit(
        self, rollout: StepRollout, items: Sequence[Item], context: EditContext
    ) -> tuple[list[Generated], list[CallResult]]:
        """All responses, then the regions that the policy looked at, then all edits.

        One after the other: learners, which find the regions, may share the generators' GPUs.
        """
        calls = generator_calls(items, self._generators)
        generated = await asyncio.gather(*[self._generate(call, greedy=False) for call in calls])
        start = time.monotonic()
        responses = [response for part, _ in generated for response in part]
        by_id = {item.item_id: item for item in items}
        answered = [by_id[response.item_id] for response in responses]
        located = iter(await self._locate(answered, responses))
        parts = [(list(itertools.islice(located, len(part))), part) for part, _ in generated]
        rollout.edit_seconds += time.monotonic() - start
        edits = await asyncio.gather(*[self._edit(*part, context) for part in parts])
        return list(generated), [edit for part in edits for edit in part]

    async def _generate(
        self, items: Sequence[Item], on_responses: OnResponses | None = None, *, greedy: bool
    ) -> Generated:
        """The responses to one call's items; when it is repeated, only to missing ones.

        None to the items of cases that take generators along. Without any, the call took no time.
        """
        pending = PendingResponses(items, on_responses)
        calls: list[CallResult] = []

        async def request(items: Sequence[Item], trial: Trial) -> None:
            def submit(generator: Any, update: WeightUpdate | None) -> ray.ObjectRefGenerator:
                version = update.manifest.version if update is not None else 0
                missing = pending.missing_of(items)
                requests, images = build_requests(missing, self.config.run.seed)
                call = generator.generate.options(num_returns="streaming")
                return call.remote(version, requests, greedy, *images)

            if pending.missing_of(items):
                calls.append(await self.fleet.generators.run(submit, pending.receive, **trial))

        async def run(items: Sequence[Item]) -> None:
            pending.replace(items)
            await self.fleet.turns.to_generators()
            found = await bisect(items, request)
            for item, lost in found.broken:
                self._blame(item.case, lost)

        try:
            await self._with_images(items, run)
        finally:
            responses = pending.close()
        start, end = (
            min(c.start for c in calls or [_NO_CALL]),
            max(c.end for c in calls or [_NO_CALL]),
        )
        return responses, CallResult(None, [], start, end)

    async def _edit(
        self, items: Sequence[Item], responses: Sequence[Response], context: EditContext
    ) -> list[CallResult]:
        """One result per editor call; a localiser looks for the regions before, if there is one."""

        async def run(items: Sequence[Item]) -> list[CallResult]:
            rows = list(zip(items, responses, strict=True))
            dropped: list[CallResult] = []
            if self.needs_localiser:
                found = await find_regions(self.fleet.localisers, rows)
                rows = [row for part, _ in found.results for row in part]
                dropped += self._drop(found)
            # Those that a part can have, if every generator sends one.
            editors = -(-self._editors // max(1, self._generators))
            parts = editor_calls(rows, editors, least=MIN_EDIT, by=lambda row: row[0].case.case_id)
            edited = await asyncio.gather(*[bisect(part, edit) for part in parts])
            for part in edited:
                dropped += self._drop(part)
            return [call for part in edited for _, call in part.results] + dropped

        async def edit(rows: Sequence[tuple[Item, Response]], trial: Trial) -> CallResult:
            cases, responses = [item.case for item, _ in rows], [answer for _, answer in rows]
            images = images_in_order([item for item, _ in rows])
            return await self.fleet.editors.run(
                lambda editor, _: editor.edit.options(num_returns=self._returns(cases)).remote(
                    context, cases, responses, *images
                ),
                **trial,
            )

        return await self._with_images(items, run)

    def _drop(self, found: Found[tuple[Item, Response], Any]) -> list[CallResult]:
        """What an editor would have returned for answers whose cases take actors along."""
        results = [
            Dropped(item.item_id, item.case.case_id, answer.policy_version, reason)
            for (item, answer), lost in found.broken
            if (reason := self._blame(item.case, lost)) and not answer.given
        ]
        return (
            [CallResult(EditResults(tuple(results), ()), [_NOTHING], 0.0, 0.0)] if results else []
        )

    async def _locate(self, items: Sequence[Item], responses: Sequence[Response]) -> list[Item]:
        """The same items; a case without a region gets the one that the policy looked at."""
        labels, located = self.config.corruption.labels, list(items)
        without = [
            i
            for i, (item, response) in enumerate(zip(items, responses, strict=True))
            if response.token_ids and not labelled(item.case.regions, labels)
        ]
        if not without:
            return located
        calls = [
            self._with_images([items[i] for i in part], self._encode_questions)
            for part in editor_calls(without, self._editors)
        ]
        questions = [call.refs[1] for call in await asyncio.gather(*calls)]
        answers = [responses[i].token_ids for i in without]
        boxes = await self.fleet.saliency_boxes(answers, questions)
        for i, box in zip(without, boxes, strict=True):
            if box is not None:
                case, (image, edges) = items[i].case, box
                region = Region(SALIENCY, box=edges, source=SALIENCY, image=image)
                located[i] = replace(items[i], case=replace(case, regions=(*case.regions, region)))
        return located

    async def _encode_questions(self, items: Sequence[Item]) -> CallResult:
        cases, images = [item.case for item in items], images_in_order(items)
        return await self.fleet.editors.run(
            lambda editor, _: editor.encode_questions.options(num_returns=2).remote(cases, *images)
        )

    async def _with_images(
        self, items: Sequence[Item], call: Callable[[Sequence[Item]], Awaitable[T]]
    ) -> T:
        """What `call(items)` returns; images that were lost with their node are loaded again."""
        for _ in range(MAX_RELOADS):
            try:
                return await call(items)
            except ObjectsLost:
                items, unusable = await self.load(items)
                if unusable:
                    raise
        return await call(items)


def _continued(items: Sequence[Item], edits: Sequence[EditedBatch], rounds: int) -> list[Item]:
    """The items whose answers go on behind a corrected sentence, unless that was the last round."""
    if items[0].round + 1 >= rounds:
        return []
    known = {item.item_id: item for item in items}
    results = (result for edit in edits for result in edit.results)
    return [
        replace(
            known[result.item_id],
            round=known[result.item_id].round + 1,
            prefix_ids=result.prefix_ids,
        )
        for result in results
        if isinstance(result, Continuation)
    ]
