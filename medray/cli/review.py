"""The command that has pairs of a run graded by experts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from medray.cli.common import Run
from medray.errors import UserError

app = typer.Typer()


@app.command()
def review(
    run: Run,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="F.html", help="Draw pairs, and write this page."),
    ] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="How many pairs.")] = 50,
    seed: Annotated[int, typer.Option(help="Another seed draws other pairs.")] = 0,
    images: Annotated[
        bool, typer.Option("--images/--no-images", help="With the images, or texts only.")
    ] = True,
    read: Annotated[
        list[Path] | None,
        typer.Option(metavar="F.json", help="What a reader saved; once for each reader."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="With --read: print JSON.")] = False,
) -> None:
    """Have pairs graded blind by experts: a page out (-o), the grades back in (--read)."""
    if (out is None) == (not read):
        raise UserError("medray review", "needs either -o or --read", "give one of them")
    from medray.rundir import RunDirectory

    path = RunDirectory.open(run).path
    if out is not None:
        _write(path, out, n, seed, images)
    elif read:
        _read(path, read, as_json)


def _write(run: Path, out: Path, n: int, seed: int, images: bool) -> None:
    from medray.ledger import read_ledger
    from medray.review import draw_pairs, key_file, write_page

    rows, key = draw_pairs(read_ledger(run), n, seed)
    missing = write_page(run, rows, key, out, images=images)
    for reason in missing:
        typer.echo(f"without some images: {reason}", err=True)
    few = f" (the run has no more than {len(rows)})" if len(rows) < n else ""
    typer.echo(f"{out}: {len(rows)} pairs{few}, to be given to readers")
    typer.echo(f"{key_file(run, key.id)}: the key, not to be given to them")
    typer.echo(f"then: medray review {run} --read FILE, once for each file that they save")


def _read(run: Path, files: list[Path], as_json: bool) -> None:
    from medray.review import read_grades, summarise, summary_table

    summary = summarise(*read_grades(run, files))
    if as_json:
        typer.echo(json.dumps(summary, indent=1, ensure_ascii=False, allow_nan=False))
        return
    from rich.console import Console

    Console(highlight=False).print(summary_table(summary))
