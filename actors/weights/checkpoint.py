"""One directory per checkpoint: complete and verified by its manifest, or not there at all.

checkpoints/step-000020/
  learner/              master weights and optimiser state, of any number of ranks
  weights.safetensors   the weights a generator needs (mode and version in its metadata)
  state.json            step, policy version, data position
  manifest.json         size and digest (xxh3, see `inventory`) of each file above
checkpoints/latest      the name of the newest one
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file

from actors.weights.inventory import find_difference, take_inventory
from actors.weights.manifest import Manifest, Shard, describe, tensors, to_array
from medray.errors import UserError
from medray.files import read_file, sync, write_text

_MANIFEST, _REPLACED = "manifest.json", "-replaced"
_NEEDED = ("state.json", "weights.safetensors")


@dataclass(frozen=True, slots=True)
class State:
    """Where a run is. The ledger's position is the step: it has one file per step."""

    step: int
    policy_version: int
    position: int  # cases taken from the training stream
    tally: dict[str, Any] = field(default_factory=dict)  # the policy's errors, if counted


def begin(folder: Path, state: State) -> Path:
    """A new draft; the learner writes to its folder `learner`, then `publish` completes it."""
    for remains in (*folder.glob(".step-*.draft"), *folder.glob(".step-*.gone")):
        shutil.rmtree(remains)
    draft = folder / f".{_name(state)}.draft"
    draft.mkdir(parents=True)
    return draft


def publish(
    draft: Path,
    state: State,
    manifest: Manifest,
    shards: Sequence[Shard],
    *,
    keep: int = 1,
    best: int | None = None,
) -> Path:
    """Complete, verify and publish a draft; then delete all checkpoints but the `keep` newest and
    that of step `best`."""
    folder, final = draft.parent, draft.parent / _name(state)
    metadata = {"mode": manifest.mode, "version": str(manifest.version)}
    save_file(dict(tensors(manifest, shards)), draft / "weights.safetensors", metadata=metadata)
    write_text(draft / "state.json", json.dumps(asdict(state), indent=1))
    write_text(draft / _MANIFEST, json.dumps(take_inventory(draft, without=_MANIFEST), indent=1))
    for path in [draft, *draft.rglob("*")]:
        sync(path)
    if final.exists():  # from an earlier attempt: keep it under a name that is listed as well
        replaced = folder / f"{final.name}{_REPLACED}"
        if replaced.exists():
            _delete(replaced)
        os.rename(final, replaced)
    os.rename(draft, final)
    sync(folder)
    write_text(folder / "latest", final.name + "\n")
    _prune(folder, keep, best)
    return final


def _prune(folder: Path, keep: int, best: int | None) -> None:
    listed = list_checkpoints(folder)
    replaced = [path for path in listed if path.name.endswith(_REPLACED)]
    plain = [path for path in listed if path not in replaced]
    for old in [*replaced, *plain[:-keep]]:
        if best is None or old.name != f"step-{best:06d}":
            _delete(old)


def list_checkpoints(folder: Path) -> list[Path]:
    """Published checkpoints, oldest first; one that was replaced before its successor."""
    found = [path for path in folder.glob("step-*") if path.is_dir() and _step(path) >= 0]
    return sorted(found, key=lambda path: (_step(path), not path.name.endswith(_REPLACED)))


def newest(folder: Path) -> tuple[Path, State, list[str]] | None:
    """The newest valid checkpoint, its state, and why newer ones were skipped.

    Raises UserError if there are some and none is valid, or if one is of another medray.
    """
    skipped: list[str] = []
    for path in reversed(list_checkpoints(folder)):
        problem = find_damage(path)
        if problem is None:
            return path, read_state(path), skipped
        skipped.append(f"{path.name}: {problem}")
    if skipped:
        raise UserError(str(folder), f"no valid checkpoint ({'; '.join(skipped)})", "restore one")
    return None


def find_damage(path: Path) -> str | None:
    """What is wrong with a checkpoint's own files; None if they are intact.

    Others may lie beside them: a file manager's, an editor's, those of a copy.
    """
    try:
        expected = json.loads(read_file(path / _MANIFEST))
    except (OSError, ValueError) as error:
        return f"{_MANIFEST}: {error}"
    if not isinstance(expected, dict):
        return f"{_MANIFEST}: not an inventory"
    for name in _NEEDED:
        if name not in expected:
            return f"{_MANIFEST}: does not list {name}"
    return find_difference(path, expected)


def read_state(path: Path) -> State:
    """State of a checkpoint that `find_damage` found intact.

    Raises UserError if another version of medray wrote it, or if it makes no sense.
    """
    file = path / "state.json"
    try:
        content = dict(json.loads(read_file(file)))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(str(file), f"cannot be read ({error})", "restore it") from None
    known = {field.name: field for field in fields(State)}
    if foreign := sorted(content.keys() - known.keys()):
        why = f"was written by a newer medray (it has {', '.join(foreign)})"
        raise UserError(str(file), why, "continue with that version")
    required = {name for name, field in known.items() if field.default_factory is MISSING}
    if missing := sorted(required - content.keys()):
        why = f"was written by an older medray (it lacks {', '.join(missing)})"
        raise UserError(str(file), why, "continue with that version")
    state = State(**content)
    numbers = state.step, state.policy_version, state.position
    sound = all(type(number) is int and number >= 0 for number in numbers)
    if not sound or not isinstance(state.tally, dict) or state.policy_version > state.step:
        raise UserError(str(file), "is not the state of a run", "delete this checkpoint")
    if state.step != _step(path):
        why = f"is of step {state.step}, not of the checkpoint's"
        raise UserError(str(file), why, "delete this checkpoint")
    return state


def read_weights(path: Path) -> tuple[Manifest, list[Shard]]:
    """weights.safetensors of an intact checkpoint, as a weight update of one shard."""
    with safe_open(path / "weights.safetensors", framework="pt") as file:
        metadata = file.metadata()
        found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    shard = {name: to_array(tensor) for name, tensor in found.items()}
    specs = describe(shard, {name: tensor.dtype for name, tensor in found.items()})
    size = sum(array.nbytes for array in shard.values())
    return Manifest(int(metadata["version"]), metadata["mode"], (specs,), size), [shard]


def _delete(path: Path) -> None:
    """Rename, then delete: a half-deleted checkpoint must not be listed."""
    gone = path.with_name(f".{path.name}.gone")
    os.rename(path, gone)
    shutil.rmtree(gone)


def _name(state: State) -> str:
    return f"step-{state.step:06d}"


def _step(path: Path) -> int:
    """The step in a checkpoint's name; -1 if it is not one."""
    digits = path.name.removeprefix("step-").removesuffix(_REPLACED)
    return int(digits) if digits.isdecimal() else -1
