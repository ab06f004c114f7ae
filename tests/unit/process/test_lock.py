"""One driver per run directory, on real processes."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from medray.errors import ConfigError, RunFailed
from medray.process import RunLock, held_lock, lock
from tests.support.paths import ROOT

HOLD = (
    "import sys, time; from pathlib import Path; from medray.process import RunLock\n"
    "with RunLock(Path(sys.argv[1])): print('held', flush=True); time.sleep(120)"
)


def holder(run: Path) -> subprocess.Popen:
    """Another process that holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_driver_is_refused_until_the_first_is_killed(tmp_path):
    run = tmp_path / "runs" / "r"
    first = holder(run)
    try:
        start = time.monotonic()
        with pytest.raises(ConfigError, match=rf"process {first.pid} on .* is working on this run"):
            RunLock(run).__enter__()
        assert time.monotonic() - start < 10.0
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    with RunLock(run):
        assert held_lock(run) is not None


def test_a_driver_that_ends_leaves_no_lock_and_no_folder(tmp_path):
    run = tmp_path / "runs" / "r"
    with RunLock(run) as outer, RunLock(run) as inner:  # twice in one process is once
        assert inner is outer
        assert (run / lock.FILE).exists()
    assert list(tmp_path.iterdir()) == []
    (run / "ledger").mkdir(parents=True)
    with RunLock(run):
        pass
    assert [path.name for path in run.iterdir()] == ["ledger"]


def test_a_directory_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"cannot be written \(Not a directory\)"):
        RunLock(tmp_path / "file" / "r").__enter__()


def write(run: Path, **holder: object) -> None:
    run.mkdir(exist_ok=True)
    (run / lock.FILE).write_text(json.dumps(holder))


@pytest.fixture
def _quick(monkeypatch):
    monkeypatch.setattr(lock, "SILENCE", 1.0)
    monkeypatch.setattr(lock, "BEAT", 0.2)


@pytest.mark.usefixtures("_quick")
def test_a_driver_of_another_machine_is_alive_while_it_counts(tmp_path):
    """As on a network mount whose locks do not reach the other machine."""
    run, ended = tmp_path / "r", threading.Event()
    write(run, host="node-7/boot", pid=1, token="other", beat=0)

    def count():
        number = 0
        while not ended.wait(0.1):
            number += 1
            write(run, host="node-7/boot", pid=1, token="other", beat=number)

    thread = threading.Thread(target=count)
    thread.start()
    try:
        with pytest.raises(ConfigError, match="process 1 on node-7 is working"):
            RunLock(run).__enter__()
    finally:
        ended.set()
        thread.join()
    with RunLock(run):  # it stands still now
        pass


@pytest.mark.usefixtures("_quick")
def test_without_locks_of_the_kernel_the_count_decides(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    run = tmp_path / "r"
    own = {"host": lock._host(), "pid": os.getpid(), "start": lock._start_of(os.getpid())}
    write(run, **own, token="x", beat=1)
    with RunLock(run):  # alive, but it has not counted for a while
        pass
    write(run, **own | {"start": "1"}, token="x", beat=1)
    start = time.monotonic()
    with RunLock(run):  # another process has that number now
        assert time.monotonic() - start < 0.9
        first = json.loads((run / lock.FILE).read_text())["beat"]
        time.sleep(0.7)
        assert json.loads((run / lock.FILE).read_text())["beat"] > first


@pytest.mark.usefixtures("_quick")
def test_a_driver_that_stood_still_does_not_write_beside_its_successor(tmp_path):
    run = tmp_path / "r"
    with RunLock(run) as own:
        own.require()
        write(run, host="node-7/boot", pid=1, token="other", beat=1)
        time.sleep(0.7)
        with pytest.raises(RunFailed, match="another driver has taken the run over"):
            own.require()
    assert (run / lock.FILE).exists()  # the successor's
