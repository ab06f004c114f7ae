"""`medray launch` beside another driver, and what a command does with what nobody foresaw."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time

import pytest
import yaml

from medray.process import RunLock
from tests.support.paths import ROOT


@pytest.mark.parametrize("resume", [False, True])
def test_a_second_driver_is_refused_before_anything_slow(tmp_path, resume):
    config = {"data": {"kind": "phantom"}, "run": {"name": "r", "output": str(tmp_path)}}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    with RunLock(tmp_path / "r"):
        command = [sys.executable, "-X", "importtime", "-m", "medray.cli", "launch", "c.yaml"]
        start = time.monotonic()
        done = subprocess.run(
            [*command, *(["--resume"] if resume else [])],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert time.monotonic() - start < 60.0
    lines = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
    assert done.returncode == 2
    assert len(lines) == 1
    assert f"process {os.getpid()} on " in lines[0]
    assert "is working on this run — let it end, or stop it first" in lines[0]
    assert "| torch\n" not in done.stderr


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "x", "out.json"), "medray: out.json: the disk is full — free some"),
        (OSError(errno.EACCES, "Permission denied", "o"), "medray: o: Permission denied"),
        (KeyError("odd"), "medray: KeyError: 'odd': this is a bug in medray — please report"),
    ],
)
def test_what_nobody_foresaw_is_code_3_and_a_line(error, line, monkeypatch, capsys):
    from medray import cli

    def fail(**_) -> None:
        raise error

    monkeypatch.setattr(sys.modules[cli.main.__module__], "app", fail)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 3
    assert capsys.readouterr().err.splitlines()[-1].startswith(line)
