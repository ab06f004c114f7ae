"""One small Ray cluster for all tests of the fleet that one process runs."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    """Two CPUs, and one of a resource that only one replica at a time can have."""
    import ray

    from tests.support.processes import engines

    engines.stop()  # of integration tests that this process ran before
    ray.init(
        "local", num_cpus=2, resources={"seat": 1}, include_dashboard=False, log_to_driver=False
    )
    yield
    ray.shutdown()
