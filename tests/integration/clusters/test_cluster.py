"""A cluster started by hand and a job submitted to it: the loop on real radiology images, questions
and answers; the dashboard's view of it, and its metrics."""

import contextlib
import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.error import URLError

import pytest

from actors.loop.telemetry import SERIES
from tests.support.paths import ROOT
from tests.support.processes.clusters import BIN, Cluster
from tests.support.processes.running import Finished

pytestmark = [pytest.mark.data, pytest.mark.ray, pytest.mark.vllm, pytest.mark.deepspeed]

STEPS = 3
NAMES = {"Generator", "Editor", "Learner"}
SHOWN = {"Generator(replica=0)", "Editor(replica=0)", "Learner(rank=0)"}


@pytest.fixture(scope="module")
def cluster():
    """`ray start --head`, beside any cluster that is already there."""
    started = Cluster(cpus=2)
    yield started
    started.stop()


def submit(cluster, *arguments: str):
    """Once more where Ray's own agent is not up yet: the dashboard answers before it."""
    deadline = time.monotonic() + 90
    while True:
        done = cluster.ray(*arguments)
        waiting = "No available agent" in done.stderr and time.monotonic() < deadline
        if not waiting:
            return done
        time.sleep(2)


def actors(cluster, state: str) -> list[dict]:
    found = cluster.listed("actors", state)
    return [actor for actor in found if actor["class_name"] != "JobSupervisor"]  # Ray's own


def job_status(cluster) -> str:
    return json.loads(cluster.read(f"{cluster.dashboard}/api/jobs/vqa-rad"))["status"]


def exported(cluster) -> str:
    """All samples of all metrics endpoints of the cluster, as Prometheus would read them."""
    discovery = cluster.folder / "session_latest" / "prom_metrics_service_discovery.json"
    services = json.loads(discovery.read_text())
    targets = [target for service in services for target in service["targets"]]
    pages = []
    for target in targets:
        with contextlib.suppress(URLError):  # it does not listen yet
            pages.append(cluster.read(f"http://{target}/metrics"))
    return "\n".join(pages)


def scrape(cluster, ended: threading.Event) -> tuple[str, str]:
    """The last samples behind a step, and the first of all: a run's steps are over in a second."""
    samples = first = ""
    while not ended.wait(0.2):
        page = exported(cluster)
        first = first or (page if "ray_medray_running{" in page else "")
        samples = page if re.search(r"^ray_medray_step\{.*\} [1-9]", page, re.M) else samples
    return samples, first


@pytest.fixture(scope="module")
def job(cluster, tmp_path_factory, shared_data):
    """The submitted job while and after it runs.

    (status, log, actors seen alive, metrics read back last, run directory, metrics read first)
    """
    output = tmp_path_factory.mktemp("job")
    submitted = submit(
        cluster,
        "job",
        "submit",
        "--no-wait",
        "--submission-id=vqa-rad",
        "--working-dir",
        ".",
        "--",
        str(BIN / "medray"),
        "launch",
        "configs/vqa_rad.yaml",
        f"data.path={shared_data}/vqa_rad",
        f"run.output={output}",
        "eval.n=12",
    )
    assert submitted.returncode == 0, submitted.stderr
    alive: list[dict] = []
    deadline, ended = time.monotonic() + 300, threading.Event()
    with ThreadPoolExecutor(1) as beside:
        scraped = beside.submit(scrape, cluster, ended)
        while job_status(cluster) in ("PENDING", "RUNNING") and time.monotonic() < deadline:
            if not {actor["repr_name"] for actor in alive} >= SHOWN:
                alive = actors(cluster, "ALIVE")
            time.sleep(0.5)
        ended.set()
        samples, first = scraped.result()
    logs = cluster.ray("job", "logs", "vqa-rad")
    log = logs.stdout + logs.stderr
    return job_status(cluster), log, alive, samples, output / "vqa-rad", first


def test_the_job_succeeds(job):
    status, log, *_ = job
    assert status == "SUCCEEDED", log
    assert f"step {STEPS}/{STEPS}" in log


def test_actors_show_under_the_names_of_the_design(job):
    alive = job[2]
    assert {actor["class_name"] for actor in alive} == NAMES
    assert {actor["repr_name"] for actor in alive} >= SHOWN


