"""Everything of vLLM 0.31 that is patched, or used although it is not public.

Each says why, and what would end it. The test of private APIs (tests/integration/house) fails if
vLLM changes one of them.
"""

from __future__ import annotations

import functools
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from actors.generator.sampling import draw
from medray.policy.architectures import ARCHITECTURES
from medray.policy.architectures.llava import Llava

BACKEND = "ray_store"  # the name under which vLLM knows our weight transfer
DECODED_TOGETHER = 64  # tokens of a forward pass, at most, that are of decoding


def patch_vllm() -> None:
    """Apply all patches, before an engine starts; `vllm_plugin` does so in its worker processes."""
    from vllm import ModelRegistry
    from vllm.platforms import current_platform

    _register_weight_transfer()
    rename_weights()
    llava = ModelRegistry.models[Llava.name].load_model_cls()
    llava.get_mm_lora_token_counts = _llava_lora_tokens
    if current_platform.is_cpu():
        _pack_when_decoding()
        _draw_with_one_number()


def rename_weights() -> None:
    """Have vLLM read the models that transformers 5 writes: all that it needs to answer."""
    from vllm import ModelRegistry

    for architecture in ARCHITECTURES.values():
        if architecture.vllm_names:
            model = ModelRegistry.models[architecture.name].load_model_cls()
            _rename_weights(model, architecture.vllm_names)


def inspect_here(name: str) -> None:
    """Have vLLM look at a model's class in this process, which needs it anyway.

    By itself vLLM starts a process that imports all of vLLM again, to keep this one clear of CUDA,
    and remembers what it saw in the user's cache: 14 s of the first start on a machine.
    """
    from vllm import ModelRegistry

    if name in ModelRegistry.models:
        ModelRegistry.register_model(name, ModelRegistry.models[name].load_model_cls())


@functools.cache
def _register_weight_transfer() -> None:
    """Register the engine that loads shards; once, because vLLM refuses a second time.

    The factory is vLLM's extension point for this, not yet documented as stable.
    """
    from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory

    WeightTransferEngineFactory.register_engine(
        BACKEND, "actors.generator.weight_engine", "RayStoreEngine"
    )


def _rename_weights(model: Any, names: Mapping[str, str]) -> None:
    """Teach a model class the weight names that transformers 5 writes and vLLM does not know.

    Until vLLM reads CLIP towers as transformers 5 saves them.
    """
    from vllm.model_executor.models.utils import WeightsMapper

    renames = {re.compile(old): new for old, new in names.items()}
    model.hf_to_vllm_mapper |= WeightsMapper(orig_to_new_regex=renames)


def _pack_when_decoding() -> None:
    """On a CPU, have a linear layer keep its weights as they are loaded, and pack a copy of them
    for oneDNN when it first decodes with them.

    vLLM packs them as it loads, and keeps nothing else, which suits a server whose weights never
    change: to change them takes four times as long as to copy into them. Here they change at every
    step, and nothing but decoding reads packed ones faster. Until vLLM reloads weights in place
    (RFC vllm-project/vllm#48312).
    """
    from vllm.model_executor.layers import utils

    utils.dispatch_cpu_unquantized_gemm = functools.partial(
        pack_late, utils.dispatch_cpu_unquantized_gemm
    )


def pack_late(pack: Callable[..., None], layer: Any, remove_weight: bool = False) -> None:
    """Have the layer's `cpu_linear` use its weight as it is until it is given few enough tokens to
    be decoding; then `pack` replaces it. What vLLM would remove stays: the next update is copied
    into it.
    """
    if layer.weight.ndim != 2 or layer.weight.is_meta:
        pack(layer, remove_weight)
        return

    def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if x.shape[:-1].numel() > DECODED_TOGETHER:
            return F.linear(x, weight, None if bias is None else bias.to(x.dtype))
        pack(layer, remove_weight=False)
        packed: Tensor = layer.cpu_linear(x, weight, bias)
        return packed

    layer.cpu_linear = linear


def _draw_with_one_number() -> None:
    """On a CPU, sample as `draw` says. A request's seed gives other answers than vLLM's own way,
    from the same distribution. Until vLLM's does not draw for each word (a TODO in its code)."""
    from vllm.v1.sample.ops import topk_topp_sampler as sampler

    sampler.random_sample = draw
    sampler.TopKTopPSampler.forward_cpu = sampler.TopKTopPSampler.forward_native


def _llava_lora_tokens(
    model: Any, *, modality: str, mm_kwargs: Any, num_mm_embeds: int
) -> tuple[int, int]:
    """Tokens that LoRA layers see in a CLIP tower and in the projector for `num_mm_embeds`.

    vLLM (since #31513) does not count the class token, which the tower computes and the projector
    never sees: the last tokens of a batch would go without the adapter (on a CPU, shapes do not
    match).
    """
    if model.config.vision_feature_select_strategy != "default":
        return num_mm_embeds, num_mm_embeds
    vision = model.config.vision_config
    per_image = (vision.image_size // vision.patch_size) ** 2
    return num_mm_embeds + -(-num_mm_embeds // per_image), num_mm_embeds


def stream_outputs(
    llm: Any, prompts: Sequence[dict[str, Any]], sampling: Sequence[Any], adapter: Any
) -> Iterator[tuple[int, Any]]:
    """(index of the prompt, its output) in the order in which they finish.

    `LLM.generate` prepares all prompts before it computes anything, and returns only when all are
    finished. So its engine is stepped here: a prompt enters when its images are prepared, which
    happens in a thread of its own while others are answered. If the caller stops listening, the
    remaining requests are aborted. Until `LLM` can stream.
    """
    engine, requests = llm.llm_engine, list[str]()
    first = llm.request_counter.counter  # vLLM numbers its requests, and outputs carry the number
    with ThreadPoolExecutor(1, "prepare") as preparing:  # in order: vLLM's caches rely on it
        waiting = deque(preparing.submit(llm._preprocess_cmpl_one, prompt) for prompt in prompts)
        try:
            while waiting or engine.has_unfinished_requests():
                while waiting and (waiting[0].done() or not engine.has_unfinished_requests()):
                    params, prepared = sampling[len(requests)], waiting.popleft().result()
                    requests.append(llm._add_request(prepared, params, lora_request=adapter))
                for output in engine.step():
                    if output.finished:
                        yield int(output.request_id) - first, output
        finally:
            for prompt in waiting:
                prompt.cancel()
            if engine.has_unfinished_requests():
                engine.abort_request(requests, internal=True)


def image_cache_stats(llm: Any) -> tuple[int, int]:
    """(queries, hits) of processed images since the last call.

    vLLM's public statistics are switched off here: they cost time at every step.
    """
    stats = llm.llm_engine.renderer.stat_mm_cache()
    return (stats.queries, stats.hits) if stats else (0, 0)
