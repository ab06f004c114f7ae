"""Where ranks meet: on nodes without any network, and where nobody else can be."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys

import pytest

from actors.learner.process_group import open_meeting_point
from tests.support.paths import ROOT
from tests.support.processes.running import environment

ALONE = """
from actors.learner import process_group

process_group.has_gpu = lambda: False
meeting_point = process_group.open_meeting_point()
address, port = meeting_point.getsockname()
print(process_group.start_process_group(0, 1, address, port, meeting_point), address)
"""


def test_without_a_route_to_anywhere_ranks_meet():
    """As on a node behind an air gap, or in a container without a network."""
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare, which makes a network that has only the loopback")
    script = 'ip link set lo up 2>/dev/null; exec "$0" -c "$1"'
    command = ["unshare", "-rn", "sh", "-c", script, sys.executable, ALONE]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=300
    )
    if "Operation not permitted" in done.stderr and not done.stdout:
        pytest.skip("this machine lets nobody make a network of their own")
    assert done.stdout.split()[0] == "cpu", done.stderr
    assert done.stdout.split()[1].startswith("127.")


def test_the_port_stays_taken_until_they_meet():
    with (
        open_meeting_point() as meeting_point,
        socket.socket() as other,
        pytest.raises(OSError, match="in use"),
    ):
        other.bind(meeting_point.getsockname())
