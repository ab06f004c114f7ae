"""`medray eval` on files of answers: figures without a model and without Ray."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import yaml
from PIL import Image

from medray.cli import main
from tests.support.paths import ROOT

# The command line, in a process where Ray and the engines cannot be imported.
GUARD = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"ray", "vllm", "deepspeed"}:
            raise ImportError(f"{name} must not be imported")
sys.meta_path.insert(0, Refuse())
from medray.cli import main
main()
"""


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A dataset, a configuration whose model is elsewhere, and two files of answers."""
    folder = tmp_path_factory.mktemp("eval")
    for name in ("data", "other"):
        (folder / name).mkdir()
        rows = []
        for i in range(6):
            Image.new("RGB", (8, 8), (40 * i, 0, len(name))).save(folder / name / f"{i}.png")
            row = {"id": f"{name}-{i}", "image": f"{i}.png", "question": "Is there a nodule?"}
            rows.append(row | {"answer": "No", "split": "heldout" if i else "train"})
        if name == "other":  # without a split: all of it is evaluated
            rows = [{k: v for k, v in row.items() if k != "split"} for row in rows]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / name / "records.jsonl").write_text(text)
    answers = {"right": ["No"] * 5, "mixed": ["No", "Yes", "Yes", "Yes", "No"]}
    for name, texts in answers.items():
        lines = [{"case_id": f"data-{i}", "answer": text} for i, text in enumerate(texts, 1)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    lines = [{"case_id": f"other-{i}", "answer": "No"} for i in range(6)]
    (folder / "other.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    config = {
        "run": {"name": "r", "output": "runs"},
        "model": {"path": "on-another-machine"},
        "data": {"kind": "jsonl", "path": "data"},
    }
    (folder / "c.yaml").write_text(yaml.safe_dump(config))
    return folder


def medray(here, *arguments):
    return subprocess.run(
        [sys.executable, "-c", GUARD, "eval", "c.yaml", *arguments],
        cwd=here,
        env={"PYTHONPATH": f"{ROOT}:{':'.join(sys.path)}", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
def test_a_file_of_answers_needs_no_model_and_no_cluster(here, tmp_path):
    table = tmp_path / "kept.parquet"
    done = medray(
        here, "--predictions", "mixed.jsonl", "--against", "right.jsonl", "--answers", str(table)
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["n"], result["answers"], result["n_by"]) == (5, 5, {"closed": 5})
    assert result["closed_accuracy"] == 2 / 5
    low, high = result["intervals"]["closed_accuracy"]
    assert 0 <= low < 2 / 5 < high <= 1
    assert result["policy_version"] is None
    assert result["cases"] == 5
    difference = result["difference"]["closed_accuracy"]
    assert difference["value"] == pytest.approx(-3 / 5)
    assert difference["p"] == pytest.approx(2 / 2**3)
    assert {path.name for path in here.iterdir()}.isdisjoint({"runs", "kept.parquet"})
    again = medray(here, "--predictions", str(table))
    kept = json.loads(again.stdout)
    assert {**result, **kept} == result


@pytest.fixture
def evaluate(here, monkeypatch, capsys):
    """The same command in this process: (exit code, stdout, stderr)."""

    def evaluate(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.chdir(here)
        monkeypatch.setattr("sys.argv", ["medray", "eval", "c.yaml", *arguments])
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
        return (code, *capsys.readouterr())

    return evaluate


def test_another_dataset_can_be_evaluated_on(evaluate):
    options = ("eval.data.kind=jsonl", "eval.data.path=other")
    code, out, err = evaluate(*options, "--predictions", "other.jsonl")
    assert code == 0, err
    assert json.loads(out)["answers"] == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--predictions", "none.jsonl"), "none.jsonl: no such file"),
        (("--predictions", "other.jsonl"), "none of its case_id is that of a held-out case"),
        (("--predictions", "right.jsonl", "--metric", "x"), "--metric x: is not known"),
        (("--predictions", "right.jsonl", "--model", "m"), "--model and --predictions: are alter"),
        (
            ("--predictions", "right.jsonl", "--answers", "data"),
            "data: does not end with .jsonl or",
        ),
        (("--predictions", "right.jsonl", "--answers", "a.csv"), "a.csv: does not end with .jsonl"),
        (("--predictions", "right.jsonl", "--answers", "no/a.jsonl"), "no: no such folder"),
        (("--predictions", "data"), "--predictions data: is a folder"),
        (("--predictions", "nothing"), "--predictions nothing: no such file"),
        (("--model", "right.jsonl"), "--model right.jsonl: is a file"),
        (("--checkpoint", "right.jsonl"), "--checkpoint right.jsonl: is a file"),
        (
            ("--predictions", "right.jsonl", "eval.data.kind=jsonl", "eval.data.path=nowhere"),
            "nowhere",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_evaluated_is_one_line(evaluate, arguments, message):
    code, out, err = evaluate(*arguments)
    assert code == 2, err
    assert message in err
    assert err.count("\n") == 1
    assert out == ""
