"""Picks the canary prompts: held-out cases with the present policy's greedy answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import ray

from actors.fleet import CanaryPrompts, Item, Rollouts
from actors.fleet.batching import build_requests, images_in_order
from actors.fleet.calls import OBJECT_DEADLINE, await_ref
from medray.data.stream import evenly_spaced
from medray.errors import RunFailed
from medray.records import Case

CANARY_PROMPTS = 8  # at most
# Both sides score all canaries at every update: of long answers, a few prompts prove as much, and
# prompts with many image tokens are most of the work.
ANSWER_TOKENS, TOKENS, FEWEST = 64, 512, 2


async def pick_canaries(rollouts: Rollouts, heldout: Sequence[Case]) -> CanaryPrompts:
    """Prompts, images and answers on which generators and learners are compared.

    Raises RunFailed if none of the images can be read.
    """
    items = [
        Item(f"canary-{i}", case) for i, case in enumerate(evenly_spaced(heldout, CANARY_PROMPTS))
    ]
    items, _ = await rollouts.load(items)
    if not items:
        raise RunFailed("canary prompts", "none of the held-out images can be read")
    responses = await rollouts.generate(items, greedy=True)
    answered = {response.item_id for response in responses}
    items = [item for item in items if item.item_id in answered]
    cases, images = [item.case for item in items], images_in_order(items)
    encoded = await rollouts.fleet.editors.run(
        lambda editor, _: editor.encode.remote(cases, *images)
    )
    rows = zip(items, responses, encoded.value, strict=True)
    kept = [(item, list(r.token_ids), prompt) for item, r, prompt in rows if r.token_ids]
    kept = kept[: enough([(len(prompt), len(answer)) for _, answer, (prompt, _) in kept])]
    # Owned by the driver, so that they outlive every node that holds actors.
    owned = [replace(item, images=await _owned(item.images)) for item, _, _ in kept]
    requests, images = build_requests(owned, rollouts.config.run.seed)
    return CanaryPrompts(
        requests,
        [answer for _, answer, _ in kept],
        images,
        [(prompt, np.asarray(answer), pictures) for _, answer, (prompt, pictures) in kept],
    )


def enough(lengths: Sequence[tuple[int, int]]) -> int:
    """How many canaries are compared, the first of them; `lengths`: tokens of prompt and answer."""
    for number in range(FEWEST, len(lengths)):
        prompts, answers = map(sum, zip(*lengths[:number], strict=True))
        if answers >= ANSWER_TOKENS or prompts + answers >= TOKENS:
            return number
    return len(lengths)


async def _owned(images: Sequence[ray.ObjectRef]) -> tuple[ray.ObjectRef, ...]:
    """Copies of images that belong to this process."""
    pixels = [await await_ref(image, OBJECT_DEADLINE, "images") for image in images]
    return tuple(ray.put(own) for own in pixels)
