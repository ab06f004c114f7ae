"""What a learner needs to go on, in files that fit any number of ranks and any ZeRO stage.

learner/
  state.json               version, steps of the optimiser, ranks; shape and file per parameter
  rank-000-00.safetensors  of parameters that rank 0 wrote: NAME/fp32, /exp_avg, /exp_avg_sq
  random-000.safetensors   the random state of rank 0

Parameter i is written by rank i % ranks, so that each holds and writes its share. Nothing is
pickled. The masters (float32) are the truth; weights of lower precision are made from them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from medray.errors import RunFailed
from medray.policy.export.weight_update import full_shape
from medray.seeds import rank_seed

FORMAT = 1
DESCRIPTION = "state.json"
MASTER, MOMENTS = "fp32", ("exp_avg", "exp_avg_sq")
KEYS = (MASTER, *MOMENTS)
FILE_BYTES = 2 * 2**30  # of one file; a larger parameter stands alone
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Place:
    """One rank among the ranks of a learner; `seed` is the run's."""

    rank: int
    ranks: int
    seed: int


class Masters:
    """float32 masters and AdamW's moments behind a DeepSpeed engine, by parameter name.

    ZeRO-0 keeps them whole on every rank, the other stages a piece per rank. `toolbox` is the
    deepspeed module, which only the learner imports; its helpers know the stages above 0.
    """

    def __init__(self, engine: Any, policy: nn.Module, stage: int, toolbox: Any) -> None:
        self.optimizer, self.stage, self.toolbox = engine.optimizer, stage, toolbox
        self.adamw = getattr(engine.optimizer, "optimizer", engine.optimizer)
        self.parameters = {n: p for n, p in policy.named_parameters() if p.requires_grad}
        self._whole = self._whole_masters() if stage == 0 else {}
        self._prepare()

    def shapes(self) -> Shapes:
        """Of every trainable parameter as a whole, in the model's order."""
        return {name: full_shape(parameter) for name, parameter in self.parameters.items()}

    @property
    def steps(self) -> int:
        """How often AdamW has stepped; its bias correction depends on it."""
        return int(self.adamw.state[self._flat()[0]]["step"])

    @steps.setter
    def steps(self, count: int) -> None:
        for flat in self._flat():
            self.adamw.state[flat]["step"].fill_(count)

    def read(self, name: str, key: str) -> Tensor:
        """One whole value, float32; all ranks call it, it is a collective above ZeRO-0."""
        if self.stage == 0:
            master = self._whole[name]
            return master.detach() if key == MASTER else self.adamw.state[master][key]
        parameter, helpers = self.parameters[name], self.toolbox.utils
        if key == MASTER:
            return helpers.safe_get_full_fp32_param(parameter)
        return helpers.safe_get_full_optimizer_state(parameter, key)

    @torch.no_grad()
    def write(self, name: str, values: Mapping[str, Tensor]) -> None:
        """Set all of KEYS and the weight itself; all ranks call it with the same values."""
        if self.stage == 0:
            master = self._whole[name]
            master.copy_(values[MASTER])
            for key in MOMENTS:
                self.adamw.state[master][key].copy_(values[key])
        elif self.stage < 3:
            parameter, helpers = self.parameters[name], self.toolbox.utils
            helpers.safe_set_full_fp32_param(parameter, values[MASTER])
            for key in MOMENTS:
                helpers.safe_set_full_optimizer_state(parameter, values[key], key)
        else:
            self._write_pieces(self.parameters[name], values)
        self._set_weight(self.parameters[name], values[MASTER])

    def _write_pieces(self, parameter: nn.Parameter, values: Mapping[str, Tensor]) -> None:
        """ZeRO-3; its helper for whole values fails where the ranks' pieces need padding."""
        helpers = self.toolbox.utils
        helpers.safe_set_local_fp32_param(parameter, _piece(parameter, values[MASTER]))
        for key in MOMENTS:
            helpers.safe_set_local_optimizer_state(parameter, _piece(parameter, values[key]), key)

    def _set_weight(self, parameter: nn.Parameter, value: Tensor) -> None:
        """The weight that the forward pass reads: the master, rounded to the weight's type."""
        if self.stage < 3:
            parameter.data.copy_(value)
            return
        with self.toolbox.zero.GatheredParameters([parameter], modifier_rank=0):
            parameter.data.copy_(value)

    def _whole_masters(self) -> dict[str, Tensor]:
        """ZeRO-0: the parameters themselves in float32, else copies, in the optimiser's order."""
        if self.adamw is self.optimizer:
            return dict(self.parameters)
        self.optimizer.refresh_fp32_params()  # its trial step has decayed them
        given = {id(p): name for name, p in self.parameters.items()}
        names = [given[id(p)] for group in self.optimizer.fp16_groups for p in group]
        return dict(zip(names, self._flat(), strict=True))

    def _flat(self) -> list[Tensor]:
        """The tensors that AdamW steps on, on this rank."""
        if self.stage == 3:  # its groups are filled for the time of a step only
            return list(self.optimizer.fp32_partitioned_groups_flat)
        return [p for group in self.adamw.param_groups for p in group["params"]]

    def _prepare(self) -> None:
        """AdamW's state as its first step makes it, so that it can be read and written before.

        DeepSpeed's bf16 ZeRO-0 optimiser has made it by a step on zero gradients. AdamW counts
        that step, and its bias correction would shrink the first real ones by a quarter
        (measured: 0.74 of lr).
        """
        for flat in self._flat():
            zeros = {key: torch.zeros_like(flat, requires_grad=False) for key in MOMENTS}
            self.adamw.state[flat] = {"step": torch.tensor(0.0), **zeros}
        self.relink()

    def relink(self) -> None:
        """Let DeepSpeed's helpers find each parameter's moments, at the start and whenever
        `reload_states` has linked the parameters anew and left the moments out."""
        if self.stage in (1, 2):
            self.optimizer._hp_optimizer_states_linked = False
            self.optimizer._lazy_init_hp_params_optimizer_state()


