"""The receiving end of a weight update: the next shard is pulled while one is being loaded."""

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

ShardSource: TypeAlias = ray.ObjectRef | Shard  # where a shard is, or the shard itself


def keep_freed_memory() -> None:
    """Keep the memory that one weight update frees in this process, for the next one.

    glibc returns large blocks to the system at once, and the kernel clears every page of new ones:
    40 % of an update on a CPU, where vLLM moves each layer into new memory.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def arriving(
    manifest: Manifest, sources: Sequence[ShardSource]
) -> Iterator[tuple[tuple[TensorSpec, ...], Shard]]:
    """(specs, verified shard) in order; a thread pulls and verifies the next one meanwhile.

    Raises RunFailed if a shard is missing, cannot be pulled, or does not match the manifest.
    """
    require_all(manifest, len(sources))
    thread = ThreadPoolExecutor(1, "weights")
    try:
        pulling = thread.submit(pull_verified, manifest, sources, 0)
        for number, specs in enumerate(manifest.shards, 1):
            shard = pulling.result()
            if number < len(sources):
                pulling = thread.submit(pull_verified, manifest, sources, number)
            yield specs, shard
            del shard  # frees its memory in the object store for the shard after the next
    finally:
        thread.shutdown(wait=False, cancel_futures=True)


def pull_verified(manifest: Manifest, sources: Sequence[ShardSource], index: int) -> Shard:
    """The shard of that index, pulled and verified."""
    shard = pull(sources[index], f"shard {index + 1} of {len(sources)}")
    verify(manifest.shards[index], shard)
    return shard


def pull(source: ShardSource, what: str) -> Shard:
    """The shard itself, in the memory of this node's object store."""
    if not isinstance(source, ray.ObjectRef):
        return source
    try:
        return ray.get(source, timeout=PULL_DEADLINE)
    except RayError as error:
        first = (str(error).strip().splitlines() or [""])[0]
        raise RunFailed(
            f"weight update: {what}", f"{type(error).__name__}: {first}", "see the Ray logs"
        ) from error
