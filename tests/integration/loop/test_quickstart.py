"""The main job on the shipped configuration: what it reaches and what it leaves behind."""

import re
import subprocess
import sys

import pytest
import torch
import yaml

from medray.rundir import METRIC_KEYS
from tests.support.paths import ROOT
from tests.support.processes.running import environment, launch, medray

pytestmark = [pytest.mark.ray, pytest.mark.vllm, pytest.mark.deepspeed]

EVAL_KEYS = {
    *("n", "report_exact", "closed_accuracy", "open_recall", "hallucination_rate"),
    *("finding_f1", "by_error_type", "policy_version", "seconds"),
}


def test_the_policy_hallucinates_less(quickstart):
    before, after = quickstart.evals()[0], quickstart.evals()[20]
    assert before["n"] == after["n"] >= 512
    assert after["hallucination_rate"] <= before["hallucination_rate"] / 2
    assert after["report_exact"] >= before["report_exact"] + 0.25
    assert after["closed_accuracy"] >= before["closed_accuracy"] - 0.02


@pytest.mark.chaos
def test_without_learning_nothing_changes(tmp_path):
    """Five steps with a learning rate of zero: what the quickstart gains is learning."""
    done = launch(
        tmp_path,
        "configs/quickstart.yaml",
        "learner.lr=0",
        "loop.steps=5",
        "loop.checkpoint_every=0",
        "eval={every: 0, n: 64}",
    )
    assert done.code == 0, done.err
    before, after = done.evals()[0], done.evals()[5]
    for key in ("hallucination_rate", "report_exact"):
        assert abs(after[key] - before[key]) <= 0.02
    assert len(done.metrics()) == 5
    assert all(row["reward_margin"] == pytest.approx(0, abs=1e-3) for row in done.metrics())


def test_every_trained_row_is_of_the_learners_version(quickstart):
    version = {row["step"]: row["policy_version"] for row in quickstart.metrics()}
    assert version == {step: step - 1 for step in range(1, 21)}
    trained = [row for row in quickstart.ledger() if row["status"] == "trained"]
    assert len(trained) > 500
    assert all(row["policy_version"] == version[row["step"]] for row in trained)
    assert all(row["lag_max"] == 0 for row in quickstart.metrics())


def test_the_generator_has_the_learners_weights_at_every_sync(quickstart):
    gaps = [row["logp_gap"] for row in quickstart.metrics()]
    assert len(gaps) == 20
    assert max(gaps) < 0.05
    assert all(row["sync_bytes"] > 1_000_000 for row in quickstart.metrics())


def test_the_pair_of_the_docs_is_one_of_this_run(quickstart):
    page = (ROOT / "docs/pairs.md").read_text().replace("**", "").replace("\n> ", " ")
    row = next(r for r in quickstart.ledger() if r["pair_id"] == "s000001-b0-00014.0")
    for column in ("pair_id", "question", "reference", "response", "chosen", "rejected"):
        assert row[column] in page
    assert f"{row['relevance']:.2f}" in page
    assert f"{row['loss']:.2f}" in page


def test_the_ledger_balances(quickstart):
    rows = quickstart.ledger()
    assert len({row["pair_id"] for row in rows}) == len(rows)
    assert all(row["drop_reason"] for row in rows if row["status"] != "trained")
    for line in quickstart.metrics():
        of_step = [row for row in rows if row["step"] == line["step"]]
        trained = sum(row["status"] == "trained" for row in of_step)
        answers = {row["item_id"] for row in of_step}
        assert line["answers_issued"] == len(answers)
        assert line["answers_issued"] == line["answers_trained"] + line["answers_dropped"]
        assert line["pairs_issued"] == len(of_step) == line["pairs_trained"] + line["pairs_dropped"]
        assert line["pairs_trained"] == trained


def test_the_run_directory_is_complete(quickstart):
    assert all(set(METRIC_KEYS) <= row.keys() for row in quickstart.metrics())
    assert all(row.keys() >= EVAL_KEYS for row in quickstart.evals().values())
    assert list(quickstart.evals()) == [0, 10, 20]
    assert [quickstart.evals()[s]["policy_version"] for s in (0, 10, 20)] == [0, 10, 20]
    folder = quickstart.path / "checkpoints"
    assert (folder / "latest").read_text().strip() == "step-000020"
    assert sorted(p.name for p in folder.glob("step-*")) == ["step-000010", "step-000020"]
    resolved = yaml.safe_load((quickstart.path / "config.yaml").read_text())
    assert resolved["learner"]["lr"] > 0


