"""What a run says of its cluster."""

from __future__ import annotations

import os
from pathlib import Path

from actors.cluster import Cluster, keep_token
from actors.head import Address
from actors.head.address import LOCAL
from medray.rundir import RunDirectory


def test_the_plan_says_where_the_actors_logs_are():
    own = Cluster(Address(LOCAL, "here"), "", None, "/tmp/r/session_1")
    logs = Path("runs/x/logs")
    line = own.describe_logs(logs)
    assert line.startswith("runs/x/logs/progress.log; of the actors: /tmp/r/session_1/logs, until")
    given = Cluster(Address("head:6379", "--address"), "", None, "/tmp/ray/session_2")
    assert given.describe_logs(logs).endswith("/tmp/ray/session_2/logs, on every node")


def test_only_the_user_can_read_the_token(tmp_path):
    run = RunDirectory(tmp_path)
    run.logs.mkdir()
    file = run.logs / "dashboard-token"
    file.touch(mode=0o666)
    before = os.umask(0)
    try:
        ((_, line),) = keep_token(run, Cluster(Address(LOCAL, ""), "127.0.0.1:8265", "secret"))
    finally:
        os.umask(before)
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("secret\n", 0o600)
    assert "secret" not in line
    assert keep_token(run, Cluster(Address(LOCAL, ""), "", "secret")) == []
