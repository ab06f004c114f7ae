"""What the ranks of a learner have to agree on: a number each, reduced over all of them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.distributed import ReduceOp


def total(value: Tensor) -> Tensor:
    """The sum of every rank's `value`, in place."""
    if torch.distributed.get_world_size() > 1:
        torch.distributed.all_reduce(value)
    return value


def largest(number: int, device: torch.device) -> int:
    """The largest of the ranks' numbers."""
    value = torch.tensor(number, device=device)
    if torch.distributed.get_world_size() > 1:
        torch.distributed.all_reduce(value, ReduceOp.MAX)
    return int(value)


def means(totals: Mapping[str, float], device: torch.device) -> dict[str, float]:
    """Each sum over all ranks by the sum of "count"; the names are the same on every rank."""
    names = sorted(totals.keys() - {"count"})
    values = torch.tensor([totals[n] for n in [*names, "count"]], dtype=torch.float64)
    *sums, count = total(values.to(device)).tolist()
    return {name: sum_ / max(count, 1.0) for name, sum_ in zip(names, sums, strict=True)}
