"""How much memory each actor needs, in bytes: plain arithmetic on a configuration and sizes.

Peaks, not averages. Derivations stand beside each line; what is not linear in anything known (the
CUDA context, the allocator's gaps) is `RESERVE`.
"""

from __future__ import annotations

from medray.config import Config
from medray.memory.sizes import Sizes
from medray.objectives import Needs
from medray.policy.model.schedule import bucket_size, sums_in_float32
from medray.policy.scoring.head import CHUNK_VALUES

GIB = 2**30
RESERVE = int(1.5 * GIB)  # CUDA context, NCCL, fragments
ENGINE = 2 * GIB  # activations of an engine's largest batch, its context
GATHERED = 1_050_000_000  # parameters that ZeRO-3 holds at most: DeepSpeed's limit, and prefetched
WIDTH = {"bfloat16": 2, "float32": 4}

Parts = dict[str, int]


def learner_needs(config: Config, sizes: Sizes, needs: Needs, prompt_tokens: int) -> Parts:
    """One rank's GPU, by what takes it. `prompt_tokens`: of a prompt, its image included."""
    learner, width = config.learner, WIDTH[config.model.dtype]
    world = learner.world_size
    shared = world if learner.zero_stage == 3 else 1
    weights = (sizes.parameters + sizes.adapter) * width // shared
    # float32 masters (DeepSpeed keeps its own above stage 0) and AdamW's two moments.
    masters = 4 if config.model.dtype == "bfloat16" or learner.zero_stage else 0
    states = sizes.trained * (masters + 8) // (world if learner.zero_stage else 1)
    summed = 4 if sums_in_float32(config) else width
    gradients = sizes.trained * summed // (world if learner.zero_stage >= 2 else 1)
    if learner.offload in ("optimizer", "all"):
        states = 0
    if learner.offload == "all":
        weights = 0
    if learner.zero_stage:  # DeepSpeed's buffer for those on their way to other ranks
        gradients += bucket_size(sizes.trained) * width
    weights += gathered_bytes(config, sizes)
    tokens = batch_tokens(config, needs, prompt_tokens)
    logits = logits_bytes(config, sizes, needs, prompt_tokens)
    # Under checkpointing a layer's are made again when the output layer's are gone.
    again = max(0, int(tokens * sizes.layer_bytes) - logits)
    return {
        "weights": weights,
        "optimiser": states,
        "gradients": gradients,
        "reference": reference_bytes(config, sizes, needs),
        "activations": int(tokens * sizes.token_bytes) + again,
        "logits": logits,
        "reserve": RESERVE,
    }


def gathered_bytes(config: Config, sizes: Sizes) -> int:
    """Complete weights of the layers at work, under ZeRO-3."""
    if config.learner.zero_stage < 3:
        return 0
    return min(sizes.parameters, GATHERED) * WIDTH[config.model.dtype]


def between_steps(config: Config, sizes: Sizes, parts: Parts) -> int:
    """Of `learner_needs`, what a rank holds while it does not learn. ZeRO-3 keeps the memory of its
    gradients, and then has nothing gathered."""
    kept = parts["weights"] + parts["optimiser"] + parts["reference"]
    if config.learner.zero_stage == 3:
        kept += parts["gradients"]
    return kept - gathered_bytes(config, sizes)


def logits_bytes(config: Config, sizes: Sizes, needs: Needs, prompt_tokens: int) -> int:
    """Of the output layer, at the peak of its backward pass: logits and their gradient in float32,
    and the gradient in the weights' dtype; where KL is read, four tensors more."""
    positions = read_positions(config, needs, prompt_tokens)
    share = len(needs.kl) / len(needs.branches)
    values = min(positions * sizes.vocabulary, CHUNK_VALUES)
    copy = 2 if config.model.dtype == "bfloat16" else 0
    return values * (4 + 4 + copy) + int(values * share) * 4 * 4


