"""Run one variant in its own process: `python -m medray.bench.learner.worker`, with pipes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from medray.bench.learner import flops
from medray.bench.learner.models import DTYPES, build_policy, counts
from medray.bench.learner.naive import naive_scores
from medray.bench.learner.settings import Settings
from medray.bench.learner.worker_protocol import WorkerProtocol
from medray.bench.learner.workload import Workload, apart, as_learned, in_parts, make_workload
from medray.objectives import Objective, find_objective
from medray.policy.architectures import ARCHITECTURES, Architecture
from medray.policy.model.tuning import base_model
from medray.policy.packing import PackedPair
from medray.policy.scoring.score_pairs import AdaptersOff, score_pairs
from medray.policy.scoring.scorer import Scorer

Step = Callable[[], Tensor]  # the mean loss, after its backward pass


def serve(protocol: WorkerProtocol) -> None:
    """The first command names the variant and its settings; each further one requests a repeat."""
    protocol.next_command()
    variant = protocol.command["variant"]
    settings = Settings(**protocol.command["settings"])
    protocol.device = find_device(settings)
    policy = build_policy(settings, protocol.device)
    model = base_model(policy)
    architecture = ARCHITECTURES[type(model).__name__]
    workload = make_workload(settings, architecture)
    if variant == "trl":
        from medray.bench.learner.trl import train

        train(policy, settings, workload, protocol)
        return
    objective = find_objective(settings.objective)
    if variant in ("ours", "apart"):
        workload = apart(workload) if variant == "apart" else workload
        scorer = Scorer(policy, architecture, int(model.config.image_token_id))
        parts = as_learned(workload, settings.micro_batch, objective.needs, scorer.layout)
        step = our_step(scorer, parts, objective)
        work = flops.work_of_trees(parts, objective.needs, scorer.layout)
    else:
        step = naive_step(policy, in_parts(workload, settings.micro_batch), objective)
        work = flops.work_of_sequences(workload.pairs, objective.needs)
    operations = _operations(policy, architecture, work, settings, workload)
    protocol.ready(tokens=work.tokens, operations=operations, **counts(policy))
    while protocol.next_command():
        rate = flops.product_rate(protocol.device, DTYPES[settings.dtype])
        protocol.start_timer()
        policy.zero_grad(set_to_none=True)
        protocol.stop_timer(step(), policy)
        protocol.result["limit_seconds"] = operations / rate
        protocol.report()


def find_device(settings: Settings) -> torch.device:
    """The device of the settings; `auto` is a GPU if there is one."""
    available = torch.cuda.is_available()
    kind = settings.device if settings.device != "auto" else "cuda" if available else "cpu"
    return torch.device("cuda", 0) if kind == "cuda" else torch.device("cpu")


def our_step(scorer: Scorer, parts: Sequence[Workload], objective: Objective) -> Step:
    """A step with the learner's own scoring."""
    needs = objective.needs
    reference = AdaptersOff(scorer) if needs.reference else None

    def scores(part: Workload) -> dict[str, Any]:
        pixels = {key: part.pixels[key] for key in images_of(part.pairs)}
        return score_pairs(part.pairs, pixels, needs, policy=scorer, reference=reference)

    return _step(scores, parts, objective)


def naive_step(policy: Any, parts: Sequence[Workload], objective: Objective) -> Step:
    """A step that scores every branch as a separate sequence, with full logits."""

    def scores(part: Workload) -> dict[str, Any]:
        return naive_scores(policy, part.pairs, part.pixels, objective.needs)

    return _step(scores, parts, objective)


def images_of(pairs: Sequence[PackedPair]) -> list[str]:
    """Keys of the pictures that the pairs name, each once."""
    return list(dict.fromkeys(k for p in pairs for k in (*p.image_keys, *p.corrupted_keys)))


def _step(
    scores: Callable[[Workload], dict[str, Any]], parts: Sequence[Workload], objective: Objective
) -> Step:
    count = sum(len(part.pairs) for part in parts)

    def step() -> Tensor:
        total = torch.zeros(())
        for part in parts:
            loss, _ = objective(scores(part))
            share = loss.sum() / count
            share.backward()
            total = total.to(share.device) + share.detach()
        return total

    return step


def _operations(
    policy: Any,
    architecture: Architecture,
    work: flops.Work,
    settings: Settings,
    workload: Workload,
) -> int:
    picture = next(iter(workload.pixels.values()))
    weights = flops.count_weights(policy, architecture)
    return flops.operations(weights, work, settings, flops.patches_of(picture))


def main() -> None:
    protocol = WorkerProtocol.of_this_process()
    try:
        serve(protocol)
    except Exception as error:
        protocol.send({"error": f"{type(error).__name__}: {error}".splitlines()[0]})
        raise


if __name__ == "__main__":
    main()
