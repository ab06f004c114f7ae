"""The receiving end of a weight update: each shard is pulled while the one before it is used."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

import ray
from ray.exceptions import RayError

from actors.weights.manifest import Manifest, Shard, TensorSpec, require_all, verify
from medray.errors import RunFailed

PULL_DEADLINE = 600.0  # seconds for one shard, from another node at worst

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h

Part: TypeAlias = ray.ObjectRef | Shard  # a shard, or where it is


def keep_freed_memory() -> None:
    """Let this process use the memory again that one update freed, in the next.

    glibc gives large blocks back to the system at once, and the kernel clears every page of the
    next ones: on a CPU, where vLLM moves each layer into new memory, 40 % of an update.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def arriving(
    manifest: Manifest, parts: Sequence[Part]
) -> Iterator[tuple[tuple[TensorSpec, ...], Shard]]:
    """(specs, verified shard) in order; one more is pulled and verified by a thread meanwhile.

    RunFailed where a shard is missing, cannot be pulled, or is not what the manifest says.
    """
    require_all(manifest, len(parts))
    ahead = ThreadPoolExecutor(1, "weights")
    try:
        coming = ahead.submit(receive, manifest, parts, 0)
        for number, specs in enumerate(manifest.shards, 1):
            shard = coming.result()
            if number < len(parts):
                coming = ahead.submit(receive, manifest, parts, number)
            yield specs, shard
            del shard  # its memory in the object store is free for the next but one
    finally:
        ahead.shutdown(wait=False, cancel_futures=True)


def receive(manifest: Manifest, parts: Sequence[Part], number: int) -> Shard:
    """Shard `number`, pulled and verified."""
    shard = pull(parts[number], f"shard {number + 1} of {len(parts)}")
    verify(manifest.shards[number], shard)
    return shard


def pull(part: Part, what: str) -> Shard:
    """The shard itself, in the memory of this node's object store."""
    if not isinstance(part, ray.ObjectRef):
        return part
    try:
        return ray.get(part, timeout=PULL_DEADLINE)
    except RayError as error:
        first = (str(error).strip().splitlines() or [""])[0]
        raise RunFailed(
            f"weight update: {what}", f"{type(error).__name__}: {first}", "see the Ray logs"
        ) from error
