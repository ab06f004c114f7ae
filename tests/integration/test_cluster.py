"""A cluster started by hand, a submitted job, the dashboard's view of it, and its metrics."""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import pytest

from tests.running import ROOT, environment, free_port

pytestmark = [pytest.mark.ray, pytest.mark.vllm, pytest.mark.deepspeed]

BIN = Path(sys.executable).parent
PORT, DASHBOARD_PORT, CLIENT_PORT, AGENT_PORT = (free_port() for _ in range(4))
DASHBOARD = f"http://127.0.0.1:{DASHBOARD_PORT}"
CLUSTER = {
    "RAY_API_SERVER_ADDRESS": DASHBOARD,
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
}
NAMES = {"Generator", "Editor", "Learner"}
SHOWN = {"Generator(replica=0)", "Generator(replica=1)", "Editor(replica=0)", "Learner(rank=0)"}


def ray(*arguments: str, timeout: float = 120) -> subprocess.CompletedProcess:
    return subprocess.run(
        [str(BIN / "ray"), *arguments],
        cwd=ROOT, env=environment(**CLUSTER), capture_output=True,
        text=True, timeout=timeout, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def cluster():
    """`ray start --head`, beside any cluster that is already there; its folder."""
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    command = [
        str(BIN / "ray"), "start", "--head", "--block", "--num-cpus=2", f"--port={PORT}",
        f"--dashboard-port={DASHBOARD_PORT}", f"--ray-client-server-port={CLIENT_PORT}",
        f"--dashboard-agent-listen-port={AGENT_PORT}",
        f"--temp-dir={folder}", "--disable-usage-stats",
    ]  # fmt: skip
    head = subprocess.Popen(
        command, env=environment(**CLUSTER), start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 90
    while not answers(f"{DASHBOARD}/api/version") and time.monotonic() < deadline:
        assert head.poll() is None, "ray start ended"
        time.sleep(0.5)
    yield folder
    os.killpg(head.pid, signal.SIGTERM)
    head.wait(timeout=60)
    shutil.rmtree(folder, ignore_errors=True)


def submit(*arguments: str) -> subprocess.CompletedProcess:
    """Once more where Ray's own agent is not up yet: the dashboard answers before it."""
    deadline = time.monotonic() + 90
    while True:
        done = ray(*arguments)
        waiting = "No available agent" in done.stderr and time.monotonic() < deadline
        if not waiting:
            return done
        time.sleep(2)


def answers(url: str) -> bool:
    try:
        return bool(read(url))
    except OSError:
        return False


def actors(state: str) -> list[dict]:
    listed = ray(
        "list", "actors", "--detail", "--format=json", "--limit=1000", f"--filter=state={state}"
    )
    assert listed.returncode == 0, listed.stderr
    found = [] if "No resource" in listed.stdout else json.loads(listed.stdout)
    return [actor for actor in found if actor["class_name"] != "JobSupervisor"]  # Ray's own


def read(url: str) -> str:
    """One page of the cluster, asked for with its token."""
    token = f"Bearer {CLUSTER['RAY_AUTH_TOKEN']}"
    request = urllib.request.Request(url, headers={"Authorization": token})
    with urllib.request.urlopen(request, timeout=30) as page:
        return page.read().decode()


def job_status() -> str:
    return json.loads(read(f"{DASHBOARD}/api/jobs/quickstart"))["status"]


def exported(folder: Path) -> str:
    """All samples of all metrics endpoints of the cluster, as Prometheus would read them."""
    discovery = folder / "session_latest" / "prom_metrics_service_discovery.json"
    services = json.loads(discovery.read_text())
    targets = [target for service in services for target in service["targets"]]
    return "\n".join(read(f"http://{target}/metrics") for target in targets)


@pytest.fixture(scope="module")
def job(cluster, tmp_path_factory):
    """The submitted job while and after it runs: (log, actors seen alive, metrics read back)."""
    output = tmp_path_factory.mktemp("job")
    submitted = submit(
        "job", "submit", "--no-wait", "--submission-id=quickstart", "--working-dir", ".", "--",
        str(BIN / "medray"), "launch", "configs/quickstart.yaml", f"run.output={output}",
        "loop.steps=20", "eval.n=64", "eval.every=0", "model.lora={rank: 16, alpha: 32}",
        "learner.lr=1e-3", "generator.replicas=2",
    )  # fmt: skip
    assert submitted.returncode == 0, submitted.stderr
    alive: list[dict] = []
    samples = ""
    deadline = time.monotonic() + 300
    while job_status() in ("PENDING", "RUNNING") and time.monotonic() < deadline:
        page = exported(cluster)
        samples = page if "ray_medray_logp_gap{" in page else samples
        if not {actor["repr_name"] for actor in alive} >= SHOWN:
            alive = actors("ALIVE")
        time.sleep(0.5)
    logs = ray("job", "logs", "quickstart")
    return job_status(), logs.stdout + logs.stderr, alive, samples, output / "quickstart"


def test_the_job_succeeds(job):
    status, log, *_ = job
    assert status == "SUCCEEDED", log
    assert "step 20/20" in log


def test_actors_show_under_the_names_of_the_design(job):
    alive = job[2]
    assert {actor["class_name"] for actor in alive} == NAMES
    assert {actor["repr_name"] for actor in alive} >= SHOWN


def test_no_actor_outlives_the_run(job):
    assert not actors("ALIVE")
    assert {actor["class_name"] for actor in actors("DEAD")} == NAMES


def test_metrics_are_read_back_from_rays_endpoint(job):
    samples, path = job[3], job[4]
    values: dict[str, list[float]] = {}
    for line in samples.splitlines():
        if line.startswith("ray_medray_") and 'run="quickstart"' in line:
            values.setdefault(line.split("{")[0], []).append(float(line.rsplit(" ", 1)[1]))
    rows = [json.loads(line) for line in (path / "metrics.jsonl").open()]
    for key in ("loss", "reward_margin", "logp_gap"):
        (exported_value,) = values[f"ray_medray_{key}"]
        assert any(exported_value == pytest.approx(row[key], rel=1e-6) for row in rows), key
    for key in ("pairs_per_second", "tokens_per_second"):
        assert values[f"ray_medray_{key}"][0] > 0
    assert values["ray_medray_pairs_trained_total"][0] > 0
