"""Requests to stop, by every usual signal, once and twice, in real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.support.paths import ROOT

START = (
    "import asyncio, contextlib, os, sys, time\n"
    "from medray.errors import MedrayError\n"
    "from medray.process import current_signals, stop_on_signals\n"
    "def say(text): print(text, flush=True)\n"
)
END = "except MedrayError as error:\n    say(error)\n    os._exit(error.exit_code)\n"
SLOW = "try:\n  with stop_on_signals():\n    say('ready')\n    time.sleep(60)\n" + END
DEAF = (  # a library that takes every exception for its own
    "try:\n  with stop_on_signals():\n    while True:\n"
    "      with contextlib.suppress(BaseException): say('ready'); time.sleep(60)\n" + END
)
LOOP = (
    "async def main():\n"
    "  from actors.loop.stop import Stop\n"
    "  stop = Stop(20.0)\n"
    "  with stop.on_signals():\n"
    "    say('ready')\n"
    "    with contextlib.suppress(MedrayError): await stop.cancel_on_stop(asyncio.sleep(60))\n"
    "    await asyncio.sleep(1.0)\n"
    "    say('saved')\n"
    "    stop.check()\n"
    "try:\n  with stop_on_signals():\n    asyncio.run(main())\n" + END
)


def run(code: str, *signals: int, ignore: tuple[int, ...] = (), pause: float = 0.3):
    """(exit code, output, seconds after the first signal) of a command that gets `signals`."""

    def prepare() -> None:
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN if number in ignore else signal.SIG_DFL)

    process = subprocess.Popen(
        [sys.executable, "-c", START + code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=prepare,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        start = time.monotonic()
        for number in signals:
            os.kill(process.pid, number)
            time.sleep(pause)
        out, _ = process.communicate(timeout=30)
        return process.returncode, out, time.monotonic() - start
    finally:
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_before_there_is_something_to_save_a_command_stops_at_once(number):
    code, out, seconds = run(SLOW, number)
    assert (code, out.count("\n")) == (75, 1)
    assert out.startswith("stopped: as requested")
    assert seconds < 10.0


def test_a_command_that_does_not_listen_is_ended():
    code, out, seconds = run(DEAF, signal.SIGTERM)
    assert code == 75
    assert "medray: stopped: as requested" in out
    assert seconds < 20.0


@pytest.mark.parametrize("numbers", [(signal.SIGTERM,) * 2, (signal.SIGINT,) * 3, (1, 2, 15)])
def test_a_loop_saves_first_and_further_requests_change_nothing(numbers):
    code, out, _ = run(LOOP, *numbers)
    assert code == 75, out
    assert out.startswith("saved\n")
    assert "Traceback" not in out


def test_nohup_is_respected():
    code, out, _ = run(SLOW.replace("60", "2"), signal.SIGHUP, ignore=(signal.SIGHUP,))
    assert (code, out) == (0, "")
