"""README's cluster, as printed: a head with a token, jobs that are submitted, stopped and resumed,
and one that waits for a second node."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from tests.support.paths import ROOT
from tests.support.processes.killing import fates, require_whole
from tests.support.processes.running import Finished, environment, free_port

# The whole quickstart and three more runs, behind the ports that `ray start --head` has by default.
# Where others have them: unshare -n sh -c 'ip link set lo up; exec pytest …'. No namespace of
# processes without an init that reaps: Ray waits for the zombies of a job that has ended.
pytestmark = [
    pytest.mark.ray,
    pytest.mark.vllm,
    pytest.mark.deepspeed,
    pytest.mark.chaos,
    pytest.mark.timeout(2400),
]

PORTS = (6379, 8265, 52365)  # of the head, of its dashboard, and of the agent that takes jobs
NO_AGENT = "No available agent to submit job"
NEW_TERMINAL = "export RAY_AUTH_MODE=token"
SMALL = ("loop.batch=12", "eval.n=8", "eval.every=0")


def readme_commands() -> list[str]:
    """The lines of the block that README has for a cluster."""
    section = (ROOT / "README.md").read_text().split("## On a cluster")[1]
    (block,) = re.findall(r"```sh\n(.*?)```", section.split("\n## ")[0], re.S)
    return block.splitlines()


@dataclass
class Machine:
    """A copy of the repository with an environment, and a home directory of its own."""

    folder: Path  # short: Ray's sockets are in it
    home: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def copy(self) -> Path:
        return self.home / "medray"

    @property
    def env(self) -> dict[str, str]:
        own = {"HOME": str(self.home), "RAY_TMPDIR": str(self.folder), **self.variables}
        return environment(**own) | {"RAY_USAGE_STATS_ENABLED": "0"}

    def prepare(self) -> None:
        files = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines()
        for name in files:
            if not name.startswith("tests/") and (ROOT / name).is_file():
                (self.copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, self.copy / name)
        scripts = self.copy / ".venv" / "bin"
        scripts.mkdir(parents=True)
        (scripts / "activate").write_text(f'export PATH="{Path(sys.executable).parent}:$PATH"\n')

    def sh(self, *lines: str, seconds: float = 900) -> subprocess.CompletedProcess:
        return subprocess.run(
            ["bash", "-c", "\n".join(("set -e", *lines))],
            cwd=self.copy,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def ray(self, *arguments: str) -> subprocess.CompletedProcess:
        """In another terminal, where docs/operating.md says what it takes."""
        return self.sh(*readme_commands()[:1], NEW_TERMINAL, " ".join(("ray", *arguments)))

    def submit(self, name: str, *arguments: str) -> None:
        """README's command, under an id, without waiting for its end."""
        (line,) = [line for line in readme_commands() if line.startswith("ray job submit")]
        line = line.replace("submit", f"submit --no-wait --submission-id={name}", 1)
        done = self.sh(*readme_commands()[:3], " ".join((line, f"run.name={name}", *arguments)))
        assert done.returncode == 0, done.stdout + done.stderr

    def status(self, name: str) -> str:
        return self.ray("job", "status", name).stdout.lower()

    def log(self, name: str) -> str:
        return self.ray("job", "logs", name).stdout

    def wait_for(self, what, name: str, seconds: float = 900) -> None:
        deadline = time.monotonic() + seconds
        while not what():
            assert "failed" not in self.status(name), self.log(name)
            assert time.monotonic() < deadline, self.log(name)
            time.sleep(2)

    def end(self) -> None:
        """What was started here, and nothing else: `ray stop` ends the clusters of all others."""
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("RAY_TMPDIR") == str(self.folder):
                    process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def test_the_page_says_what_another_terminal_takes():
    assert f"`{NEW_TERMINAL}`" in (ROOT / "docs/operating.md").read_text()
    assert f"| `{NO_AGENT}` |" in (ROOT / "docs/troubleshooting.md").read_text()


def taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    if any(taken(port) for port in PORTS):
        pytest.skip(f"another cluster has the ports {PORTS}")
    found = Machine(Path(tempfile.mkdtemp(prefix="r-")), tmp_path_factory.mktemp("home"))
    found.prepare()
    yield found
    found.end()


