"""Sizes and pairs of the benchmark, what it counts, and how it compares variants."""

from __future__ import annotations

import io
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from medray.bench.learner import flops, variants
from medray.bench.learner import run as learner
from medray.bench.learner.console import show_learner
from medray.bench.learner.models import IMAGE, build_model, build_policy
from medray.bench.learner.run import Comparison, gradient_difference
from medray.bench.learner.settings import Settings, make_settings, report_points, sweep_points
from medray.bench.learner.variants import Measured, Variant
from medray.bench.learner.workload import Workload, make_workload
from medray.errors import ConfigError, RunFailed
from medray.objectives import find_objective
from medray.policy.architectures import ARCHITECTURES
from medray.policy.model.tuning import base_model
from medray.policy.scoring.scorer import Scorer
from tests.support.paths import ROOT

FAMILIES = ("tiny", "tiny-qwen2.5-vl")
CPU = torch.device("cpu")


def build(shape: str, **sizes: int) -> tuple[Settings, object, object, Workload]:
    settings = make_settings(shape, **sizes)
    policy = build_policy(settings, CPU)
    architecture = ARCHITECTURES[type(base_model(policy)).__name__]
    return settings, policy, architecture, make_workload(settings, architecture)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"batch": 0}, "--batch 0: less than 1"),
        ({"common": -1}, "--common -1: less than 0"),
        ({"edited": 41}, "--edited 41: the tail has 40 tokens"),
        ({"edited": 0}, "--edited 0: less than 1"),
        ({"places": 7}, "--places 7: 6 tokens are edited"),
        ({"tail": 0, "edited": 0}, "--tail 0"),
        ({"prompt": 0}, "--prompt 0"),
        ({"repeats": 0}, "--repeats 0"),
        ({"vocabulary": 0}, "--vocab 0: less than 64"),
        ({"image_tokens": 250}, "--image-tokens 250: .* not a square number — try 256"),
        ({"image_tokens": 0}, "--image-tokens 0"),
        ({"tail": 40_000}, "tokens in a sequence: the context of the models is 32768"),
        ({"shape": "huge"}, "--shape huge: unknown — one of small, "),
        ({"device": "tpu"}, "--device tpu"),
        ({"dtype": "float16"}, "--dtype float16"),
    ],
)
def test_invalid_sizes_are_refused(given, message):
    with pytest.raises(ConfigError, match=message):
        make_settings(**given)


