"""The comparison with TRL's online DPO: its arithmetic, and what is refused before it starts."""

from __future__ import annotations

import math

import pytest
from typer.testing import CliRunner

from medray.bench.online import OnlineSettings, Side, show_online, summarise, worker
from medray.bench.online.result import WARM
from medray.cli import app
from medray.errors import UserError


def test_a_pair_costs_what_the_steps_after_the_first_took(capsys):
    ours = Side([9.0] * WARM + [1.0, 2.0, 3.0], [1] * WARM + [10, 20, 0])
    theirs = Side([9.0] * WARM + [4.0, 4.0, 4.0], [10] * WARM + [10, 10, 10])
    assert ours.per_pair == pytest.approx(0.2)  # a step without a pair takes its time as well
    assert Side([1.0] * (WARM + 1), [0] * (WARM + 1)).per_pair == math.inf
    result = summarise(OnlineSettings(), ours, theirs)
    assert result["speedup_vs_trl_online"] == pytest.approx(2.0)
    show_online(result)
    assert "2.00 × per pair" in capsys.readouterr().out


def test_without_trl_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr(worker, "find_spec", lambda name: None)
    found = CliRunner().invoke(app, ["bench", "loop", "--against", "trl"])
    assert isinstance(found.exception, UserError)
    assert str(found.exception).startswith("--against trl: not installed: trl, datasets")
    assert "medray[bench]" in str(found.exception)


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--against", "ppo"], "--against ppo"), (["--against", "trl", "--steps", "3"], "--steps 3")],
)
def test_wrong_settings_are_refused(options, message):
    found = CliRunner().invoke(app, ["bench", "loop", *options])
    assert isinstance(found.exception, UserError)
    assert message in str(found.exception)
