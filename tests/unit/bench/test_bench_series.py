"""`medray bench all`: which benchmarks a machine runs, and the rows that they become."""

from __future__ import annotations

import json

import pytest

from medray.bench import series
from medray.bench.series import Bench, plan_series, rows, run_series
from medray.cli.bench import app

ALL = ("learner", "generate", "sync", "loop")


@pytest.mark.parametrize("gpu", [True, False])
@pytest.mark.parametrize("small", [True, False])
def test_every_command_of_a_series_exists_and_has_its_options(gpu, small):
    from typer.main import get_command

    commands = get_command(app).commands
    benches = plan_series(commands, gpu=gpu, small=small)
    assert {bench.words[0] for bench in benches} >= {"learner", "sync", "loop"}
    assert len({bench.name for bench in benches}) == len(benches)
    for bench in benches:
        commands[bench.words[0]].make_context(bench.words[0], [*bench.words[1:], "--json"])


def test_a_gpu_is_measured_with_models_of_its_size():
    shapes = {word for bench in plan_series(ALL, gpu=True, small=False) for word in bench.words}
    assert {"llava-med-7b", "qwen2.5-vl-7b"} <= shapes
    small = {word for bench in plan_series(ALL, gpu=True, small=True) for word in bench.words}
    assert "llava-med-7b" not in small


def test_what_is_not_known_is_not_run():
    assert [bench.name for bench in plan_series(("sync",), gpu=True, small=True)] == ["sync"]


def test_a_failure_and_a_side_without_memory_are_rows(tmp_path, monkeypatch):
    learner = {
        "device": "NVIDIA H100",
        "versions": {"torch": "2.13.0", "python": "3.11"},
        "sides": {
            "ours": {"pairs_per_second": 12.5, "peak_bytes": 2e10, "tokens": 1000},
            "naive": {"error": "OutOfMemoryError: CUDA out of memory"},
            "apart": {"pairs_per_second": 5.0, "peak_bytes": 4e10, "model_flop_utilisation": 0.4},
        },
        "speedup_vs_apart": 2.5,
        "memory_vs_apart": 0.5,
    }
    outputs = {"learner": json.dumps(learner), "sync": "", "loop": json.dumps({"speedup": None})}

    def run(command, stdout, stderr, text, timeout):
        assert timeout == 9.0
        if not (output := outputs[command[5]]):
            print("first\nmedray: needs 2 GPUs", file=stderr)
        return type("Done", (), {"stdout": output, "returncode": 0 if output else 2})

    monkeypatch.setattr(series.subprocess, "run", run)
    benches = [Bench(name, (name, "--x")) for name in outputs]
    results = run_series(benches, tmp_path / "out", lambda _: None, limit=9.0)
    assert results["sync"] == {"error": "medray: needs 2 GPUs"}
    assert json.loads((tmp_path / "out/learner.json").read_text()) == learner
    text = (tmp_path / "out/rows.md").read_text()
    assert text == rows(benches, results)
    assert "`medray bench learner --x` · NVIDIA H100 · torch 2.13.0\n" in text
    assert "| naive | – | – | – | – | – | OutOfMemoryError: CUDA out of memory |" in text
    assert "| apart | 5 | 40.00 | 40% | 2.50 × | 0.50 × | – |" in text
    assert "`medray bench sync --x`: medray: needs 2 GPUs" in text
    assert "| most generators against fewest | by overlapping |\n| --- | --- |\n| – | – |" in text
