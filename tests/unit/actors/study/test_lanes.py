"""How many cells of a study run at a time."""

from __future__ import annotations

import pytest

from actors.fleet import placement
from actors.study.cells import count_lanes
from medray.config import Config, load_config
from tests.support.paths import ROOT


@pytest.fixture(autouse=True)
def _a_build_for_gpus(monkeypatch):
    """Otherwise GPUs of a cluster are not used."""
    monkeypatch.setattr(placement, "is_cpu_build", lambda: False)


def config(*overrides: str) -> Config:
    return load_config(ROOT / "configs/quickstart.yaml", overrides)


@pytest.mark.parametrize(
    ("overrides", "has", "nodes", "lanes"),
    [
        ((), {"CPU": 2.0}, 1, 1),  # one cell uses all cores of a node
        ((), {"CPU": 6.0}, 3, 3),
        ((), {"CPU": 64.0, "GPU": 8.0}, 1, 4),  # a learner and a generator each
        (("generator.replicas=3",), {"CPU": 64.0, "GPU": 8.0}, 1, 2),
        (("generator.colocated=true",), {"CPU": 64.0, "GPU": 8.0}, 1, 8),
        ((), {"CPU": 7.0, "GPU": 8.0}, 1, 2),
    ],
)
def test_as_many_cells_at_a_time_as_fit(overrides, has, nodes, lanes):
    assert count_lanes([config(*overrides)] * 20, has, nodes) == lanes
    assert count_lanes([config(*overrides)], has, nodes) == 1


def test_the_largest_cell_that_fits_counts():
    has = {"CPU": 64.0, "GPU": 8.0}
    both = [config(), config("learner.world_size=2", "generator.replicas=2")]
    too_large = config("learner.world_size=9")
    assert count_lanes(both * 9, has, 1) == count_lanes([*both * 9, too_large], has, 1) == 2
    assert count_lanes([too_large], has, 1) == 1
