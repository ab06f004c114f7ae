"""The images of a pair are those of the run, or not shown."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from medray.config import Config, CorruptionConfig
from medray.imaging.corruption import corrupt, corrupt_images
from medray.imaging.load import load_image
from medray.report.pairs import ImageSource, choose_pairs, collect_images
from medray.report.pairs.cards import Pictures, shown_images
from medray.seeds import item_seed
from tests.unit.report.test_report import make_run, trained_rows


def test_images_are_shown_only_if_they_are_the_ones_trained_on(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=1)
    row = choose_pairs(trained_rows(run), 1)[0]
    (good,) = collect_images(run.path, [row])
    (good,) = good.images
    assert good.corrupted is not None
    assert good.region is not None
    assert good.region.sum() == 12 * 14
    assert np.array_equal(good.image[~good.region], good.corrupted[~good.region])
    (other,) = collect_images(run.path, [{**row, "corrupted_sha256": "0" * 64}])
    assert other.images[0].corrupted is None
    assert "could not be reproduced" in other.note
    (changed,) = collect_images(run.path, [{**row, "image_sha256": "0" * 64}])
    assert changed.images == ()
    assert "has changed" in changed.note


def test_the_image_that_targeting_took_away_is_black(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=1)
    row = choose_pairs(trained_rows(run), 1)[0]
    black = CorruptionConfig(kind="black", region="whole")
    v = corrupt(np.full((48, 48, 3), 7, np.uint8), (), black, seed=0)
    assert v is not None
    changes = {"corrupted_sha256": v.sha256, "corruption": v.kind, "region_source": v.region_source}
    (shown,) = collect_images(run.path, [row | changes])
    (seen,) = shown.images
    assert seen.corrupted is not None, shown.note
    assert not seen.corrupted.any()


def test_every_image_of_a_case_is_shown_with_its_own_region(tmp_path: Path) -> None:
    """The lesion is on the second image, so v' is, too; a page shows all three pictures."""
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        pixels = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    regions = [{"label": "nodule", "box": [2, 3, 8, 9], "image": 1}]
    case = {"images": ["a.png", "b.png"], "question": "Q?", "answer": "No", "regions": regions}
    split = [{"id": "t", "split": "train"}, {"id": "h", "split": "heldout"}]
    lines = [json.dumps(case | each) + "\n" for each in split]
    (tmp_path / "records.jsonl").write_text("".join(lines))
    data = {"kind": "jsonl", "path": str(tmp_path)}
    config = Config.model_validate({"data": data, "run": {"output": str(tmp_path)}})
    source = ImageSource(config)
    shown = source.train["t"]
    images = [load_image(image.path) for image in shown.images]
    seed = item_seed(config.run.seed, "t")
    v = corrupt_images(images, shown.regions, config.corruption, seed=seed)
    row = {
        "case_id": "t",
        "image_sha256": shown.image_sha256,
        "other_images_sha256": [image.sha256 for image in shown.other_images],
        "corrupted_sha256": v.sha256,
        "corruption": v.kind,
        "region_source": v.region_source,
        "response": "No",
    }
    pair = source.complete(row)
    assert pair.note == ""
    first, second = pair.images
    assert (first.region, first.corrupted) == (None, None)
    assert second.region.sum() == 36
    assert np.array_equal(second.corrupted, v.images[1].image)
    pictures = Pictures(10_000_000)
    (clean, nothing), (outlined, corrupted) = shown_images(pair, pictures)
    assert nothing is None
    assert (clean.outline == "", bool(outlined.outline), bool(corrupted.outline)) == (True,) * 3
    assert len(pictures.stored()) == 3
    changed = source.complete(row | {"other_images_sha256": ["0" * 64]})
    assert "has changed" in changed.note
