"""The parent of a command: its exit code and last line, whatever ends the command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tests.support.paths import ROOT

START = "import os, signal, sys, time; from medray.process import *\nsupervise()\n"


def start(work: str, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", START + work],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def child_of(process: subprocess.Popen) -> psutil.Process:
    """The command, once it has printed a line."""
    assert process.stdout is not None
    process.stdout.readline()
    (child,) = psutil.Process(process.pid).children()
    return child


@pytest.mark.parametrize(
    ("work", "code", "line"),
    [
        ("closing(); sys.exit(0)", 0, ""),
        ("closing(); os._exit(2)", 2, ""),
        ("closing(); os._exit(1)", 1, ""),
        ("os._exit(75)", 75, ""),
        ("os._exit(3)", 3, ""),
        ("os._exit(1)", 3, "medray: Ray: its processes have ended"),
        ("cause_was_given(); os._exit(1)", 3, ""),
        ("os.kill(os.getpid(), signal.SIGKILL)", 3, "medray: the command was killed by SIGKILL"),
        ("os.abort()", 3, "medray: the command was killed by SIGABRT"),
    ],
)
def test_the_code_is_the_commands_or_that_of_a_failed_run(work, code, line):
    process = start(work)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert err.startswith(line)
    assert bool(err) == bool(line)
    assert err.count("\n") == bool(line)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_reach_the_command(number):
    work = (
        f"signal.signal({int(number)}, lambda *_: os._exit(75))\n"
        "print('ready', flush=True)\ntime.sleep(60)"
    )
    process = start(work, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL))
    child_of(process)
    process.send_signal(number)
    assert process.wait(timeout=30) == 75


def test_it_outlives_no_parent_and_nothing_outlives_it():
    work = (
        "import subprocess\n"
        'left = \'import subprocess, time; subprocess.Popen(["sleep", "300"]); time.sleep(300)\'\n'
        "subprocess.Popen([sys.executable, '-c', left], start_new_session=True)\n"
        "time.sleep(1)\nprint('ready', flush=True)\ntime.sleep(60)"
    )
    process = start(work)
    child = child_of(process)
    orphans = child.children(recursive=True)
    assert len(orphans) == 2
    child.kill()
    assert process.wait(timeout=30) == 3
    _, alive = psutil.wait_procs(orphans, timeout=10)
    assert alive == []
    process = start("print('ready', flush=True)\ntime.sleep(60)")
    child = child_of(process)
    process.kill()
    psutil.wait_procs([child], timeout=10)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_nohup_is_kept():
    process = start(
        "print('ready', flush=True)\ntime.sleep(2)\nclosing()\nos._exit(0)",
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    child_of(process)
    os.kill(process.pid, signal.SIGHUP)
    time.sleep(0.1)
    assert process.wait(timeout=30) == 0
