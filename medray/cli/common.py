"""What several groups of commands share: arguments, the checked plan, progress, results."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medray.errors import UserError

if TYPE_CHECKING:
    from medray.config import Config
    from medray.manifest import Checked
    from medray.plan import Plan

ConfigPath = Annotated[str, typer.Argument(metavar="CONFIG", help="A YAML file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Settings to change, e.g. loop.steps=5."),
]
Run = Annotated[str, typer.Argument(metavar="RUN", help="The directory of a run.")]
Address = Annotated[
    str | None, typer.Option(help="The Ray cluster to join. Default: start a local one.")
]
OF_A_RAY_JOB = ("RAY_JOB_CONFIG_JSON_ENV_VAR", "RAY_JOB_SUBMISSION_ID")  # variables
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def load_settings(config: str, overrides: list[str] | None) -> Config:
    """The configuration, checked as far as nothing heavy has to be imported."""
    from medray.config import load_config

    settings = load_config(config, overrides or [], _foreign_keys)
    places = {"run.output": settings.run.output, "data.path": settings.data.path}
    for key, place in (places | {"model.path": settings.model.path}).items():
        if (place or "").startswith("~"):
            why = "~ is not expanded: it would be a folder of this name"
            raise UserError(f"{key} = {place}", why, "write your home out")
    return settings


def require_lasting_output(key: str, output: str) -> None:
    """Refuse a relative path within a Ray job: it would be in Ray's copy of the working directory,
    or in the container, where nobody finds it and no other node sees it."""
    if os.path.isabs(output) or not any(name in os.environ for name in OF_A_RAY_JOB):
        return
    raise UserError(
        f"{key} = {output}",
        "is relative, and this is a Ray job: its working directory is a copy that Ray deletes",
        f"an absolute path on storage that all nodes share, such as {key}=/mnt/runs",
    )


def load_plan(config: str, overrides: list[str] | None, *, resume: bool) -> Plan:
    """The checked plan; the YAML is refused before anything heavy is imported."""
    return plan_of(load_settings(config, overrides), resume=resume)


def plan_of(settings: Config, *, resume: bool) -> Plan:
    """The checked plan of a configuration, and what of its dataset cannot be used."""
    from medray.data.quality import with_usability
    from medray.objectives import answers_needed, needs_of
    from medray.plan import make_plan
    from medray.tracking import require_trackers

    require_trackers(settings.run.trackers)
    plan = make_plan(settings, resume=resume)
    imitates = needs_of(settings.objective).chosen == "reference"
    where = plan.config.data.path or "data.path"
    references = imitates or answers_needed(settings)
    return replace(plan, dataset=with_usability(plan.dataset, where, references=references))


def checked_manifest(path: str, config: str, overrides: list[str] | None) -> Checked:
    """A manifest without mistakes; else each is a line on stderr, and the command ends."""
    from medray.manifest import check_manifest

    def load(entrypoint: list[str] | None) -> Config:
        return load_settings(config, overrides if entrypoint is None else entrypoint)

    checked = check_manifest(path, config, load)
    _end_with(checked.mistakes)
    return checked


def require_memory_of_pods(checked: Checked, plan: Plan) -> None:
    """End the command if the pods of a manifest have less memory than the run takes."""
    from medray.memory import longest_prompt

    tokens = longest_prompt(plan.model, plan.dataset.train)
    _end_with(checked.memory_mistakes(plan.model, tokens, generates=plan.generates))


def _end_with(mistakes: Sequence[UserError]) -> None:
    for mistake in mistakes:
        typer.echo(f"medray: {mistake}", err=True)
    if mistakes:
        raise typer.Exit(UserError.exit_code)


def _foreign_keys(name: str, keys: list[str]) -> list[str]:
    """The hyper-parameters that an objective does not have, as printed: they are dropped."""
    from medray.objectives import OBJECTIVES

    if name not in OBJECTIVES:
        return []  # refused later
    foreign = [key for key in keys if key not in OBJECTIVES[name].hyperparameters]
    if foreign:
        named = ", ".join(f"objective.{key}" for key in foreign)
        typer.echo(f"{name} does not have {named}: dropped", err=True)
    return foreign


def require_actors() -> None:
    """Refuse another project's package `actors` in the place of medray's, before it is run."""
    own = Path(__file__).resolve().parents[2] / "actors"
    init = own / "__init__.py"
    if not init.exists() or "medray" not in init.read_text(encoding="utf-8", errors="replace"):
        raise UserError(
            "the package `actors`",
            f"what is in {own} is not medray's",
            "uninstall the project that put it there, then install medray again",
        )
    spec = find_spec("actors")
    places = [spec.origin or "", *(spec.submodule_search_locations or [])] if spec else []
    found = next(filter(None, places), "nothing")
    if Path(found).resolve() not in (init, own):
        raise UserError(
            "the package `actors`",
            f"{found} is another project's, and hides medray's",
            "start the command in another folder, or uninstall that project",
        )


def progress(*, quiet: bool) -> Callable[[str], None]:
    """Prints a line on stderr if a person is watching it."""
    silent = quiet or not sys.stderr.isatty()
    return lambda text: None if silent else typer.echo(text, err=True)


def print_result(
    result: dict[str, Any], *, as_json: bool, show: Callable[[dict[str, Any]], None]
) -> None:
    """The result of a benchmark, for programs or for people."""
    typer.echo(json.dumps(result, indent=1)) if as_json else show(result)
