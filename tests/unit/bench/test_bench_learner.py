"""`medray bench learner`: the same numbers from every variant, and the documented keys."""

from __future__ import annotations

import json

import pytest
import torch

from medray.bench.learner.flops import work_of_trees
from medray.bench.learner.models import build_policy
from medray.bench.learner.run import gradient_difference
from medray.bench.learner.settings import make_settings
from medray.bench.learner.worker import naive_step, our_step
from medray.bench.learner.worker_protocol import write_gradients
from medray.bench.learner.workload import apart, as_learned, in_parts, make_workload
from medray.objectives import find_objective
from medray.policy.architectures import ARCHITECTURES
from medray.policy.model.tuning import base_model
from medray.policy.scoring.scorer import Scorer
from tests.support.processes.running import medray

KEYS = {
    "bench",
    "command",
    "device",
    "threads",
    "versions",
    "shape",
    "objective",
    "dtype",
    "sizes",
    "repeats",
    "parameters",
    "trainable_parameters",
    "sides",
    "speedup_vs_naive",
    "memory_vs_naive",
    "loss_difference",
    "gradient_difference",
    "gradient_norm_difference",
    "notes",
    "definitions",
}
VARIANT_KEYS = {
    "seconds",
    "pairs_per_second",
    "peak_bytes",
    "baseline_bytes",
    "loss",
    "gradient_norm",
    "tokens",
    "operations",
}


@pytest.mark.parametrize("name", ["fire", "dpo", "mdpo", "tdpo2", "simpo"])
@pytest.mark.parametrize("shape", ["tiny", "tiny-qwen2.5-vl"])
def test_both_variants_give_the_same_loss_and_gradients(shape, name, tmp_path):
    settings = make_settings(shape, objective=name, batch=2)
    policy = build_policy(settings, torch.device("cpu"))
    architecture = ARCHITECTURES[type(base_model(policy)).__name__]
    work, objective = make_workload(settings, architecture), find_objective(name)
    scorer = Scorer(policy, architecture, base_model(policy).config.image_token_id)
    steps = {
        "ours": our_step(scorer, [work], objective),
        "naive": naive_step(policy, in_parts(work, 1), objective),
    }
    losses, paths = {}, {}
    for variant, step in steps.items():
        policy.zero_grad(set_to_none=True)
        losses[variant] = float(step())
        paths[variant] = tmp_path / f"{variant}.safetensors"
        assert write_gradients(policy, paths[variant]) > 1e-3
    assert losses["ours"] == pytest.approx(losses["naive"], abs=1e-5)
    gap, tensor = gradient_difference(paths["ours"], paths["naive"])
    assert gap < 1e-5, tensor


def test_pairs_on_one_image_share_its_tree_and_give_the_same_numbers(tmp_path):
    """2 questions × 2 answers × 2 sentences; apart, image and question are there once a pair."""
    settings = make_settings("tiny", batch=1, questions=2, answers=2, sentences=2)
    policy = build_policy(settings, torch.device("cpu"))
    architecture = ARCHITECTURES[type(base_model(policy)).__name__]
    work, objective = make_workload(settings, architecture), find_objective("fire")
    assert len(work.pairs) == settings.pairs == 8
    assert len(work.pixels) == 2
    behind = [len(pair.prefix_ids) for pair in work.pairs]
    assert behind == [0, settings.common + settings.tail] * 4
    scorer = Scorer(policy, architecture, base_model(policy).config.image_token_id)
    steps = {
        "ours": our_step(scorer, as_learned(work, 2, objective.needs, scorer.layout), objective),
        "apart": our_step(scorer, in_parts(apart(work), 3), objective),
        "naive": naive_step(policy, [work], objective),
    }
    losses, paths = {}, {}
    for variant, step in steps.items():
        policy.zero_grad(set_to_none=True)
        losses[variant] = float(step())
        paths[variant] = tmp_path / f"{variant}.safetensors"
        write_gradients(policy, paths[variant])
    assert losses["ours"] == pytest.approx(losses["naive"], abs=1e-5)
    assert losses["ours"] == pytest.approx(losses["apart"], abs=1e-5)
    for other in ("naive", "apart"):
        gap, tensor = gradient_difference(paths["ours"], paths[other])
        assert gap < 1e-5, tensor
    ours, separate = (
        work_of_trees([each], objective.needs, scorer.layout) for each in (work, apart(work))
    )
    again = 2 * (7 * settings.image_tokens + 6 * settings.prompt)  # under v and v'
    assert separate.tokens - ours.tokens > again
    assert (ours.pictures, separate.pictures) == (2, 16)


def test_the_command_prints_the_documented_keys():
    done = medray("bench", "learner", "--shape", "tiny", "--repeats", "1", "--json", "--no-trl")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result.keys() >= KEYS
    assert result["sizes"]["vocab"] == 512
    assert result["versions"].keys() >= {"torch", "transformers", "peft", "medray"}
    assert result["command"] == "medray bench learner --shape tiny --repeats 1 --no-trl"
    assert result["loss_difference"] < 1e-5
    assert result["gradient_difference"] < 1e-5
    assert set(result["sides"]) == {"ours", "naive"}
    for variant in result["sides"].values():
        assert variant.keys() >= VARIANT_KEYS
        seconds = variant["seconds"]
        assert 0 < seconds["min"] <= seconds["median"] <= seconds["max"]
        assert variant["peak_bytes"] >= variant["baseline_bytes"] > 0
        assert variant["gradient_norm"] > 0
    assert not any("trl" in key for key in result)
