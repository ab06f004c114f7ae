"""A tracker's end in the process of the run: a queue, and a process of its own behind it.

    run ──queue──▶ thread ──pipe──▶ process with the tracker's package ──▶ its server, or its files

The run never waits: a tracker that fails, hangs or is slow is left out, with one line.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from medray.tracking.board import Ending

WAITING = 1000  # sets of figures that may wait, behind what the pipe holds
# Seconds that a tracker gets to send what it has: a run that was stopped is to end soon.
PATIENCE: dict[Ending, float] = {"finished": 30.0, "stopped": 5.0, "failed": 5.0}
# What the packages would send of their own accord.
QUIET = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_SILENT": "true",
}


class Sender:
    """Hands figures to a tracker, and the settings of the run before them."""

    def __init__(
        self,
        tracker: str,
        run: str,
        project: str,
        settings: Mapping[str, Any],
        logs: Path,
        say: Callable[[str], None],
    ) -> None:
        self.tracker, self.say = tracker, say
        self.log = logs / f"{tracker}.log"
        self.lines: queue.Queue[str | None] = queue.Queue(WAITING)
        self.closed = False  # nothing is sent any more
        begin = {"run": run, "project": project, "settings": dict(settings), "logs": str(logs)}
        try:
            with self.log.open("ab") as log:
                self.process = _start(tracker, log)
        except OSError as error:
            self._leave_out(f"cannot be started ({error.strerror or error})")
            return
        self._put(begin)
        threading.Thread(target=self._write, name=f"{tracker} sender", daemon=True).start()

    def figures(self, step: int, values: Mapping[str, float]) -> None:
        if not self.closed:
            self._put({"step": step, "figures": dict(values)})

    def close(self, ending: Ending) -> None:
        """Wait until the tracker has sent what it has, within its time."""
        if self.closed:
            return
        self._put({"ending": ending})
        if self.closed:
            return
        self._no_more()
        try:
            code = self.process.wait(PATIENCE[ending])
        except subprocess.TimeoutExpired:
            self._leave_out(f"did not end within {PATIENCE[ending]:g} s")
        else:
            self._leave_out(self._last_words()) if code else self._end()

    def _put(self, message: Mapping[str, Any]) -> None:
        """Queue a message, unless the process has failed, or takes none."""
        if self.process.poll() is not None:
            return self._leave_out(self._last_words())
        try:
            self.lines.put_nowait(json.dumps(message, allow_nan=False))
        except queue.Full:
            self._leave_out("takes no figures any more")

    def _write(self) -> None:
        """In the thread: what is queued, until the last message, or until nobody reads it."""
        pipe = self.process.stdin
        assert pipe is not None
        with contextlib.suppress(OSError), pipe:
            for line in iter(self.lines.get, None):
                pipe.write(line.encode() + b"\n")
                pipe.flush()

    def _leave_out(self, why: str) -> None:
        self._end()
        self.say(f"{self.tracker} is left out from here on: {why} — the run goes on without it")

    def _no_more(self) -> None:
        with contextlib.suppress(queue.Full):  # then the thread writes, and fails
            self.lines.put_nowait(None)

    def _end(self) -> None:
        self.closed = True
        self._no_more()
        process = getattr(self, "process", None)
        if process is not None and process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _last_words(self) -> str:
        """The last line of the tracker's log: why it ended."""
        with contextlib.suppress(OSError):
            lines = self.log.read_text(encoding="utf-8", errors="replace").split("\n")
            words = next((line.strip() for line in reversed(lines) if line.strip()), "")
            if words:
                return words[:300]
        return f"its process ended with code {self.process.returncode}"


def _start(tracker: str, log: Any) -> subprocess.Popen[bytes]:
    """In a session of its own: Ctrl-C stops the run, which then says how it ended."""
    return subprocess.Popen(
        [sys.executable, "-m", "medray.tracking.process", tracker],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        env=os.environ | QUIET,
        start_new_session=True,
    )
