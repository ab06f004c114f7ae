"""Weights from learner to generators: a manifest, and shards of numpy arrays in the object store.

Learners RETURN shards: an object that an actor puts dies with the actor, one that a method returns
does not. NumPy has no bfloat16, so tensors travel as int16 views and the manifest records their
dtype. Arrays and tensors share memory with their source on both ends: the object store holds the
only copy.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
import xxhash

from medray.errors import RunFailed
from medray.policy.export.weight_update import ExportItem, Mode, numel_bytes

Shard = dict[str, np.ndarray]
SHARD_BYTES = 256 * 2**20
THREADED_BYTES = 32 * 2**20  # below that, threads are not worth starting
CHECKSUM_THREADS = 8  # with more, memory bandwidth is the limit
VIEWS = {"bfloat16": torch.int16}


@dataclass(frozen=True, slots=True)
class TensorSpec:
    name: str
    shape: tuple[int, ...]
    dtype: str
    checksum: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of one weight update, shard by shard."""

    version: int
    mode: Mode
    shards: tuple[tuple[TensorSpec, ...], ...]
    bytes: int


def plan_shards(items: Sequence[ExportItem], dtype: torch.dtype) -> list[list[ExportItem]]:
    """Consecutive items, at most SHARD_BYTES per shard (a larger tensor is a shard of its own)."""
    shards: list[list[ExportItem]] = [[]]
    room = SHARD_BYTES
    for item, size in zip(items, numel_bytes(list(items), dtype), strict=True):
        if shards[-1] and size > room:
            shards.append([])
            room = SHARD_BYTES
        shards[-1].append(item)
        room -= size
    return shards


def pack(
    plan: Sequence[Sequence[ExportItem]],
    version: int,
    mode: Mode,
    gathered: Callable[[Sequence[torch.nn.Parameter]], AbstractContextManager[None]],
    *,
    keep: bool = True,
) -> tuple[Manifest, *tuple[Shard, ...]]:
    """(manifest, shard, …) of the planned shards, empty ones unless `keep`.

    `gathered`: a context in which an item's sources are complete. Arrays may share the weights'
    memory: unless an actor's method returns them, copy them before the next step.
    """
    shards: list[Shard] = []
    specs = []
    for items in plan:
        shard: Shard = {}
        dtypes = {}
        for item in items:
            with gathered(item.sources):
                if keep:
                    tensor = item.build()
                    shard[item.name], dtypes[item.name] = to_array(tensor), tensor.dtype
        shards.append(shard)
        specs.append(describe(shard, dtypes))
    size = sum(array.nbytes for shard in shards for array in shard.values())
    return (Manifest(version, mode, tuple(specs), size), *shards)


def to_array(tensor: torch.Tensor) -> np.ndarray:
    """A CPU tensor as the array that is sent: the same memory if it is contiguous."""
    view = VIEWS.get(dtype_name(tensor.dtype))
    return (tensor.contiguous().view(view) if view else tensor.contiguous()).numpy()


def to_tensor(array: np.ndarray, spec: TensorSpec) -> torch.Tensor:
    """The tensor again, in the array's memory, which is read-only in the object store.

    DLPack accepts read-only memory silently; torch.from_numpy warns.
    """
    tensor = torch.from_dlpack(array)
    return tensor.view(getattr(torch, spec.dtype)) if spec.dtype in VIEWS else tensor


def describe(shard: Shard, dtypes: dict[str, torch.dtype]) -> tuple[TensorSpec, ...]:
    """The specs of one shard, checksums included."""
    rows = zip(shard.items(), checksums(list(shard.values())), strict=True)
    return tuple(
        TensorSpec(name, tuple(array.shape), dtype_name(dtypes[name]), checksum)
        for (name, array), checksum in rows
    )


def tensors(manifest: Manifest, shards: Sequence[Shard]) -> Iterator[tuple[str, torch.Tensor]]:
    """(name, tensor) of a complete update. Raises RunFailed if it does not match the manifest."""
    require_all(manifest, len(shards))
    for specs, shard in zip(manifest.shards, shards, strict=True):
        verify(specs, shard)
        yield from named(specs, shard)


def named(specs: Sequence[TensorSpec], shard: Shard) -> Iterator[tuple[str, torch.Tensor]]:
    """(name, tensor) of one verified shard."""
    return ((spec.name, to_tensor(shard[spec.name], spec)) for spec in specs)


def require_all(manifest: Manifest, count: int) -> None:
    if count != len(manifest.shards):
        raise RunFailed("weight update", f"{count} of {len(manifest.shards)} shards arrived")


def verify(specs: Sequence[TensorSpec], shard: Shard) -> None:
    """Raise RunFailed, with the tensor's name, if a shard does not match its specs."""
    for spec in specs:
        array = shard.get(spec.name)
        if array is None or tuple(array.shape) != spec.shape:
            raise RunFailed(f"weight update: {spec.name}", "missing or of another shape")
    found = checksums([shard[spec.name] for spec in specs])
    for spec, checksum in zip(specs, found, strict=True):
        if checksum != spec.checksum:
            raise RunFailed(f"weight update: {spec.name}", "checksum differs")


def checksums(arrays: Sequence[np.ndarray]) -> list[int]:
    """Checksum of each array, by several threads if they are large (xxhash releases the GIL)."""
    if sum(array.nbytes for array in arrays) < THREADED_BYTES:
        return [checksum_of(array) for array in arrays]
    with ThreadPoolExecutor(min(CHECKSUM_THREADS, os.cpu_count() or 1)) as threads:
        return list(threads.map(checksum_of, arrays))


def checksum_of(array: np.ndarray) -> int:
    """XXH3 of the bytes, in order: as fast as memory can be read.

    It protects against accidents (a flipped byte, swapped tensors, a truncated transfer), not
    against an attacker.
    """
    return xxhash.xxh3_64_intdigest(np.ascontiguousarray(array).data)


def dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
