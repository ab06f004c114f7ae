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
from collections.abc import Iterator
from pathlib import Path

from ray._private import services

from actors import ONE_MACHINE
from medray.process import Scratch, children

COMPILED = "TORCHINDUCTOR_CACHE_DIR"  # torch sets it when it is imported
PLAIN_PATH = re.compile(r"[\w./-]+", re.ASCII)
SHARED_PLACES = ("/tmp", "/var/tmp")


class OwnProcesses:
    """Where they put their files: `scratch`, which is closed to other users."""

    def __init__(self, scratch: Scratch) -> None:
        self.scratch = scratch

    @property
    def folder(self) -> str:
        """For the `_temp_dir` of `ray.init`: sockets, logs, addresses."""
        return str(self.scratch.folder("r"))  # short: see Scratch

    @contextlib.contextmanager
    def starting(self) -> Iterator[None]:
        """Around `ray.init`, whose processes get their session and their environment in it."""
        popen = services.ConsolePopen
        services.ConsolePopen = functools.partial(popen, start_new_session=True)
        before = os.environ.get("TMPDIR")
        os.environ[COMPILED] = str(compiled_folder())
        os.environ["TMPDIR"] = str(self.scratch.folder("tmp"))
        os.environ[ONE_MACHINE] = "1"
        try:
            yield
        finally:
            services.ConsolePopen = popen
            del os.environ[ONE_MACHINE]
            if before is None:
                del os.environ["TMPDIR"]
            else:
                os.environ["TMPDIR"] = before

    def end(self) -> None:
        """End them at once and leave what they have written to be removed: Ray's native code ends
        this process, with a code of its own, as soon as it sees that they are gone."""
        started = [pid for pid, _ in children(os.getpid())]
        agents = [pid for parent in started for pid, _ in children(parent)]  # else a minute behind
        for pid in (*agents, *started):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        self.scratch.abandon()


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
