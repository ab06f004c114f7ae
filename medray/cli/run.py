"""Commands of a run, from its configuration to its model and its report."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from medray.cli.common import (
    Address,
    ConfigPath,
    Overrides,
    Run,
    load_plan,
    load_settings,
    plan_of,
    require_actors,
)
from medray.errors import UserError
from medray.process import RunLock

app = typer.Typer()


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
) -> None:
    """Check everything that can be known before spending a GPU, its memory included."""
    plan = load_plan(config, overrides, resume=True)
    from medray.memory import found_gpu, longest_prompt, memory_lines
    from medray.report.console import RunConsole

    lines = plan.lines()
    if (gpu := gpu_memory or found_gpu()) is not None:
        tokens = longest_prompt(plan.model, plan.dataset.train)
        lines += memory_lines(plan.config, plan.model, tokens, gpu, generates=plan.generates)
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
    step: Annotated[int | None, typer.Option(help="Show only this step.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page instead of printing.")] = None,
) -> None:
    """Show the pairs that were trained on."""
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
