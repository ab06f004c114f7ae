"""The command line. Arguments are checked before anything heavy is imported."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medray.errors import MedrayError, UserError

if TYPE_CHECKING:
    from medray.plan import Plan

app = typer.Typer(
    name="medray", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="Align medical vision-language models by on-policy, token-level preference optimisation.",
)  # fmt: skip
phantom = typer.Typer(no_args_is_help=True, help="Synthetic studies and the tiny base model.")
app.add_typer(phantom, name="phantom")
bench = typer.Typer(no_args_is_help=True, help="Benchmarks, as ratios against the usual ways.")
app.add_typer(bench, name="bench")
data = typer.Typer(no_args_is_help=True, help="Datasets and preference pairs as Parquet.")
app.add_typer(data, name="data")

ConfigPath = Annotated[str, typer.Argument(metavar="CONFIG", help="A YAML file.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="e.g. loop.steps=5")
]
Run = Annotated[str, typer.Argument(metavar="RUN", help="The directory of a run.")]


@app.command()
def launch(
    config: ConfigPath,
    overrides: Overrides = None,
    resume: Annotated[bool, typer.Option(help="Go on from the newest checkpoint.")] = False,
    address: Annotated[str | None, typer.Option(help="A Ray cluster; default: its own.")] = None,
) -> None:
    """The run: plan, progress, before/after table, report."""
    _require_actors()
    plan = _plan(config, overrides, resume=resume)
    from actors.launch import launch as run

    run(plan, resume=resume, address=address)


@app.command()
def check(config: ConfigPath, overrides: Overrides = None) -> None:
    """Everything that can be known before spending a GPU."""
    plan = _plan(config, overrides, resume=True)
    from medray.report.console import RunConsole

    RunConsole(plan.config.loop.steps).plan(plan.lines())


@app.command("eval")
def evaluate(
    config: ConfigPath,
    checkpoint: Annotated[Path, typer.Option(metavar="DIR", help="checkpoints/step-NNNNNN")],
    overrides: Overrides = None,
    answers: Annotated[
        Path | None, typer.Option(help="Write the answers, one JSON a line.")
    ] = None,
    address: Annotated[str | None, typer.Option(help="A Ray cluster; default: its own.")] = None,
) -> None:
    """One checkpoint on the held-out part of one dataset; prints JSON."""
    import json

    _require_actors()
    plan = _plan(config, overrides, resume=True)
    from actors.launch import evaluate_checkpoint

    result, said = evaluate_checkpoint(plan, checkpoint, address=address)
    if answers is not None:
        lines = [json.dumps({"case_id": case, "answer": text}) for case, text in said.items()]
        answers.write_text("\n".join(lines) + "\n", encoding="utf-8")
    typer.echo(json.dumps(result, indent=1))


@app.command()
def export(
    run: Run,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR")],
    step: Annotated[int | None, typer.Option(help="Of a checkpoint; default: the newest.")] = None,
    adapter: Annotated[bool, typer.Option("--adapter", help="The LoRA adapter alone.")] = False,
) -> None:
    """The trained model as a Hugging Face checkpoint, merged, or its adapter."""
    _require_actors()
    from actors.release import release

    path = release(Path(run), out, step=step, adapter=adapter)
    typer.echo(f"{out}: {'adapter' if adapter else 'merged model'} of {path.name}")


@app.command()
def edit(
    source: Annotated[Path, typer.Argument(metavar="IN.jsonl")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="OUT.jsonl")],
    seed: int = 0,
) -> None:
    """The editor alone, on lines of {question, gold, model_answer}."""
    from medray.editing.batch import edit_file

    counts = edit_file(source, out, seed=seed)
    typer.echo(", ".join(f"{n} {verdict}" for verdict, n in sorted(counts.items())))


@app.command()
def pairs(
    run: Run,
    step: Annotated[int | None, typer.Option(help="Only this step.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page instead.")] = None,
) -> None:
    """Look at what was trained on."""
    from rich.console import Console

    from medray.ledger import read_ledger
    from medray.report import pairs_text, write_pairs_page
    from medray.rundir import RunDirectory

    path = RunDirectory.open(run).path
    if html is not None:
        typer.echo(write_pairs_page(path, html, step=step))
        return
    Console().print(pairs_text(read_ledger(path), step))


@app.command()
def report(run: Run) -> None:
    """Write report.html again."""
    from medray.report import write_report

    typer.echo(write_report(Path(run)))


@app.command()
def corrupt(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="F.png")],
    mask: Annotated[list[Path] | None, typer.Option(help="PNG of the image's size.")] = None,
    box: Annotated[list[str] | None, typer.Option(help="x0,y0,x1,y1 in pixels.")] = None,
    kind: Annotated[
        str, typer.Option(help="As corruption.kind; all: a contact sheet of IMAGES.")
    ] = "gaussian",
    sigma: Annotated[float | None, typer.Option(help="Strength of noise or blur.")] = None,
    feather: Annotated[int | None, typer.Option(help="Width of the soft edge, pixels.")] = None,
    step: Annotated[int | None, typer.Option(help="Of diffusion, 1 to 1000.")] = None,
    crop_scale: Annotated[
        tuple[float, float] | None, typer.Option(help="Least and most share of the area.")
    ] = None,
    seed: int = 0,
) -> None:
    """The visual contrast alone, to look at."""
    options = {"sigma": sigma, "feather": feather, "step": step, "crop_scale": crop_scale}
    masks, boxes = mask or [], [_box(text) for text in box or []]
    if kind == "all":
        from medray.imaging.sheet import write_sheet

        write_sheet(images, out, masks=masks, boxes=boxes, seed=seed, **options)
        typer.echo(f"{out}: every kind")
        return
    if max(len(images), len(masks), len(boxes)) > 1:
        raise UserError("corrupt", "several images or regions", "give one, or --kind all")
    from medray.imaging.corrupt_file import corrupt_file

    made = corrupt_file(
        images[0], out, mask=masks[0] if masks else None, box=boxes[0] if boxes else None,
        kind=kind, seed=seed, **options,
    )  # fmt: skip
    typer.echo(f"{out}: {made.kind}")


@app.command()
def convert(
    original: Annotated[Path, typer.Argument(help="LLaVA-Med v1.5 or HuatuoGPT-Vision-7B.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR")],
    vision_tower: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A CLIP, where ORIGINAL brings none.")
    ] = None,
) -> None:
    """An original checkpoint into the transformers layout."""
    from medray.policy.convert import convert as run

    typer.echo(f"{out}: {run(original, out, vision_tower).line()}")


@phantom.command("write")
def phantom_write(
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR")],
    seed: int = 0,
    train: Annotated[int, typer.Option(help="Training studies.")] = 320,
    heldout: Annotated[int, typer.Option(help="Held-out studies.")] = 512,
) -> None:
    """Write a dataset of phantoms."""
    from medray.phantom.dataset import write_dataset

    write_dataset(out, seed=seed, n_train=train, n_heldout=heldout)
    typer.echo(out)


@phantom.command("build")
def phantom_build(
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR")], seed: int = 0
) -> None:
    """Train the tiny base model from a seed (about ten minutes on two cores)."""
    from medray.phantom.recipe import build_base

    figures = build_base(out, seed=seed, progress=typer.echo)
    typer.echo(", ".join(f"{name} {value:.3g}" for name, value in figures.items()))


@data.command("import")
def data_import(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="e.g. slake, mmedpo, trl")],
    source: Annotated[str, typer.Argument(metavar="PATH", help="As it is distributed.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="F.parquet")],
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Of pairs; default: beside PATH.")
    ] = None,
    licence: Annotated[str, typer.Option(help="Of pairs that do not say theirs.")] = "",
) -> None:
    """A dataset, or pairs of another project, into one Parquet file."""
    from medray.data.exchange import import_data

    typer.echo(f"{out}: {import_data(kind, source, out, images=images, licence=licence)}")


@data.command("check")
def data_check(
    file: Annotated[Path, typer.Argument(metavar="F.parquet")],
    images: Annotated[bool, typer.Option(help="Read every image; or only look for it.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Counts, duplicates, unreadable images, leaks between splits, noise in the labels."""
    import json

    from medray.data.check import check_file

    result = check_file(file, images=images)
    typer.echo(json.dumps(result.as_json(), indent=1) if as_json else "\n".join(result.lines()))