def test_rejected_or_chosen_is_what_the_policy_said(quickstart):
    for row in quickstart.ledger():
        if row["status"] == "trained":
            own = row["chosen"] if row["response_was_correct"] else row["rejected"]
            assert row["response"].startswith(row["prefix"] + own)
            assert row["scope"] == "sentence" or own == row["response"]
            assert row["chosen"] != row["rejected"]
            assert row["chosen_spans"]
            assert row["rejected_spans"]


def test_the_person_sees_plan_progress_table_and_report(quickstart):
    out = quickstart.out
    assert "1 Generator (vLLM)" in out
    assert "Learner (DeepSpeed ZeRO-2)" in out
    assert re.search(r"step 20/20 · loss .* pairs/s · .* tok/s · .* left", out)
    assert "Hallucination rate" in out
    assert str(quickstart.path / "report.html") in out.replace("\n", "")


def test_the_log_holds_every_line(quickstart):
    log = (quickstart.path / "logs" / "progress.log").read_text()
    assert log.splitlines()[0].endswith("  started")
    assert [int(step) for step in re.findall(r"  step (\d+)/20 · loss ", log)] == [*range(1, 21)]
    assert re.search(r"  evaluated step 20 · Reports right in every attribute \d", log)
    assert re.search(r" {6}logs  .*progress\.log; of the actors: /.+/logs, until the command", log)
    assert "Hallucination rate" in log


def test_the_report_stands_alone(quickstart):
    page = (quickstart.path / "report.html").read_text()
    assert not re.search(r"""(src|href)\s*=\s*["']?(?!data:|#)\w+:""", page)
    assert page.count("data:image/") >= 20  # twelve pairs, v' where there is a lesion
    assert "hallucination" in page


@pytest.mark.chaos
def test_a_checkpoint_evaluates_as_the_run_did(quickstart):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "medray.cli",
            "eval",
            str(quickstart.path / "config.yaml"),
            "--checkpoint",
            str(quickstart.path / "checkpoints" / "step-000020"),
        ],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = yaml.safe_load(done.stdout)
    expected = quickstart.evals()[20]
    assert result["policy_version"] == 20
    assert result["report_exact"] == pytest.approx(expected["report_exact"], abs=0.02)


def test_a_directory_that_holds_a_run_is_refused(quickstart):
    again = launch(quickstart.path.parent, "configs/quickstart.yaml")
    assert again.code == 2
    assert len(again.err.strip().splitlines()) == 1
    assert "already holds a run" in again.err


def test_the_lesion_mattered_to_what_was_edited(quickstart):
    """This policy looks: most of what was edited is less likely once the lesion is noised out."""
    contrast = [row["visual_contrast"] for row in quickstart.ledger() if row["corrupted_sha256"]]
    known = [value for value in contrast if value is not None]
    assert len(known) > 100
    assert sum(known) / len(known) > 0


def require_same_model_from_adapter(quickstart, exported, folder):
    """`medray export --adapter` on the base model: the same weights, although this run's
    checkpoint holds them merged."""
    from peft import PeftModel

    from medray.policy.model.loading import load_model, resolve_model_path

    done = medray("export", str(quickstart.path), "--adapter", "-o", str(folder))
    assert done.returncode == 0, done.stderr
    base = load_model(resolve_model_path("phantom/base"), "float32")
    merged = PeftModel.from_pretrained(base, str(folder)).merge_and_unload().state_dict()
    for name, tensor in exported.items():
        # one rounding to bfloat16 of the merged weight, and one of the adapter
        torch.testing.assert_close(merged[name], tensor.float(), rtol=0.02, atol=2e-3)


@pytest.mark.chaos  # a second run
def test_the_trained_model_comes_out_and_can_be_trained_on(quickstart, tmp_path):
    """`medray export`: the weights of the last checkpoint, in a directory that medray takes."""
    from safetensors.torch import load_file

    from medray.policy.model.loading import load_model

    done = medray("export", str(quickstart.path), "-o", str(tmp_path / "model"))
    assert done.returncode == 0, done.stderr
    assert "merged model of step-000020" in done.stdout
    sent = load_file(quickstart.path / "checkpoints" / "step-000020" / "weights.safetensors")
    exported = load_model(tmp_path / "model", "bfloat16").state_dict()
    assert len(sent) > 10
    for name, tensor in sent.items():
        assert torch.equal(exported[name], tensor), name
    require_same_model_from_adapter(quickstart, exported, tmp_path / "adapter")
    checked = medray(
        "check",
        "configs/quickstart.yaml",
        f"model.path={tmp_path}/model",
        f"run.output={tmp_path}",
        "data.limit=6",
        "eval.n=2",
    )
    assert checked.returncode == 0, checked.stderr
