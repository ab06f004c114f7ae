"""No output ends a command: closed, full, unread, or of an encoding that lacks characters."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest
from rich.console import Console

from medray.errors import DataError
from medray.report.console import RunConsole
from medray.terminal import visible, without_controls
from tests.support.paths import ROOT

COMMAND = [sys.executable, "-m", "medray.cli"]
HOSTILE = "a\x1b]0;PWN\x07\x1b[2J\x9b\x00\r\u202e\u2066\u200b\ufeff\U000e0041z"


def run(shell, **environment):
    """(exit code, stderr) of a command whose stdout the shell redirects."""
    done = subprocess.run(
        ["bash", "-c", f'"$@" {shell}', "bash", *COMMAND, "edit", "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("shell", "code"), [(">&-", 0), (">&- 2>&- <&-", 0), ("> >(exec true)", 0), ("> /dev/full", 3)]
)
def test_streams_that_take_nothing(shell, code):
    returncode, err = run(shell)
    assert returncode == code
    assert "Traceback" not in err
    assert err.count("\n") <= 1


def test_an_encoding_that_lacks_characters():
    code = "from medray.terminal import lasting_output; lasting_output(); print('\\xb7 \\u2014')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": str(ROOT), "LC_ALL": "C", "PYTHONIOENCODING": "ascii"},
    )
    assert (done.returncode, done.stdout) == (0, b"\\xb7 \\u2014\n")


def test_nothing_hostile_reaches_a_terminal():
    stream = io.StringIO()
    console = RunConsole(3)
    console.console = Console(file=stream, soft_wrap=True)
    console.plan([("data", HOSTILE)])
    console.say(HOSTILE)
    console.status(HOSTILE)
    shown = [stream.getvalue(), visible(HOSTILE), str(DataError(HOSTILE, HOSTILE, HOSTILE))]
    for text in shown:
        assert all(c.isprintable() or c == "\n" for c in text), ascii(text)
    assert without_controls(HOSTILE) == "a]0;PWN[2J\rz"


def test_words_of_other_scripts_stay():
    for text in ("Lungenödem", "肺炎", "नमस्ते", "می‌خواهم", "👩‍⚕️", "a\tb\nc"):
        assert visible(text) == without_controls(text) == text
