"""What a DICOM header says about display is a hint: nonsense is passed over, as viewers do."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset

from medray.imaging.load import load_image
from tests.unit.imaging.dicom.test_dicom import write

VALUES = np.array([[0, 1000, 2000, 4000]], np.uint16)
BY_RANGE = [[0, 64, 128, 255]]


def grey(path) -> list[list[int]]:
    return load_image(path)[:, :, 0].tolist()


@pytest.mark.parametrize(
    "attributes",
    [
        {"WindowCenter": 2000, "WindowWidth": 0},
        {"WindowCenter": 2000, "WindowWidth": -1},
        {"WindowCenter": 2000, "WindowWidth": 0.5},
        {"WindowCenter": "", "WindowWidth": 400},
        {"WindowCenter": 2000, "WindowWidth": ""},
        {"WindowCenter": 90000, "WindowWidth": 100},  # all black
        {"WindowCenter": -90000, "WindowWidth": 100},  # all white
        {"RescaleSlope": "", "RescaleIntercept": ""},
        {"RescaleSlope": 0, "RescaleIntercept": 0},
        {"RescaleSlope": "1e400"},
        {"RescaleIntercept": "NaN"},
        {"VOILUTSequence": []},
        {"VOILUTFunction": "NONSENSE"},
        {"ModalityLUTSequence": []},
    ],
    ids=str,
)
def test_attributes_of_no_use_are_passed_over(tmp_path, attributes):
    path = write(tmp_path / "a.dcm", VALUES)
    dataset = pydicom.dcmread(path)
    with disable_value_validation():
        for name, value in attributes.items():
            setattr(dataset, name, value)
        if attributes.get("RescaleSlope") == "1e400":
            dataset.RescaleSlope = "1e400"
        dataset.save_as(path)
    assert grey(path) == BY_RANGE


def test_a_window_below_one_counts_where_values_are_finer(tmp_path):
    window = {"WindowCenter": 0.5, "WindowWidth": 0.5, "RescaleSlope": 0.00025}
    path = write(tmp_path / "a.dcm", VALUES, RescaleIntercept=0, **window)
    assert grey(path) == [[0, 0, 128, 255]]  # 0.25 to 0.75 of the values 0, 0.25, 0.5, 1


def test_the_next_window_counts_if_the_first_is_of_no_use(tmp_path):
    path = write(tmp_path / "a.dcm", VALUES, WindowCenter=[1, 2000.5], WindowWidth=[0, 4001])
    assert grey(path) == BY_RANGE


def lut(entries, descriptor) -> Dataset:
    table = Dataset()
    table.LUTDescriptor, table.LUTData = descriptor, entries
    return table


@pytest.mark.parametrize(
    ("entries", "descriptor", "shown"),
    [
        # two bytes in each word, as the standard packs entries of 8 bits
        (np.arange(256, dtype=np.uint8)[::-1].tobytes(), [256, 0, 8], [255, 155, 55, 0]),
        # a word for each
        (np.arange(256, dtype="<u2")[::-1].tobytes(), [256, 0, 8], [255, 155, 55, 0]),
        # an odd number of entries
        (bytes([10, 20, 30, 0]), [3, 0, 8], [10, 30, 30, 30]),
        # 10 bits, of which the table uses a part
        (np.arange(300, 812, dtype="<u2").tobytes(), [512, 0, 10], [75, 100, 125, 202]),
        # more bits than declared
        (np.array([0, 1023] * 2, "<u2").tobytes(), [4, 0, 8], [0, 255, 255, 255]),
        # its first entry stands for 100
        (np.array([0, 4095], "<u2").tobytes(), [2, 100, 12], [0, 0, 255, 255]),
    ],
)
def test_tables_of_every_width(tmp_path, entries, descriptor, shown):
    values = np.array([[0, 100, 200, 4000]], np.uint16)
    path = write(tmp_path / "a.dcm", values, VOILUTSequence=[lut(entries, descriptor)])
    assert grey(path) == [shown]


@pytest.mark.parametrize(
    ("entries", "descriptor"), [(b"\0\0", [4, 0, 16]), (b"", [0, 0, 16]), (b"\0\0", [1, 0, 0])]
)
def test_tables_that_lack_entries_are_passed_over(tmp_path, entries, descriptor):
    tables = {"VOILUTSequence": [lut(entries, descriptor)]}
    path = write(tmp_path / "a.dcm", VALUES, **tables, ModalityLUTSequence=[lut(b"", [9, 0, 16])])
    assert grey(path) == BY_RANGE


def test_files_without_meta_information_or_transfer_syntax(tmp_path):
    path = write(tmp_path / "a.dcm", VALUES)
    dataset = Dataset(pydicom.dcmread(path))
    for name, implicit in (("IM-0001-0001", True), ("explicit.dcm", False)):
        bare = tmp_path / name
        dataset.save_as(bare, implicit_vr=implicit, little_endian=True, enforce_file_format=False)
        assert bare.read_bytes()[128:132] != b"DICM"
        assert grey(bare) == BY_RANGE


@pytest.mark.parametrize(
    "missing", ["PhotometricInterpretation", "SamplesPerPixel", "PixelRepresentation", "BitsStored"]
)
def test_what_the_layout_suggests_need_not_be_stated(tmp_path, missing):
    path = write(tmp_path / "a.dcm", VALUES)
    dataset = pydicom.dcmread(path)
    del dataset[missing]
    dataset.save_as(path)
    assert grey(path) == BY_RANGE


def test_values_that_are_no_numbers_determine_no_range(tmp_path):
    dataset = pydicom.dcmread(write(tmp_path / "a.dcm", VALUES))
    del dataset.PixelData
    dataset.BitsAllocated = dataset.BitsStored = 32
    values = np.array([np.nan, -1, 0, np.inf], "<f4")
    dataset.FloatPixelData = values.tobytes()
    dataset.save_as(tmp_path / "float.dcm")
    assert grey(tmp_path / "float.dcm") == [[0, 0, 255, 255]]
