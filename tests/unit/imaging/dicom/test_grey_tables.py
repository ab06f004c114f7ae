"""Large DICOM frames are shown by tables: exactly as pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataset import Dataset

from medray.imaging.dicom.display import FEW_PIXELS, _grey_levels, grey_levels


def header(**attributes) -> Dataset:
    dataset = Dataset()
    dataset.BitsStored = 16
    for name, value in attributes.items():
        setattr(dataset, name, value)
    return dataset


def table(first: int, entries: list[int]) -> list[Dataset]:
    item = Dataset()
    item.LUTDescriptor, item.LUTData = [len(entries), first, 12], entries
    return [item]


HEADERS = {
    "nothing": {},
    "window": {"WindowCenter": 1000, "WindowWidth": 700},
    "narrow window": {"WindowCenter": 40_000, "WindowWidth": 10},
    "rescaled": {
        "RescaleSlope": 2.5,
        "RescaleIntercept": -1024,
        "WindowCenter": 0,
        "WindowWidth": 9,
    },
    "sigmoid": {"WindowCenter": 500, "WindowWidth": 300, "VOILUTFunction": "SIGMOID"},
    "padding": {"PixelPaddingValue": 0},
    "padding below": {"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 900},
    "falling table": {"VOILUTSequence": table(100, list(range(4000, 0, -1)))},
    "modality table": {"ModalityLUTSequence": table(0, [7, 3, 900, 20] * 300)},
}


@pytest.mark.parametrize("name", HEADERS)
@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", ">u2", ">i2"])
def test_every_pixel_is_shown_alike(name, dtype):
    info = np.iinfo(np.dtype(dtype))
    rng = np.random.default_rng(0)
    values = rng.choice(rng.integers(max(-900, info.min), min(2000, info.max), 97), (400, 400))
    values[:40] = 0
    stored = values.astype(dtype)
    assert stored.size > FEW_PIXELS
    dataset = header(**HEADERS[name])
    assert np.array_equal(grey_levels(stored, dataset, 1), _grey_levels(stored, dataset, 1))


@pytest.mark.parametrize("value", [0, 300])
def test_a_frame_of_one_value(value):
    stored = np.full((400, 400), value, np.uint16)
    assert not grey_levels(stored, header(), 1).any()
