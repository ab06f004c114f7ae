"""`medray bench loop`: what the driver costs, and what overlapping gains, on real actors."""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from actors.bench.driver_cost import measure_cost
from actors.cluster import connect
from actors.launch import launch
from medray.bench.loop import LoopSettings, summarise
from medray.bench.online import OnlineSettings, Side, run_trl
from medray.bench.online import summarise as summarise_online
from medray.config import Config
from medray.plan import make_plan
from medray.policy.model.loading import resolve_model_path
from medray.rundir import RunDirectory

WARM = 3  # steps that are left out of the medians
STAGES = ("generate", "edit", "learn", "sync")

Progress = Callable[[str], None]


def run_loop(task: LoopSettings, progress: Progress) -> dict[str, Any]:
    """Both parts of the benchmark, as docs/benchmarks.md shows them."""
    overhead, runs = {}, {}
    with redirect_stdout(sys.stderr):  # Ray's own remarks are not part of the result
        with connect(None):
            for generators in task.generators:
                progress(f"{generators} simulated generators")
                cost = measure_cost(generators, task.per_process)
                overhead[generators] = asyncio.run(cost)
        with tempfile.TemporaryDirectory(prefix="medray-bench-") as folder:
            for lag in task.lags[:1] if torch.cuda.device_count() == 1 else task.lags:
                progress(f"a real loop with max_lag {lag}")
                runs[lag] = _real_loop(task, lag, Path(folder))
    return summarise(task, overhead, runs)


def run_against_trl(task: OnlineSettings, progress: Progress) -> dict[str, Any]:
    """The quickstart's loop and TRL's online DPO, one after the other, on the same cases."""
    given = task
    with tempfile.TemporaryDirectory(prefix="medray-bench-") as folder, redirect_stdout(sys.stderr):
        if task.shape == "small":
            from medray.bench.online.grown import grow

            progress("the model")
            grow(resolve_model_path(task.model), Path(folder) / "model")
            task = replace(task, model=str(Path(folder) / "model"))
        plan = make_plan(_online_config(task, Path(folder)))
        progress("TRL's online DPO")
        theirs = run_trl(task, Path(plan.config.data.path or ""), Path(folder))
        progress("medray's loop")
        launch(plan, resume=False, address=None, quiet=True)
        rows = RunDirectory(plan.config.run_dir).read_metrics()
    stages = {name: [row[f"t_{name}"] for row in rows] for name in STAGES}
    ours = Side([row["t_step"] for row in rows], [row["pairs_trained"] for row in rows], stages)
    return summarise_online(given, ours, theirs)


def _online_config(task: OnlineSettings, folder: Path) -> Config:
    """The quickstart's, with as many pairs of an answer as the task says."""
    return Config.model_validate(
        {
            "run": {"name": "online", "output": str(folder)},
            "model": {
                "path": task.model,
                "dtype": task.dtype,
                "lora": {"rank": task.rank, "alpha": 2.0 * task.rank},
            },
            "data": {"kind": "phantom", "style": task.style, "limit": 960},
            "generator": {"max_new_tokens": task.tokens, "temperature": task.temperature},
            "editor": {"max_edit_fraction": 0.7, "pairs_per_answer": task.pairs_per_answer},
            "learner": {"lr": task.lr, "micro_batch": 32},
            "loop": {
                "steps": task.steps,
                "batch": task.pairs,
                "sync": "full",
                "checkpoint_every": 0,
            },
            "eval": {"every": 0, "n": 8},
        }
    )


def _real_loop(task: LoopSettings, lag: int, folder: Path) -> dict[str, Any]:
    """Medians of a run of the tiny model with real engines, and its last evaluation."""
    config = Config.model_validate(
        {
            "run": {"name": f"lag-{lag}", "output": str(folder)},
            "data": {"kind": "phantom", "limit": 960},
            "generator": {
                "max_new_tokens": 48,
                "responses": task.responses,
                "colocated": torch.cuda.device_count() == 1,  # in turns: nothing overlaps
                "memory": 0.5,
            },
            "editor": {"max_edit_fraction": 0.7},
            "learner": {"lr": 5.0e-4, "micro_batch": 32},
            "loop": {
                "steps": task.steps,
                "batch": task.batch,
                "max_lag": lag,
                "checkpoint_every": 0,
            },
            "eval": {"every": 0, "n": 256},
        }
    )
    launch(make_plan(config), resume=False, address=None, quiet=True)
    run = RunDirectory(config.run_dir)
    rows = run.read_metrics()[WARM:]
    return {
        **{key: _median(rows, key) for key in ("t_generate", "t_edit", "t_learn", "t_sync")},
        "t_step": _median(rows, "t_step"),
        "efficiency": statistics.median(
            max(row["t_generate"], row["t_edit"], row["t_learn"]) / row["t_step"] for row in rows
        ),
        "lag_max": max(row["lag_max"] for row in rows),
        "report_exact": run.read_evals()[task.steps]["report_exact"],
    }


def _median(rows: Sequence[dict[str, Any]], key: str) -> float:
    return statistics.median(row[key] for row in rows)
