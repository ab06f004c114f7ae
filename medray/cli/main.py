"""The commands put together, and their errors turned into exit codes."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import traceback
from typing import Annotated, Any, NoReturn

import typer

from medray import __version__
from medray.cli import bench, data, evaluate, phantom, review, run, study, transform
from medray.errors import MedrayError, RunFailed, UserError
from medray.files import disk_fault
from medray.process import closing, collect_rarely, stop_on_signals, supervise
from medray.terminal import lasting_output

WITH_RAY = ("launch", "study", "eval", "bench")  # commands that may start a cluster
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
    collect_rarely()
    try:
        with stop_on_signals():
            return app(standalone_mode=True)
    except MedrayError as error:
        end = error
    except OSError as error:
        end = disk_fault(error) or _of_file(error)
    except Exception as error:
        traceback.print_exc()
        what = f"{type(error).__name__}: {error}"
        end = RunFailed(what, "this is a bug in medray", "please report it with the lines above")
    with contextlib.suppress(OSError):  # a terminal that was closed
        print(f"medray: {end}", file=sys.stderr)
    raise SystemExit(end.exit_code)


def _of_file(error: OSError) -> MedrayError:
    """An error of a file that no part of medray foresaw."""
    what, why = str(error.filename or "medray")[:200], error.strerror or f"{error}"
    if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
        return UserError(what, why, "give another path")
    return RunFailed(what, why)


def run_and_exit() -> NoReturn:
    """Entry point of the process `medray`: `main`, and its exit code, which nothing changes but
    a result that could not be written.

    When `main` returns, a run is closed and its cluster stopped. Threads of Ray's native code may
    still run, and one that wakes while the interpreter is being taken down kills the process with
    a signal; so would a second request to stop.
    """
    code: Any = 0
    output = lasting_output()
    if sys.argv[1:2] and sys.argv[1] in WITH_RAY:
        supervise()
    with stop_on_signals():
        try:
            main()
        except SystemExit as end:
            code = end.code
        sys.stdout.flush()
        if output.full and code in (0, None):
            print("medray: standard output: no space left — make room", file=sys.stderr)
            code = 3
        closing()
        if "ray" in sys.modules and (code is None or isinstance(code, int)):
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code or 0)
    raise SystemExit(code)
