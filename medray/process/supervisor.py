"""A parent for a command that uses Ray, so that it ends as medray's commands do, whatever ends it.

Ray's native code ends its process with code 1, in the middle of anything and without a word, once
its cluster is gone; the kernel kills one that has too much memory. The parent says so in one line,
exits with medray's own code, and lets nothing that was started live on.

    medray launch ──fork──▶ parent: forwards signals, waits, cleans up
                     └────▶ child: the command
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from medray.errors import RunFailed
from medray.process.scratch import sweep_own
from medray.process.signals import STOPPING

_PARENT_DIES, _ADOPT_ORPHANS = 1, 36  # of prctl(2)
_CLOSED, _SAID = b"c", b"s"
_END = 5.0  # seconds for what was killed to end
_words: list[int] = []  # the pipe to the parent, in a child


def supervise() -> None:
    """Go on in a child process. Its parent exits when the child has ended."""
    parent = os.getpid()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _words.append(writer)
        _prctl(_PARENT_DIES, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        return
    os.close(writer)
    _prctl(_ADOPT_ORPHANS, 1)
    for number in STOPPING:
        ignored = signal.getsignal(number) == signal.SIG_IGN
        if not (number == signal.SIGHUP and ignored):  # as nohup wishes it
            signal.signal(number, lambda number, _: _send(child, number))
    status = _wait_for(child)
    _kill_everyone()
    sweep_own()
    _exit_as(status, os.read(reader, 16))


def closing() -> None:
    """In the child: the exit code that follows is meant."""
    _tell(_CLOSED)


def cause_was_given() -> None:
    """In the child: why it is about to end was printed."""
    _tell(_SAID)


def children(parent: int) -> Iterator[tuple[int, str]]:
    """(pid, name) of the processes that another one has started."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):
            head, _, rest = path.read_text().rpartition(")")
            if int(rest.split()[1]) == parent:
                yield int(path.parent.name), head.partition("(")[2]


def _exit_as(status: int, words: bytes) -> NoReturn:
    """Exit with the child's code if it was meant, else with that of a run that failed."""
    code = os.waitstatus_to_exitcode(status)
    if -code in STOPPING:  # before it could handle them
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    if code < 0 or (code == 1 and _CLOSED not in words):
        what, why = (
            "Ray",
            "its processes have ended: they were killed, or the machine is in trouble",
        )
        if code < 0:
            what = f"the command was killed by {signal.Signals(-code).name}"
            why = "for want of memory, by someone, or by a fault of a library"
        todo = "start it again with --resume: it goes on from the newest checkpoint"
        failed = RunFailed(what, why, todo)
        if _SAID not in words:
            print(f"medray: {failed}", file=sys.stderr, flush=True)
        code = failed.exit_code
    os._exit(code)


def _wait_for(child: int) -> int:
    """The child's status; orphans that end meanwhile are taken note of too."""
    while True:
        ended, status = os.wait()
        if ended == child:
            return status


def _kill_everyone() -> None:
    """Kill what the child has left, and what that leaves in turn."""
    deadline = time.monotonic() + _END
    while time.monotonic() < deadline:
        for pid, _ in children(os.getpid()):
            _send(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        except ChildProcessError:
            return
        time.sleep(0.02)


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _tell(word: bytes) -> None:
    for pipe in _words:
        with contextlib.suppress(OSError):
            os.write(pipe, word)


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
