"""A cluster of the command's own, for real: kept apart, missed at once, gone with the command."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from actors.head import watch
from medray.process import Scratch, scratch
from tests.support.paths import ROOT
from tests.support.processes.running import environment, free_port

# clusters of their own, of which a busy machine starts one in a minute
pytestmark = [pytest.mark.ray, pytest.mark.chaos]

WORK = """
import os, sys, time
from actors.cluster import connect
from medray.errors import MedrayError
from medray.process import stop_on_signals
with stop_on_signals():  # until the end of the process, as the command line has it
    try:
        with stop_on_signals(), connect(None) as cluster:
            print(cluster.describe(), flush=True)
            time.sleep(300)
    except MedrayError as error:
        print("medray:", error, file=sys.stderr, flush=True)
        os._exit(error.exit_code)
"""

BUSY = """
import asyncio, os
import ray
from actors.cluster import connect
from medray.process import stop_on_signals, supervise

async def work():
    while True:
        ray.get(ray.put(bytes(200_000)))

supervise()
with stop_on_signals(), connect(None):
    print("ready", flush=True)
    asyncio.run(work())
"""


@contextlib.contextmanager
def started() -> Iterator[tuple[subprocess.Popen, Path]]:
    """A command with a cluster of its own, beside an address that must not be followed."""
    folder = Path(tempfile.mkdtemp(prefix="mr-", dir="/tmp"))  # as long as it may be
    folder = folder.rename(f"{folder}".ljust(scratch._LONGEST, "x"))
    (folder / "ray").mkdir(exist_ok=True)
    (folder / "ray/ray_current_cluster").write_text(f"127.0.0.1:{free_port()}")
    process = subprocess.Popen(
        [sys.executable, "-c", WORK],
        cwd=ROOT,
        env=environment(RAY_TMPDIR=str(folder), HOME=str(folder / "ray")),  # no token of its user
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("its own, until it ends: 1 node(s)"), process.communicate()
        yield process, folder
    finally:
        process.kill()
        process.communicate()
        shutil.rmtree(folder)


@pytest.fixture
def command():
    with started() as found:
        yield found


def family(process: subprocess.Popen) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def named(process: subprocess.Popen, name: str) -> psutil.Process:
    if name == "agent":
        return next(
            p for p in family(process) if watch.AGENTS.search("\0".join(p.cmdline()).encode())
        )
    return next(p for p in family(process) if p.name() == name)


@pytest.mark.parametrize("name", ["raylet", "gcs_server", "agent"])
def test_the_death_of_its_processes_is_one_line_and_code_3(command, name):
    process, folder = command
    everyone = family(process)
    named(process, name).kill()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 3, err
    names = (name, "raylet") if name == "agent" else (name,)  # the agent takes it along
    assert any(f"medray: Ray's {one} has ended" in err for one in names)
    _, alive = psutil.wait_procs(everyone, timeout=30)
    assert alive == []
    for _ in range(100):  # it is removed by a process that the command leaves behind
        if not list(folder.glob("medray-*")):
            break
        time.sleep(0.1)
    assert [path.name for path in folder.iterdir()] == ["ray"]


def test_signals_to_the_group_reach_the_command_only(command):
    process, folder = command
    (private,) = folder.glob("medray-*")
    assert private.stat().st_mode & 0o777 == 0o700
    everyone = family(process)
    groups = {os.getpgid(p.pid) for p in everyone}
    assert os.getpgid(process.pid) not in groups
    os.killpg(process.pid, signal.SIGTERM)
    time.sleep(0.2)
    os.killpg(process.pid, signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75, err
    assert "Traceback" not in err
    _, alive = psutil.wait_procs(everyone, timeout=30)
    assert alive == []
    assert [path.name for path in folder.iterdir()] == ["ray"]


def test_two_commands_at_once_have_nothing_in_common(command):
    """The end of one is nothing to the other, whose token no command line shows."""
    process, _ = command
    with started() as (other, _):
        tokens = {named(one, "raylet").environ()["RAY_AUTH_TOKEN"] for one in (process, other)}
        assert len(tokens) == 2
        everyone = family(other)
        lines = [" ".join(p.cmdline()) for p in (*everyone, *family(process))]
        assert not any(token in line for token in tokens for line in lines)
        process.kill()
        process.wait()
        ended, _ = psutil.wait_procs(everyone, timeout=10)
        assert ended == []
        other.send_signal(signal.SIGTERM)
        _, err = other.communicate(timeout=60)
        assert other.returncode == 75, err


def test_what_a_killed_command_leaves_is_removed_by_the_next(command):
    process, folder = command
    everyone = family(process)
    process.kill()
    process.wait()
    # Ray's agents look for a head that is gone before they end.
    _, alive = psutil.wait_procs(everyone, timeout=180)
    assert alive == []
    with Scratch(folder):
        pass
    assert [path.name for path in folder.iterdir()] == ["ray"]


@pytest.mark.parametrize("name", ["raylet", "gcs_server"])
def test_a_command_that_uses_the_store_ends_so_too(name):
    """Ray's native code ends it before anything else can."""
    process = subprocess.Popen(
        [sys.executable, "-c", BUSY],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    everyone = family(process)
    named(process, name).kill()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 3, err
    assert err.startswith("medray: Ray")
    assert "--resume" in err
    assert err.count("medray:") == 1
    _, alive = psutil.wait_procs(everyone, timeout=30)
    assert alive == []
