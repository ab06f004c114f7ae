"""`medray data`: datasets and preference pairs as Parquet files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from medray.cli.common import AsJson

Paths = Annotated[
    str,
    typer.Option(help="Images in OUT: absolute, relative (to its folder), or hashed (digests)."),
]
app = typer.Typer(no_args_is_help=True, help="Datasets and preference pairs as Parquet.")


@app.command("import")
def import_(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="For example slake, mmedpo, trl.")],
    source: Annotated[str, typer.Argument(metavar="PATH", help="The data as distributed.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="F.parquet")],
    images: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Images of preference pairs. Default: beside PATH."),
    ] = None,
    licence: Annotated[str, typer.Option(help="Licence of pairs that do not state one.")] = "",
    paths: Paths = "absolute",
) -> None:
    """Convert a dataset, or pairs of another project, into one Parquet file."""
    from medray.data.exchange import import_data

    done = import_data(kind, source, out, images=images, licence=licence, paths=paths)
    typer.echo(f"{out}: {done}")


@app.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="F.parquet")],
    images: Annotated[
        bool, typer.Option(help="Read every image, or only check that it exists.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Report counts, duplicates, unreadable images, leaks between splits, noise in the labels."""
    from medray.data.check import check_file

    result = check_file(file, images=images)
    typer.echo(json.dumps(result.as_json(), indent=1) if as_json else "\n".join(result.lines()))


@app.command()
def export(
    source: Annotated[Path, typer.Argument(metavar="F.parquet|RUN")],
    to: Annotated[str, typer.Option("--to", metavar="LAYOUT", help="trl, llama-factory or pairs.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="OUT")],
    paths: Paths = "absolute",
) -> None:
    """Convert pairs, or those of a run, into the layout of another trainer."""
    from medray.data.exchange import export_pairs

    typer.echo(f"{out}: {export_pairs(source, to, out, paths=paths)}")
