"""The command line, one file per group of commands.

Arguments are checked before anything heavy is imported; every error is one line and an exit code.
"""

from medray.cli.main import app, main, run_and_exit

__all__ = ["app", "main", "run_and_exit"]
