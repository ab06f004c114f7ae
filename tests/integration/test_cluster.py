"""A cluster started by hand, a submitted job, the dashboard's view of it, and its metrics."""

import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.running import ROOT, environment

pytestmark = [pytest.mark.ray, pytest.mark.vllm, pytest.mark.deepspeed]

BIN = Path(sys.executable).parent
DASHBOARD = "http://127.0.0.1:8265"
NAMES = {"Generator", "Editor", "Learner"}


def ray(*arguments: str, timeout: float = 120) -> subprocess.CompletedProcess:
    return subprocess.run(
        [str(BIN / "ray"), *arguments],
        cwd=ROOT, env=environment(RAY_API_SERVER_ADDRESS=DASHBOARD), capture_output=True,
        text=True, timeout=timeout, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def cluster():
    ray("stop", "--force")
    started = ray("start", "--head", "--num-cpus=2", "--disable-usage-stats")
    assert started.returncode == 0, started.stderr
    yield
    ray("stop", "--force")


def actors(state: str) -> list[dict]:
    listed = ray(
        "list", "actors", "--detail", "--format=json", "--limit=1000", f"--filter=state={state}"
    )
    assert listed.returncode == 0, listed.stderr
    return json.loads(listed.stdout)


def exported() -> str:
    """All samples of all metrics endpoints of the cluster, as Prometheus would read them."""
    services = json.loads(
        Path("/tmp/ray/session_latest/prom_metrics_service_discovery.json").resolve().read_text()
        if Path("/tmp/ray/session_latest/prom_metrics_service_discovery.json").exists()
        else Path("/tmp/ray/prom_metrics_service_discovery.json").read_text()
    )
    pages = []
    for target in (t for service in services for t in service["targets"]):
        with urllib.request.urlopen(f"http://{target}/metrics", timeout=30) as page:
            pages.append(page.read().decode())
    return "\n".join(pages)


@pytest.fixture(scope="module")
def job(cluster, tmp_path_factory):
    """The submitted job while and after it runs: (log, actors seen alive, metrics read back)."""
    output = tmp_path_factory.mktemp("job")
    submitted = ray(
        "job", "submit", "--no-wait", "--submission-id=quickstart", "--working-dir", ".", "--",
        str(BIN / "medray"), "launch", "configs/quickstart.yaml", f"run.output={output}",
        "loop.steps=12", "eval.n=64", "eval.every=0", "model.lora={rank: 16, alpha: 32}",
        "learner.lr=1e-3",
    )  # fmt: skip
    assert submitted.returncode == 0, submitted.stderr
    alive: list[dict] = []
    samples = ""
    deadline = time.monotonic() + 400
    while time.monotonic() < deadline:
        status = ray("job", "status", "quickstart").stdout
        if "SUCCEEDED" in status or "FAILED" in status:
            break
        alive = max(alive, actors("ALIVE"), key=len)
        page = exported()
        samples = page if "ray_medray_logp_gap" in page else samples
        time.sleep(1)
    return status, ray("job", "logs", "quickstart").stdout, alive, samples, output / "quickstart"


def test_the_job_succeeds(job):
    status, log, *_ = job
    assert "SUCCEEDED" in status, log
    assert "step 12/12" in log


def test_actors_show_under_the_names_of_the_design(job):
    alive = job[2]
    assert {actor["class_name"] for actor in alive} == NAMES
    assert {actor["repr_name"] for actor in alive} >= {"Generator(replica=0)", "Learner(rank=0)"}


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
        reported = {pytest.approx(row[key], rel=1e-6, abs=1e-9) for row in rows}
        assert any(values[f"ray_medray_{key}"][0] == value for value in reported), key
    for key in ("pairs_per_second", "tokens_per_second"):
        assert values[f"ray_medray_{key}"][0] > 0
    assert values["ray_medray_pairs_trained_total"][0] > 0
