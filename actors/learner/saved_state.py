"""The state a learner continues from, in files that fit any number of ranks and any ZeRO stage.

learner/
  state.json               version, steps of the optimiser, ranks; shape and file per parameter
  rank-000-00.safetensors  parameters that rank 0 wrote: NAME/fp32, /exp_avg, /exp_avg_sq
  random-000.safetensors   the random state of rank 0

Parameter i is written by rank i % ranks, so that each gathers and writes its share. Nothing is
pickled. The float32 masters are the truth; weights of lower precision are made from them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from actors.learner.optimizer_state import KEYS, MASTER, OptimizerState, Shapes
from medray.errors import RunFailed
from medray.seeds import rank_seed

FORMAT = 1
DESCRIPTION = "state.json"
FILE_BYTES = 2 * 2**30  # of one file; a larger parameter has a file of its own


@dataclass(frozen=True, slots=True)
class RankInfo:
    """One rank among the ranks of a learner; `seed` is the run's."""

    rank: int
    ranks: int
    seed: int


def save(folder: Path, state: OptimizerState, version: int, info: RankInfo) -> None:
    """Write the state into `folder`; every rank calls it and writes its own files."""
    folder.mkdir(parents=True, exist_ok=True)
    shapes = state.shapes()
    files = plan_files(shapes, info.ranks)
    tensors: dict[str, Tensor] = {}
    current = ""
    for i, (name, file) in enumerate(files.items()):
        mine = i % info.ranks == info.rank
        if mine and file != current:
            _flush(folder, current, tensors)
            current = file
        for key in KEYS:
            value = state.read(name, key)
            if mine:
                tensors[f"{name}/{key}"] = value.to("cpu", copy=True)
    _flush(folder, current, tensors)
    save_file(_random_state(), folder / _random_file(info.rank))
    if info.rank == 0:
        parameters = {n: {"shape": shapes[n], "file": file} for n, file in files.items()}
        about = {"format": FORMAT, "version": version, "steps": state.steps, "ranks": info.ranks}
        (folder / DESCRIPTION).write_text(json.dumps(about | {"parameters": parameters}, indent=1))


def load(folder: Path, state: OptimizerState, info: RankInfo) -> int:
    """Set masters, moments, weights and random state from `folder`; returns the policy version.

    All ranks call it. Raises RunFailed if the state is of another model, before anything is
    changed, or if it cannot be read.
    """
    saved = _describe(folder)
    _require_fit(folder, saved.shapes, state.shapes())
    for file in sorted(set(saved.files.values())):
        names = [name for name, its_file in saved.files.items() if its_file == file]
        try:
            with safe_open(folder / file, framework="pt") as opened:
                for name in names:
                    values = {key: opened.get_tensor(f"{name}/{key}") for key in KEYS}
                    _require_shape(folder / file, name, values, saved.shapes[name])
                    state.write(name, values)
        except (OSError, SafetensorError) as error:
            raise RunFailed(str(folder / file), f"unreadable ({error})", _REMEDY) from None
    state.steps = saved.steps
    _restore_random_state(folder, saved, info)
    return saved.version


def read_masters(folder: Path) -> dict[str, Tensor]:
    """The float32 masters of all parameters by name. Raises RunFailed if they cannot be read."""
    saved, masters = _describe(folder), {}
    for name, file in saved.files.items():
        try:
            with safe_open(folder / file, framework="pt") as opened:
                masters[name] = opened.get_tensor(f"{name}/{MASTER}")
        except (OSError, SafetensorError) as error:
            raise RunFailed(str(folder / file), f"unreadable ({error})", _REMEDY) from None
    return masters


def plan_files(shapes: Shapes, ranks: int) -> dict[str, str]:
    """The file of each parameter: its writer's current one while that has room."""
    number, room = [0] * ranks, [FILE_BYTES] * ranks
    files = {}
    for i, (name, shape) in enumerate(shapes.items()):
        rank, size = i % ranks, 4 * len(KEYS) * int(np.prod(shape, dtype=np.int64))
        if size > room[rank] and room[rank] < FILE_BYTES:
            number[rank], room[rank] = number[rank] + 1, FILE_BYTES
        room[rank] -= size
        files[name] = f"rank-{rank:03d}-{number[rank]:02d}.safetensors"
    return files


@dataclass(frozen=True, slots=True)
class _Description:
    version: int
    steps: int
    ranks: int
    shapes: Shapes
    files: dict[str, str]


_REMEDY = "resume from another checkpoint"


def _describe(folder: Path) -> _Description:
    """The content of state.json."""
    path = folder / DESCRIPTION
    try:
        content = json.loads(path.read_text())
        if content["format"] != FORMAT:
            raise RunFailed(str(path), f"format {content['format']}, not {FORMAT}", _REMEDY)
        parameters = content["parameters"]
        return _Description(
            int(content["version"]),
            int(content["steps"]),
            int(content["ranks"]),
            {name: tuple(entry["shape"]) for name, entry in parameters.items()},
            {name: Path(entry["file"]).name for name, entry in parameters.items()},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunFailed(str(path), f"no learner state ({error!r})", _REMEDY) from None


def _require_fit(folder: Path, saved: Shapes, own: Shapes) -> None:
    """Raise RunFailed with the first parameter that the state and this model do not share."""
    todo = "resume with the model, LoRA and trainable settings it was saved under"
    for name in [*own, *saved]:
        if saved.get(name) != own.get(name):
            its_shape, own_shape = (_shape_text(shapes.get(name)) for shapes in (saved, own))
            why = f"of another model: {name} is {its_shape} there and {own_shape} here"
            raise RunFailed(str(folder), why, todo)


def _shape_text(shape: tuple[int, ...] | None) -> str:
    return "absent" if shape is None else f"of shape {list(shape)}"


def _require_shape(
    path: Path, name: str, values: Mapping[str, Tensor], shape: tuple[int, ...]
) -> None:
    for key, value in values.items():
        if tuple(value.shape) != shape or value.dtype != torch.float32:
            why = f"{name}/{key} is {value.dtype} {list(value.shape)}, not float32 {list(shape)}"
            raise RunFailed(str(path), why, _REMEDY)


def _flush(folder: Path, file: str, tensors: dict[str, Tensor]) -> None:
    """Write the tensors, and forget them."""
    if tensors:
        save_file(tensors, folder / file)
        tensors.clear()


def _random_file(rank: int) -> str:
    return f"random-{rank:03d}.safetensors"


def _random_state() -> dict[str, Tensor]:
    """The generators that dropout draws from, on this rank."""
    state = {"cpu": torch.get_rng_state()}
    return state | ({"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else {})


def _restore_random_state(folder: Path, saved: _Description, info: RankInfo) -> None:
    """As it was; with another number of ranks or another device, from seed, version and rank."""
    path = folder / _random_file(info.rank)
    states = load_file(path) if saved.ranks == info.ranks and path.exists() else {}
    if states.keys() == _random_state().keys():
        torch.set_rng_state(states["cpu"])
        if "cuda" in states:
            torch.cuda.set_rng_state(states["cuda"])
        return
    torch.manual_seed(rank_seed(info.seed, saved.version, info.rank))
