"""The benchmark of the memory plan: its pairs are those of the plan, its arithmetic, its table."""

from __future__ import annotations

import numpy as np
import pytest

from medray.bench.memory import CASES, MemorySettings, largest_batch, row, show_memory, summarise
from medray.errors import UserError
from medray.memory.needs import batch_tokens, read_positions
from medray.objectives import needs_of
from medray.policy.architectures import ARCHITECTURES
from medray.policy.scoring.forest import Layout, build_forest, count_cells
from medray.policy.scoring.score_pairs import batch_pairs, pair_branches

IMAGE = 3
LAYOUT = Layout(ARCHITECTURES["LlavaForConditionalGeneration"], IMAGE, 2e4)
PROMPT = np.asarray([1, *[IMAGE] * 36, *range(10, 60), 4])
PICTURE = np.zeros((3, 48, 48), np.float32)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_its_micro_batches_are_the_largest_that_the_plan_assumes(case):
    """Answers end before their last token, and rows are rounded up: that is all the difference.
    Pairs on one image are cut where they reach the plan, which they nearly do."""
    task = MemorySettings(tokens=64)
    config = task.config(case, "phantom/base")
    needs, ranks = needs_of(config.objective), config.learner.world_size
    given = largest_batch(config, 1000, PROMPT, PICTURE, on_one_image=case.on_one_image)
    shares = batch_pairs(given.pairs, needs, LAYOUT, config.learner.micro_batch)
    assert len(shares) >= 2 * ranks
    planned = batch_tokens(config, needs, len(PROMPT))
    read = read_positions(config, needs, len(PROMPT))
    for share in shares:
        branches = [b for *_, b in pair_branches([given.pairs[i] for i in share], needs)]
        assert 0.8 * planned < count_cells(branches, LAYOUT) <= 1.02 * planned
        shapes = dict.fromkeys(given.pixels, (3, 48, 48))
        positions = len(build_forest(branches, shapes, LAYOUT).read_index.positions)
        assert 0.8 * read < positions <= read


def test_the_ratio_is_predicted_over_measured(capsys):
    rows = [row("LoRA", "step", 110e6, 100e6), row("", "update", 60e6, 75e6)]
    result = summarise(MemorySettings(), {"device": "CPU"}, rows)
    assert [each["ratio"] for each in result["rows"]] == [pytest.approx(1.1), pytest.approx(0.8)]
    assert result["worst"] == pytest.approx(0.2)
    show_memory(result)
    out = capsys.readouterr().out
    assert "110.0" in out
    assert "the worst is 20% off" in out
    assert "medray bench memory --width 512 --layers 8" in out


@pytest.mark.parametrize(
    "wrong", [{"width": 100}, {"layers": 0}, {"micro_batch": 0}, {"tokens": 1}, {"dtype": "fp8"}]
)
def test_sizes_are_checked(wrong):
    with pytest.raises(UserError, match=next(iter(wrong)).replace("_", "-")):
        MemorySettings(**wrong)
