"""One Ray cluster for all tests that host generators or learners, and the processes on it.

Starting such a process is mostly importing vLLM or DeepSpeed, so tests share them.
"""

from __future__ import annotations

import ray

from tests.support.processes import generators, learners


def start() -> None:
    if not ray.is_initialized():
        ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)


def stop() -> None:
    generators.HOSTS.clear()
    learners.HOSTS.clear()
    ray.shutdown()
