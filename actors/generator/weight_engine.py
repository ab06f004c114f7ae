"""vLLM's side of a weight update: what each of its workers does with a shard.

Only vLLM imports this file, by the name that `vllm_patches` registers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vllm.distributed.weight_transfer.base import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead
from vllm.model_executor.model_loader.reload import (
    finalize_layerwise_reload,
    initialize_layerwise_reload,
)

from actors.weights.manifest import Shard, TensorSpec, named


@dataclass
class NoInit(WeightTransferInitInfo):
    """There is no process group to join."""


@dataclass
class VerifiedShard(WeightTransferUpdateInfo):
    """One verified shard, as arrays: they reach other processes without another copy."""

    specs: tuple[TensorSpec, ...]
    shard: Shard


class RayStoreEngine(WeightTransferEngine[NoInit, VerifiedShard]):
    """Loads shards that the generator has pulled from the object store.

    If the layers keep their weights as they are loaded, a shard is copied into them: one copy, no
    new memory. What a CPU has packed of them is then outdated, and made again when it is needed
    (see `vllm_patches`). If vLLM changes weights after loading (quantises them), its own
    layer-by-layer reload does all of that again.
    """

    init_info_cls, update_info_cls = NoInit, VerifiedShard
    supports_draft_weight_update = False

    def init_transfer_engine(self, init_info: NoInit) -> None:
        pass

    def start_weight_update(self) -> None:
        unpacked = all(parameter.numel() for parameter in self.model.parameters())
        self.in_place = unpacked and self.vllm_config.quant_config is None
        self.loaded: set[str] = set()  # names of parameters
        if not self.in_place:
            initialize_layerwise_reload(self.model)

    def receive_weights(self, update_info: VerifiedShard) -> None:
        self.loaded |= self.model.load_weights(named(update_info.specs, update_info.shard))

    def finish_weight_update(self) -> None:
        if not self.in_place:
            finalize_layerwise_reload(self.model, self.model_config)
        else:
            for layer in {name.rpartition(".")[0] for name in self.loaded}:
                _repack(self.model.get_submodule(layer))
        # A head that is tied to the embeddings is not reloaded, and a CPU has a packed copy of it.
        for module in self.model.modules():
            if isinstance(module, ParallelLMHead):
                _repack(module)

    def shutdown(self) -> None:
        pass


def _repack(layer: Any) -> None:
    """Forget what a CPU has packed of the layer's weights."""
    if hasattr(layer, "cpu_linear"):
        layer.quant_method.process_weights_after_loading(layer)
