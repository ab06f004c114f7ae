"""The whole loop on studies of two views: IU X-ray in R2Gen's layout, in miniature."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from medray.data.exchange import export_pairs
from medray.phantom.studies.study import study
from medray.review import draw_pairs, write_page
from medray.rundir import RunDirectory
from tests.support.datasets.miniatures import write_json
from tests.support.processes.running import launch, medray

pytestmark = [pytest.mark.ray, pytest.mark.vllm, pytest.mark.deepspeed]


def studies_of_two_views(folder: Path) -> Path:
    """Twelve phantoms with their reports; the second view is the first one, mirrored upside down.

    The shipped model knows one view only, and goes on to answer about it.
    """
    splits = {"train": range(8), "val": (), "test": range(8, 12)}
    annotation: dict[str, list[dict]] = {split: [] for split in splits}
    for split, numbers in splits.items():
        for number in numbers:
            shown = study(3, "train", number)
            names = [f"CXR{number}_IM-1/{view}.png" for view in (0, 1)]
            (folder / "images" / names[0]).parent.mkdir(parents=True)
            for name, pixels in zip(names, (shown.image, shown.image[::-1]), strict=True):
                Image.fromarray(pixels).save(folder / "images" / name)
            report = shown.report
            row = {"id": f"CXR{number}_IM-1", "report": report, "image_path": names, "split": split}
            annotation[split].append(row)
    write_json(folder / "annotation.json", annotation)
    return folder


def test_two_views_go_through_generator_editor_learner_and_what_is_written(tmp_path):
    data = studies_of_two_views(tmp_path / "iu")
    done = launch(
        tmp_path,
        "configs/quickstart.yaml",
        f"data={{kind: iu-xray, path: {data}, split: official}}",
        "corruption={kind: gaussian, region: whole, whole_sigma: 45}",
        "loop.steps=2",
        "loop.batch=8",
        "loop.checkpoint_every=0",
        "learner.micro_batch=4",
        "eval={every: 1, n: 4}",
    )
    assert done.code == 0, done.err
    assert "several images, 2 at most" in done.out + done.err
    rows = done.metrics()
    assert sum(row["pairs_trained"] for row in rows) > 0
    assert all(row["answers_issued"] == 8 for row in rows)
    assert all(0 < row["logp_gap"] < 0.05 for row in rows[1:]), [row["logp_gap"] for row in rows]
    ledger = done.ledger()
    assert {len(row["other_images_sha256"]) for row in ledger} == {1}
    trained = [row for row in ledger if row["status"] == "trained"]
    assert all("image=0,1 at=48x48,48x48/" in row["corruption"] for row in trained)
    assert all(row["visual_contrast"] is not None for row in trained)

    page = tmp_path / "pairs.html"
    found = medray("pairs", str(done.path), "--html", str(page))
    assert found.returncode == 0, found.stderr
    html = page.read_text()
    assert "image 2 of 2" in html
    assert "could not be reproduced" not in html
    rows, key = draw_pairs(RunDirectory(done.path), 4, 0)
    assert write_page(done.path, rows, key, tmp_path / "review.html") == []
    assert (tmp_path / "review.html").read_text().count('alt="Image 2 of 2"') == len(rows)
    export_pairs(done.path, "trl", tmp_path / "trl.jsonl")
    exported = [json.loads(line) for line in (tmp_path / "trl.jsonl").open()]
    assert len(exported) == len(trained)
    assert all(len(row["images"]) == 2 for row in exported)
