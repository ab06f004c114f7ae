"""What a run says of its cluster."""

from __future__ import annotations

from pathlib import Path

from actors.cluster import Cluster
from actors.head import Address
from actors.head.address import LOCAL


def test_the_plan_says_where_the_actors_logs_are():
    own = Cluster(Address(LOCAL, "here"), "", None, "/tmp/r/session_1")
    logs = Path("runs/x/logs")
    line = own.describe_logs(logs)
    assert line.startswith("runs/x/logs/progress.log; of the actors: /tmp/r/session_1/logs, until")
    given = Cluster(Address("head:6379", "--address"), "", None, "/tmp/ray/session_2")
    assert given.describe_logs(logs).endswith("/tmp/ray/session_2/logs, on every node")