@data.command("export")
def data_export(
    file: Annotated[Path, typer.Argument(metavar="F.parquet")],
    to: Annotated[str, typer.Option("--to", metavar="LAYOUT", help="trl or llama-factory.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="OUT")],
) -> None:
    """Pairs into the layout of another trainer."""
    from medray.data.exchange import export_pairs

    typer.echo(f"{out}: {export_pairs(file, to, out)}")


@bench.command("learner")
def bench_learner(
    objective: Annotated[str, typer.Option(help="Any objective by its name.")] = "fire",
    shape: Annotated[
        str, typer.Option(help="small, tiny, llava-med-7b, tiny-qwen2.5-vl or qwen2.5-vl-7b.")
    ] = "small",
    batch: Annotated[int, typer.Option(help="Pairs.")] = 4,
    prompt: Annotated[int, typer.Option(help="Tokens behind the image.")] = 30,
    common: Annotated[int, typer.Option(help="Tokens that both answers begin with.")] = 20,
    tail: Annotated[int, typer.Option(help="Tokens that follow.")] = 40,
    edited: Annotated[int, typer.Option(help="Tokens that differ, at the tail's start.")] = 6,
    vocab: Annotated[int | None, typer.Option(help="Default: the shape's.")] = None,
    image_tokens: Annotated[int | None, typer.Option(help="Default: the shape's.")] = None,
    repeats: Annotated[int, typer.Option(help="Timed, after a warm-up.")] = 5,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    dtype: Annotated[str | None, typer.Option(help="float32 or bfloat16.")] = None,
    sweep: Annotated[bool, typer.Option("--sweep", help="Also change one size at a time.")] = False,
    trl: Annotated[bool, typer.Option("--trl/--no-trl", help="Where it is installed.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """One forward and backward pass on pairs: medray, every branch by itself, and TRL."""
    import json

    from medray.bench.task import make_task

    task = make_task(
        shape, objective=objective, batch=batch, prompt=prompt, common=common, tail=tail,
        edited=edited, vocabulary=vocab, image_tokens=image_tokens, repeats=repeats,
        device=device, dtype=dtype,
    )  # fmt: skip
    from medray.bench.console import show_learner
    from medray.bench.learner import run_learner

    quiet = as_json or not sys.stderr.isatty()
    result = run_learner(
        task, with_trl=trl, sweep=sweep,
        progress=lambda text: None if quiet else typer.echo(text, err=True),
    )  # fmt: skip
    typer.echo(json.dumps(result, indent=1)) if as_json else show_learner(result)


@bench.command("edit")
def bench_edit(
    answers: Annotated[
        Path | None, typer.Option(metavar="F.jsonl", help="Default: real ones, or built-in ones.")
    ] = None,
    size: Annotated[int, typer.Option(help="Of the image, pixels a side.")] = 512,
    feather: Annotated[int, typer.Option(help="Pixels.")] = 0,
    repeats: Annotated[int, typer.Option(help="Timed, after a warm-up.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Corrupted images and edited answers per second of one core."""
    import json

    from medray.bench.edit import run_edit, show_edit

    result = run_edit(answers=answers, size=size, feather=feather, repeats=repeats)
    typer.echo(json.dumps(result, indent=1)) if as_json else show_edit(result)


@bench.command("loop")
def bench_loop(
    generators: Annotated[str, typer.Option(help="Simulated ones, several counts.")] = "1,4,16,64",
    steps: Annotated[int, typer.Option(help="Of the real loop.")] = 20,
    batch: Annotated[int, typer.Option(help="Cases per step of the real loop.")] = 16,
    responses: Annotated[int, typer.Option(help="Answers to each of them.")] = 4,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """The driver's cost per answer with many generators, and what overlapping the stages gains."""
    import json

    from medray.bench.loop import LoopTask, show_loop

    _require_actors()
    if not all(part.strip().isdigit() for part in generators.split(",")):
        raise UserError(f"--generators {generators}", "not whole numbers", "write 1,4,16,64")
    counts = tuple(int(part) for part in generators.split(","))
    task = LoopTask(generators=counts, steps=steps, batch=batch, responses=responses)
    from actors.bench_loop import run_loop

    quiet = as_json or not sys.stderr.isatty()
    result = run_loop(task, lambda text: None if quiet else typer.echo(text, err=True))
    typer.echo(json.dumps(result, indent=1)) if as_json else show_loop(result)


@bench.command("sync")
def bench_sync(
    gigabytes: Annotated[float, typer.Option(help="Weights that move, 10^9 bytes at least.")] = 1.0,
    generators: Annotated[int, typer.Option(help="Beside one, so many at a time.")] = 2,
    repeats: Annotated[int, typer.Option(help="Updates timed, after a warm-up.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """One weight update from a learner to vLLM, beside a plain copy in memory."""
    import json

    from medray.bench.sync import SyncTask, show_sync

    _require_actors()
    task = SyncTask(gigabytes, generators, repeats)
    from actors.bench_sync import run_sync

    quiet = as_json or not sys.stderr.isatty()
    result = run_sync(task, lambda text: None if quiet else typer.echo(text, err=True))
    typer.echo(json.dumps(result, indent=1)) if as_json else show_sync(result)


def _require_actors() -> None:
    """Refuse another project's package `actors` in the place of medray's, before it is run."""
    from importlib.util import find_spec

    own = Path(__file__).resolve().parents[1] / "actors"
    init = own / "__init__.py"
    if not init.exists() or "medray" not in init.read_text(encoding="utf-8", errors="replace"):
        raise UserError(
            "the package `actors`", f"what is in {own} is not medray's",
            "uninstall the project that put it there, then install medray again",
        )  # fmt: skip
    spec = find_spec("actors")
    places = [spec.origin or "", *(spec.submodule_search_locations or [])] if spec else []
    found = next(filter(None, places), "nothing")
    if Path(found).resolve() not in (init, own):
        raise UserError(
            "the package `actors`", f"{found} is another project's, and hides medray's",
            "start the command in another folder, or uninstall that project",
        )  # fmt: skip


def _plan(config: str, overrides: list[str] | None, *, resume: bool) -> Plan:
    """The checked plan; the YAML is refused before anything heavy is imported."""
    from medray.config import load_config

    parsed = load_config(config, overrides or [])
    from medray.plan import make_plan

    return make_plan(parsed, resume=resume)


def _box(text: str) -> tuple[int, int, int, int]:
    try:
        x0, y0, x1, y1 = (int(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"--box {text}", "not four integers", "write x0,y0,x1,y1") from None
    return x0, y0, x1, y1


def main() -> Any:
    """Entry point: errors become one line on stderr and an exit code."""
    # Telemetry and hub look-ups have no place beside sensitive data.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        return app(standalone_mode=True)
    except MedrayError as error:
        print(f"medray: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None


if __name__ == "__main__":
    main()
