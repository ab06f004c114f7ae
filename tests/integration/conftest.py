"""Runs that several tests look at."""

import os
import sys
from collections.abc import Iterator

import pytest

from tests.support.processes import engines
from tests.support.processes.running import Finished, launch

EXIT_STATUS = pytest.StashKey[int]()


@pytest.fixture(scope="session")
def quickstart(tmp_path_factory) -> Finished:
    """The quickstart as shipped."""
    done = launch(tmp_path_factory.mktemp("quickstart"), "configs/quickstart.yaml")
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


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    session.config.stash[EXIT_STATUS] = exitstatus


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Exit here, as the command line does: threads of Ray's native code that wake while the
    interpreter is being taken down would turn passed tests into a segmentation fault."""
    if EXIT_STATUS in config.stash and "ray" in sys.modules:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(config.stash[EXIT_STATUS])
