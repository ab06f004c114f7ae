"""What a run leaves on a real terminal, at the widths that people have."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time

import pytest
from rich.cells import cell_len

from tests.support.paths import ROOT

TMUX = shutil.which("tmux")
SCRIPT = """
import os, time
from medray.report.console import RunConsole
from medray.report.progress import LOADING
from tests.unit.report.test_console import PLAN, Random
from tests.unit.report.test_report import evaluation_of, metrics_of
console = RunConsole(5)
console.plan(PLAN)
console.status(LOADING)
console.status("evaluating step 0")
console.evaluated(0, evaluation_of(0.0, 0))
for step in range(1, 6):
    console.step(step, metrics_of(step, 7, 1, Random()))
    if step == 3:
        open("half", "w").close()
        while not os.path.exists("go"):
            time.sleep(0.05)
console.status("evaluating step 5")
console.results({0: evaluation_of(0.0, 0), 5: evaluation_of(1.0, 5)})
console.say("report: runs/x/report.html")
open("done", "w").close()
time.sleep(60)
"""


class Screen:
    """A terminal of its own tmux server."""

    def __init__(self, folder, width):
        self.socket = folder / "tmux"
        (folder / "run.py").write_text(SCRIPT)
        command = f"PYTHONPATH={ROOT} {sys.executable} run.py"
        size = ("-x", str(width), "-y", "60")
        self.tmux("-f", "/dev/null", "new-session", "-d", *size, "-c", str(folder), command)

    def tmux(self, *arguments):
        command = [TMUX, "-u", "-S", str(self.socket), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def lines(self):
        return self.tmux("capture-pane", "-p").rstrip("\n").split("\n")


def wait_for(path):
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end, f"{path.name} did not happen"
        time.sleep(0.1)
    time.sleep(0.3)  # what was written before is on the screen


@pytest.mark.skipif(TMUX is None, reason="needs tmux")
@pytest.mark.parametrize("width", [60, 80, 200])
def test_what_stays_on_the_screen(tmp_path, width):
    screen = Screen(tmp_path, width)
    try:
        wait_for(tmp_path / "half")
        running = screen.lines()
        (tmp_path / "go").touch()
        wait_for(tmp_path / "done")
        ended = screen.lines()
    finally:
        screen.tmux("kill-server")
    assert running[-1].split(" · ")[1:] == ["step 4/5", "60% done"]
    assert running[-1].split(" · ")[0].endswith(" left")
    for lines, steps in ((running, 3), (ended, 5)):
        assert max(map(cell_len, lines)) <= width
        kept = [line for line in lines if line.startswith("step ")]
        assert [line.split(" · ")[0] for line in kept] == [f"step {n + 1}/5" for n in range(steps)]
        assert sum(line.startswith("evaluated step 0 · Reports right") for line in lines) == 1
        assert "".join(lines).count("     model  base (LlavaFor") == 1
    text = "\n".join(ended)
    assert "% done" not in text
    assert "evaluating step" not in text
    assert "loading the model" not in text
    assert "report: runs/x/report.html" in ended
    assert "Hallucination rate" in text
