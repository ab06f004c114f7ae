"""Runs that several tests look at."""

from collections.abc import Iterator

import pytest

from tests.support.processes import engines
from tests.support.processes.running import Finished, launch


@pytest.fixture(scope="session")
def quickstart(tmp_path_factory) -> Finished:
    """The quickstart as shipped."""
    done = launch(tmp_path_factory.mktemp("quickstart"), "configs/quickstart.yaml")
    assert done.code == 0, done.err
    return done


@pytest.fixture(scope="session")
def vqa_rad(tmp_path_factory, shared_data) -> Finished:
    """The shipped configuration for real images and questions."""
    done = launch(
        tmp_path_factory.mktemp("vqa"), "configs/vqa_rad.yaml", f"data.path={shared_data}/vqa_rad"
    )
    assert done.code == 0, done.err
    return done


@pytest.fixture(scope="module", autouse=True)
def _one_cluster_for_engines(request) -> None:
    """Tests of generators and learners share a cluster; the others start their own."""
    if request.path.parent.name in ("generator", "learner"):
        engines.start()
    else:
        engines.stop()


@pytest.fixture(scope="session", autouse=True)
def _stop_engines() -> Iterator[None]:
    yield
    engines.stop()
