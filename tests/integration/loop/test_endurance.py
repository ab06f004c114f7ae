"""Three hundred steps of the real loop: host memory stays where it is."""

import contextlib
import random
import statistics
import time

import psutil
import pytest

from tests.support.processes.killing import Disturbed, require_whole

pytestmark = [pytest.mark.ray, pytest.mark.vllm, pytest.mark.deepspeed, pytest.mark.chaos]

STEPS = 300
PARTS = ("Generator", "Editor", "Learner")


def memory(run: Disturbed) -> dict[str, float]:
    """MiB of private memory per kind of process: shared memory is the object store's."""
    found = {"driver": 0.0, **dict.fromkeys(PARTS, 0.0), "store": 0.0}
    command = psutil.Process(run.process.pid)
    found["driver"] = private(command)
    for process in command.children(recursive=True):
        with contextlib.suppress(psutil.Error):
            title = (process.cmdline() or [""])[0]
            for part in PARTS:
                if title.startswith(f"ray::{part}"):
                    found[part] += private(process)
            if title.endswith("raylet"):
                found["store"] += process.memory_info().shared / 2**20
    return found


def private(process: psutil.Process) -> float:
    memory = process.memory_info()
    return (memory.rss - memory.shared) / 2**20


def test_memory_is_flat_over_three_hundred_steps(tmp_path):
    arguments = (
        "configs/quickstart.yaml",
        f"loop.steps={STEPS}",
        "loop.batch=8",
        "loop.max_lag=1",
        "loop.checkpoint_every=50",
        "eval.n=8",
        "eval.every=0",
        "learner.lr=1e-5",
    )
    run = Disturbed(tmp_path, arguments, random.Random(0))
    run.launch()
    samples: list[tuple[int, dict[str, float]]] = []
    while not run.ended:
        if run.lines():
            with contextlib.suppress(psutil.Error):
                samples.append((run.lines(), memory(run)))
        time.sleep(1.0)
    done = run.finish(60)
    assert done.code == 0, done.out
    require_whole(done, STEPS, lag=1)
    for part in samples[0][1]:
        middle = [sizes[part] for step, sizes in samples if 100 <= step < 200 and sizes[part]]
        last = [sizes[part] for step, sizes in samples if 200 <= step < STEPS and sizes[part]]
        before, after = statistics.median(middle), statistics.median(last)
        print(f"{part}: {before:.0f} MiB in steps 100–199, {after:.0f} MiB in steps 200–299")
        assert after < 1.05 * before + 8, part
