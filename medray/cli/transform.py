"""Parts of the method by themselves: the editor, the visual contrast, checkpoint conversion."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medray.errors import UserError

app = typer.Typer()


@app.command()
def edit(
    source: Annotated[Path, typer.Argument(metavar="IN.jsonl")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="OUT.jsonl")],
    seed: int = 0,
) -> None:
    """Edit answers: each line holds {question, gold, model_answer}."""
    from medray.editing.edit_file import edit_file

    counts = edit_file(source, out, seed=seed)
    typer.echo(", ".join(f"{n} {verdict}" for verdict, n in sorted(counts.items())))


@app.command()
def corrupt(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="F.png")],
    mask: Annotated[
        list[Path] | None, typer.Option(help="A PNG of the image's size marking the region.")
    ] = None,
    box: Annotated[
        list[str] | None, typer.Option(help="The region as x0,y0,x1,y1 in pixels.")
    ] = None,
    kind: Annotated[
        str, typer.Option(help="A corruption.kind, or all: a contact sheet of every kind.")
    ] = "gaussian",
    sigma: Annotated[float | None, typer.Option(help="Strength of noise or blur.")] = None,
    feather: Annotated[int | None, typer.Option(help="Width of the soft edge in pixels.")] = None,
    step: Annotated[int | None, typer.Option(help="Diffusion step, 1 to 1000.")] = None,
    crop_scale: Annotated[
        tuple[float, float] | None,
        typer.Option(help="Smallest and largest share of the area to keep."),
    ] = None,
    seed: int = 0,
) -> None:
    """Preview a corrupted image."""
    options = {"sigma": sigma, "feather": feather, "step": step, "crop_scale": crop_scale}
    masks, boxes = mask or [], [_box(text) for text in box or []]
    if kind == "all":
        from medray.imaging.corrupt_files.sheet import write_sheet

        write_sheet(images, out, masks=masks, boxes=boxes, seed=seed, **options)
        typer.echo(f"{out}: every kind")
        return
    if max(len(images), len(masks), len(boxes)) > 1:
        raise UserError("corrupt", "several images or regions", "give one, or --kind all")
    from medray.imaging.corrupt_files.corrupt_file import corrupt_file

    made = corrupt_file(
        images[0],
        out,
        mask=masks[0] if masks else None,
        box=boxes[0] if boxes else None,
        kind=kind,
        seed=seed,
        **options,
    )
    typer.echo(f"{out}: {made.kind}")


@app.command()
def convert(
    original: Annotated[Path, typer.Argument(help="LLaVA-Med v1.5 or HuatuoGPT-Vision-7B.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR")],
    vision_tower: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="A CLIP model, if ORIGINAL does not contain one."),
    ] = None,
) -> None:
    """Convert an original checkpoint into the transformers layout."""
    from medray.policy.conversion.convert import convert as run

    typer.echo(f"{out}: {run(original, out, vision_tower).line()}")


def _box(text: str) -> tuple[int, int, int, int]:
    try:
        x0, y0, x1, y1 = (int(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"--box {text}", "not four integers", "write x0,y0,x1,y1") from None
    return x0, y0, x1, y1
