"""What a command takes, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from medray.errors import UserError
from medray.rundir import RunDirectory

LOOK = 0.02  # seconds between two looks at its memory


def measure(
    command: Sequence[str], run: RunDirectory | None = None, step: int = 0
) -> dict[str, float]:
    """Seconds of the clock and of all processors, and the driver's peak memory in MiB; of a run
    also the seconds until the row of `step` is there. Raises UserError."""
    start, first, peak = time.monotonic(), 0.0, 0.0
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while not (ended := os.wait4(child.pid, os.WNOHANG))[0]:
        peak = max(peak, _peak_mib(child.pid))
        if step and not first and run is not None and run.metrics_file.exists():
            rows = run.metrics_file.read_text(encoding="utf-8").splitlines()
            first = time.monotonic() - start if len(rows) >= step else 0.0
        time.sleep(LOOK)
    _, child.returncode, usage = ended
    if child.returncode:
        raise UserError(" ".join(command[2:5]), "failed", "see its message above")
    found = {"seconds": time.monotonic() - start, "peak_mib": peak}
    found["cpu_seconds"] = usage.ru_utime + usage.ru_stime
    return found | ({"first_step_seconds": first} if step else {})


def _peak_mib(pid: int) -> float:
    """Of a command, or of the child that does its work; Ray's processes are children of that."""
    peaks = [0.0]
    for own in (pid, *_children(pid)):
        try:
            status = Path(f"/proc/{own}/status").read_text(encoding="ascii", errors="replace")
        except OSError:
            continue
        found = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
        peaks += [int(value) / 1024 for value in found]
    return max(peaks)


def _children(pid: int) -> list[int]:
    try:
        return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
