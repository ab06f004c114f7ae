"""Trackers that cannot be used here, found before anything starts."""

from __future__ import annotations

import sys

import pytest
from typer.testing import CliRunner

from medray.cli.main import app
from medray.errors import ConfigError
from medray.tracking import require_trackers
from tests.support.paths import ROOT

STORE = {"MLFLOW_TRACKING_URI": "sqlite:///x.db"}


@pytest.fixture
def without_packages(monkeypatch):
    """An environment that has neither."""
    real = __import__("importlib.util").util.find_spec
    monkeypatch.setattr(
        "medray.tracking.packages.find_spec",
        lambda name: None if name in ("wandb", "mlflow") else real(name),
    )


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_missing_package_is_one_line_with_its_remedy(without_packages, name):
    with pytest.raises(ConfigError) as raised:
        require_trackers([name], STORE)
    assert raised.value.exit_code == 2
    assert f"the package {name} is not installed" in str(raised.value)
    assert f"pip install 'medray[{name}]'" in str(raised.value)


def test_a_folder_of_that_name_is_not_the_package(tmp_path, monkeypatch):
    """As W&B leaves one where it ran."""
    (tmp_path / "wandb").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(ConfigError, match="not installed"):
        require_trackers(["wandb"], {})


def test_mlflow_needs_an_address(trackers):
    with pytest.raises(ConfigError, match="MLFLOW_TRACKING_URI is not set") as raised:
        require_trackers(["wandb", "mlflow"], {"MLFLOW_TRACKING_URI": " "})
    assert "\n" not in str(raised.value)
    require_trackers(["wandb", "mlflow"], STORE)


def test_none_is_needed_by_default(without_packages):
    require_trackers([], {})


def test_the_check_of_a_configuration_finds_it(without_packages, tmp_path):
    arguments = [str(ROOT / "configs/quickstart.yaml"), f"run.output={tmp_path}"]
    done = CliRunner().invoke(app, ["check", *arguments, "run.trackers=[wandb]"])
    assert isinstance(done.exception, ConfigError)
    assert "wandb is not installed" in str(done.exception)
    assert list(tmp_path.iterdir()) == []


def test_another_tracker_is_refused(tmp_path):
    arguments = [str(ROOT / "configs/quickstart.yaml"), f"run.output={tmp_path}"]
    done = CliRunner().invoke(app, ["check", *arguments, "run.trackers=[neptune]"])
    assert isinstance(done.exception, ConfigError)
    assert "'wandb' or 'mlflow'" in str(done.exception)
