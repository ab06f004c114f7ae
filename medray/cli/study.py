"""The command that runs a study: many runs, one table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medray.cli.common import Address, Overrides, require_actors, require_lasting_output
from medray.errors import RunFailed, UserError

app = typer.Typer()


@app.command()
def study(
    path: Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="See docs/study.md.")],
    overrides: Overrides = None,
    resume: Annotated[bool, typer.Option(help="Run only the cells without a result.")] = False,
    tables: Annotated[
        bool, typer.Option("--tables", help="Run nothing: write the tables of what there is.")
    ] = False,
    address: Address = None,
) -> None:
    """Run every cell of a study, and write one table of what they reached."""
    require_actors()
    from medray.study.design import read_study

    found = read_study(path, tuple(overrides or ()))
    require_lasting_output("study.output", str(found.output))
    holds_study = found.path.exists() and any(found.path.iterdir())
    if tables and not holds_study:
        raise UserError(str(path), f"{found.path} holds no study", "run it first")
    if holds_study and not (resume or tables):
        why = f"{found.path} already holds a study"
        raise UserError(str(path), why, "--resume it, or give another study.name")
    from actors.study import run_study
    from medray.study.outputs import write_outputs

    if not tables:
        run_study(found, address=address, report=typer.echo)
    table, results = write_outputs(found)
    typer.echo(table.read_text(encoding="utf-8"))
    typer.echo(f"table: {table}, page: {table.with_name('study.html')}")
    if failed := sum(bool(result.failure) for result in results):
        why = f"{failed} of {len(results)} cells have no result"
        raise RunFailed(found.name, why, "see the table, then start again with --resume")
