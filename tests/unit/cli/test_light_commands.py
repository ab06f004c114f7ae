"""Commands that need neither a model nor a cluster do not load torch, transformers or Ray."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.paths import ROOT
from tests.unit.report.test_report import make_run
from tests.unit.review.review_files import grade, make_review, save

# The command line, in a process where importing one of them fails.
GUARD = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "ray", "transformers", "vllm", "deepspeed", "peft"}:
            raise ImportError(f"{name} must not be imported")
sys.meta_path.insert(0, Refuse())
from medray.cli import run_and_exit
run_and_exit()
"""
PLAIN = "from medray.cli import run_and_exit; run_and_exit()"


@pytest.fixture
def here(tmp_path_factory) -> Path:
    """Files for every command."""
    folder = tmp_path_factory.mktemp("light") / "Études of John's"
    folder.mkdir()
    answer = {"question": "Is there a nodule?", "gold": "Yes", "model_answer": "No"}
    (folder / "answers.jsonl").write_text(json.dumps(answer) + "\n")
    (folder / "data").mkdir()
    rng = np.random.default_rng(0)
    rows = []
    for name, split in (("a", "train"), ("b", "heldout")):
        pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"data/{name}.png")
        row = {"id": name, "image": f"{name}.png", "question": "Is there a nodule?", "answer": "No"}
        rows.append(row | {"split": split})
    (folder / "data/records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pair = {"prompt": "Is there a nodule?", "chosen": "No", "rejected": "Yes", "images": ["a.png"]}
    (folder / "data/pairs.json").write_text(json.dumps([pair]))
    run = make_run(folder / "runs", steps=2)
    key = make_review(run, folder / "reviewed.html")
    save(folder / "grades.json", key.id, [grade(pair, "A") for pair in key.pairs])
    return folder


COMMANDS = [
    "--help",
    "--version",
    "launch --help",
    "init quickstart -o start.yaml",
    "edit answers.jsonl -o edited.jsonl",
    "corrupt data/a.png --box 4,4,20,20 -o one.png",
    "corrupt data/a.png --box 4,4,20,20 --kind all -o sheet.png",
    "data import jsonl data -o cases.parquet",
    "data import trl data/pairs.json -o pairs.parquet",
    "data check cases.parquet",
    "data export pairs.parquet --to trl -o trl.json",
    "data export pairs.parquet --to llama-factory -o lf.json",
    "pairs runs/synthetic",
    "pairs runs/synthetic --step 1 --html pairs.html",
    "report runs/synthetic",
    "review runs/synthetic -n 5 -o review.html",
    "review runs/synthetic --read grades.json",
    "phantom write -o phantoms --train 1 --heldout 1",
    "data import jsonl data -o hashed.parquet --paths hashed",
    "data export runs/synthetic --to llama-factory -o own.json --paths relative",
    "phantom build --help",
    "phantom build-localiser --help",
    *(f"bench {name} --help" for name in ("learner", "edit", "localise", "loop", "sync", "ledger")),
]
# What the other commands say of what is not there; tests/integration/loop has them at work.
REFUSED = [
    "launch gone.yaml",
    "check gone.yaml",
    "study gone.yaml",
    "eval gone.yaml --predictions gone.jsonl",
    "export gone -o out",
    "review gone --answers gone -o out.html",
    "phantom verify gone",
    "edit gone.jsonl -o out.jsonl",
]


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> dict[str, str]:
    """As odd as it gets: ASCII, no home that can be written, no PATH, a long folder for scratch."""
    scratch = tmp_path_factory.mktemp("scratch") / ("long-" * 40) / "é è"
    scratch.mkdir(parents=True)
    return {
        "PYTHONPATH": str(ROOT),
        "PATH": "",
        "HOME": "/proc/1",
        "TMPDIR": str(scratch),
        "LC_ALL": "C",
        "PYTHONIOENCODING": "ascii",
    }


@pytest.mark.slow
@pytest.mark.parametrize("stdout", ["open", pytest.param("closed", marks=pytest.mark.chaos)])
def test_light_commands(here, environment, stdout):
    """One after the other: later ones read what earlier ones wrote."""
    for command in COMMANDS + REFUSED:
        done = subprocess.run(
            [sys.executable, "-c", PLAIN if command in REFUSED else GUARD, *command.split()],
            cwd=here,
            env=environment,
            stdout=subprocess.PIPE if stdout == "open" else None,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            check=False,
            umask=0o077,
            preexec_fn=functools.partial(os.close, 1) if stdout == "closed" else None,
        )
        code = 2 if command in REFUSED else 0
        assert done.returncode == code, f"medray {command}: {done.stderr}"
        assert "Traceback" not in done.stderr
        assert code == 0 or done.stderr.count("\n") == 1


def test_the_guard_works(here):
    done = subprocess.run(
        [sys.executable, "-c", GUARD, "check", str(ROOT / "configs/quickstart.yaml")],
        cwd=here,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 3
    assert "must not be imported" in done.stderr
