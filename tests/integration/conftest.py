"""Runs that several tests look at."""

import pytest

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
