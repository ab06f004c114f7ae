"""Which cells of a study can follow each other on the same actors.

Generators return to the weights of the model's files, learners load the model anew, editors read
their settings again. What an engine was started with, and how many actors there are, stays.
"""

from __future__ import annotations

from medray.config import Config
from medray.objectives import answers_needed

# What may differ between two runs on the same actors; every other key needs new ones. (ZeRO-3
# leaves functions of its own in torch, so stages do not follow each other in one process.)
REUSABLE = (
    *("run.", "data.", "corruption.", "objective.", "loop.", "faults.", "targeting.", "eval."),
    *("generator.temperature", "generator.max_new_tokens", "generator.responses"),
    *("model.lora", "model.trainable", "model.adapter", "model.reference"),
    "editor.",
    *("learner.lr", "learner.schedule", "learner.warmup_steps", "learner.clip"),
    *("learner.weight_decay", "learner.micro_batch", "learner.row_tokens", "learner.weighting"),
    "learner.gradient_checkpointing",
)


def needs_new_actors(before: Config, after: Config) -> str:
    """The first key for which a run needs other actors than the one before had; "" if none."""
    old, new = _keys(before), _keys(after)
    for key in dict.fromkeys([*new, *old]):
        if new.get(key) != old.get(key) and not key.startswith(REUSABLE):
            return key
    return _of_placement(before, after) or _of_engines(before, after)


def cost_of(before: Config, after: Config) -> int:
    """0: the same actors; 1: new editors, because one of both edits no answers; 2: all new."""
    if needs_new_actors(before, after):
        return 2
    return int(answers_needed(before) != answers_needed(after))


def _of_placement(before: Config, after: Config) -> str:
    """Numbers of actors, and of the threads that each of them has on a CPU."""
    if before.editor.replicas != after.editor.replicas:
        return "editor.replicas"
    if (before.loop.max_lag > 0) != (after.loop.max_lag > 0):
        return "loop.max_lag"
    return ""


def _of_engines(before: Config, after: Config) -> str:
    """What vLLM was started with: slots for an adapter, and language models with their seed."""
    if before.loop.sync != after.loop.sync:
        return "loop.sync"
    if after.loop.sync == "adapter" and before.model.lora != after.model.lora:
        return "model.lora"
    if not (before.editor.served or after.editor.served):
        return ""
    if before.editor != after.editor or answers_needed(before) != answers_needed(after):
        return "editor"
    return "run.seed" if before.run.seed != after.run.seed else ""


def _keys(config: Config) -> dict[str, object]:
    sections = config.model_dump(mode="json", by_alias=True)
    return {
        f"{section}.{key}": value
        for section, values in sections.items()
        for key, value in values.items()
    }
