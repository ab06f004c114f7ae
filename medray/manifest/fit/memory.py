"""The memory of pods against what a run's actors keep in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from math import ceil

from medray.config import Config
from medray.manifest.conformance import Mistake
from medray.manifest.fit.demand import demands_of
from medray.manifest.fit.packing import Pod
from medray.manifest.pods import Group, amount_of
from medray.manifest.rules.kubernetes import SHARED_MEMORY
from medray.memory import pod_needs
from medray.policy.model.loading import ModelFacts

GIB = 2**30


def memory_mistakes(
    config: Config, facts: ModelFacts, prompt_tokens: int, pods: Sequence[Pod], *, generates: bool
) -> Iterator[Mistake]:
    """Of every group whose pods have less than the actors in them take, or share too little."""
    seen: set[tuple[str, int, int]] = set()
    for pod in pods:
        actors = pod.actors + _anywhere(config, pods, generates=generates)
        ranks, engines = actors["Learner"], actors["Generator"] + actors["LanguageModel"]
        if config.generator.colocated:
            engines += ranks
        if (pod.group.name, ranks, engines) in seen or not (ranks or engines):
            continue
        seen.add((pod.group.name, ranks, engines))
        gpus = pod.group.gpus > 0
        needs = pod_needs(config, facts, prompt_tokens, ranks=ranks, engines=engines, gpus=gpus)
        yield from _of_group(pod.group, needs)


def _anywhere(config: Config, pods: Sequence[Pod], *, generates: bool) -> Counter[str]:
    """Actors of a CPU run that take no CPU, as spread over all pods: those of one pod."""
    if any(pod.group.gpus for pod in pods):
        return Counter()
    free = [d for d in demands_of(config, gpus=False, generates=generates) if not d.shape]
    return Counter({demand.kind: ceil(demand.count / len(pods)) for demand in free})


def _of_group(group: Group, needs: dict[str, int]) -> Iterator[Mistake]:
    total = sum(needs.values())
    parts = ", ".join(f"{name} {size / GIB:.1f}" for name, size in needs.items() if size)
    if group.memory and total > group.memory:
        what = f"{group.place}: memory of {group.memory / GIB:.0f} GiB"
        why = f"its actors take {total / GIB:.0f} GiB ({parts})"
        yield what, why, "raise requests and limits, or use more pods"
    mount = next((m for m in group.mounts if m.path == SHARED_MEMORY), None)
    size = amount_of(
        ((mount.volume if mount else {}).get("emptyDir") or {}).get("sizeLimit", "nan")
    )
    if size < needs["object store"]:
        what = f"{group.place}: {SHARED_MEMORY} of {size / GIB:.1f} GiB"
        why = f"two updates of the weights take {needs['object store'] / GIB:.1f} GiB"
        yield what, why, "raise sizeLimit, and the container's memory with it"
