"""The same loop on real radiology images, questions and answers."""

import json
import re

import pytest

pytestmark = [pytest.mark.data, pytest.mark.ray, pytest.mark.vllm, pytest.mark.deepspeed]


def test_three_steps_of_at_least_32_pairs(vqa_rad):
    assert [row["pairs_trained"] >= 32 for row in vqa_rad.metrics()] == [True] * 3
    assert all(row["logp_gap"] < 0.05 for row in vqa_rad.metrics())


def test_every_row_traces_to_a_real_question(vqa_rad, shared_data):
    items = json.loads((shared_data / "vqa_rad" / "VQA_RAD Dataset Public.json").read_text())
    real = {f"vqa-rad-{item['qid']}": item for item in items}
    rows = vqa_rad.ledger()
    assert len(rows) == sum(row["pairs_issued"] for row in vqa_rad.metrics())
    for row in rows:
        item = real[row["case_id"]]
        assert row["question"].split() == str(item["question"]).split()
        assert row["reference"].split() == str(item["answer"]).split()


def test_no_image_is_on_both_sides_of_the_split(vqa_rad):
    from medray.data.dataset import open_dataset
    from medray.rundir import RunDirectory

    config = RunDirectory(vqa_rad.path).read_config()
    dataset = open_dataset(config.data)
    heldout = {case.image_sha256 for case in dataset.heldout}
    assert heldout.isdisjoint(row["image_sha256"] for row in vqa_rad.ledger())
    assert vqa_rad.evals()[3]["n"] == len(heldout) == 63


def test_only_adapter_bytes_moved(vqa_rad):
    """LoRA of rank 16 on the language model, in bf16, and nothing else."""
    from safetensors.torch import load_file

    weights = load_file(vqa_rad.path / "checkpoints" / "step-000003" / "weights.safetensors")
    assert all(".lora_" in name for name in weights)
    size = sum(t.numel() * t.element_size() for t in weights.values())
    assert {row["sync_bytes"] for row in vqa_rad.metrics()} == {size}


def test_the_report_shows_real_images(vqa_rad):
    page = (vqa_rad.path / "report.html").read_text()
    assert page.count("data:image/") >= 24
    shown = set(re.findall(r"vqa-rad-\d+", page))
    assert len(shown) >= 6
