"""Where the time of a run went, from logs/progress.log, metrics.jsonl and the evaluations."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medray.report.progress import LOADING, STARTED

STAGES = {"t_generate": "generate", "t_edit": "edit", "t_learn": "learn", "t_sync": "sync"}
Line = tuple[dt.datetime, str]


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds of one part, and their share of the total; `within`: a part of the steps."""

    label: str
    seconds: float
    share: float
    within: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class WallTime:
    """`total`: seconds of all starts of the run; `starts`: how many; when the first began and the
    last ended, if the run has a log."""

    total: float
    parts: tuple[Spent, ...]
    overlap: bool  # of the stages of a step
    starts: int = 0
    began: dt.datetime | None = None
    ended: dt.datetime | None = None


def wall_time(
    log: Iterable[Line], metrics: Sequence[Mapping[str, Any]], evals: Iterable[Mapping[str, Any]]
) -> WallTime:
    """Without a log the total is that of steps and evaluations."""
    sessions = _sessions(log)
    steps = _sum(metrics, "t_step")
    evaluation = _sum(evals, "seconds")
    start = sum(map(_start_of, sessions))
    elapsed = sum((lines[-1][0] - lines[0][0]).total_seconds() for lines in sessions)
    total = max(elapsed, start + steps + evaluation)
    rest = total - start - steps - evaluation

    def part(label: str, seconds: float, note: str = "", *, within: bool = False) -> Spent:
        return Spent(label, seconds, seconds / total if total else 0.0, within, note)

    busy = {name: _sum(metrics, key) for key, name in STAGES.items()}
    overlap = sum(busy.values()) > 1.02 * steps
    parts = [
        part("start", start, "Ray, and the model in every actor"),
        part("steps", steps, f"{len(metrics)} of them"),
        *(part(name, seconds, within=True) for name, seconds in busy.items()),
        part("evaluation", evaluation),
        part("other", rest, "checkpoints, steps that were done again, the report"),
    ]
    known = tuple(entry for entry in parts if entry.seconds > 0)
    if not sessions:
        return WallTime(total, known, overlap)
    return WallTime(total, known, overlap, len(sessions), sessions[0][0][0], sessions[-1][-1][0])


def _sessions(log: Iterable[Line]) -> list[list[Line]]:
    """The lines of each start of the run."""
    sessions: list[list[Line]] = []
    for line in log:
        if line[1] == STARTED or not sessions:
            sessions.append([])
        sessions[-1].append(line)
    return sessions


def _start_of(lines: Sequence[Line]) -> float:
    """Seconds until every actor had its model: until the line after the one that says so."""
    texts = [text for _, text in lines]
    if LOADING not in texts:
        return 0.0
    ready = min(texts.index(LOADING) + 1, len(lines) - 1)
    return (lines[ready][0] - lines[0][0]).total_seconds()


def _sum(rows: Iterable[Mapping[str, Any]], key: str) -> float:
    return float(sum(row.get(key) or 0.0 for row in rows))
