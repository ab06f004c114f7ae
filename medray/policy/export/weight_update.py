"""Which tensors a generator must receive to have the learner's policy.

`adapter`: the LoRA tensors under PEFT's names. `full`: every weight that training can change,
LoRA merged in, under transformers' names; also the frozen neighbours in the same block, because
generators fuse projections of one block (q, k, v; gate, up) and reload all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from medray.policy.model.tuning import ADAPTER

Mode = Literal["full", "adapter"]


@dataclass(frozen=True, slots=True)
class ExportItem:
    """One tensor to send. `sources` must be gathered (ZeRO-3) while `build` runs.

    `build` may return the parameter's own memory: it is valid until the next step.
    """

    name: str
    shape: tuple[int, ...]
    sources: tuple[nn.Parameter, ...]
    build: Callable[[], Tensor]


@dataclass(frozen=True, slots=True)
class Partitioning:
    """How parameters are kept: `shape_of` gives the complete shape; `temporary`: complete data is
    there only while it is gathered (ZeRO-3), so that it must be copied; `to_host` (name, tensor):
    how a tensor leaves a GPU, if not by an ordinary copy."""

    shape_of: Callable[[nn.Parameter], tuple[int, ...]] = lambda parameter: tuple(parameter.shape)
    temporary: bool = False
    to_host: Callable[[str, Tensor], Tensor] | None = None


NOT_PARTITIONED = Partitioning()


def export_items(
    policy: nn.Module, mode: Mode, kept: Partitioning = NOT_PARTITIONED
) -> list[ExportItem]:
    """The tensors of one weight update, in a fixed order."""
    return list(_adapter_items(policy, kept) if mode == "adapter" else _full_items(policy, kept))


def _adapter_items(policy: nn.Module, kept: Partitioning) -> Iterator[ExportItem]:
    for name, parameter in policy.named_parameters():
        if ".lora_" in name and f".{ADAPTER}." in name:
            yield _unchanged(name.replace(f".{ADAPTER}.", "."), parameter, kept)


def _full_items(policy: nn.Module, kept: Partitioning) -> Iterator[ExportItem]:
    modules = dict(policy.named_modules())
    parameters = list(policy.named_parameters())
    touched = {_block(name) for name, parameter in parameters if parameter.requires_grad}
    for name, parameter in parameters:
        if ".lora_" in name or _block(name) not in touched:
            continue
        layer = modules[name.rpartition(".")[0].removesuffix(".base_layer")]
        plain = name.removeprefix("base_model.model.").replace(".base_layer.", ".")
        if name.endswith(".base_layer.weight"):
            a, b = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
            merged = _merge(plain, parameter, a, b, float(layer.scaling[ADAPTER]), kept)
            yield ExportItem(plain, kept.shape_of(parameter), (parameter, a, b), merged)
        else:
            yield _unchanged(plain, parameter, kept)


def _block(name: str) -> str:
    """`….layers.3.self_attn.q_proj.weight` → `….layers.3.self_attn`."""
    for part in (".base_layer", f".lora_A.{ADAPTER}", f".lora_B.{ADAPTER}"):
        name = name.replace(part, "")
    return name.rsplit(".", 2)[0] if name.count(".") >= 2 else name


def _unchanged(name: str, parameter: nn.Parameter, kept: Partitioning) -> ExportItem:
    """The parameter as it is, on the CPU."""

    def build() -> Tensor:
        if kept.to_host is not None:
            return kept.to_host(name, parameter.detach())
        return parameter.detach().to("cpu", copy=kept.temporary)

    return ExportItem(name, kept.shape_of(parameter), (parameter,), build)


def _merge(
    name: str, weight: nn.Parameter, a: Tensor, b: Tensor, scale: float, kept: Partitioning
) -> Callable[[], Tensor]:
    """W + s·B·A, summed in float32 and rounded once."""

    def build() -> Tensor:
        a32, b32 = a.detach().float(), b.detach().float()
        merged = torch.addmm(weight.detach().float(), b32, a32, alpha=scale).to(weight.dtype)
        return merged.cpu() if kept.to_host is None else kept.to_host(name, merged)

    return build


def adapter_config(rank: int, alpha: float, rank_stabilised: bool) -> dict[str, object]:
    """PEFT's adapter_config.json for the adapter's tensors."""
    return {
        "peft_type": "LORA",
        "task_type": None,
        "r": rank,
        "lora_alpha": alpha,
        "use_rslora": rank_stabilised,
        "bias": "none",
        "target_modules": "all-linear",
    }


def numel_bytes(items: list[ExportItem], dtype: torch.dtype) -> list[int]:
    """Bytes of each item in `dtype`."""
    width = torch.empty((), dtype=dtype).element_size()
    return [int(torch.Size(item.shape).numel()) * width for item in items]
