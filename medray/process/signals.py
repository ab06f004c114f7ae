"""Requests to stop a command: SIGTERM, SIGINT (Ctrl-C) and SIGHUP (a closed terminal) alike.

A request ends the command with exit code 75, at once while nothing has been learnt yet. A loop that
has something to save takes requests over with `Signals.hand_to`. Further requests change nothing.

Python runs the handler of a signal only between two of its own instructions, and native code of Ray
or torch may take long. So a thread watches as well: a command that has not ended in time after the
first request is ended by it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from medray.errors import StoppedOnRequest

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
PATIENCE = 3.0  # seconds from a request to the end of a command that has nothing to save
STOPPED = StoppedOnRequest("stopped", "as requested", "start it again when you want it done")
CLOSING = 30.0  # seconds to close a run and its cluster, once its checkpoint is written


class _StopNow(BaseException):
    """Not an Exception, so that no library takes it for a failure of its own."""


class Signals:
    """The handlers of one command, between `install` and `remove`; use `stop_on_signals`."""

    def __init__(self) -> None:
        self.requested = False
        self.on_end: list[Callable[[], None]] = []  # before the watching thread ends the process
        self._receiver: Callable[[], object] | None = None
        self._patience = PATIENCE
        self._before: dict[int, Any] = {}  # handlers
        self._wake, self._woken = socket.socketpair()

    def install(self) -> None:
        """Handle the signals from now on; again after `ray.init`, which takes SIGTERM away."""
        for number in STOPPING:
            ignored = signal.getsignal(number) == signal.SIG_IGN
            if number == signal.SIGHUP and ignored and number not in self._before:
                continue  # as nohup wishes it
            before = signal.signal(number, self._handle)
            self._before.setdefault(number, before)

    def watch(self) -> None:
        """End the process with code 75 if a request has not ended it in time."""
        self._wake.setblocking(False)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        os.register_at_fork(after_in_child=_forget_wake)
        threading.Thread(target=self._end_in_time, name="signals", daemon=True).start()

    def remove(self) -> None:
        """Restore the handlers that were there before."""
        signal.set_wakeup_fd(-1)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._wake.close()  # ends the watching thread
        self._before.clear()

    @contextlib.contextmanager
    def hand_to(self, receiver: Callable[[], object], seconds: float) -> Iterator[None]:
        """Within it a request calls `receiver`, which has `seconds` to save what there is."""
        self._receiver, before = receiver, self._patience
        self._patience = seconds + CLOSING
        if self.requested:
            receiver()
        try:
            yield
        finally:
            self._receiver, self._patience = None, before

    def _handle(self, number: int, frame: FrameType | None) -> None:
        first, self.requested = not self.requested, True
        if self._receiver is not None:
            self._receiver()
        elif first:
            raise _StopNow

    def _end_in_time(self) -> None:
        numbers = set(STOPPING) & self._before.keys()
        while received := self._woken.recv(1):
            if received[0] in numbers:
                break
        else:
            self._woken.close()
            return
        deadline = time.monotonic() + self._patience
        self._woken.settimeout(self._patience)
        with contextlib.suppress(OSError):  # a timeout among them
            while self._woken.recv(64):
                self._woken.settimeout(max(0.01, deadline - time.monotonic()))
            self._woken.close()
            return
        print(f"medray: {STOPPED}", file=sys.stderr, flush=True)
        for action in self.on_end:
            with contextlib.suppress(Exception):
                action()
        os._exit(STOPPED.exit_code)


def _forget_wake() -> None:
    """A forked child's signals are not this process's."""
    with contextlib.suppress(ValueError):
        signal.set_wakeup_fd(-1)


_current: list[Signals] = []  # of the command that runs, innermost last


def current_signals() -> Signals | None:
    """Those of the command that is running; None outside of one, as in tests and notebooks."""
    return _current[-1] if _current else None


@contextlib.contextmanager
def stop_on_signals() -> Iterator[Signals]:
    """Within it a request to stop raises StoppedOnRequest at the end of the block.

    Within another such block, which handles them already, it only raises; in another thread than
    the main one, where no signal arrives, it does nothing.
    """
    if _current or threading.current_thread() is not threading.main_thread():
        try:
            yield _current[-1] if _current else Signals()
        except _StopNow:
            raise STOPPED from None
        return
    signals = Signals()
    signals.install()
    signals.watch()
    _current.append(signals)
    try:
        yield signals
    except _StopNow:
        raise STOPPED from None
    finally:
        _current.pop()
        signals.remove()
