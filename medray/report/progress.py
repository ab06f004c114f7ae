"""The progress of a run as text: one line per step, and the file that keeps every line."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.cells import cell_len, set_cell_size

from medray.terminal import visible

SEPARATOR = " · "
STARTED = "started"  # the first line of every start of a run
LOADING = "loading the model in every actor"
_LINE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d)  (.*)")


class ProgressLog:
    """logs/progress.log: what the terminal shows, line by line, each with its time.

    A resumed run appends. A log that cannot be written ends no run.
    """

    def __init__(self, path: Path, started: dt.datetime) -> None:
        """`started`: when the command was, with its time zone."""
        self.path = path
        self.write(STARTED, started)

    def write(self, text: str, moment: dt.datetime | None = None) -> None:
        """Append the lines of `text`; control characters become visible."""
        stamp = (moment or now()).isoformat(timespec="seconds")
        lines = [f"{stamp}  {line}".rstrip() + "\n" for line in visible(text).split("\n")]
        try:
            with self.path.open("a", encoding="utf-8", errors="replace") as file:
                file.write("".join(lines))
        except OSError:  # the run itself finds out what the disk does not take
            return


def now() -> dt.datetime:
    return dt.datetime.now().astimezone()


def read_log(path: Path) -> Iterator[tuple[dt.datetime, str]]:
    """(time, text) of every line, in order; none if there is no log."""
    try:
        file = path.open(encoding="utf-8", errors="replace")
    except OSError:
        return
    with file:
        for line in file:
            if found := _LINE.fullmatch(line.rstrip("\n")):
                yield dt.datetime.fromisoformat(found[1]), found[2]


def step_parts(step: int, steps: int, row: Mapping[str, Any]) -> list[str]:
    """The figures of one step, the most important ones first."""
    tokens = row["tokens_generated"] / max(row["t_generate"], 1e-9)
    pairs = row["pairs_trained"] / max(row["t_step"], 1e-9)
    return [
        f"step {step}/{steps}",
        f"loss {number(row['loss'])}",
        f"margin {number(row.get('reward_margin'))}",
        f"accuracy {number(row.get('reward_accuracy'))}",
        f"{row['answers_trained']}/{row['answers_issued']} answers",
        f"{row['pairs_trained']} pairs",
        f"{pairs:.1f} pairs/s",
        f"{tokens:.0f} tok/s",
        f"gap {number(row['logp_gap'])}",
    ]


def time_left(seconds: float) -> str:
    """
    >>> time_left(75), time_left(7384)
    ('1:15 left', '2:03:04 left')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d} left" if hours else f"{minutes}:{rest:02d} left"


def fitted(parts: Sequence[str], width: int) -> str:
    """As many of the parts, from the first, as a line of `width` columns holds.

    >>> fitted(["0:45 left", "step 7/20", "loss 0.750"], 24)
    '0:45 left · step 7/20'
    """
    for count in range(len(parts), 1, -1):
        line = SEPARATOR.join(parts[:count])
        if cell_len(line) <= width:
            return line
    first = parts[0] if parts else ""
    return first if cell_len(first) <= width else set_cell_size(first, max(width, 0))


def number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
