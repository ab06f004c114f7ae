"""One driver per run directory.

The lock is the kernel's, on a file in the directory: it ends with the process that holds it. Where
the file system has none (some network mounts), or another machine wrote the file, its content
counts: who holds it, and a number that the holder raises every two seconds. A number that stands
still is that of a dead driver; clocks of two machines are never compared.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import secrets
import socket
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from medray.errors import ConfigError, RunFailed

FILE = ".driver"
BEAT = 2.0  # seconds between two signs of life
SILENCE = 7.0  # seconds without one, after which the driver of another machine counts as dead
_SIZE = 512  # bytes of the content, always: an overwrite needs no space on a full disk
_UNSUPPORTED = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
_held: dict[Path, RunLock] = {}  # by this process


class RunLock:
    """The right to write into a run directory; a context manager.

    Entering raises ConfigError if another driver has it. Taking it twice in one process is taking
    it once.
    """

    def __init__(self, run: Path) -> None:
        self.run = run
        self.path = run.absolute() / FILE
        self._token = secrets.token_hex(8)
        self._handle = -1
        self._created: list[Path] = []
        self._closing = threading.Event()
        self._lost = False
        self._outer: RunLock | None = None

    def __enter__(self) -> RunLock:
        self._outer = _held.get(self.path)
        if self._outer is not None:
            return self._outer
        try:
            self._create_folder()
            self._acquire()
        except OSError as error:
            self._remove_created()
            raise ConfigError(
                f"run.output = {self.run.parent}",
                f"{self.run} cannot be written ({error.strerror or error})",
                "give a directory you may write to",
            ) from None
        _held[self.path] = self
        threading.Thread(target=self._beat, name="run-lock", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._outer is not None:
            return
        self._closing.set()
        del _held[self.path]
        if not self._lost:
            with contextlib.suppress(OSError):
                self.path.unlink()
        os.close(self._handle)
        self._remove_created()

    def require(self) -> None:
        """Raise RunFailed if another driver has taken the run over, from one that stood still."""
        if self._lost:
            raise RunFailed(
                str(self.run),
                "another driver has taken the run over while this one stood still",
                "leave it to that one",
            )

    def _create_folder(self) -> None:
        folder = self.path.parent
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        self._created = missing  # deepest first

    def _remove_created(self) -> None:
        """Leave no folder behind that a refused command has made."""
        for folder in self._created:
            with contextlib.suppress(OSError):  # not empty: it holds a run
                folder.rmdir()

    def _acquire(self) -> None:
        while True:
            self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                kernel = self._lock()
                before = _read(self.path)
                if before and (not kernel or before.get("host") != _host()):
                    self._wait_for_silence(before)
                if _is_file(self._handle, self.path):  # else its holder has just ended
                    self._write(0)
                    return
            except BaseException:
                os.close(self._handle)
                raise
            os.close(self._handle)

    def _lock(self) -> bool:
        """Take the kernel's lock; False if the file system has none. Raises ConfigError."""
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise self._refusal(_read(self.path)) from None
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            return False
        return True

    def _wait_for_silence(self, before: dict[str, Any]) -> None:
        """Return if the driver that wrote the file gives no sign of life. Raises ConfigError."""
        own = before.get("host") == _host()
        if own and not _alive(before.get("pid"), before.get("start")):
            return
        deadline = time.monotonic() + SILENCE
        while time.monotonic() < deadline:
            time.sleep(0.25)
            now = _read(self.path)
            if now is None:
                return  # it has just ended
            if (now.get("token"), now.get("beat")) != (before.get("token"), before.get("beat")):
                raise self._refusal(now)

    def _refusal(self, holder: dict[str, Any] | None) -> ConfigError:
        who = "another driver"
        if holder:
            host = str(holder.get("host")).partition("/")[0]
            who = f"process {holder.get('pid')} on {host}"
        return ConfigError(
            str(self.run), f"{who} is working on this run", "let it end, or stop it first"
        )

    def _beat(self) -> None:
        number = 0
        while not self._closing.wait(BEAT):
            number += 1
            now = _read(self.path)
            if now is not None and now.get("token") not in (self._token, None):
                self._lost = True
                return
            with contextlib.suppress(OSError):
                self._write(number)

    def _write(self, beat: int) -> None:
        holder = {
            "host": _host(),
            "pid": os.getpid(),
            "start": _start_of(os.getpid()),
            "token": self._token,
            "beat": beat,
        }
        os.pwrite(self._handle, json.dumps(holder).encode().ljust(_SIZE - 1) + b"\n", 0)


def held_lock(run: Path) -> RunLock | None:
    """This process's lock on a run directory, if it has one."""
    return _held.get(run.absolute() / FILE)


def _read(path: Path) -> dict[str, Any] | None:
    """Who holds the lock; None if nobody has written it yet. Opened anew, as NFS wants it."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _is_file(handle: int, path: Path) -> bool:
    """Whether `path` is still the file that is open: a holder that ends removes it."""
    try:
        found, opened = os.stat(path), os.fstat(handle)
    except FileNotFoundError:
        return False
    return (found.st_dev, found.st_ino) == (opened.st_dev, opened.st_ino)


def _host() -> str:
    """This machine, as it runs now: processes of an earlier boot are dead."""
    boot = ""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{socket.gethostname()}/{boot}"


def _alive(pid: Any, start: Any) -> bool:
    return isinstance(pid, int) and start is not None and _start_of(pid) == start


def _start_of(pid: int) -> str | None:
    """When a process of this machine was started, in ticks; None if there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return stat.rpartition(")")[2].split()[19]
