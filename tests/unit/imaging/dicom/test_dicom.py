"""DICOM: real samples of many kinds, and synthetic ones with values known by hand."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from medray.errors import ItemError
from medray.imaging.dicom import frame_count
from medray.imaging.load import load_image


def write(path, values: np.ndarray, **attributes):
    """A minimal DICOM file of values [H, W] or [frames, H, W] or [H, W, 3]."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    dataset.SOPInstanceUID = "1.2.3"
    dataset.PatientName = "SECRET^PERSON"
    colour = values.shape[-1] == 3 and values.ndim == 3
    dataset.SamplesPerPixel = 3 if colour else 1
    if colour:
        dataset.PlanarConfiguration = 0
    elif values.ndim == 3:
        dataset.NumberOfFrames = len(values)
    dataset.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    rows, columns = values.shape[:2] if colour else values.shape[-2:]
    dataset.Rows, dataset.Columns = rows, columns
    dataset.BitsAllocated = dataset.BitsStored = values.dtype.itemsize * 8
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    dataset.PixelData = values.tobytes() + b"\0" * (values.nbytes % 2)
    with disable_value_validation():
        for name, value in attributes.items():
            setattr(dataset, name, value)
        dataset.save_as(path, enforce_file_format=True)
    return path


def grey(path) -> list[list[int]]:
    image = load_image(path)
    assert (image[:, :, 0] == image[:, :, 1]).all()
    assert (image[:, :, 0] == image[:, :, 2]).all()
    return image[:, :, 0].tolist()


SAMPLES = {
    "pydicom_CT_small": (128, 128),
    "pydicom_MR_small": (64, 64),
    "pydicomdata_MR2_J2KI": (1024, 1024),
    "pydicomdata_RG1_J2KI": (1955, 1841),
    "pydicomdata_RG3_J2KI": (1760, 1760),
    "pydicomdata_US1_J2KI": (480, 640),
    "pydicomdata_emri_small": (64, 64),
}


@pytest.mark.data
@pytest.mark.parametrize("name", SAMPLES)
def test_real_samples_load_with_contrast(shared_data, name):
    image = load_image(shared_data / "dicom" / f"{name}.dcm")
    assert image.shape == (*SAMPLES[name], 3)
    assert image.dtype == np.uint8
    assert image.std() > 20
    is_colour = (image[:, :, 0] != image[:, :, 2]).any()
    assert is_colour == (name == "pydicomdata_US1_J2KI")


@pytest.mark.data
def test_monochrome1_chest_film_shows_the_spine_brighter_than_the_lungs(shared_data):
    image = load_image(shared_data / "dicom" / "pydicomdata_RG1_J2KI.dcm")[:, :, 0]
    spine, lung = image[900:1100, 880:960], image[500:800, 450:600]
    assert spine.mean() > lung.mean() + 20


@pytest.mark.data
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("name", ["pydicom_CT_small", "pydicomdata_MR2_J2KI"])
def test_truncated_samples_are_refused(shared_data, tmp_path, name, share):
    content = (shared_data / "dicom" / f"{name}.dcm").read_bytes()
    (tmp_path / "cut.dcm").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ItemError) as caught:
        load_image(tmp_path / "cut.dcm")
    assert caught.value.reason == "image-truncated"


def test_16_bits_without_window_are_scaled_by_their_range(tmp_path):
    values = np.array([[-1000, 0, 1000]], np.int16)
    assert grey(write(tmp_path / "a.dcm", values)) == [[0, 128, 255]]


def test_padding_does_not_count_for_the_range(tmp_path):
    values = np.array([[-2000, 0, 500, 1000]], np.int16)
    assert grey(write(tmp_path / "a.dcm", values, PixelPaddingValue=-2000)) == [[0, 0, 128, 255]]


def test_window_is_applied_after_the_rescale(tmp_path):
    # Hounsfield = stored − 1024; window 40 ± 200, so −160 is black and 239 white
    stored = np.array([[0, 864, 1064, 1263, 4000]], np.uint16)
    path = write(
        tmp_path / "a.dcm",
        stored,
        BitsStored=12,
        HighBit=11,
        RescaleSlope=1,
        RescaleIntercept=-1024,
        WindowCenter=40,
        WindowWidth=400,
    )
    assert grey(path) == [[0, 0, 128, 255, 255]]


