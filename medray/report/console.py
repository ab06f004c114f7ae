"""Console output of a run: the plan, one live progress line, the before/after table."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from medray.terminal import visible

Rows = Sequence[tuple[str, float | None, float | None]]


class RunConsole:
    """A live line on a terminal, plain lines in a log.

    Output never ends a run: a terminal that was closed, or a pipe that nobody reads, is left alone.
    """

    def __init__(self, steps: int, *, quiet: bool = False) -> None:
        self.steps = steps
        self.console = Console(highlight=False, soft_wrap=True, quiet=quiet)
        self.live: Live | None = None
        self.first_step: int | None = None
        self.start_time = time.monotonic()

    def plan(self, rows: Sequence[tuple[str, str]]) -> None:
        for topic, sentence in rows:
            self.console.print(f"[bold]{topic:>10}[/]  {escape(visible(sentence))}")

    def status(self, text: str) -> None:
        """Show what the run is waiting for."""
        self._show(text)

    def step(self, step: int, row: Mapping[str, Any]) -> None:
        """Show the progress of a step: position, quality, rates and the time left."""
        self._show(progress_line(step, self.steps, row, self._seconds_left(step, row)))

    def done(self) -> None:
        live, self.live = self.live, None
        if live is not None:
            with contextlib.suppress(OSError):
                live.stop()

    def table(self, rows: Rows) -> None:
        """Print the evaluation before and after training."""
        self.done()
        table = Table("evaluation", title_justify="left")
        for column in ("before", "after", "change"):
            table.add_column(column, justify="right")
        for name, before, after in rows:
            table.add_row(name, _number(before), _number(after), _change(before, after))
        with contextlib.suppress(OSError):
            self.console.print(table)

    def say(self, text: str) -> None:
        self.done()
        self.console.print(escape(visible(text)))

    def _seconds_left(self, step: int, row: Mapping[str, Any]) -> float:
        if self.first_step is None:
            self.first_step, self.start_time = step, time.monotonic() - float(row["t_step"])
        done = step - self.first_step + 1
        return (time.monotonic() - self.start_time) / done * (self.steps - step)

    def _show(self, text: str) -> None:
        text = visible(text)
        if not self.console.is_terminal:
            self.console.print(escape(text))
            return
        if self.live is None:
            self.live = Live(console=self.console, auto_refresh=False)
            self.live.start()
        self.live.update(Text(text, no_wrap=True, overflow="ellipsis"), refresh=True)


def progress_line(step: int, steps: int, row: Mapping[str, Any], seconds_left: float) -> str:
    """One step as one line of text."""
    tokens = row["tokens_generated"] / max(row["t_generate"], 1e-9)
    pairs = row["pairs_trained"] / max(row["t_step"], 1e-9)
    minutes, seconds = divmod(round(seconds_left), 60)
    return (
        f"step {step}/{steps} · loss {_number(row['loss'])} · "
        f"margin {_number(row.get('reward_margin'))} · "
        f"accuracy {_number(row.get('reward_accuracy'))} · "
        f"{row['answers_trained']}/{row['answers_issued']} answers · "
        f"{row['pairs_trained']} pairs · {pairs:.1f} pairs/s · "
        f"{tokens:.0f} tok/s · gap {_number(row['logp_gap'])} · {minutes}:{seconds:02d} left"
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _change(before: float | None, after: float | None) -> str:
    return "" if before is None or after is None else f"{after - before:+.3f}"
