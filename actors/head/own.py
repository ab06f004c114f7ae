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
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ray._private import services

from actors import ONE_MACHINE
from medray.process import Scratch


class OwnProcesses:
    """Where they put their files: `scratch`, which is closed to other users."""

    def __init__(self, scratch: Scratch) -> None:
        self.scratch = scratch

    @property
    def folder(self) -> str:
        """For the `_temp_dir` of `ray.init`: sockets, logs, addresses."""
        return str(self.scratch.folder("ray"))

    @contextlib.contextmanager
    def starting(self) -> Iterator[None]:
        """Around `ray.init`, whose processes get their session and their environment in it."""
        popen = services.ConsolePopen
        services.ConsolePopen = functools.partial(popen, start_new_session=True)
        before = os.environ.get("TMPDIR")
        # What torch compiled is to be found again by the next command.
        compiled = Path(tempfile.gettempdir()) / f"torchinductor_{getpass.getuser()}"
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(compiled))
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
