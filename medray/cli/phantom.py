"""`medray phantom`: the synthetic studies and the tiny base model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medray.config import PhantomStyle
from medray.errors import UserError
from medray.phantom import FamilyName

Style = Annotated[PhantomStyle, typer.Option(help="Short reports, or paragraphs.")]

app = typer.Typer(no_args_is_help=True, help="Synthetic studies and the tiny base model.")


@app.command()
def write(
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR")],
    seed: int = 0,
    train: Annotated[int, typer.Option(help="Number of training studies.")] = 320,
    heldout: Annotated[int, typer.Option(help="Number of held-out studies.")] = 512,
    style: Style = "short",
) -> None:
    """Write a dataset of phantoms."""
    from medray.phantom.dataset import write_dataset

    write_dataset(out, seed=seed, n_train=train, n_heldout=heldout, style=style)
    typer.echo(out)


@app.command()
def build(
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR")],
    seed: int = 0,
    style: Style = "short",
    family: Annotated[
        FamilyName | None, typer.Option(help="Of the decoder.", show_default="mistral")
    ] = None,
    language: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A chat model to begin with as the decoder.")
    ] = None,
) -> None:
    """Train a base model from a seed: ten to twenty minutes on two cores, an hour from DIR."""
    from medray.phantom.training.recipe import LANGUAGE_BASE, RECIPES, build_base

    if language is not None:
        if family is not None or style != LANGUAGE_BASE.style:
            what = "--family" if family is not None else f"--style {style}"
            raise UserError(what, "not with --language", "leave one of them out")
        recipe = LANGUAGE_BASE
    else:
        key = (style, family or "mistral")
        if key not in RECIPES:
            known = ", ".join("/".join(each) for each in RECIPES)
            raise UserError("/".join(key), "no recipe", f"there are: {known}")
        recipe = RECIPES[key]
    figures = build_base(out, seed=seed, progress=typer.echo, recipe=recipe, language=language)
    typer.echo(", ".join(f"{name} {value:.3g}" for name, value in figures.items()))


@app.command("build-localiser")
def build_localiser(
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR")], seed: int = 0
) -> None:
    """Train the tiny localiser from a seed (a few minutes on one core)."""
    from medray.phantom.training.localiser.recipe import build_localiser as build

    figures = build(out, seed=seed, progress=typer.echo)
    typer.echo(", ".join(f"{name} {value:.3g}" for name, value in figures.items()))


@app.command()
def verify(run: Annotated[Path, typer.Argument(metavar="RUN")]) -> None:
    """Read every sentence that a run on paragraphs taught, against the known truth."""
    from medray.phantom.verification import verify_run

    result = verify_run(run)
    for what, pair_id, text in result.findings:
        typer.echo(f"{what}  {pair_id}  {text}")
    typer.echo(
        f"{result.pairs} pairs; chosen sentences: {result.true} true, {result.false} false, "
        f"{result.unread} unread, {result.unworded} not one of the wordings; "
        f"{result.against_prefix} chosen sides against their prefix, "
        f"{result.rejected_true} rejected sides that are true, {result.rejected_unread} unread"
    )
