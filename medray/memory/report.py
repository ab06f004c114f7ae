"""The memory plan of a run in words, against GPUs of a given size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import torch

from medray.config import Config
from medray.errors import ItemError
from medray.memory.needs import GIB, Parts, generator_needs, host_needs, learner_needs, sequences
from medray.memory.sizes import Sizes, sizes_of
from medray.objectives import needs_of
from medray.policy.model.chat import ChatCodec
from medray.policy.model.inspection import tuned_skeleton
from medray.policy.model.loading import ModelFacts, answer_context
from medray.records import Case

LOOKED_AT = 8  # cases whose prompts are encoded
Lines = list[tuple[str, str]]


def found_gpu() -> float | None:
    """Memory in GiB of the first GPU of this machine; None without one."""
    if not torch.cuda.is_available():
        return None
    return float(torch.cuda.get_device_properties(0).total_memory) / GIB


def longest_prompt(facts: ModelFacts, cases: Sequence[Case]) -> int:
    """Tokens of the longest prompt, its images included, among the first cases that can be read."""
    codec = ChatCodec(facts.path, facts.limits)
    return max(islice(_prompts(codec, cases), LOOKED_AT), default=facts.image_tokens)


def longest_answer(facts: ModelFacts, cases: Sequence[Case]) -> int:
    """Tokens of the longest text that is learned if the dataset gives both sides, or the answers
    to imitate: of the longest of all in characters."""
    codec = ChatCodec(facts.path, facts.limits)
    given = [case.reference for case in cases]
    given += [case.given.rejected for case in cases if case.given is not None]
    texts = sorted(given, key=len)[-LOOKED_AT:]
    return max((len(codec.tokenizer.encode(text)) + 1 for text in texts), default=1)  # and its end


def memory_lines(
    config: Config,
    facts: ModelFacts,
    prompt_tokens: int,
    gpu_gib: float,
    *,
    generates: bool,
    answer_tokens: int | None = None,
) -> Lines:
    """Rows of (topic, sentence): what one GPU of each actor, and the host, need at their peak.

    `answer_tokens`: of the longest text that is learned; None: as many as a generator may give.
    """
    gpu = int(gpu_gib * GIB)
    needs = needs_of(config.objective)
    tokens = {"max_new_tokens": answer_tokens or config.generator.max_new_tokens}
    generator = config.generator.model_copy(update=tokens)
    learned = config.model_copy(update={"generator": generator})
    parts = learner_needs(learned, sizes(config, facts), needs, prompt_tokens)
    lines = [("memory", f"Learner {_against(parts, gpu)}")]
    if sum(parts.values()) > gpu:
        lines.append(("", _remedy(learned, facts, prompt_tokens, gpu)))
    own, context = sizes(config, facts), answer_context(config.generator, facts)
    if generates:
        lines.append(("", _generator(config, own, context, gpu, prompt_tokens)))
    engines = config.generator.replicas if generates else 0
    host = host_needs(config, own, config.learner.world_size, engines)
    lines.append(("", f"host, if all are on one machine: {_sum(host)}"))
    return lines


def sizes(config: Config, facts: ModelFacts) -> Sizes:
    """Of the model of a configuration, tuned as it says."""
    policy = tuned_skeleton(facts, config.model)
    return sizes_of(policy, checkpointing=config.learner.gradient_checkpointing)


def _against(parts: Parts, gpu: int) -> str:
    total = sum(parts.values())
    verdict = "fits" if total <= gpu else "DOES NOT FIT"
    return f"{_gib(total)} of {_gib(gpu)} GiB, {verdict}: {_listed(parts)}"


def _remedy(config: Config, facts: ModelFacts, prompt_tokens: int, gpu: int) -> str:
    """The first settings, from the cheapest on, with which a rank fits."""
    tried = []
    for name, changed in _cheaper(config):
        config = changed
        tried.append(name)
        needs = needs_of(config.objective)
        parts = learner_needs(config, sizes(config, facts), needs, prompt_tokens)
        if sum(parts.values()) <= gpu:
            return f"with {' '.join(tried)} it takes {_gib(sum(parts.values()))} GiB"
    return f"not even with {' '.join(tried)}: use LoRA, more GPUs or larger ones"


def _cheaper(config: Config) -> Iterator[tuple[str, Config]]:
    """(setting, configuration with it and all before it); those already made are left out."""
    learner = config.learner
    steps: list[tuple[str, dict[str, object]]] = []
    if not learner.gradient_checkpointing:
        name = "learner.gradient_checkpointing=true"
        steps.append((name, {"gradient_checkpointing": True}))
    size = learner.micro_batch
    while size > 1:
        size = max(1, size // 2)
        steps.append((f"learner.micro_batch={size}", {"micro_batch": size}))
    if learner.zero_stage < 3 and learner.world_size > 1 and not config.generator.colocated:
        steps.append(("learner.zero_stage=3", {"zero_stage": 3}))
    if learner.offload == "none" and learner.zero_stage:
        steps.append(("learner.offload=optimizer", {"offload": "optimizer"}))
    for name, update in steps:
        learner = learner.model_copy(update=update)
        config = config.model_copy(update={"learner": learner})
        yield name, config


def _generator(config: Config, sizes: Sizes, context: int, gpu: int, prompt_tokens: int) -> str:
    parts = generator_needs(config, sizes, context)
    share = int(gpu * config.generator.memory)
    if sum(parts.values()) > share:
        return (
            f"Generator {_against(parts, share)} (generator.memory = {config.generator.memory:g}); "
            "lower generator.max_model_len, raise generator.memory or generator.tensor_parallel"
        )
    tokens = prompt_tokens + config.generator.max_new_tokens
    at_once = sequences(config, sizes, context, gpu, tokens)
    return (
        f"Generator {_gib(share)} of {_gib(gpu)} GiB: weights {_gib(parts['weights'])}, engine "
        f"{_gib(parts['engine'])}, the rest holds {at_once} answers of {tokens} tokens"
    )


def _prompts(codec: ChatCodec, cases: Sequence[Case]) -> Iterator[int]:
    for case in cases:
        try:
            views = [codec.load_view(image.path).pixels for image in case.images]
            yield codec.prompt_length(case.question, *views)
        except ItemError:
            continue


def _sum(parts: Parts) -> str:
    return f"{_gib(sum(parts.values()))} GiB: {_listed(parts)}"


def _listed(parts: Parts) -> str:
    return ", ".join(f"{name} {_gib(size)}" for name, size in parts.items() if size)


def _gib(size: int) -> str:
    value = size / GIB
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"