def save(folder: Path, masters: Masters, version: int, place: Place) -> None:
    """Write the state into `folder`; every rank calls it and writes its own files."""
    folder.mkdir(parents=True, exist_ok=True)
    shapes = masters.shapes()
    files = plan_files(shapes, place.ranks)
    held: dict[str, Tensor] = {}
    current = ""
    for i, (name, file) in enumerate(files.items()):
        mine = i % place.ranks == place.rank
        if mine and file != current:
            _flush(folder, current, held)
            current = file
        for key in KEYS:
            value = masters.read(name, key)
            if mine:
                held[f"{name}/{key}"] = value.to("cpu", copy=True)
    _flush(folder, current, held)
    save_file(_random_state(), folder / _random_file(place.rank))
    if place.rank == 0:
        parameters = {n: {"shape": shapes[n], "file": file} for n, file in files.items()}
        told = {"format": FORMAT, "version": version, "steps": masters.steps, "ranks": place.ranks}
        (folder / DESCRIPTION).write_text(json.dumps(told | {"parameters": parameters}, indent=1))


def load(folder: Path, masters: Masters, place: Place) -> int:
    """Set masters, moments, weights and random state from `folder` → policy version.

    All ranks call it. RunFailed, before anything is changed, where the state is not of this
    model, and where it cannot be read.
    """
    told = _describe(folder)
    _require_fit(folder, told.shapes, masters.shapes())
    for file in sorted(set(told.files.values())):
        names = [name for name, there in told.files.items() if there == file]
        try:
            with safe_open(folder / file, framework="pt") as opened:
                for name in names:
                    values = {key: opened.get_tensor(f"{name}/{key}") for key in KEYS}
                    _require_shape(folder / file, name, values, told.shapes[name])
                    masters.write(name, values)
        except (OSError, SafetensorError) as error:
            raise RunFailed(str(folder / file), f"unreadable ({error})", _REMEDY) from None
    masters.steps = told.steps
    _restore_random_state(folder, told, place)
    return told.version


def plan_files(shapes: Shapes, ranks: int) -> dict[str, str]:
    """The file of each parameter: its writer's current one, while there is room."""
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
    """What state.json says."""
    path = folder / DESCRIPTION
    try:
        told = json.loads(path.read_text())
        if told["format"] != FORMAT:
            raise RunFailed(str(path), f"format {told['format']}, not {FORMAT}", _REMEDY)
        parameters = told["parameters"]
        return _Description(
            int(told["version"]),
            int(told["steps"]),
            int(told["ranks"]),
            {name: tuple(entry["shape"]) for name, entry in parameters.items()},
            {name: Path(entry["file"]).name for name, entry in parameters.items()},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunFailed(str(path), f"no learner state ({error!r})", _REMEDY) from None


def _require_fit(folder: Path, saved: Shapes, own: Shapes) -> None:
    """RunFailed naming the first parameter that the state and this model do not share."""
    todo = "resume with the model, LoRA and trainable settings it was saved under"
    for name in [*own, *saved]:
        if saved.get(name) != own.get(name):
            there, here = (_told(shapes.get(name)) for shapes in (saved, own))
            why = f"of another model: {name} is {there} there and {here} here"
            raise RunFailed(str(folder), why, todo)


def _told(shape: tuple[int, ...] | None) -> str:
    return "absent" if shape is None else f"of shape {list(shape)}"


def _require_shape(
    path: Path, name: str, values: Mapping[str, Tensor], shape: tuple[int, ...]
) -> None:
    for key, value in values.items():
        if tuple(value.shape) != shape or value.dtype != torch.float32:
            why = f"{name}/{key} is {value.dtype} {list(value.shape)}, not float32 {list(shape)}"
            raise RunFailed(str(path), why, _REMEDY)


def _flush(folder: Path, file: str, held: dict[str, Tensor]) -> None:
    """Write what is held, and hold nothing."""
    if held:
        save_file(held, folder / file)
        held.clear()


def _piece(parameter: Any, value: Tensor) -> Tensor:
    """This rank's piece of a parameter under ZeRO-3: equal pieces, the last ones padded."""
    size = parameter.ds_tensor.numel()
    start = size * torch.distributed.get_rank()
    own = value.flatten()[start : start + size]
    return torch.nn.functional.pad(own, (0, size - len(own)))


def _random_file(rank: int) -> str:
    return f"random-{rank:03d}.safetensors"


def _random_state() -> dict[str, Tensor]:
    """The generators that dropout draws from, on this rank."""
    state = {"cpu": torch.get_rng_state()}
    return state | ({"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else {})


def _restore_random_state(folder: Path, told: _Description, place: Place) -> None:
    """As it was, or, for another number of ranks or another device, from seed, version, rank."""
    path = folder / _random_file(place.rank)
    saved = load_file(path) if told.ranks == place.ranks and path.exists() else {}
    if saved.keys() == _random_state().keys():
        torch.set_rng_state(saved["cpu"])
        if "cuda" in saved:
            torch.cuda.set_rng_state(saved["cuda"])
        return
    torch.manual_seed(rank_seed(place.seed, told.version, place.rank))
