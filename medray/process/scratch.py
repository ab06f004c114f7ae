"""One folder for everything that a command and its processes put aside: gone when it ends.

A command that was killed cannot remove its own; the next one does. Only its owner can read it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

PREFIX = "medray-"
_OWNER = "owner"  # a file that the living command has locked
_LONGEST = 24  # characters of the parent: Ray's sockets in it have at most 107, and need the rest


class Scratch:
    """A new folder of this command; a context manager. Raises OSError."""

    def __init__(self, parent: Path | None = None) -> None:
        """`parent`: default TMPDIR, or /tmp if that is too long for Ray's sockets."""
        self.parent = parent or _parent()
        self.path: Path
        self._handle = -1

    def __enter__(self) -> Scratch:
        sweep(self.parent)
        draft = Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir=self.parent))  # mode 0700
        self._handle = os.open(draft / _OWNER, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._handle, fcntl.LOCK_EX)
        self.path = draft.with_name(draft.name[1:])
        draft.rename(self.path)  # owned from its first moment under this name
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.remove()

    def remove(self, seconds: float = 5.0) -> None:
        """Delete the folder; processes that are ending may still write into it for a moment."""
        deadline = time.monotonic() + seconds
        while self.path.exists():
            shutil.rmtree(self.path, ignore_errors=True)
            if not self.path.exists() or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def abandon(self) -> None:
        """Have the folder deleted by a process that outlives this one, which has no time left."""
        delete = 'rm -rf -- "$0" || { sleep 1; rm -rf -- "$0"; }'
        command = ["/bin/sh", "-c", delete, str(self.path)]
        nowhere = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in range(3)]
        with contextlib.suppress(OSError):  # then the next command does it
            os.posix_spawn(command[0], command, os.environ, file_actions=nowhere, setsid=True)

    def folder(self, name: str) -> Path:
        """A folder in it."""
        path = self.path / name
        path.mkdir(mode=0o700, exist_ok=True)
        return path


def sweep(parent: Path) -> None:
    """Remove this user's folders of commands that are dead."""
    for path in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError), _unowned(path) as dead:
            if dead:
                shutil.rmtree(path, ignore_errors=True)


def sweep_own() -> None:
    """Remove those where this command would have its own."""
    with contextlib.suppress(OSError):
        sweep(_parent())


@contextlib.contextmanager
def _unowned(path: Path) -> Iterator[bool]:
    """Whether no living command owns the folder; nobody else decides it at the same time."""
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        yield False
        return
    handle = os.open(path / _OWNER, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    finally:
        os.close(handle)


def _parent() -> Path:
    """The first of Ray's and this user's temporary folders that is short enough."""
    given = [os.environ.get("RAY_TMPDIR"), tempfile.gettempdir(), "/tmp", "/dev/shm"]
    for folder in filter(None, given):
        if len(folder) <= _LONGEST and os.access(folder, os.W_OK | os.X_OK):
            return Path(folder)
    raise OSError(f"no temporary folder with a path of at most {_LONGEST} characters")
