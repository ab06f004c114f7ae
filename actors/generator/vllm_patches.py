"""What vLLM 0.31 has to be taught before an engine starts, each with its reason."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from actors.weights.manifest import Shard, TensorSpec, named
from medray.policy.architectures import ARCHITECTURES
from medray.policy.architectures.llava import Llava

BACKEND = "ray_store"  # the name under which vLLM knows our way of updating weights


def mend_vllm() -> None:
    """Teach vLLM our weight transfer and its models what they do not know, before an engine starts.

    Called in every worker process of an engine that has several too, by `vllm_plugin`.
    """
    import re

    from vllm import ModelRegistry
    from vllm.model_executor.models.utils import WeightsMapper

    _register_transfer()
    for architecture in ARCHITECTURES.values():
        if architecture.vllm_names:
            model = ModelRegistry.models[architecture.name].load_model_cls()
            renames = {re.compile(old): new for old, new in architecture.vllm_names.items()}
            model.hf_to_vllm_mapper |= WeightsMapper(orig_to_new_regex=renames)
    llava = ModelRegistry.models[Llava.name].load_model_cls()
    llava.get_mm_lora_token_counts = _llava_token_counts
    _leave_weights_unpacked()


@functools.cache
def _register_transfer() -> None:
    """Make our way of updating weights known to vLLM (once: it refuses a second time)."""
    from vllm.distributed.weight_transfer.base import (
        WeightTransferEngine,
        WeightTransferInitInfo,
        WeightTransferUpdateInfo,
    )
    from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory
    from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead
    from vllm.model_executor.model_loader.reload import (
        finalize_layerwise_reload,
        initialize_layerwise_reload,
    )

    @dataclass
    class Nothing(WeightTransferInitInfo):
        """There is nobody to meet."""

    @dataclass
    class Piece(WeightTransferUpdateInfo):
        """One verified shard: arrays, which reach other processes without a copy more."""

        specs: tuple[TensorSpec, ...]
        shard: Shard

    class RayStoreEngine(WeightTransferEngine[Nothing, Piece]):
        """What each worker does with a shard.

        Where the layers keep their weights as they were loaded, a shard is copied into them: one
        copy, no new memory. Where vLLM changes them after loading (quantised, or packed for a
        CPU's kernels), its own reload does it all again, layer by layer.
        """

        init_info_cls, update_info_cls = Nothing, Piece
        supports_draft_weight_update = False

        def init_transfer_engine(self, init_info: Nothing) -> None:
            pass

        def start_weight_update(self) -> None:
            whole = all(parameter.numel() for parameter in self.model.parameters())
            self.in_place = whole and self.vllm_config.quant_config is None
            if not self.in_place:
                initialize_layerwise_reload(self.model)

        def receive_weights(self, update_info: Piece) -> None:
            self.model.load_weights(named(update_info.specs, update_info.shard))

        def finish_weight_update(self) -> None:
            if not self.in_place:
                finalize_layerwise_reload(self.model, self.model_config)
            for module in self.model.modules():  # tied to the embeddings, a head is not itself
                if isinstance(module, ParallelLMHead):  # reloaded, and a CPU has a packed copy
                    module.quant_method.process_weights_after_loading(module)

        def shutdown(self) -> None:
            pass

    WeightTransferEngineFactory.register_engine(BACKEND, RayStoreEngine)


def _leave_weights_unpacked() -> None:
    """On a CPU, keep linear layers as they are loaded.

    vLLM packs them for oneDNN once, for a server that keeps its weights; here they change at every
    step, and packing takes four times as long as the rest of an update.
    """
    from vllm import _custom_ops

    _custom_ops._supports_onednn = False


def _llava_token_counts(
    model: Any, *, modality: str, mm_kwargs: Any, num_mm_embeds: int
) -> tuple[int, int]:
    """Tokens that LoRA meets in a CLIP tower and in the projector, of so many image tokens.

    vLLM forgets the class token, which the tower computes and the projector never sees: the
    last tokens of a batch would go without the adapter (on a CPU, shapes do not match).
    """
    if model.config.vision_feature_select_strategy != "default":
        return num_mm_embeds, num_mm_embeds
    vision = model.config.vision_config
    per_image = (vision.image_size // vision.patch_size) ** 2
    return num_mm_embeds + -(-num_mm_embeds // per_image), num_mm_embeds