def test_a_window_keeps_its_contrast_if_no_pixel_reaches_its_ends(tmp_path):
    stored = np.array([[400, 600]], np.uint16)
    path = write(tmp_path / "a.dcm", stored, WindowCenter=500.5, WindowWidth=1001)
    assert grey(path) == [[102, 153]]  # two fifths and three fifths of 255


def test_the_first_of_several_windows_and_frames_is_used(tmp_path):
    frames = np.array([[[0, 1000]], [[7, 7]]], np.uint16)
    path = write(tmp_path / "a.dcm", frames, WindowCenter=[500.5, 9], WindowWidth=[1001, 9])
    assert grey(path) == [[0, 255]]


def test_window_inside_functional_groups(tmp_path):
    window, group = Dataset(), Dataset()
    window.WindowCenter, window.WindowWidth = 500.5, 1001
    group.FrameVOILUTSequence = [window]
    frames = np.array([[[500, 2000]], [[0, 0]]], np.uint16)
    path = write(tmp_path / "a.dcm", frames, SharedFunctionalGroupsSequence=[group])
    assert grey(path) == [[128, 255]]


def frames_of(path) -> list[list[list[int]]]:
    return [grey(f"{path}#{number}") for number in (1, 2)]


def test_each_frame_is_read_by_its_number(tmp_path):
    frames = np.array([[[0, 1000]], [[500, 250]]], np.uint16)
    path = write(tmp_path / "a.dcm", frames, WindowCenter=500.5, WindowWidth=1001)
    assert frames_of(path) == [[[0, 255]], [[128, 64]]]
    path = write(
        tmp_path / "b.dcm", (frames // 4).astype(np.uint8), PhotometricInterpretation="MONOCHROME1"
    )
    assert frames_of(path) == [[[255, 5]], [[130, 193]]]


def test_frames_have_their_own_windows_and_rescales(tmp_path):
    groups = []
    for centre, slope in ((500.5, 1), (1001, 2)):
        window, scale, group = Dataset(), Dataset(), Dataset()
        window.WindowCenter, window.WindowWidth = centre, 2 * centre
        scale.RescaleSlope, scale.RescaleIntercept = slope, 0
        group.FrameVOILUTSequence = [window]
        group.PixelValueTransformationSequence = [scale]
        groups.append(group)
    frames = np.array([[[0, 400]], [[500, 2000]]], np.uint16)
    path = write(tmp_path / "a.dcm", frames, PerFrameFunctionalGroupsSequence=groups)
    # 400 of 0 to 1000; 2 · 500 and 4000 of 0 to 2001
    assert frames_of(path) == [[[0, 102]], [[127, 255]]]


def test_frames_in_colour(tmp_path):
    values = np.array([[[[255, 0, 10]]], [[[1, 2, 3]]]], np.uint8)
    path = write(tmp_path / "a.dcm", values[0], NumberOfFrames=2, PixelData=values.tobytes())
    assert load_image(f"{path}#2").tolist() == [[[1, 2, 3]]]


@pytest.mark.parametrize("frame", [0, 3, 10**9])
def test_frames_that_do_not_exist(tmp_path, frame):
    path = write(tmp_path / "a.dcm", np.zeros((2, 2, 2), np.uint8))
    with pytest.raises(ItemError) as caught:
        load_image(f"{path}#{frame}")
    assert (caught.value.reason, caught.value.what) == (
        "image-missing",
        f"a.dcm#{frame}: no such frame",
    )


def test_frames_of_a_truncated_file(tmp_path):
    frames = np.zeros((9, 64, 64), np.uint16)
    path = write(tmp_path / "a.dcm", frames)
    path.write_bytes(path.read_bytes()[:-30_000])
    with pytest.raises(ItemError) as caught:
        load_image(f"{path}#9")
    assert caught.value.reason == "image-truncated"


@pytest.mark.data
def test_the_frames_of_a_real_sample(shared_data):
    path = shared_data / "dicom" / "pydicomdata_emri_small.dcm"
    stored = pydicom.dcmread(path).pixel_array
    assert stored.shape == (10, 64, 64)
    rendered = [load_image(f"{path}#{number}")[:, :, 0] for number in range(1, 11)]
    for values, frame in zip(stored, rendered, strict=True):
        middle = (values > values.min()) & (frame > 0) & (frame < 255)
        assert np.corrcoef(values[middle], frame[middle])[0, 1] > 0.999
    assert len({frame.tobytes() for frame in rendered}) == 10
    assert (rendered[0] == load_image(path)[:, :, 0]).all()


@pytest.mark.filterwarnings("ignore::UserWarning")  # from the header that the test reads
def test_every_test_file_of_pydicom_is_read_or_refused_with_a_reason():
    """Files that are part of the package; those it would download are not requested."""
    folder = Path(pydicom.__file__).parent / "data" / "test_files"
    files = sorted(folder.glob("*.dcm"))
    if not files:
        pytest.skip("pydicom without its test files")
    read, reasons = 0, set()
    for path in files:
        header = pydicom.dcmread(path, force=True, stop_before_pixels=True)
        frames = frame_count(header)
        try:
            images = [load_image(f"{path}#{i + 1}") for i in range(min(frames, 5))]
        except ItemError as error:
            reasons.add(error.reason)
            continue
        read += 1
        assert {image.shape for image in images} == {(header.Rows, header.Columns, 3)}
    assert reasons <= {"image-unreadable", "image-truncated"}
    assert read > len(files) / 3


def test_monochrome1_is_inverted(tmp_path):
    values = np.array([[0, 51, 255]], np.uint8)
    path = write(tmp_path / "a.dcm", values, PhotometricInterpretation="MONOCHROME1")
    assert grey(path) == [[255, 204, 0]]


def test_voi_lut(tmp_path):
    table = Dataset()
    table.LUTDescriptor = [4, 0, 16]
    table.LUTData = np.array([0, 100, 100, 1000], "<u2").tobytes()
    values = np.array([[0, 1, 3, 9]], np.uint16)
    path = write(tmp_path / "a.dcm", values, VOILUTSequence=[table])
    assert grey(path) == [[0, 26, 255, 255]]


def test_colour(tmp_path):
    values = np.array([[[255, 0, 10], [1, 2, 3]]], np.uint8)
    assert load_image(write(tmp_path / "a.dcm", values)).tolist() == values.tolist()


def test_palette_colour(tmp_path):
    palette = {}
    for name, entries in (("Red", [0, 65535]), ("Green", [0, 0]), ("Blue", [65535, 0])):
        palette[f"{name}PaletteColorLookupTableDescriptor"] = [2, 0, 16]
        palette[f"{name}PaletteColorLookupTableData"] = np.array(entries, "<u2").tobytes()
    path = write(
        tmp_path / "a.dcm",
        np.array([[0, 1]], np.uint8),
        PhotometricInterpretation="PALETTE COLOR",
        **palette,
    )
    assert load_image(path).tolist() == [[[0, 0, 255], [255, 0, 0]]]


def test_a_file_without_preamble_is_recognised_by_its_name(tmp_path):
    path = write(tmp_path / "a.dcm", np.array([[0, 51, 255]], np.uint8))
    path.write_bytes(path.read_bytes()[132:])
    assert grey(path) == [[0, 51, 255]]


def test_bomb_no_pixels_and_garbage_are_unreadable(tmp_path):
    values = np.zeros((2, 2), np.uint8)
    bomb = write(tmp_path / "bomb.dcm", values, Rows=60000, Columns=60000)
    bare = write(tmp_path / "bare.dcm", values)
    dataset = pydicom.dcmread(bare)
    del dataset.PixelData, dataset.Rows
    dataset.save_as(bare)
    (tmp_path / "garbage.dcm").write_bytes(bytes(range(256)) * 10)
    for name in ("bomb", "bare", "garbage"):
        with pytest.raises(ItemError) as caught:
            load_image(tmp_path / f"{name}.dcm")
        assert caught.value.reason == "image-unreadable"
    assert bomb.exists()


@pytest.mark.filterwarnings("error")
def test_no_patient_data_leak(tmp_path, caplog):
    values = np.array([[0, 51, 255, 1]], np.uint8)
    content = write(tmp_path / "a.dcm", values, PatientBirthDate="SECRETDATE").read_bytes()
    (tmp_path / "cut.dcm").write_bytes(content[:-6])
    with caplog.at_level(logging.DEBUG):
        load_image(tmp_path / "a.dcm")
        with pytest.raises(ItemError) as caught:
            load_image(tmp_path / "cut.dcm")
    assert "SECRET" not in caplog.text
    assert str(caught.value) == "cut.dcm: the file is cut short"
    assert caught.value.__suppress_context__
