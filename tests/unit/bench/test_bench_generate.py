"""The benchmark of generators: its arithmetic, its table, and a side without memory."""

from __future__ import annotations

import pytest

from medray.bench.generate import ACTOR, PLAIN, Answered, GenerateSettings, show_generate, summarise
from medray.errors import UserError

SETTINGS = GenerateSettings(prompts=2, repeats=3)


def answered(seconds: float, *answers: tuple[int, ...]) -> Answered:
    return Answered(seconds, 2 * seconds, answers)


def test_the_ratio_is_the_median_of_rounds_by_tokens_per_second():
    rounds = [
        {ACTOR: answered(2.0, (1, 2), (3, 4)), PLAIN: answered(1.0, (1, 2), (3, 4))},  # .5
        {ACTOR: answered(1.0, (1, 2), (3,)), PLAIN: answered(1.0, (1, 2), (3, 4))},  # .75
        {PLAIN: answered(1.0, (5,), (6,)), ACTOR: answered(1.0, (5,), (7,))},  # 1
    ]
    greedy = {PLAIN: answered(1.0, (5,), (6,)), ACTOR: answered(1.0, (5,), (7,))}
    result = summarise(SETTINGS, "CPU", greedy, rounds, {})
    assert result["actor_vs_raw"] == 0.75
    assert result["actor_vs_raw_range"] == [0.5, 1.0]
    assert result["actor_vs_raw_cpu"] == 0.75
    assert result["same_answers"] == 0.5
    assert result["sides"][PLAIN]["tokens_per_second"] == 4
    assert result["sides"][ACTOR]["tokens"] == 2


def test_a_side_without_memory_is_a_row(capsys):
    alone = {ACTOR: answered(1.0, (1,))}
    result = summarise(SETTINGS, "GPU", alone, [alone], {PLAIN: "out of memory"})
    assert result["actor_vs_raw"] is None
    assert result["same_answers"] is None
    show_generate(result)
    out = capsys.readouterr().out
    assert "out of memory" in out
    assert "actor /" not in out


@pytest.mark.parametrize("wrong", [{"prompts": 0}, {"tokens": 0}, {"size": 0}, {"repeats": 0}])
def test_sizes_are_checked(wrong):
    with pytest.raises(UserError, match=f"--{next(iter(wrong))} 0"):
        GenerateSettings(**wrong)
