"""A process with the package of one tracker: `python -m medray.tracking.process NAME`.

Reads lines of JSON: the run and its settings, then figures of steps, then how the run ended. What
goes wrong is the last line that it prints, and exit code 1.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, Protocol

from medray.errors import brief
from medray.files import write_text
from medray.tracking.board import Board, Ending

LAST = 60  # seconds to end in once the run's process is gone
Settings = Mapping[str, Any]


class Open(Protocol):
    """Opens a tracker's run: its name, its project, its settings, a folder for files, and the
    identity that the run had at its last start, if any."""

    def __call__(
        self, run: str, project: str, settings: Settings, folder: Path, identity: str | None
    ) -> tuple[Board, str]: ...


def main(tracker: str, lines: IO[str]) -> None:
    """Everything from the first line to the last one."""
    begin = json.loads(next(lines))
    logs = Path(begin["logs"])
    known = logs / f"{tracker}.id"  # a resumed run goes on where it was
    identity = known.read_text(encoding="utf-8").strip() if known.exists() else None
    board, identity = _opener(tracker)(
        begin["run"], begin["project"], begin["settings"], logs, identity
    )
    write_text(known, identity + "\n")
    ending: Ending = "failed"  # the run's process ended without a word
    for line in lines:
        message = json.loads(line)
        if "ending" in message:
            ending = message["ending"]
            break
        board.figures(message["step"], message["figures"])
    signal.alarm(LAST)
    board.close(ending)


def _opener(tracker: str) -> Open:
    if tracker == "wandb":
        from medray.tracking.wandb import open_wandb

        return open_wandb
    from medray.tracking.mlflow import open_mlflow

    return open_mlflow


def _ending_at_once(work: Callable[[], None]) -> None:
    """Without the packages' own last words, which may wait for a network."""
    code = 0
    try:
        work()
    except BaseException as error:
        print(brief(error, 300), flush=True)
        code = 1
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the run is asked to stop, and then says so
    _ending_at_once(lambda: main(sys.argv[1], sys.stdin))