def batch_tokens(config: Config, needs: Needs, prompt_tokens: int) -> int:
    """Tokens of one micro-batch, at most: per pair and image one tree, its prompt once."""
    images = len({name.split("/")[0] for name in needs.branches})
    sides = len(needs.branches) // images
    tree = prompt_tokens + sides * config.generator.max_new_tokens
    return config.learner.micro_batch * images * tree


def read_positions(config: Config, needs: Needs, prompt_tokens: int) -> int:
    """Positions of one micro-batch that pass the head, at most.

    Pairs that share an image, or answers to one question, may be more than `micro_batch` in the
    same number of tokens: all of them but one prompt's may be read.
    """
    if config.loop.group_by == "image" or config.generator.responses > config.learner.micro_batch:
        return batch_tokens(config, needs, prompt_tokens) - prompt_tokens
    return config.learner.micro_batch * len(needs.branches) * config.generator.max_new_tokens


def reference_bytes(config: Config, sizes: Sizes, needs: Needs) -> int:
    """A model beside the policy: another one, or a frozen copy of what trains.

    Under LoRA the policy without its adapter is the reference. ZeRO-3 shards a reference, too.
    """
    width = WIDTH[config.model.dtype]
    if not needs.reference:
        return 0
    partitioned = config.learner.zero_stage == 3
    shared = config.learner.world_size if partitioned else 1
    if config.model.reference is not None:
        return sizes.parameters * width // shared
    if config.model.lora is not None:
        return sizes.adapter * width if config.model.adapter is not None else 0
    return (sizes.parameters if partitioned else sizes.trained) * width // shared


def generator_needs(config: Config, sizes: Sizes, context: int) -> Parts:
    """One GPU of a generator. Its cache must hold one sequence as long as the context."""
    width, parallel = WIDTH[config.model.dtype], config.generator.tensor_parallel
    adapter = sizes.adapter if config.loop.sync == "adapter" else 0
    return {
        "weights": (sizes.parameters + adapter) * width // parallel,
        "one sequence": sizes.cache_values * width * context // parallel,
        "engine": ENGINE,
    }


def sequences(config: Config, sizes: Sizes, context: int, gpu: int, tokens: int) -> int:
    """Sequences of `tokens` tokens that a generator answers at the same time on a GPU."""
    parts = generator_needs(config, sizes, context)
    left = int(gpu * config.generator.memory) - parts["weights"] - parts["engine"]
    per_token = sizes.cache_values * WIDTH[config.model.dtype] / config.generator.tensor_parallel
    return max(0, int(left / (per_token * tokens)))


def host_needs(config: Config, sizes: Sizes, ranks: int, engines: int) -> Parts:
    """Memory of the machine that the given ranks and engines share.

    A rank reads the complete model before it shards or moves it. The first one keeps memory through
    which an update leaves its GPU. An update passes through Ray's
    object store twice: the newest and the one before it, which slow generators still read.
    """
    width = WIDTH[config.model.dtype]
    offloaded = 0
    if config.learner.offload in ("optimizer", "all"):
        offloaded += sizes.trained * 12 // config.learner.world_size
    if config.learner.offload == "all":
        offloaded += sizes.parameters * width // config.learner.world_size
    # What a colocated rank moves out of the GPU's memory: weights, gradients, its share of states.
    states = sizes.trained * 12 // config.learner.world_size
    moved = sizes.parameters * width + sizes.trained * width + states
    rest = moved if config.generator.colocated else 0
    asleep = sizes.parameters * width if config.generator.colocated else 0
    return {
        "learners": ranks * (sizes.parameters * width + offloaded + rest)
        + (update_bytes(config, sizes) if ranks else 0),
        "generators": engines * (2 * GIB + asleep),
        "object store": 2 * update_bytes(config, sizes),
    }


def update_bytes(config: Config, sizes: Sizes) -> int:
    """One update of the generators."""
    sent = sizes.adapter if config.loop.sync == "adapter" else sizes.sent
    return sent * WIDTH[config.model.dtype]
