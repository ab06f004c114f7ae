"""Exports the trained model of a run, from its newest valid checkpoint or from a given one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from actors.weights import checkpoint
from actors.weights.manifest import tensors
from medray.config import Config
from medray.errors import UserError
from medray.policy.export.model_folder import write_adapter, write_merged
from medray.policy.export.provenance import weights_digest
from medray.policy.model.loading import DTYPES, resolve_model_path
from medray.policy.model.tuning import ADAPTER
from medray.rundir import RunDirectory


def export_model(
    run: Path,
    out: Path,
    *,
    step: int | None = None,
    adapter: bool = False,
    report: Callable[[str], None] = lambda _: None,
) -> Path:
    """Write the policy of `run` to the new folder `out`; returns the checkpoint it came from.

    `report` gets why newer checkpoints were skipped. Raises UserError if there is no such
    checkpoint, or if it is damaged.
    """
    directory = RunDirectory.open(run)
    config = directory.read_config()
    path = _find(directory.checkpoints, step, report)
    manifest, shards = checkpoint.read_weights(path)
    state = checkpoint.read_state(path)
    metadata = {
        "run": config.run.name,
        "step": state.step,
        "policy_version": manifest.version,
        "objective": config.objective.model_dump(),
        "base": Path(config.model.path).name,
        "base_digest": weights_digest(resolve_model_path(config.model.path)),
        "versions": directory.read_versions(),
    }
    trained = dict(tensors(manifest, shards))
    if adapter:
        if manifest.mode == "full" and config.model.lora is not None:
            trained = _adapter(path / "learner", config)
        write_adapter(config.model, trained, out, metadata)
    else:
        write_merged(config.model, config.model.dtype, manifest.mode, trained, out, metadata)
    return path


def _adapter(learner: Path, config: Config) -> dict[str, Tensor]:
    """The adapter that was merged into full weights, from the learner's state, under PEFT's names
    and in the precision it is used in."""
    from actors.learner.saved_state import read_masters  # imports DeepSpeed

    dtype = DTYPES[config.model.dtype]
    return {
        name.replace(f".{ADAPTER}.", "."): master.to(dtype)
        for name, master in read_masters(learner).items()
        if ".lora_" in name
    }


def _find(folder: Path, step: int | None, report: Callable[[str], None]) -> Path:
    if step is None:
        found = checkpoint.newest(folder)
        if found is None:
            raise UserError(
                str(folder), "contains no checkpoint", "let the run reach its first one"
            )
        for reason in found[2]:
            report(f"skipped checkpoint {reason}")
        return found[0]
    path = folder / f"step-{step:06d}"
    problem = checkpoint.find_damage(path) if path.is_dir() else "no such checkpoint"
    if problem:
        known = ", ".join(p.name for p in checkpoint.list_checkpoints(folder)) or "none"
        raise UserError(f"--step {step}", problem, f"there are: {known}")
    return path
