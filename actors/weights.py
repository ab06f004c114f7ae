"""Learner → generators over the object store: a manifest and shards of numpy arrays.

Learners RETURN shards (an object that an actor puts dies with the actor, one that a method
returns does not). numpy has no bfloat16, so tensors travel as int16 views and the manifest
says what they are.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from medray.errors import RunFailed
from medray.policy.export import ExportItem, Mode, numel_bytes

Shard = dict[str, np.ndarray]
SHARD_BYTES = 256 * 2**20
VIEWS = {"bfloat16": torch.int16}


@dataclass(frozen=True, slots=True)
class TensorSpec:
    name: str
    shape: tuple[int, ...]
    dtype: str
    crc32: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What one weight update holds, shard by shard."""

    version: int
    mode: Mode
    shards: tuple[tuple[TensorSpec, ...], ...]
    bytes: int


def plan_shards(items: Sequence[ExportItem], dtype: torch.dtype) -> list[list[ExportItem]]:
    """Consecutive items, at most SHARD_BYTES together (a larger tensor stands alone)."""
    shards: list[list[ExportItem]] = [[]]
    room = SHARD_BYTES
    for item, size in zip(items, numel_bytes(list(items), dtype), strict=True):
        if shards[-1] and size > room:
            shards.append([])
            room = SHARD_BYTES
        shards[-1].append(item)
        room -= size
    return shards


def to_array(tensor: torch.Tensor) -> np.ndarray:
    """A CPU tensor as the array that travels."""
    view = VIEWS.get(dtype_name(tensor.dtype))
    return (tensor.contiguous().view(view) if view else tensor.contiguous()).numpy()


def to_tensor(array: np.ndarray, spec: TensorSpec) -> torch.Tensor:
    """The tensor again; a copy, because arrays from the object store are read-only."""
    tensor = torch.from_numpy(np.array(array, copy=True))
    return tensor.view(getattr(torch, spec.dtype)) if spec.dtype in VIEWS else tensor


def describe(shard: Shard, dtypes: dict[str, torch.dtype]) -> tuple[TensorSpec, ...]:
    """The specs of one shard, checksums included."""
    return tuple(
        TensorSpec(name, tuple(array.shape), dtype_name(dtypes[name]), checksum(array))
        for name, array in shard.items()
    )


def tensors(manifest: Manifest, shards: Sequence[Shard]) -> Iterator[tuple[str, torch.Tensor]]:
    """(name, tensor) of a whole update; RunFailed where it is not what the manifest says."""
    if len(shards) != len(manifest.shards):
        raise RunFailed("weight update", f"{len(shards)} of {len(manifest.shards)} shards came")
    for specs, shard in zip(manifest.shards, shards, strict=True):
        for spec in specs:
            array = shard.get(spec.name)
            if array is None or tuple(array.shape) != spec.shape:
                raise RunFailed(f"weight update: {spec.name}", "missing or of another shape")
            if checksum(array) != spec.crc32:
                raise RunFailed(f"weight update: {spec.name}", "checksum differs")
            yield spec.name, to_tensor(array, spec)


def checksum(array: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(array).data)


def dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
