"""What a run writes on a terminal, into a pipe and into its log."""

from __future__ import annotations

import datetime as dt
import io
import re
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from medray.report.console import RunConsole
from medray.report.progress import fitted, read_log
from tests.unit.report.test_report import evaluation_of, metrics_of

PLAN = [
    ("model", "base (LlavaForConditionalGeneration), bfloat16, LoRA rank 16 on language, vision"),
    ("", "a note in words that go on over more than one line of a narrow terminal, and end here"),
    ("output", "/a/path/that/is/longer/than/any/terminal/" + "x" * 60),
]
HOSTILE = "a\x1b[2Jb\u202ec\u2028d [bold]e[/]"


class Random:
    def uniform(self, low: float, high: float) -> float:
        return (low + high) / 2

    def random(self) -> float:
        return 0.5


def show(width: int | None, log: Path | None = None, steps: int = 3) -> str:
    """All that a run of three steps writes; width None: into a pipe."""
    stream = io.StringIO()
    console = RunConsole(steps)
    terminal = width is not None
    console.console = Console(
        file=stream, force_terminal=terminal, width=width, soft_wrap=True, highlight=False,
        color_system=None,
    )  # fmt: skip
    if log is not None:
        console.keep_log(log)
    console.plan(PLAN)
    console.status("evaluating step 0")
    console.evaluated(0, evaluation_of(0.0, 0))
    for step in range(1, steps + 1):
        console.step(step, metrics_of(step, 7, 1, Random()) | {"answers_issued": 8})
    console.say(f"note: {HOSTILE}")
    console.results({0: evaluation_of(0.0, 0), 3: evaluation_of(1.0, 3)})
    return stream.getvalue()


def lines_of(output: str) -> list[str]:
    """Every line that is shown at any time, without what moves the cursor."""
    return [line.rstrip() for line in re.split(r"\x1b\[\??\d+[A-Za-z]|[\r\n]", output)]


@pytest.mark.parametrize("width", [60, 80, 200])
def test_every_line_fits(width: int) -> None:
    output = show(width)
    lines = lines_of(output)
    for step in (1, 2, 3):
        (line,) = [line for line in lines if line.startswith(f"step {step}/3 · loss 0.")]
        assert ("gap" in line) is (width == 200)
    assert max(cell_len(line) for line in lines) <= width
    assert [line for line in lines if line.startswith("evaluated step 0 · Reports right")]
    assert [line for line in lines if line.endswith("left · step 2/3 · 33% done")]
    assert not [line for line in lines if "step 4/3" in line]


@pytest.mark.parametrize("width", [60, 80])
def test_plan_lines_wrap_between_words_with_a_hanging_indent(width: int) -> None:
    lines = lines_of(show(width))
    start = next(i for i, line in enumerate(lines) if line.startswith("     model  base"))
    end = next(i for i, line in enumerate(lines) if line.startswith("    output"))
    assert end > start + 2
    lines = [line for line in lines[start:end] if line]
    start, more = 0, lines[1:]
    assert all(line.startswith(" " * 12) and line[12] != " " for line in more)
    sentence = " ".join([lines[start][12:], *(line.strip() for line in more)])
    assert sentence == f"{PLAN[0][1]} {PLAN[1][1]}"


def test_a_pipe_gets_complete_lines() -> None:
    lines = show(None).splitlines()
    assert f"{'output':>10}  {PLAN[2][1]}" in lines
    assert "evaluating step 0" in lines
    (line,) = [line for line in lines if line.startswith("step 2/3")]
    assert "tok/s · gap " in line
    assert line.endswith(" left")


@pytest.mark.parametrize("width", [60, None])
def test_the_log_holds_every_line_of_every_start(tmp_path: Path, width: int | None) -> None:
    path = tmp_path / "progress.log"
    before = dt.datetime.now().astimezone().replace(microsecond=0)
    piped = show(None).splitlines()
    show(width, path)
    show(width, path, steps=5)
    logged = list(read_log(path))
    texts = [text for _, text in logged]
    first = texts[: texts.index("started", 1)]
    plain = [line.rstrip() for line in piped if not line.startswith(("┃", "│", "┏", "└", "┡"))]
    assert first[0] == "started"
    times = [line for line in plain if line.endswith(" left")]
    assert [line for line in plain if line not in first and line not in times] == []
    assert len([line for line in first if line.endswith(" left")]) == len(times) == 3
    assert any("Reports right in every attribute" in text for text in first)
    assert any(text.startswith("step 5/5") for text in texts)
    assert all(before <= moment for moment, _ in logged)
    assert [moment for moment, _ in logged] == sorted(moment for moment, _ in logged)
    raw = path.read_text()
    assert all(c.isprintable() or c == "\n" for c in raw)
    assert "[U+202E]" in raw
    assert "[bold]e[/]" in raw


def test_a_log_that_cannot_be_written_ends_no_run(tmp_path: Path) -> None:
    show(None, tmp_path / "no folder" / "progress.log")
    assert list(read_log(tmp_path / "none")) == []


def test_fitted_counts_columns_not_characters() -> None:
    assert fitted(["肺炎", "肺炎"], 10) == "肺炎"
    assert fitted(["肺炎肺炎"], 5) == "肺炎 "
    assert fitted(["0:01 left"], 4) == "0:01"
