"""Figures for Weights & Biases: to its server, or with WANDB_MODE=offline into files."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medray.tracking.board import Ending


class WandB:
    """One run. Steps are a figure: those after a checkpoint come again when a run is resumed."""

    def __init__(self, run: Any) -> None:
        self.run = run
        run.define_metric("step")
        run.define_metric("*", step_metric="step")

    def figures(self, step: int, values: Mapping[str, float]) -> None:
        self.run.log({**values, "step": step})

    def close(self, ending: Ending) -> None:
        self.run.finish(exit_code=0 if ending == "finished" else 1)


def open_wandb(
    run: str, project: str, settings: Mapping[str, Any], folder: Path, identity: str | None
) -> tuple[WandB, str]:
    """A new run, or the one of that identity again. Raises wandb.Error."""
    import wandb

    identity = identity or secrets.token_hex(4)
    opened = wandb.init(
        project=project,
        name=run,
        id=identity,
        resume="allow",
        config=dict(settings),
        dir=folder,
        settings=_of_this_run_only(),
        allow_val_change=True,
    )
    return WandB(opened), identity


def _of_this_run_only() -> Any:
    """Nothing is sent but figures and settings: no output, code, packages, git, command line, host
    or load of the machine."""
    import wandb

    return wandb.Settings(
        console="off",
        disable_code=True,
        disable_git=True,
        disable_job_creation=True,
        save_code=False,
        host="",
        program="",
        x_disable_machine_info=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_save_requirements=False,
    )
