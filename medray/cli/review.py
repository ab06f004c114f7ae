"""The command that has pairs of a run, or answers of evaluations, graded by experts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medray.cli.common import Run
from medray.errors import UserError

if TYPE_CHECKING:
    from medray.review import AnswerKey, Key

app = typer.Typer()


@app.command()
def review(
    run: Run,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="F.html", help="Draw pairs, and write this page."),
    ] = None,
    answers: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PATH",
            help="Answers instead of pairs: of a run, or a file of answers to RUN's cases. Twice "
            "for answers side by side.",
        ),
    ] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="How many pairs or answers.")] = 50,
    seed: Annotated[int, typer.Option(help="Another seed draws others.")] = 0,
    images: Annotated[
        bool, typer.Option("--images/--no-images", help="With the images, or texts only.")
    ] = True,
    read: Annotated[
        list[Path] | None,
        typer.Option(metavar="F.json", help="What a reader saved; once for each reader."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="With --read: print JSON.")] = False,
) -> None:
    """Have pairs or answers graded blind by experts: a page out (-o), grades back in (--read)."""
    if (out is None) == (not read):
        raise UserError("medray review", "needs either -o or --read", "give one of them")
    from medray.rundir import RunDirectory

    path = RunDirectory.open(run).path
    if read and answers:
        raise UserError("--answers", "is of no use with --read", "the review knows whose they are")
    if out is not None:
        _write(path, out, answers or [], n, seed, images)
    elif read:
        _read(path, read, as_json)


def _write(run: Path, out: Path, answers: list[Path], n: int, seed: int, images: bool) -> None:
    from medray.review import (
        draw_answers,
        draw_pairs,
        key_file,
        ledger_digest,
        read_evaluations,
        write_page,
    )
    from medray.rundir import RunDirectory

    rows: list[dict[str, Any]]
    key: Key | AnswerKey
    if answers:
        salt = ledger_digest(RunDirectory(run).ledger)
        rows, key = draw_answers(read_evaluations(run, answers), n, seed, salt)
    else:
        rows, key = draw_pairs(RunDirectory(run), n, seed)
    missing = write_page(run, rows, key, out, images=images)
    for reason in missing:
        typer.echo(f"without some images: {reason}", err=True)
    what = "pairs" if len(answers) != 1 else "answers"
    source = "there are" if answers else "the run has"
    few = f" ({source} no more than {len(rows)})" if len(rows) < n else ""
    typer.echo(f"{out}: {len(rows)} {what}{few}, to be given to readers")
    typer.echo(f"{key_file(run, key.id)}: the key, not to be given to them")
    typer.echo(f"then: medray review {run} --read FILE, once for each file that they save")


def _read(run: Path, files: list[Path], as_json: bool) -> None:
    from medray.review import (
        Key,
        answer_table,
        read_grades,
        summarise,
        summarise_answers,
        summary_table,
    )

    key, grades = read_grades(run, files)
    if isinstance(key, Key):
        summary, show = summarise(key, grades), summary_table
    else:
        summary, show = summarise_answers(key, grades), answer_table
    if as_json:
        typer.echo(json.dumps(summary, indent=1, ensure_ascii=False, allow_nan=False))
        return
    from rich.console import Console

    Console(highlight=False).print(show(summary))
