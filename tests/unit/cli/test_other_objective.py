"""`objective.name=…` on a file that sets the hyper-parameters of another objective."""

from __future__ import annotations

import pytest

from medray.cli.common import load_plan
from medray.errors import ConfigError
from tests.support.paths import ROOT

QUICKSTART = str(ROOT / "configs/quickstart.yaml")  # fire, with alpha, gamma and lambda


def test_what_the_new_objective_does_not_have_is_dropped_and_printed(tmp_path, capsys):
    overrides = ["objective.name=dpo", "objective.beta=0.3", f"run.output={tmp_path}"]
    plan = load_plan(QUICKSTART, overrides, resume=False)
    assert plan.config.objective.name == "dpo"
    assert plan.config.objective.hyperparameters == {"beta": 0.3}
    printed = capsys.readouterr().err
    assert printed.startswith("dpo does not have objective.")
    assert printed.strip().endswith(": dropped")


def test_what_is_written_beside_it_is_still_refused(tmp_path):
    overrides = ["objective.name=dpo", "objective.gamma=0.5", f"run.output={tmp_path}"]
    with pytest.raises(ConfigError, match="gamma"):
        load_plan(QUICKSTART, overrides, resume=False)


def test_an_unknown_objective_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"objective\.name = 'dpoo'"):
        load_plan(QUICKSTART, ["objective.name=dpoo", f"run.output={tmp_path}"], resume=False)