def test_actors_are_named_after_their_run(job):
    assert all(re.match(r"vqa-rad:[A-Z][A-Za-z]+-0-[0-9a-f]{6}$", a["name"]) for a in job[2])


def test_every_series_is_there_from_the_first_scrape(job):
    names = {line.split("{")[0] for line in job[5].splitlines() if 'run="vqa-rad"' in line}
    assert {name for series in SERIES for name in series.exported} <= names


def test_every_series_of_the_board_and_the_alerts_is_there_from_the_first_scrape(job):
    """Those of GPUs are where there are any; those of volumes are the kubelet's."""
    pages = (ROOT / "cluster/monitoring" / name for name in ("dashboard.json", "rules.yaml"))
    text = "".join(page.read_text() for page in pages)
    named = set(re.findall(r"\bray_(?:medray|node)_[a-z_]+\b", text))
    of_gpus = {name for name in named if re.search("gpu|gram", name)}
    names = {line.split("{")[0] for line in job[5].splitlines()}
    assert len(named) > 25
    assert named - of_gpus <= names


def test_no_actor_outlives_the_run(job, cluster):
    assert not actors(cluster, "ALIVE")
    assert {actor["class_name"] for actor in actors(cluster, "DEAD")} == NAMES


def test_metrics_are_read_back_from_rays_endpoint(job):
    samples, path = job[3], job[4]
    values: dict[str, list[float]] = {}
    for line in samples.splitlines():
        if line.startswith("ray_medray_") and 'run="vqa-rad"' in line:
            values.setdefault(line.split("{")[0], []).append(float(line.rsplit(" ", 1)[1]))
    rows = [json.loads(line) for line in (path / "metrics.jsonl").open()]
    for key in ("loss", "reward_margin", "logp_gap"):
        (exported_value,) = values[f"ray_medray_{key}"]
        assert any(exported_value == pytest.approx(row[key], rel=1e-6) for row in rows), key
    for key in ("pairs_per_second", "tokens_per_second"):
        assert values[f"ray_medray_{key}"][0] > 0
    assert values["ray_medray_pairs_trained_total"][0] > 0


@pytest.fixture(scope="module")
def finished(job) -> Finished:
    """The run of the job."""
    return Finished(0, job[1], "", job[4])


def test_three_steps_of_at_least_32_pairs(finished):
    assert [row["pairs_trained"] >= 32 for row in finished.metrics()] == [True] * 3
    assert all(row["logp_gap"] < 0.05 for row in finished.metrics())


def test_every_row_traces_to_a_real_question(finished, shared_data):
    items = json.loads((shared_data / "vqa_rad" / "VQA_RAD Dataset Public.json").read_text())
    real = {f"vqa-rad-{item['qid']}": item for item in items}
    rows = finished.ledger()
    assert len(rows) == sum(row["pairs_issued"] for row in finished.metrics())
    for row in rows:
        item = real[row["case_id"]]
        assert row["question"].split() == str(item["question"]).split()
        assert row["reference"].split() == str(item["answer"]).split()


def test_no_image_is_on_both_sides_of_the_split(finished):
    from medray.data.dataset import open_dataset
    from medray.rundir import RunDirectory

    config = RunDirectory(finished.path).read_config()
    dataset = open_dataset(config.data)
    heldout = {case.image_sha256 for case in dataset.heldout}
    assert heldout.isdisjoint(row["image_sha256"] for row in finished.ledger())
    assert finished.evals()[3]["n"] == 12


def test_only_adapter_bytes_moved(finished):
    """LoRA of rank 16 on the language model, in bf16, and nothing else."""
    from safetensors.torch import load_file

    weights = load_file(finished.path / "checkpoints" / "step-000003" / "weights.safetensors")
    assert all(".lora_" in name for name in weights)
    size = sum(t.numel() * t.element_size() for t in weights.values())
    assert {row["sync_bytes"] for row in finished.metrics()} == {size}


def test_the_report_shows_real_images(finished):
    page = (finished.path / "report.html").read_text()
    assert page.count("data:image/") >= 24
    shown = set(re.findall(r"vqa-rad-\d+", page))
    assert len(shown) >= 6