@pytest.fixture(scope="module")
def printed(machine) -> Finished:
    """README's block as it stands, and the run where README says that it is. Its last command is
    given again where a slow machine's agents are not up yet, as docs/troubleshooting.md says."""
    *start, submit = readme_commands()
    started = machine.sh(*start)
    assert started.returncode == 0, started.stdout + started.stderr
    deadline = time.monotonic() + 300
    while True:
        done = machine.sh(*start[:-1], submit, seconds=1500)
        if NO_AGENT not in done.stderr or time.monotonic() > deadline:
            break
        time.sleep(2)
    return Finished(done.returncode, done.stdout, done.stderr, machine.copy / "runs" / "quickstart")


def test_readme_as_printed(printed):
    assert printed.code == 0, printed.out + printed.err
    assert "succeeded" in printed.out
    assert (printed.path / "report.html").exists()
    assert f"report: {printed.path}/report.html" in printed.out
    assert f"step {len(printed.metrics())}/20" in (printed.path / "logs/progress.log").read_text()


@pytest.mark.usefixtures("printed")
def test_without_a_token_nobody_is_let_in(machine):
    stranger = "unset RAY_AUTH_MODE RAY_AUTH_TOKEN; export HOME=$(mktemp -d)"
    listed = machine.sh(readme_commands()[0], stranger, "ray job list")
    assert listed.returncode != 0
    assert "401" in listed.stdout + listed.stderr or "token" in listed.stdout + listed.stderr
    launched = machine.sh(
        readme_commands()[0],
        stranger,
        f"medray launch configs/quickstart.yaml run.output=$HOME --address 127.0.0.1:{PORTS[0]}",
    )
    assert launched.returncode == 2
    assert "the cluster there requires a token" in launched.stderr


@pytest.mark.usefixtures("printed")
def test_stopped_half_way_and_resumed_from_an_edited_directory(machine):
    steps, path = 60, machine.copy / "runs" / "half"
    arguments = (f"loop.steps={steps}", "loop.checkpoint_every=0", *SMALL)
    machine.submit("half", *arguments)
    rows = path / "metrics.jsonl"
    machine.wait_for(lambda: rows.exists() and rows.read_text().count("\n") >= 3, "half")
    stopped = machine.ray("job", "stop", "half")
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    log = machine.log("half")
    assert (last := re.search(r"stopped after step (\d+): as requested", log)), log
    assert (path / "checkpoints/latest").read_text().strip() == f"step-{int(last[1]):06d}"
    with (machine.copy / "configs/quickstart.yaml").open("a") as file:
        file.write("# another copy of the directory\n")
    machine.submit("again", "run.name=half", *arguments, "--resume")
    machine.wait_for(lambda: "succeeded" in machine.status("again"), "again")
    assert f"continuing from step-{int(last[1]):06d}" in machine.log("again")
    done = Finished(0, machine.log("again"), "", path)
    require_whole(done, steps, lag=0, unsent=1)
    assert len(fates(done)) == 12 * steps
    assert (path / "report.html").exists()


@pytest.mark.usefixtures("printed")
def test_a_job_waits_for_a_second_node_and_runs_on_it(machine):
    wanted = ("editor.resources.second=0.01", "faults.nodes_within=600", "loop.steps=2", *SMALL)
    machine.submit("waits", *wanted)
    line = "waiting up to 600 s for nodes"
    machine.wait_for(lambda: line in machine.log("waits"), "waits")
    assert not (machine.copy / "runs/waits/metrics.jsonl").exists()
    joined = machine.sh(
        *readme_commands()[:1],
        NEW_TERMINAL,  # and the token, in ~/.ray/auth_token
        f"ray start --address 127.0.0.1:{PORTS[0]} --num-cpus=1 --resources='{{\"second\": 1}}' "
        f"--dashboard-agent-listen-port={free_port()}",
    )
    assert joined.returncode == 0, joined.stdout + joined.stderr
    machine.wait_for(lambda: "succeeded" in machine.status("waits"), "waits")
    rows = (machine.copy / "runs/waits/metrics.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] for row in rows] == [1, 2]
    assert os.path.exists(machine.copy / "runs/waits/report.html")
