"""What Ray is started with for a cluster of one command, and that nothing of it stays."""

from __future__ import annotations

import os

import pytest
from ray._private.node import Node

from actors import ONE_MACHINE
from actors.head.own import OwnProcesses
from medray.process import Scratch

METHODS = ("start_monitor", "start_log_monitor", "start_api_server")


@pytest.mark.parametrize("dashboard", [False, True])
def test_processes_that_watch_for_others_are_started_with_a_dashboard_only(dashboard, monkeypatch):
    monkeypatch.setenv("TMPDIR", "/tmp")
    variables = dict(os.environ)
    methods = [getattr(Node, name) for name in METHODS]
    with Scratch() as scratch, OwnProcesses(scratch).starting(dashboard=dashboard):
        started = [getattr(Node, name) in methods for name in METHODS]
        assert started == [dashboard] * 3
        assert os.environ[ONE_MACHINE] == "1"
        assert os.environ["TMPDIR"] == str(scratch.folder("tmp"))
    assert [getattr(Node, name) for name in METHODS] == methods
    assert os.environ == variables