def test_the_command_refuses_before_torch_is_imported():
    code = (
        "import sys; from medray import cli\n"
        "sys.argv = 'medray bench learner --common 5 --edited 41'.split()\n"
        "try:\n    cli.main()\n"
        "except SystemExit as end:\n    print(end.code, 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.split() == ["2", "False"]
    line = "medray: --edited 41: the tail has 40 tokens — lower it, or raise --tail\n"
    assert done.stderr == line


def test_the_command_line_reproduces_the_settings():
    settings = make_settings("tiny", vocabulary=128, batch=2, objective="dpo")
    assert settings.command("--no-trl") == (
        "medray bench learner --shape tiny --vocab 128 --objective dpo --batch 2 --no-trl"
    )


def test_a_sweep_changes_one_size_at_a_time():
    settings = make_settings()
    points = list(sweep_points(settings))
    values: dict[str, list[int]] = {}
    for name, point in points:
        point.check()
        changed = {k for k, v in point.sizes.items() if v != settings.sizes[k]}
        assert changed <= {name}
        values.setdefault(name, []).append(point.sizes[name])
    assert values == {
        "tail": [20, 40, 80, 160],
        "common": [0, 20, 40, 80],
        "vocab": [8_000, 16_000, 32_000, 64_000],
        "image_tokens": [64, 256, 576, 1024],
        "batch": [1, 2, 4, 8],
    }


def test_reports_are_long_and_wrong_in_several_places():
    for _, point in report_points(make_settings()):
        point.check()
        assert (point.tail, point.places, point.pairs) == (300, 6, 4)


@pytest.mark.parametrize(
    ("tail", "edited", "places"), [(300, 6, 6), (7, 6, 4), (9, 9, 2), (5, 1, 1)]
)
def test_edits_are_spread_over_the_tail(tail, edited, places):
    settings, _, _, work = build("tiny", tail=tail, edited=edited, places=places, common=3)
    for pair in work.pairs:
        differing = np.nonzero(pair.chosen.ids != pair.rejected.ids)[0]
        assert len(pair.chosen.ids) == len(pair.rejected.ids) == 3 + tail
        assert differing.tolist() == np.nonzero(pair.chosen.edited)[0].tolist()
        assert len(differing) == edited
        assert differing[0] == 3
        assert differing[-1] >= 3 + (places - 1) * tail // places
    assert settings.command().count("--places") == (places > 1)


@pytest.mark.parametrize("shape", FAMILIES)
def test_pairs_have_the_requested_sizes(shape):
    settings, policy, _, work = build(
        shape, batch=2, image_tokens=9, prompt=5, common=3, tail=7, edited=2
    )
    assert len(work.pairs) == 2
    assert len({pair.image_keys for pair in work.pairs}) == 2
    for pair in work.pairs:
        assert (pair.prompt_ids == IMAGE).sum() == 9
        assert len(pair.prompt_ids) == 9 + 5 + (2 if "qwen" in shape else 0)
        a, b = pair.chosen, pair.rejected
        assert np.nonzero(a.ids != b.ids)[0].tolist() == [3, 4]
        assert len(a.ids) == len(b.ids) == 10
        assert np.nonzero(a.edited)[0].tolist() == np.nonzero(b.edited)[0].tolist() == [3, 4]
        clean, corrupted = (work.pixels[keys[0]] for keys in (pair.image_keys, pair.corrupted_keys))
        assert clean.shape == corrupted.shape
        assert not np.array_equal(clean, corrupted)
    again = make_workload(settings, ARCHITECTURES[type(base_model(policy)).__name__])
    assert np.array_equal(again.pairs[1].chosen.ids, work.pairs[1].chosen.ids)


@pytest.mark.parametrize("shape", FAMILIES)
def test_trl_is_given_the_same_tokens_and_pixels(shape):
    from medray.bench.learner.trl import dataset_rows, make_processor

    settings, _, architecture, work = build(shape, batch=2, common=3, tail=7)
    processor = make_processor(settings)
    for pair, row in zip(work.pairs, dataset_rows(settings, work), strict=True):
        out = processor(images=row["images"], text=[row["prompt"]], return_tensors="np")
        assert out["input_ids"][0].tolist() == pair.prompt_ids.tolist()
        assert np.array_equal(architecture.pictures(out, [1])[0], work.pixels[pair.image_keys[0]])
        for name in ("chosen", "rejected"):
            tokens = processor.tokenizer(row[name])["input_ids"]
            assert tokens == pair.side(name).ids.tolist()


@pytest.mark.parametrize("shape", FAMILIES)
def test_the_same_weights_are_built_every_time_and_only_adapters_train(shape):
    settings = make_settings(shape)
    first, second = (dict(build_policy(settings, CPU).named_parameters()) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    trained = {name for name, p in first.items() if p.requires_grad}
    assert trained == {name for name in first if ".lora_" in name}
    assert all(first[name].abs().max() > 0 for name in trained)


def test_operations_are_counted_from_the_weights():
    """tiny: 2 layers of q, o 64×64, k, v 64×32, MLP 3×64×128; head 512×64; adapters of rank 4."""
    settings, policy, architecture, work = build("tiny", batch=2)
    weights = flops.count_weights(policy, architecture)
    layer = 2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128
    adapter = 2 * 4 * (64 + 64) + 2 * 4 * (64 + 32) + 3 * 4 * (64 + 128)
    assert weights.last == 2 * 64 * 64 + 3 * 64 * 128  # all but keys and values
    assert weights.language == 2 * layer - weights.last
    assert weights.adapters == 2 * adapter
    assert weights.head == 512 * 64
    assert weights.projector == 32 * 64 + 64 * 64
    # CLIP of width 32: patches 3×14×14, two layers; class and position tables do not count.
    assert weights.vision == 32 * 3 * 14 * 14 + 2 * (4 * 32 * 32 + 2 * 32 * 64)
    needs = find_objective("fire").needs
    scorer = Scorer(policy, architecture, IMAGE)
    trees = flops.work_of_trees([work], needs, scorer.layout)
    # Two pairs on two images each: 4 + 30 + 20 shared, and 5 of either tail lead to the sixth.
    assert trees == flops.Work(4 * (54 + 10), 4 * 11, 4, True)
    assert flops.work_of_sequences(work.pairs, needs) == flops.Work(8 * 94, 8 * 94, 16, True)
    small = flops.Weights(language=10, last=4, adapters=3, head=7, vision=5, projector=2)
    work_done = flops.Work(tokens=100, head_positions=20, pictures=4, reference=True)
    expected = 6 * 10 * 100 + 6 * 4 * 20 + 6 * 3 * 100 + 6 * 7 * 20 + 2 * 4 * (5 * 16 + 2 * 4)
    assert flops.operations(small, work_done, settings, patches=16) == expected


def test_the_peak_is_known_for_bf16_on_named_chips_only():
    assert flops.peak_of("NVIDIA H100 80GB HBM3", "bfloat16") == 989e12
    assert flops.peak_of("NVIDIA H200", "bfloat16") == 989e12
    assert flops.peak_of("NVIDIA H200", "float32") is None
    assert flops.peak_of("AMD EPYC", "bfloat16") is None


def test_the_difference_of_gradients_is_that_of_the_worst_tensor(tmp_path):
    ours, other, fewer = (tmp_path / f"{name}.safetensors" for name in ("a", "b", "c"))
    save_file({"x": torch.tensor([1.0, 2.0]), "y": torch.tensor([0.5])}, ours)
    save_file({"x": torch.tensor([1.0, 4.0]), "y": torch.tensor([-0.5])}, other)
    save_file({"x": torch.tensor([1.0, 2.0])}, fewer)
    assert gradient_difference(ours, other) == (2.0, "y")
    assert gradient_difference(ours, ours) == (0.0, "")
    assert gradient_difference(ours, fewer) == (float("inf"), "y")


def measured(seconds: list[float], peak: int, loss: float, norm: float) -> Measured:
    facts = {"baseline_bytes": 10, "tokens": 5, "operations": 50, "device": "x", "on_cpu": True}
    result = {"peak_bytes": peak, "loss": loss, "gradient_norm": norm}
    return Measured(Path("g"), facts, [{"seconds": s} | result for s in seconds])


def test_ratios_are_those_of_medians_and_peaks():
    comparison = Comparison(
        measured([1.0, 3.0, 2.0], 30, 0.5, 1.0), measured([8.0, 9.0, 7.0], 60, 0.75, 2.0), 0.1, "x"
    )
    figures = comparison.figures("naive")
    assert figures == {
        "speedup_vs_naive": 4.0,
        "memory_vs_naive": 0.5,
        "loss_difference": 0.25,
        "gradient_difference": 0.1,
        "gradient_difference_at": "x",
        "gradient_norm_difference": 0.5,
    }
    assert comparison.figures("trl").keys() == {
        "speedup_vs_trl",
        "memory_vs_trl",
        "loss_difference_vs_trl",
        "gradient_difference_vs_trl",
        "gradient_difference_at_vs_trl",
        "gradient_norm_difference_vs_trl",
    }
    assert comparison.ours.summary(4)["pairs_per_second"] == 2.0


def test_the_printed_result_has_the_ratios_and_the_command(capsys):
    comparison = Comparison(measured([1.0], 30, 0.5, 1.0), measured([8.0], 60, 0.5, 1.0), 1e-6, "x")
    row = {"size": "tail", "value": 20} | comparison.figures("naive")
    seconds = {f"seconds_{s}": {"median": 1.0} for s in ("ours", "naive")}
    seconds |= {"peak_bytes_ours": 2e9, "of_limit": 0.5}
    show_learner(
        {
            "command": "medray bench learner",
            "device": "x",
            "threads": 2,
            "shape": "small",
            "objective": "fire",
            "dtype": "float32",
            "sizes": {"batch": 4},
            "notes": ["a note"],
            "versions": {"torch": "2"},
            **comparison.figures("naive"),
            "sides": {"ours": comparison.ours.summary(4), "naive": comparison.other.summary(4)},
            "sweep": [row | seconds, {"size": "tail", "value": 40, "error": "no memory"}],
        }
    )
    shown = capsys.readouterr().out
    assert "8.00 × as fast with 0.50 × the memory" in shown
    assert "medray bench learner  # x, 2 threads; torch 2" in shown
    assert "a note" in shown
    assert "failed" in shown


@pytest.mark.parametrize(
    ("shape", "low", "high"),
    [("small", 61e6, 63e6), ("llava-med-7b", 7.5e9, 7.7e9), ("qwen2.5-vl-7b", 8.2e9, 8.4e9)],
)
def test_shapes_have_the_sizes_of_their_models(shape, low, high):
    """Counted without memory for the weights."""
    model = build_model(make_settings(shape), torch.device("meta"))
    assert low < sum(p.numel() for p in model.parameters()) < high


def comparison_on(device: str, dtype: str = "bfloat16") -> Comparison:
    variants = [measured([s], 30, 0.5, 1.0) for s in (1.0, 2.0)]
    for variant in variants:
        variant.facts |= {
            "device": device,
            "on_cpu": False,
            "threads": 1,
            "parameters": 1,
            "trainable_parameters": 1,
            "operations": 989e12 / 4,
        }
    return Comparison(*variants, 0.0, "")


def test_without_trl_its_keys_are_absent_and_a_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(
        learner, "compare", lambda settings, other, progress: comparison_on("NVIDIA H200")
    )
    monkeypatch.setattr(learner.importlib.util, "find_spec", lambda name: None)
    result = learner.run_learner(make_settings("tiny", dtype="bfloat16"), progress=lambda _: None)
    assert result["notes"] == [learner.NO_TRL]
    assert "make install-bench" in learner.NO_TRL
    assert "trl" not in result["versions"]
    assert not any(key.endswith("_trl") for key in result)
    assert result["model_flop_utilisation"] == 0.25
    assert result["sides"]["naive"]["model_flop_utilisation"] == 0.125


def test_a_side_without_memory_is_a_row_and_the_other_is_measured(monkeypatch, capsys):
    failed = comparison_on("NVIDIA H200")
    failed.other.failure = "OutOfMemoryError: CUDA out of memory"
    monkeypatch.setattr(learner, "compare", lambda settings, other, progress: failed)
    result = learner.run_learner(
        make_settings("tiny", dtype="bfloat16"), with_trl=False, progress=lambda _: None
    )
    assert result["sides"]["naive"] == {"error": "OutOfMemoryError: CUDA out of memory"}
    assert result["sides"]["ours"]["model_flop_utilisation"] == 0.25
    assert not any(key.endswith("_naive") for key in result)
    show_learner(result)
    assert "naive failed: OutOfMemoryError" in capsys.readouterr().out


def processes(code: dict[str, str]):
    """Workers made of a few lines of Python, by the name of their variant."""

    @contextmanager
    def started(name, folder):
        (folder / f"{name}.log").touch()
        with subprocess.Popen(
            [sys.executable, "-c", code[name]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            yield process
            process.stdin.close()

    return started


GOOD = """
import json, sys
input()
print(json.dumps({"on_cpu": True}), flush=True)
for line in sys.stdin: print(json.dumps({"seconds": 1.0, "peak_bytes": 5}), flush=True)
"""
LARGE = """
import json, sys
input()
print(json.dumps({"on_cpu": True}), flush=True)
input()
print(json.dumps({"error": "OutOfMemoryError: CUDA out of memory"}), flush=True)
"""


def test_who_runs_out_of_memory_leaves_the_turns_to_the_other(monkeypatch, tmp_path):
    settings = make_settings("tiny", repeats=3)
    monkeypatch.setattr(variants, "_process", processes({"ours": GOOD, "naive": LARGE}))
    found = variants.measure(("ours", "naive"), settings, tmp_path, lambda _: None)
    assert len(found["ours"].repeats) == 3
    assert found["ours"].failure == ""
    assert found["naive"].failure == "OutOfMemoryError: CUDA out of memory"
    monkeypatch.setattr(variants, "_process", processes({"ours": LARGE, "naive": LARGE}))
    with pytest.raises(RunFailed, match="the ours variant of the benchmark: OutOfMemoryError"):
        variants.measure(("ours", "naive"), settings, tmp_path, lambda _: None)


def test_a_point_of_a_sweep_that_fails_reports_its_error(monkeypatch):
    def compare(settings, other, progress):
        if settings.batch == 8:
            raise RunFailed("the naive variant of the benchmark", "out of memory")
        return comparison_on("AMD EPYC")

    monkeypatch.setattr(learner, "compare", compare)
    tiny = make_settings("tiny")
    result = learner.run_learner(tiny, with_trl=False, sweep=True, progress=lambda _: None)
    rows = {(row["size"], row["value"]): row for row in result["sweep"]}
    assert "out of memory" in rows["batch", 8]["error"]
    assert rows["batch", 4]["speedup_vs_naive"] == rows["tail", 160]["speedup_vs_naive"] == 2.0
    assert result["command"].endswith("--sweep --no-trl")
    assert "model_flop_utilisation" not in result


@pytest.mark.parametrize(
    ("output", "code", "message"),
    [
        ('{"error": "ValueError: what went wrong"}\n', 1, "ValueError: what went wrong"),
        ('{"error": "OutOfMemoryError: CUDA out of memory"}\n', 1, "use smaller sizes"),
        ("", -9, "killed, probably because it ran out of memory — use smaller sizes"),
        ("", 1, "exit code 1; last line of its log"),
    ],
)
def test_a_variant_that_ends_reports_why(output, code, message, tmp_path):
    (tmp_path / "naive.log").write_text("first\nlast line of its log\n")
    process = SimpleNamespace(stdin=io.StringIO(), stdout=io.StringIO(output), wait=lambda: code)
    variant = Variant("naive", make_settings("tiny"), process, tmp_path)
    with pytest.raises(RunFailed, match=message):
        variant.repeat()
