"""The cells of a study, one after the other on one cluster."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from actors.cluster import connect
from actors.launch import run_on
from medray.errors import MedrayError, StoppedOnRequest
from medray.files import write_text
from medray.plan import make_plan
from medray.report.console import RunConsole
from medray.study import Study
from medray.study.results import is_done


def run_study(study: Study, *, address: str | None, report: Callable[[str], None]) -> None:
    """Run every cell that has no result yet; what stopped a cell is kept, and the next one begins.

    A cell that was cut short goes on from its checkpoint. Raises StoppedOnRequest.
    """
    study.path.mkdir(parents=True, exist_ok=True)
    waiting = [cell for cell in study.cells if not is_done(study, cell)]
    report(f"{study.name}: {len(study.cells)} cells, {len(waiting)} to run")
    if not waiting:
        return
    failures: dict[str, str] = {}
    with connect(address) as cluster:
        for number, cell in enumerate(waiting, 1):
            report(f"cell {number}/{len(waiting)}: {cell.name}")
            try:
                plan = make_plan(study.config(cell), resume=True)
                console = RunConsole(plan.config.loop.steps, quiet=True)
                run_on(cluster, plan, console, resume=True)
            except StoppedOnRequest:
                raise
            except MedrayError as error:
                failures[cell.name] = str(error)
                report(f"cell {cell.name} failed: {error}")
            _keep(study.path, failures)


def _keep(folder: Path, failures: dict[str, str]) -> None:
    write_text(folder / "failures.json", json.dumps(failures, indent=1) + "\n")


def read_failures(folder: Path) -> dict[str, str]:
    """By name, why cells of the last start did not end; {} if none did not."""
    try:
        content = json.loads((folder / "failures.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(k): str(v) for k, v in content.items()} if isinstance(content, dict) else {}
