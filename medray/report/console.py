"""Console output of a run: the plan, a line per step that stays, one live line, the results.

On a terminal every line fits its width. In a pipe or a file, and in logs/progress.log, lines are
complete, each in one piece.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from medray.report.progress import SEPARATOR, ProgressLog, fitted, now, step_parts, time_left
from medray.report.vocabulary import count_behind, is_percentage, label
from medray.terminal import visible

TOPIC = 10  # columns of a plan line's topic
LOG_WIDTH = 100  # columns of a table in the log


class RunConsole:
    """Lines that stay, with a live line below them on a terminal; all of them in the log too.

    Output never ends a run: a terminal that was closed, or a pipe that nobody reads, is left alone.
    """

    def __init__(self, steps: int, *, quiet: bool = False) -> None:
        self.steps = steps
        self.console = Console(highlight=False, soft_wrap=True, quiet=quiet)
        self.live: Live | None = None
        self.log: ProgressLog | None = None
        self.first_step: int | None = None
        self.started, self.start_time = now(), time.monotonic()

    def keep_log(self, path: Path) -> None:
        """From now on, also append every line to the file at `path`."""
        self.log = ProgressLog(path, self.started)

    def plan(self, rows: Sequence[tuple[str, str]]) -> None:
        """Rows of (topic, sentence); on a terminal sentences are wrapped between words."""
        for topic, sentence in rows:
            head, text = Text(f"{topic:>{TOPIC}}", "bold"), Text(visible(sentence))
            self._log(f"{topic:>{TOPIC}}  {sentence}")
            if not self.console.is_terminal:
                self._print(Text.assemble(head, "  ", text))
                continue
            row = Table.grid(padding=(0, 2, 0, 0))
            row.add_column(width=TOPIC, no_wrap=True)
            row.add_column(overflow="fold")
            row.add_row(head, text)
            self._print(row, soft_wrap=False)

    def status(self, text: str) -> None:
        """Show what the run is waiting for."""
        self._log(text)
        if self.console.is_terminal:
            self._show_live([text])
        else:
            self._print(Text(visible(text)))

    def step(self, step: int, row: Mapping[str, Any]) -> None:
        """Show the figures of a step, and the time left."""
        parts, left = step_parts(step, self.steps, row), time_left(self._seconds_left(step, row))
        line = SEPARATOR.join([*parts, left])
        self._log(line)
        if not self.console.is_terminal:
            self._print(Text(line))
            return
        self._print(Text(fitted(parts, self.console.width)))
        if step >= self.steps:
            self.done()
        else:
            running = [left, f"step {step + 1}/{self.steps}", f"{step / self.steps:.0%} done"]
            self._show_live(running)

    def evaluated(self, step: int, result: Mapping[str, Any]) -> None:
        """Show the main figures of an evaluation."""
        keys = ("report_exact", "closed_accuracy", "open_recall", "hallucination_rate")
        parts = [
            f"{label(key)} {shown(key, result[key])}" for key in keys if result.get(key) is not None
        ]
        parts = [f"evaluated step {step}", *parts]
        self._log(SEPARATOR.join(parts))
        fits = self.console.is_terminal
        self._print(Text(fitted(parts, self.console.width) if fits else SEPARATOR.join(parts)))

    def done(self) -> None:
        """Nothing is running any more: the live line goes."""
        live, self.live = self.live, None
        if live is not None:
            with contextlib.suppress(OSError):
                live.stop()

    def results(self, evals: Mapping[int, Mapping[str, Any]]) -> None:
        """The evaluation before and after training, if there is one."""
        self.done()
        if not evals:
            return
        table = results_table(evals[min(evals)], evals[max(evals)])
        text = io.StringIO()
        Console(file=text, width=LOG_WIDTH, highlight=False).print(table)
        self._log(text.getvalue().rstrip("\n"))
        self._print(table, soft_wrap=False)

    def say(self, text: str) -> None:
        """A line that stays."""
        self._log(text)
        self._print(Text(visible(text)))

    def _seconds_left(self, step: int, row: Mapping[str, Any]) -> float:
        if self.first_step is None:
            self.first_step, self.start_time = step, time.monotonic() - float(row["t_step"])
        done = step - self.first_step + 1
        return (time.monotonic() - self.start_time) / done * (self.steps - step)

    def _show_live(self, parts: Sequence[str]) -> None:
        with contextlib.suppress(OSError):
            if self.live is None:
                self.live = Live(console=self.console, auto_refresh=False, transient=True)
                self.live.start()
            line = Text(fitted([visible(part) for part in parts], self.console.width))
            self.live.update(line, refresh=True)

    def _print(self, content: RenderableType, *, soft_wrap: bool = True) -> None:
        with contextlib.suppress(OSError):
            self.console.print(content, soft_wrap=soft_wrap)

    def _log(self, text: str) -> None:
        if self.log is not None:
            self.log.write(text)


def results_table(before: Mapping[str, Any], after: Mapping[str, Any]) -> Table:
    """The main figures before and after, and the error rates by type."""
    from medray.evaluation.metrics import compare_table

    table = Table("evaluation", title_justify="left")
    for column in ("n", "before", "after", "change"):
        table.add_column(column, justify="right", no_wrap=True)
    for key, old, new in compare_table(before, after):
        if old is None and new is None:
            continue
        change = ""
        if old is not None and new is not None:
            scale = 100 if is_percentage(key) else 1
            change = f"{scale * (new - old):+.1f}" if scale > 1 else f"{new - old:+.3f}"
        n = count_behind(key, after)
        count = "" if n is None else f"{n:,}"
        table.add_row(visible(label(key)), count, shown(key, old), shown(key, new), change)
    return table


def shown(key: str, value: float | None) -> str:
    """A figure as the terminal shows it."""
    if value is None:
        return "–"
    return f"{100 * value:.1f} %" if is_percentage(key) else f"{value:.3f}"
