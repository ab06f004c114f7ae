"""The images of a pair are those of the run, or not shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medray.config import CorruptionConfig
from medray.imaging.corruption import corrupt
from medray.report.pairs import choose_pairs, collect_images
from tests.unit.report.test_report import make_run, trained_rows


def test_images_are_shown_only_if_they_are_the_ones_trained_on(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=1)
    row = choose_pairs(trained_rows(run), 1)[0]
    (good,) = collect_images(run.path, [row])
    assert good.image is not None
    assert good.corrupted is not None
    assert good.region is not None
    assert good.region.sum() == 12 * 14
    assert np.array_equal(good.image[~good.region], good.corrupted[~good.region])
    (other,) = collect_images(run.path, [{**row, "corrupted_sha256": "0" * 64}])
    assert other.image is not None
    assert other.corrupted is None
    assert "could not be reproduced" in other.note
    (changed,) = collect_images(run.path, [{**row, "image_sha256": "0" * 64}])
    assert changed.image is None
    assert "has changed" in changed.note


def test_the_image_that_targeting_took_away_is_black(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=1)
    row = choose_pairs(trained_rows(run), 1)[0]
    black = CorruptionConfig(kind="black", region="whole")
    v = corrupt(np.full((48, 48, 3), 7, np.uint8), (), black, seed=0)
    assert v is not None
    changes = {"corrupted_sha256": v.sha256, "corruption": v.kind, "region_source": v.region_source}
    (shown,) = collect_images(run.path, [row | changes])
    assert shown.corrupted is not None, shown.note
    assert not shown.corrupted.any()
