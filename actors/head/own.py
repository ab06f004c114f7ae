"""The processes of a cluster that belongs to one command: in a session and a folder of their own.

Signals of a terminal, of `timeout` or of a job system go to the whole group of processes. Ray's
must not get them: the run still needs its actors to write a checkpoint. They end with the command,
as the kernel tells them of its death.
"""

from __future__ import annotations

import contextlib
import functools
import getpass
import os
import re
import signal
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ray._private import services
from ray._private.node import Node

from actors import ONE_MACHINE
from medray.process import Scratch, children

COMPILED = "TORCHINDUCTOR_CACHE_DIR"  # torch sets it when it is imported
PLAIN_PATH = re.compile(r"[\w./-]+", re.ASCII)
SHARED_PLACES = ("/tmp", "/var/tmp")
# Ray's configuration by environment: no processes for tasks, because actors, which have variables
# of their own, could not use them.
WITHOUT_SPARES = {"RAY_prestart_worker_first_driver": "0"}


class OwnProcesses:
    """Where they put their files: `scratch`, which is closed to other users."""

    def __init__(self, scratch: Scratch) -> None:
        self.scratch = scratch

    @property
    def folder(self) -> str:
        """For the `_temp_dir` of `ray.init`: sockets, logs, addresses."""
        return str(self.scratch.folder("r"))  # short: see Scratch

    @contextlib.contextmanager
    def starting(self, *, dashboard: bool) -> Iterator[None]:
        """Around `ray.init`, whose processes get their session and their environment in it.

        Without a dashboard there are none but those that run actors.
        """
        variables = WITHOUT_SPARES | {
            COMPILED: str(compiled_folder()),
            "TMPDIR": str(self.scratch.folder("tmp")),
            ONE_MACHINE: "1",
        }
        popen = services.ConsolePopen
        services.ConsolePopen = functools.partial(popen, start_new_session=True)
        try:
            with _environment(variables), contextlib.ExitStack() as changed:
                if not dashboard:
                    changed.enter_context(_without_monitors())
                yield
        finally:
            services.ConsolePopen = popen

    def end(self) -> None:
        """End them at once and leave what they have written to be removed: Ray's native code ends
        this process, with a code of its own, as soon as it sees that they are gone."""
        started = [pid for pid, _ in children(os.getpid())]
        agents = [pid for parent in started for pid, _ in children(parent)]  # else a minute behind
        for pid in (*agents, *started):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        self.scratch.abandon()


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """These variables, until the end of the block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _without_monitors() -> Iterator[None]:
    """Have a node start none of the processes that watch it for others: what scales it, what sends
    its logs to the driver (`log_to_driver` is off), and what remains of a dashboard without pages.

    Three processes that import Ray and then wake up again and again: a tenth of a start.
    """

    def nothing(node: Any, **_: Any) -> None:
        node._webui_url = ""

    names = ("start_monitor", "start_log_monitor", "start_api_server")
    before = {name: getattr(Node, name) for name in names}
    for name in names:
        setattr(Node, name, nothing)
    try:
        yield
    finally:
        for name, method in before.items():
            setattr(Node, name, method)


def compiled_folder() -> Path:
    """Where the next command finds again what torch compiled: as the environment has it, which may
    be torch's own place, unless its path has characters, such as spaces, that torch's commands to
    the C++ compiler do not quote."""
    name = f"torchinductor_{getpass.getuser()}"
    stated = os.environ.get(COMPILED) or str(Path(tempfile.gettempdir()) / name)
    if PLAIN_PATH.fullmatch(stated):
        return Path(stated)
    usable = [place for place in SHARED_PLACES if os.access(place, os.W_OK)]
    return Path(usable[0]) / name if usable else Path(stated)
