"""The commands put together, and their errors turned into exit codes."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any, NoReturn

import typer

from medray import __version__
from medray.cli import bench, data, evaluate, phantom, review, run, study, transform
from medray.errors import MedrayError

app = typer.Typer(
    name="medray",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Align medical vision-language models by on-policy, token-level preference optimisation.",
)
app.add_typer(run.app)
app.add_typer(evaluate.app)
app.add_typer(review.app)
app.add_typer(study.app)
app.add_typer(transform.app)
app.add_typer(data.app, name="data")
app.add_typer(bench.app, name="bench")
app.add_typer(phantom.app, name="phantom")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"medray {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    pass


def main() -> Any:
    """Run the command line: errors become one line on stderr and an exit code (SystemExit)."""
    # Telemetry and hub look-ups have no place beside sensitive data.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        return app(standalone_mode=True)
    except MedrayError as error:
        print(f"medray: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None


def run_and_exit() -> NoReturn:
    """Entry point of the process `medray`: `main`, and its exit code, which nothing changes.

    When `main` returns, a run is closed and its cluster stopped. Threads of Ray's native code may
    still run, and one that wakes while the interpreter is being taken down kills the process with
    a signal.
    """
    code: Any = 0
    try:
        main()
    except SystemExit as end:
        code = end.code
    if "ray" in sys.modules and (code is None or isinstance(code, int)):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code or 0)
    raise SystemExit(code)
