"""MMedPO's own pairs, as released, trained on without a generator: offline preference learning."""

import asyncio
import math

import pyarrow.parquet as pq
import pytest

from tests.support.paths import ROOT
from tests.support.processes.running import Finished, launch, launch_and_kill, medray

pytestmark = [pytest.mark.ray, pytest.mark.deepspeed]

SHORT = ("loop.steps=5", "loop.batch=16", "loop.checkpoint_every=2", "eval.every=0")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory, shared_data):
    """The released file, imported with the images of VQA-RAD."""
    out = tmp_path_factory.mktemp("pairs") / "pairs.parquet"
    source = shared_data / "mmedpo/vqa-rad_dpo_weighted.json"
    images = shared_data / "vqa_rad/VQA_RAD Image Folder"
    done = medray("data", "import", "mmedpo", str(source), "--images", str(images), "-o", str(out))
    assert done.returncode == 0, done.stderr
    return out


def overrides(pairs, objective: str = "dpo") -> tuple[str, ...]:
    data = f"data={{kind: pairs, path: {pairs}}}"
    return (data, f"objective={{name: {objective}}}", "corruption.region=whole", *SHORT)


@pytest.fixture(scope="module")
def mmedpo(pairs, tmp_path_factory) -> Finished:
    """SIGKILL between two checkpoints, and --resume to the end."""
    folder, options = tmp_path_factory.mktemp("mmedpo"), overrides(pairs, "mmedpo")
    done = medray(*launch_and_kill(folder, "configs/quickstart.yaml", *options, rows=3))
    assert done.returncode == 0, done.stderr
    return Finished(0, done.stdout, done.stderr, folder / "killed")


def test_the_released_pairs_are_trained_on_with_their_weights(mmedpo, pairs):
    """Every row names its pair, holds both its texts, and weighs what the file says."""
    given = {row["pair_id"]: row for row in pq.read_table(pairs).to_pylist()}
    rows = mmedpo.ledger()
    trained = [row for row in rows if row["status"] == "trained"]
    assert len(trained) >= 70
    assert len({row["case_id"] for row in rows}) == len(rows) == 5 * 16
    for row in trained:
        source = given[row["case_id"]]
        assert (row["chosen"], row["rejected"]) == (source["chosen"], source["rejected"])
        assert row["image_sha256"] == source["image_sha256"]
        assert (row["response"], row["editor"]) == (None, "given mmedpo")
        assert row["region_source"] == "whole-image"
    for step in range(1, 6):  # the order of the weights of a step is the order of the scores
        of_step = [row for row in trained if row["step"] == step]
        by_score = sorted(of_step, key=lambda row: given[row["case_id"]]["score"])
        weights = [row["relevance"] for row in by_score]
        assert weights == sorted(weights)
        assert len(set(weights)) > 1
    metrics = mmedpo.metrics()
    assert [row["step"] for row in metrics] == [1, 2, 3, 4, 5]
    assert all(row["answers_issued"] == 16 for row in metrics)
    assert {(row["tokens_generated"], row["sync_bytes"]) for row in metrics} == {(0, 0)}
    assert not mmedpo.evals()
    assert "Generator" not in mmedpo.out
    assert (mmedpo.path / "report.html").exists()


@pytest.mark.chaos
def test_another_weight_is_another_loss(mmedpo, pairs, tmp_path):
    """The same pairs with one score changed: the step that has it ends elsewhere, none before."""
    first = next(row for row in mmedpo.ledger() if row["step"] == 2 and row["status"] == "trained")
    table = pq.read_table(pairs)
    rows = table.to_pylist()
    for row in rows:
        if row["pair_id"] == first["case_id"]:
            row["score"] = 1.0 - row["score"] if row["score"] != 0.5 else 0.0
    changed = tmp_path / "changed.parquet"
    pq.write_table(type(table).from_pylist(rows, schema=table.schema), changed)
    options = overrides(changed, "mmedpo")
    other = launch(tmp_path, "configs/quickstart.yaml", *options, "loop.steps=2")
    assert other.code == 0, other.err
    before, after = mmedpo.metrics(), other.metrics()
    assert before[0]["loss"] == pytest.approx(after[0]["loss"], rel=1e-5)
    assert before[1]["loss"] != pytest.approx(after[1]["loss"], rel=1e-5)


def test_kills_lose_no_pair_and_train_none_twice(mmedpo):
    rows = mmedpo.ledger()
    ids = [row["item_id"] for row in rows]
    assert sorted(ids) == sorted(f"s{s:06d}-b0-{n:05d}" for s in range(1, 6) for n in range(1, 17))
    assert len({row["case_id"] for row in rows}) == 80
    assert [row["step"] for row in mmedpo.metrics()] == [1, 2, 3, 4, 5]


@pytest.mark.chaos
def test_dpo_trains_on_them_without_generator_and_editor(mmedpo, pairs, tmp_path):
    """Five steps of `dpo`; the actors are all that Ray has ever seen in this run.

    The policy is its own reference at the first step, so the objectives differ from the second on.
    """
    import ray
    from ray._private.state import actors

    from actors.fleet import plan_placement
    from actors.launch import _drive
    from actors.loop.telemetry import Telemetry
    from medray.config import load_config
    from medray.plan import make_plan
    from medray.report.console import RunConsole
    from medray.rundir import RunDirectory

    options = [f"run.output={tmp_path}", *overrides(pairs)]
    plan = make_plan(load_config(ROOT / "configs/quickstart.yaml", options))
    run = RunDirectory(plan.config.run_dir)
    run.create(plan.config)
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        placement = plan_placement(plan.config, generators=plan.generates)
        console, telemetry = RunConsole(1), Telemetry("offline")
        asyncio.run(_drive(plan, placement, run, telemetry, console, resume=False))
        classes = {actor["ActorClassName"] for actor in actors().values()}
    finally:
        ray.shutdown()
    assert {name.split(".")[-1] for name in classes} == {"Packer", "Learner"}
    done = Finished(0, "", "", run.path)
    rows, losses = done.ledger(), [row["loss"] for row in done.metrics()]
    given = {row["pair_id"] for row in pq.read_table(pairs).to_pylist()}
    assert len({row["case_id"] for row in rows} & given) == len(rows) == 5 * 16
    assert all(map(math.isfinite, losses))
    others = [row["loss"] for row in mmedpo.metrics()]
    assert losses[0] == pytest.approx(others[0], rel=1e-5)
    assert all(one != other for one, other in zip(losses[1:], others[1:], strict=True))
