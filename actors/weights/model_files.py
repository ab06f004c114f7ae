"""The weights of a model directory as shards, to load what a run starts from once more."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import safe_open

from actors.weights.manifest import SHARD_BYTES, Shard, TensorSpec, describe, to_array

DescribedShard = tuple[tuple[TensorSpec, ...], Shard]


def model_shards(path: Path) -> Iterator[DescribedShard]:
    """(specs, shard) of at most SHARD_BYTES each, or of one larger tensor, as the files name it."""
    for file in _weight_files(path):
        shard: Shard = {}
        dtypes: dict[str, torch.dtype] = {}
        with safe_open(file, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118
                tensor = opened.get_tensor(name)
                array = to_array(tensor)
                if shard and sum(a.nbytes for a in shard.values()) + array.nbytes > SHARD_BYTES:
                    yield describe(shard, dtypes), shard
                    shard, dtypes = {}, {}
                shard[name], dtypes[name] = array, tensor.dtype
        yield describe(shard, dtypes), shard


def _weight_files(path: Path) -> list[Path]:
    """The files that the index names; all of them if there is no index."""
    index = path / "model.safetensors.index.json"
    if not index.is_file():
        return sorted(path.glob("*.safetensors"))
    names = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
    return [path / name for name in sorted(set(names))]
