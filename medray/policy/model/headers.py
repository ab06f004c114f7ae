"""What safetensors files say they hold, without their weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from medray.errors import ModelError, brief
from medray.files import open_file, read_file

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
LFS = b"version https://git-lfs"
# How files begin that are often found under a name they do not deserve.
IMPOSTORS = {
    b"<": "is a web page: a failed download",
    b"PK": "is a pickled checkpoint under another name",
    b"GGUF": "is GGUF, which medray does not read",
}


@dataclass(frozen=True, slots=True)
class TensorHeader:
    """Shape and type of one tensor; `dtype` as safetensors writes it: F32, BF16, I8."""

    shape: tuple[int, ...]
    dtype: str


def checkpoint_headers(folder: Path) -> dict[str, TensorHeader]:
    """Every tensor of a model directory by name, read as transformers and vLLM will.

    Raises ModelError: no weights, a missing or cut file, an index that does not fit its files.
    """
    single, index = folder / SINGLE, folder / INDEX
    if not index.is_file():
        if not single.is_file():
            raise _no_weights(folder)
        return file_headers(single)
    shards = _shards(index)
    if single.is_file() and SINGLE not in shards.values():
        why = f"holds {SINGLE} and an {INDEX} of other files: two sets of weights"
        raise ModelError(str(folder), why, "remove one of them")
    headers: dict[str, TensorHeader] = {}
    for shard in sorted(set(shards.values())):
        if not (folder / shard).is_file():
            todo = "download it again; all shards belong in one directory"
            what = "is a link to nothing" if (folder / shard).is_symlink() else "is missing"
            raise ModelError(str(folder), f"{shard} {what}; {INDEX} names it", todo)
        headers |= file_headers(folder / shard)
    if absent := sorted(shards.keys() - headers.keys()):
        where = f"{shards[absent[0]]}: {absent[0]}"
        raise ModelError(str(index), f"names a tensor that is not there, in {where}", "replace it")
    return headers


def file_headers(path: Path) -> dict[str, TensorHeader]:
    """Every tensor of one safetensors file; ModelError if it is not one, or is cut short."""
    from safetensors import SafetensorError, safe_open

    refuse_stand_in(path)
    try:
        with safe_open(path, framework="np") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            return {
                name: TensorHeader(tuple(part.get_shape()), str(part.get_dtype()))
                for name, part in slices.items()
            }
    except (SafetensorError, OSError, ValueError) as error:
        cause = brief(error)
        cut = "incomplete" in cause.lower() or "invalid header" in cause.lower()
        why = f"is cut short, or no safetensors file ({cause})" if cut else f"unreadable ({cause})"
        raise ModelError(str(path), why, "download it again") from None


def refuse_pointer(path: Path) -> None:
    """ModelError if the file is empty, or only git-lfs's pointer to the real one."""
    start = _start(path)
    if not start:
        raise ModelError(str(path), "is empty", "download it again")
    if start.startswith(LFS):
        raise ModelError(str(path), "is a git-lfs pointer, not the file itself", "run git lfs pull")


def refuse_stand_in(path: Path) -> None:
    """ModelError if the file holds something else than its name says."""
    refuse_pointer(path)
    for mark, why in IMPOSTORS.items():
        if _start(path).startswith(mark):
            raise ModelError(str(path), why, "download the *.safetensors")


def _start(path: Path) -> bytes:
    try:
        with open_file(path) as file:
            return file.read(len(LFS))
    except OSError as error:
        raise ModelError(str(path), f"unreadable ({error.strerror})", "check the file") from None


def _shards(index: Path) -> Mapping[str, str]:
    """Tensor name → file name, from an index."""
    refuse_stand_in(index)
    try:
        shards = json.loads(read_file(index))["weight_map"]
        if shards and all(isinstance(name, str) for name in shards.values()):
            return shards
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    raise ModelError(str(index), "is no index of weights", "download it again")


def _no_weights(folder: Path) -> ModelError:
    found = sorted(path.name for path in folder.glob("*.safetensors"))
    if not found:
        return ModelError(str(folder), "holds no *.safetensors", "medray does not unpickle models")
    if not (folder / found[0]).is_file():  # of a cache that was copied without its blobs
        what = "a link to nothing" if (folder / found[0]).is_symlink() else "no file"
        return ModelError(str(folder / found[0]), f"is {what}", "copy or download the file itself")
    why = f"holds {found[0]}, but no {SINGLE} and no {INDEX}"
    return ModelError(str(folder), why, f"add the index, or rename the only file to {SINGLE}")
