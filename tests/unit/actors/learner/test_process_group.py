"""Where ranks listen: on the address of the cluster, and on no other."""

from __future__ import annotations

import subprocess
import sys

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
