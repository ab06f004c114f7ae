"""Commands of a run, from its configuration to its model and its report."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from medray.cli.common import (
    Address,
    ConfigPath,
    Overrides,
    Run,
    checked_manifest,
    load_plan,
    load_settings,
    plan_of,
    require_actors,
    require_lasting_output,
    require_memory_of_pods,
)
from medray.errors import UserError
from medray.process import RunLock

if TYPE_CHECKING:
    from medray.report import PairFilter

app = typer.Typer()
Status = Literal["trained", "skipped", "dropped", "all"]
Sort = Literal["step", "loss", "relevance"]


@app.command()
def init(
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="Which one; an unknown name lists them all.")
    ] = "quickstart",
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="F.yaml", help="Default: NAME.yaml.")
    ] = None,
) -> None:
    """Write a configuration to start from."""
    from medray.files import output_file

    shipped = resources.files("medray") / "configs"
    known = sorted(f.name.removesuffix(".yaml") for f in shipped.iterdir() if f.is_file())
    name = name.replace("-", "_")
    if name not in known:
        raise UserError(
            f"medray init {name}", "no such configuration", f"one of {', '.join(known)}"
        )
    out = out or Path(f"{name}.yaml")
    if out.exists():
        raise UserError(str(out), "exists already", "give another path with -o")
    with output_file(out) as temporary:
        temporary.write_bytes((shipped / f"{name}.yaml").read_bytes())
    commands = f"`medray check {out}` and `medray launch {out}`"
    if name == "study":
        commands = f"`medray study {out}`"
    typer.echo(f"{out}: edit it, then run {commands}")


@app.command()
def launch(
    config: ConfigPath,
    overrides: Overrides = None,
    resume: Annotated[bool, typer.Option(help="Continue from the newest checkpoint.")] = False,
    address: Address = None,
    dashboard: Annotated[
        bool, typer.Option("--dashboard", help="Start Ray's dashboard with a local cluster.")
    ] = False,
) -> None:
    """Run the loop: plan, progress, before/after table, report."""
    require_actors()
    settings = load_settings(config, overrides)
    require_lasting_output("run.output", settings.run.output)
    with RunLock(settings.run_dir):  # a second driver is refused before anything slow
        plan = plan_of(settings, resume=resume)
        from actors.launch import launch as run

        run(plan, resume=resume, address=address, dashboard=dashboard)


@app.command()
def check(
    config: ConfigPath,
    overrides: Overrides = None,
    gpu_memory: Annotated[
        float | None,
        typer.Option(min=1, help="Memory of one GPU in GiB. Default: of the GPU found here."),
    ] = None,
    manifest: Annotated[
        str | None,
        typer.Option(metavar="F", help="A RayJob or RayCluster: a file, a kustomization, or -."),
    ] = None,
) -> None:
    """Check everything that can be known before spending a GPU, its memory included."""
    cluster = None if manifest is None else checked_manifest(manifest, config, overrides)
    plan = load_plan(config, overrides, resume=True)
    from medray.memory import disk_line, found_gpu, longest_answer, longest_prompt, memory_lines
    from medray.objectives import answers_needed
    from medray.report.console import RunConsole

    lines = [*plan.lines(), disk_line(plan.config, plan.model)]
    if (gpu := gpu_memory or found_gpu()) is not None:
        cases, sampled = plan.dataset.train, answers_needed(plan.config)
        lines += memory_lines(
            plan.config,
            plan.model,
            longest_prompt(plan.model, cases),
            gpu,
            generates=plan.generates,
            answer_tokens=None if sampled else longest_answer(plan.model, cases),
        )
    if cluster is not None:
        require_memory_of_pods(cluster, plan)
        lines += cluster.lines()
    RunConsole(plan.config.loop.steps).plan(lines)


@app.command()
def export(
    run: Run,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR")],
    step: Annotated[int | None, typer.Option(help="Checkpoint step. Default: the newest.")] = None,
    adapter: Annotated[
        bool, typer.Option("--adapter", help="Write the LoRA adapter only.")
    ] = False,
) -> None:
    """Write the trained model as a Hugging Face checkpoint, merged, or its adapter."""
    require_actors()
    from actors.export import export_model

    path = export_model(
        Path(run), out, step=step, adapter=adapter, report=lambda text: typer.echo(text, err=True)
    )
    typer.echo(f"{out}: {'adapter' if adapter else 'merged model'} of {path.name}")


@app.command()
def pairs(
    run: Run,
    step: Annotated[
        str | None, typer.Option(metavar="N or N-M", help="Only this step, or these.")
    ] = None,
    error_type: Annotated[
        list[str] | None, typer.Option("--type", metavar="TYPE", help="Only edits of this type.")
    ] = None,
    status: Annotated[
        Status | None, typer.Option(help="Default: trained and skipped, which are pairs.")
    ] = None,
    reason: Annotated[
        list[str] | None,
        typer.Option(metavar="REASON", help="Only dropped for this reason, or its beginning."),
    ] = None,
    answer: Annotated[
        Literal["right", "wrong"] | None, typer.Option(help="What the policy's answer was.")
    ] = None,
    min_relevance: Annotated[float | None, typer.Option(metavar="X")] = None,
    min_loss: Annotated[float | None, typer.Option(metavar="X")] = None,
    search: Annotated[str, typer.Option(metavar="TEXT", help="In any text or id.")] = "",
    by_token: Annotated[
        bool, typer.Option("--by-token", help="Only with log-ratios by token.")
    ] = False,
    sort: Annotated[Sort, typer.Option(help="By step, or the highest first.")] = "step",
    limit: Annotated[int | None, typer.Option(min=1, help="Show at most so many.")] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="F", help="Write a page with images instead.")
    ] = None,
    images: Annotated[bool, typer.Option(help="Whether the page holds images.")] = True,
) -> None:
    """Show the pairs that were trained on, or those that were dropped."""
    from medray.report import PairFilter, write_pairs_page
    from medray.rundir import RunDirectory

    path = RunDirectory.open(run).path
    wanted = PairFilter(
        steps=_steps(step),
        error_types=tuple(error_type or ()),
        statuses=_statuses(status, bool(reason)),
        reasons=tuple(reason or ()),
        answer=answer,
        min_relevance=min_relevance,
        min_loss=min_loss,
        text=search,
        by_token=by_token,
    )
    if html is None:
        _print_pairs(path, wanted, sort, limit)
    else:
        page = write_pairs_page(path, html, wanted, order=sort, limit=limit, images=images)
        typer.echo(page)


def _print_pairs(path: Path, wanted: PairFilter, sort: Sort, limit: int | None) -> None:
    """One after the other, so that a run of any length can be shown."""
    from rich.console import Console

    from medray.report import find_rows, pair_text, read_rows
    from medray.rundir import RunDirectory

    run, console = RunDirectory(path), Console(highlight=False)
    piped = not console.is_terminal  # a line stays in one piece, for grep
    found = find_rows(run, wanted)
    if len(found) == 0:
        console.print("No such pairs.")
        return
    shown = found.by(sort).first(limit)
    for row in read_rows(run, shown):
        console.print(pair_text(row), end="\n\n", soft_wrap=piped)
    rest = f" of {len(found):,}" if len(shown) < len(found) else ""
    console.print(f"{len(shown):,}{rest} rows", style="dim")


def _statuses(status: Status | None, by_reason: bool) -> tuple[str, ...]:
    from medray.report.pairs.selection import WITH_A_PAIR

    if status == "all" or (status is None and by_reason):
        return ("trained", "skipped", "dropped")
    return WITH_A_PAIR if status is None else (status,)


def _steps(text: str | None) -> tuple[int, int] | None:
    """ "3" or "3-7", both included."""
    if text is None:
        return None
    first, _, last = text.partition("-")
    if not (first.isdecimal() and (last or first).isdecimal()):
        raise UserError(f"--step {text}", "is not a step", "give one, such as 3, or several: 3-7")
    return int(first), int(last or first)


@app.command()
def report(
    run: Run,
    against: Annotated[
        str | None, typer.Option(metavar="RUN", help="Compare with this run.")
    ] = None,
    images: Annotated[
        bool, typer.Option(help="Without, no image leaves the place of the data.")
    ] = True,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="F", help="Default: RUN/report.html.")
    ] = None,
) -> None:
    """Write report.html again."""
    from medray.report import write_report

    typer.echo(write_report(Path(run), against=against, images=images, out=out))
