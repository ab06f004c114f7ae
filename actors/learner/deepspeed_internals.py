"""Everything of DeepSpeed 0.19 that is used although it is not public, one function each.

DeepSpeed offers no public way to do these things, and no issue of theirs promises one. The test of
private APIs (tests/integration/house) fails if DeepSpeed changes one of them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def skip_shared_memory_op(deepspeed: Any) -> None:
    """Use gloo's collectives on CPUs, as on several nodes.

    DeepSpeed would compile its shared-memory collectives at the first start: a minute, and a
    compiler in the image. They change no result.
    """
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


def fp32_masters(optimizer: Any, adamw: Any) -> list[tuple[nn.Parameter, Tensor]]:
    """(weight, float32 master) of DeepSpeed's bf16 optimiser for ZeRO-0, in AdamW's order.

    Its constructor takes a trial step that decays the masters: they are made again.
    """
    optimizer.refresh_fp32_params()
    weights = [parameter for group in optimizer.fp16_groups for parameter in group]
    masters = [master for group in adamw.param_groups for master in group["params"]]
    return list(zip(weights, masters, strict=True))


def flat_partitions(optimizer: Any) -> list[Tensor]:
    """The tensors that AdamW steps on under ZeRO-3, on this rank.

    Its parameter groups hold them only during a step.
    """
    return list(optimizer.fp32_partitioned_groups_flat)


def relink_moments(optimizer: Any) -> None:
    """Let DeepSpeed's helpers find each parameter's moments (ZeRO-1 and 2).

    It links them once, at the first step, and `reload_states` forgets to do so again.
    """
    optimizer._hp_optimizer_states_linked = False
    optimizer._lazy_init_hp_params_optimizer_state()


def complete_shape(parameter: nn.Parameter) -> tuple[int, ...]:
    """Of a parameter whose data ZeRO-3 has released; of any other parameter, its own shape."""
    return tuple(getattr(parameter, "ds_shape", parameter.shape))


def own_partition(parameter: nn.Parameter, value: Tensor) -> Tensor:
    """This rank's part of `value` under ZeRO-3: equal parts, the last ones padded.

    DeepSpeed's helper for complete values fails if parts are padded.
    """
    size = parameter.ds_tensor.numel()
    start = size * torch.distributed.get_rank()
    part = value.flatten()[start : start + size]
    return nn.functional.pad(part, (0, size - len(part)))
