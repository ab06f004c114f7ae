"""`medray bench start`: what a large collection costs the starts of a run.

As many images as are asked for, hard links to a few phantoms, a case each. The commands run as a
user runs them, each in a process of its own; nothing is told to them about the links.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from medray.bench.scale.command import measure
from medray.errors import UserError
from medray.phantom.dataset import write_dataset
from medray.rundir import RunDirectory

STUDIES, HELDOUT = 64, 8  # different images
MOST_CASES = 60_000 * STUDIES  # a file has at most about 65,000 names
_DIGESTS = """
import json, sys, time
from pathlib import Path
from medray.imaging.digests import Digests
images = [json.loads(line)["image"] for line in open(sys.argv[1] + "/records.jsonl")]
images = [str(Path(sys.argv[1], image)) for image in images]
digests = Digests.kept_in(Path(sys.argv[2]))
digests.of(images)
digests.keep()
"""


@dataclass(frozen=True, slots=True)
class StartSettings:
    """`cases`: training cases, each with an image of its own."""

    cases: int = 377_000

    def __post_init__(self) -> None:
        if not 100 <= self.cases <= MOST_CASES:
            raise UserError(f"--cases {self.cases}", f"not 100 to {MOST_CASES}", "give another one")


def run_start(settings: StartSettings, progress: Callable[[str], None]) -> dict[str, Any]:
    """Seconds and memory by name of the start, as one tree of plain values."""
    result: dict[str, Any] = {"settings": asdict(settings)}
    with tempfile.TemporaryDirectory(prefix="medray-bench-") as made:
        folder = Path(made)
        progress(f"linking {settings.cases:,} images")
        _link(folder / "data", settings.cases)
        for name in ("digests_first", "digests_again"):
            progress(name)
            command = [sys.executable, "-c", _DIGESTS, str(folder / "data"), str(folder / "kept")]
            result[name] = measure(command)
        for name, words in _starts(folder):
            progress(name)
            step = int(words[-1].rpartition("=")[2]) if words[0] == "launch" else 0
            run = RunDirectory(folder / "runs" / "start")
            result[name] = measure([sys.executable, "-m", "medray.cli", *words], run, step)
    return result


def _starts(folder: Path) -> list[tuple[str, list[str]]]:
    config = [
        str(resources.files("medray") / "configs" / "quickstart.yaml"),
        *("data.kind=jsonl", f"data.path={folder}/data", "data.limit=null"),
        *("run.name=start", f"run.output={folder}/runs"),
        *("eval.n=8", "eval.every=0", "loop.checkpoint_every=1"),
    ]
    return [
        ("check_first", ["check", *config]),
        ("check_again", ["check", *config]),
        ("launch", ["launch", *config, "loop.steps=1"]),
        ("resume", ["launch", *config, "--resume", "loop.steps=2"]),
    ]


def _link(folder: Path, cases: int) -> None:
    """A dataset of `cases` training cases about images of their own, and some held-out ones."""
    source = folder.with_name("source")
    write_dataset(source, seed=0, n_train=STUDIES, n_heldout=HELDOUT)
    rows = [json.loads(line) for line in (source / "records.jsonl").read_text().splitlines()]
    train = [row for row in rows if row["split"] == "train"]
    others = [row for row in rows if row["split"] != "train"]
    (folder / "images").mkdir(parents=True)
    with (folder / "records.jsonl").open("w", encoding="utf-8") as lines:
        for n in range(cases):
            row, image = train[n % len(train)], f"images/{n:07d}.png"
            os.link(source / row["image"], folder / image)
            names = {"id": f"case-{n}", "image": image, "patient_id": f"patient-{n}"}
            lines.write(json.dumps(row | names) + "\n")
        for row in others:
            if not (folder / row["image"]).exists():
                os.link(source / row["image"], folder / row["image"])
            lines.write(json.dumps(row) + "\n")


def show_start(result: dict[str, Any]) -> None:
    """Print a row per start."""
    cases = f"{result['settings']['cases']:,} cases"
    print(f"{cases:18}{'seconds':>10}{'to the step':>13}{'processor':>11}{'peak MiB':>10}")
    for name, row in result.items():
        if name != "settings":
            step = f"{row['first_step_seconds']:.1f}" if "first_step_seconds" in row else ""
            numbers = f"{row['cpu_seconds']:>11.1f}{row['peak_mib']:>10.0f}"
            print(f"{name:18}{row['seconds']:>10.1f}{step:>13}{numbers}")
