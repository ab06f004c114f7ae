"""Where ranks listen, how long they wait for each other, and what DeepSpeed is told."""

from __future__ import annotations

import subprocess
import sys

import pytest

from actors.learner.process_group import (
    COLLECTIVE_TIMEOUT,
    MEETING_TIMEOUT,
    deepspeed_config,
    reference_config,
)
from medray.config import load_config
from tests.support.paths import ROOT

MEET = """
import os, sys, torch, torch.distributed as dist
os.environ["MEDRAY_ONE_MACHINE"] = "1"
sys.modules["deepspeed"] = type(sys)("deepspeed")  # takes a minute to import: not looked at here
sys.modules["deepspeed"].init_distributed = lambda *_, **__: None
from actors.learner import process_group
process_group.skip_shared_memory_op = lambda _: None
process_group.has_gpu = lambda: False
meeting = process_group.open_meeting_point()
address, port = meeting.getsockname()
child = os.fork()
if child == 0: meeting.close()
rank = 1 if child == 0 else 0
process_group.start_process_group(rank, 2, address, port, None if rank else meeting)
total = torch.ones(3) * (rank + 1)
dist.all_reduce(total)
group = dist.distributed_c10d._get_default_group()
waits = group._get_backend(torch.device("cpu")).options._timeout
assert waits == process_group.COLLECTIVE_TIMEOUT, waits
listening = {
    line.split()[1].partition(":")[0]
    for name in ("tcp", "tcp6")
    for line in open(f"/proc/self/net/{name}")
    if line.split()[3] == "0A"
    and any(
        os.readlink(f"/proc/self/fd/{fd}") == f"socket:[{line.split()[9]}]"
        for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")
    )
}
assert total.tolist() == [3.0] * 3
assert listening <= {"0100007F"}, listening
if rank == 0:
    assert listening and os.waitpid(child, 0)[1] == 0
    print("met", flush=True)
os._exit(0)
"""


def test_ranks_listen_on_one_address_only():
    """On a cluster of the command's own: the loopback, where nobody else gets to."""
    done = subprocess.run(
        [sys.executable, "-c", MEET], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "met\n", done.stderr


def test_a_collective_may_wait_for_a_slow_disk_longer_than_ranks_for_each_other_to_start():
    assert MEETING_TIMEOUT * 6 <= COLLECTIVE_TIMEOUT


def settings(*overrides: str):
    return load_config(ROOT / "configs/quickstart.yaml", ["model.dtype=bfloat16", *overrides])


@pytest.mark.parametrize(
    ("overrides", "exact"),
    [
        (("learner.zero_stage=2",), True),
        (("learner.zero_stage=3", "learner.offload=all"), True),
        (("learner.zero_stage=1",), False),  # DeepSpeed cannot
        (("learner.zero_stage=0",), False),
        (("model.dtype=float32",), False),  # it is already
    ],
)
def test_only_sums_of_bfloat16_have_a_type_of_their_own(overrides, exact):
    found = deepspeed_config(settings(*overrides), 1000).get("data_types")
    assert found == ({"grad_accum_dtype": "fp32"} if exact else None)


def test_a_reference_is_sharded_as_the_policy_is_and_has_no_optimiser():
    config = settings("learner.zero_stage=3", "learner.offload=all")
    expected = {"stage": 3, "offload_param": {"device": "cpu"}}
    assert reference_config(config)["zero_optimization"] == expected
