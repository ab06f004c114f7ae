"""The scratch folder of a command: closed to others, gone with it, swept after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from medray.process import Scratch, scratch
from tests.support.paths import ROOT

HOLD = (
    "import sys, time; from pathlib import Path; from medray.process import Scratch\n"
    "with Scratch(Path(sys.argv[1])) as scratch:\n"
    "    (scratch.folder('ray') / 'session').mkdir(); print(scratch.path, flush=True)\n"
    "    time.sleep(120)"
)


def test_it_is_closed_to_others_and_removed(tmp_path):
    with Scratch(tmp_path) as own:
        assert own.path.stat().st_mode & 0o777 == 0o700
        (own.folder("tmp") / "file").write_text("x")
        (own.path / "read-only").mkdir(mode=0o500)
    assert list(tmp_path.iterdir()) == []


def test_the_next_command_removes_that_of_a_killed_one_and_no_other(tmp_path):
    def start() -> tuple[subprocess.Popen, Path]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        return process, Path(process.stdout.readline().strip())

    killed, left = start()
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert (left / "ray" / "session").is_dir()
    (tmp_path / "medray-notes").mkdir()  # a user's own folder
    (tmp_path / "medray-link").symlink_to(tmp_path)
    living, kept = start()
    try:
        with Scratch(tmp_path):
            assert not left.exists()
            assert kept.is_dir()
        assert {path.name for path in tmp_path.iterdir()} == {
            *("medray-notes", "medray-link", kept.name)
        }
    finally:
        living.kill()
        living.wait()


def test_a_long_temporary_folder_is_not_used(monkeypatch, tmp_path):
    """Ray's sockets have at most 107 characters."""
    deep = tmp_path / ("x" * 80)
    deep.mkdir()
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    assert scratch._parent() == Path("/tmp")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OSError, match="at most 24 characters"):
        scratch._parent()


def test_it_is_deleted_behind_a_command_that_has_no_time_left(tmp_path):
    hurried = HOLD.replace("time.sleep(120)", "scratch.abandon(); import os; os._exit(3)")
    done = subprocess.run([sys.executable, "-c", hurried, str(tmp_path)], cwd=ROOT, check=False)
    assert done.returncode == 3
    deadline = time.monotonic() + 10
    while list(tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not list(tmp_path.iterdir())
