"""Says in one line that the cluster's own processes are gone, and ends the command.

Without them Ray's native code ends the process in the middle of whatever it does, after up to a
minute and with pages of its internal state.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from medray.errors import RunFailed
from medray.process import cause_was_given, children

HEADS = ("gcs_server", "raylet")  # processes without which a cluster is none,
AGENTS = re.compile(rb"agent(/main)?\.py|ray::\w*Agent")  # and those that take the raylet along
EVERY, GONE = 2.0, 45.0  # seconds between looks at a head elsewhere, and until it counts as gone


class HeadWatch:
    """Watches until `stop`. `on_end`: what to do before the process ends."""

    def __init__(self, on_end: Callable[[], None]) -> None:
        self.on_end = on_end
        self._stopped = threading.Event()

    def own(self) -> None:
        """Watch the children of this process that its cluster depends on."""
        opened: dict[int, str] = {}
        for pid, name in children(os.getpid()):
            if name in HEADS:
                opened[os.pidfd_open(pid)] = name
            if name == "raylet":
                opened |= {os.pidfd_open(agent): "agent" for agent in _agents(pid)}
        threading.Thread(target=self._watch_own, args=(opened,), name="head", daemon=True).start()

    def elsewhere(self, address: str) -> None:
        """Watch whether somebody listens at HOST:PORT."""
        host, _, port = address.rpartition(":")
        where = (host.strip("[]"), int(port))
        threading.Thread(target=self._watch_port, args=(where,), name="head", daemon=True).start()

    def stop(self) -> None:
        """The cluster is taken down on purpose from now on."""
        self._stopped.set()

    def _watch_own(self, opened: dict[int, str]) -> None:
        poll = select.poll()
        for handle in opened:
            poll.register(handle, select.POLLIN)
        try:
            while not self._stopped.is_set():
                if ended := poll.poll(200):
                    if not self._stopped.is_set():
                        self._end(f"Ray's {opened[ended[0][0]]} has ended", opened)
                    return
        finally:
            for handle in opened:
                os.close(handle)

    def _watch_port(self, where: tuple[str, int]) -> None:
        answered = time.monotonic()
        while not self._stopped.wait(EVERY):
            with contextlib.suppress(OSError), socket.create_connection(where, timeout=EVERY):
                answered = time.monotonic()
            if time.monotonic() - answered > GONE and not self._stopped.is_set():
                self._end(f"the Ray cluster at {where[0]}:{where[1]} is gone")

    def _end(self, what: str, others: Iterable[int] = ()) -> None:
        """End the command, and the processes behind the handles `others`, which would notice it
        by themselves only after a minute."""
        failed = RunFailed(
            what,
            "it was killed, or its machine is in trouble",
            "start it again with --resume: it goes on from the newest checkpoint",
        )
        # In one write, before Ray's own lines.
        os.write(sys.stderr.fileno(), f"medray: {failed}\n".encode("utf-8", "replace"))
        cause_was_given()
        for handle in others:
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        with contextlib.suppress(Exception):
            self.on_end()
        os._exit(failed.exit_code)


def _agents(raylet: int) -> Iterator[int]:
    for pid, _ in children(raylet):
        with contextlib.suppress(OSError):
            if AGENTS.search(Path(f"/proc/{pid}/cmdline").read_bytes()):
                yield pid
