"""Images on a page: their size, and regions as outlines."""

from __future__ import annotations

import re

import numpy as np

from medray.report.pairs.inline_images import inline_image, outline


def test_outline_follows_pixel_edges() -> None:
    region = np.zeros((4, 5), bool)
    region[1:3, 2:5] = True
    assert set(re.findall(r"M[^M]+", outline(region))) == {"M2 1H5", "M2 3H5", "M2 1V3", "M5 1V3"}
    assert outline(np.zeros((4, 5), bool)) == ""


def test_small_images_are_enlarged_and_large_ones_reduced() -> None:
    small = inline_image(np.zeros((48, 48, 3), np.uint8))
    assert (small.width, small.pixelated, small.display_width) == (48, True, 192)
    large = inline_image(np.zeros((1024, 2048, 3), np.uint8), np.ones((1024, 2048), bool))
    assert (large.width, large.height, large.pixelated) == (512, 256, False)
    assert "H512" in large.outline
