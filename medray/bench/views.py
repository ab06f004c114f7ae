"""What a case costs the editor's actor before its text: reading, encoding and corrupting its image.

Both ways in the same run: as medray does it, at the size that the model sees, and at the size of
the file, which the model's processor then reduces.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from medray.config import CorruptionConfig
from medray.imaging.corruption import corrupt
from medray.imaging.load import load_image
from medray.policy.model.chat import ChatCodec
from medray.policy.model.loading import resolve_model_path
from medray.records import Region

FILES = {"512 x 512": (512, 512), "3056 x 2544": (3056, 2544)}  # height x width
SIDE, PATCH = 336, 14  # of LLaVA's vision tower: 576 tokens
HOW = CorruptionConfig(region="lesion")
GREY = 128


def measure_views(time: Callable[[Callable[[], Any]], dict[str, float]]) -> list[dict[str, Any]]:
    """A row per kind and size of file. `time`: the seconds of a call, as {"median": …}."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="medray-") as folder:
        codec = ChatCodec(_model(Path(folder) / "model"))
        for name, size in FILES.items():
            for kind, write in (("JPEG", _write_jpeg), ("DICOM, 16 bits", _write_dicom)):
                path = Path(folder) / "image"
                write(path, _radiograph(size))
                rows.append({"file": kind, "size": name} | _measure(codec, path, size, time))
    return rows


def view_line(row: dict[str, Any]) -> str:
    """A row in one sentence."""
    noise, at_file_size = row["noise_seen"], row["noise_seen_at_file_size"]
    return (
        f"{row['file']}, {row['size']}: {row['cases_per_second']:.0f} cases per second and core, "
        f"{row['ratio']:.1f} × as many as at the file's size, "
        f"{row['bytes_in_object_store'] / 1e6:.2f} MB each; of noise {row['noise_asked']:g} the "
        f"model sees {noise:.1f} (at the file's size {at_file_size:.1f})"
    )


def _measure(
    codec: ChatCodec,
    path: Path,
    size: tuple[int, int],
    time: Callable[[Callable[[], Any]], dict[str, float]],
) -> dict[str, Any]:
    height, width = size
    lesion = Region("lesion", box=(width // 2, height // 2, width * 3 // 4, height * 3 // 4))

    def reduced() -> tuple[np.ndarray, ...]:
        view = codec.load_view(str(path))
        return _case(codec, view.pixels, view.regions([lesion]))

    def entire() -> tuple[np.ndarray, ...]:
        return _case(codec, load_image(path), (lesion,))

    here, there = time(reduced), time(entire)
    stored, *seen = reduced()
    return {
        "seconds": here,
        "seconds_at_file_size": there,
        "cases_per_second": 1.0 / here["median"],
        "ratio": there["median"] / here["median"],
        "bytes_in_object_store": stored.nbytes,
        "noise_seen": _noise(codec, *seen),
        "noise_seen_at_file_size": _noise(codec, *entire()[1:]),
        "noise_asked": HOW.sigma,
    }


def _case(
    codec: ChatCodec, image: np.ndarray, regions: tuple[Region, ...]
) -> tuple[np.ndarray, ...]:
    """(the image, its picture, that of v')."""
    _, (picture,) = codec.encode("Is there a nodule?", image)
    corrupted = corrupt(image, regions, HOW, seed=0)
    assert corrupted is not None
    return image, np.asarray(picture), np.asarray(codec.pixels(corrupted.image))


def _noise(codec: ChatCodec, picture: np.ndarray, corrupted: np.ndarray) -> float:
    """The standard deviation in grey levels of what v' changes in the middle of the lesion."""
    scale = np.asarray(codec.processor.image_processor.image_std)[:, None, None] * 255
    change = (corrupted - picture) * scale
    middle = slice(SIDE * 9 // 16, SIDE * 11 // 16)  # the box begins in the centre
    return float(change[:, middle, middle].std())


def _model(folder: Path) -> Path:
    """The shipped tiny model's tokenizer, with an image processor of LLaVA's size."""
    shutil.copytree(resolve_model_path("phantom/base"), folder)
    file = folder / "processor_config.json"
    settings = json.loads(file.read_text())
    square = {"height": SIDE, "width": SIDE}
    settings["image_processor"] |= {"size": {"shortest_edge": SIDE}, "crop_size": square}
    settings["patch_size"] = PATCH
    file.write_text(json.dumps(settings))
    return folder


def _radiograph(size: tuple[int, int]) -> np.ndarray:
    """Soft shapes with a little grain, far from black and white: uint16 [H, W] of 12 bits."""
    rows, columns = (np.linspace(0, 3, n)[:, None] for n in size)
    soft = np.sin(rows) * np.cos(columns.T)
    grain = np.random.default_rng(0).normal(0, 8, size)
    return (GREY * 16 + 200 * soft + grain).astype(np.uint16)


def _write_jpeg(path: Path, values: np.ndarray) -> None:
    from PIL import Image

    Image.fromarray((values >> 4).astype(np.uint8)).save(path, format="JPEG", quality=90)


def _write_dicom(path: Path, values: np.ndarray) -> None:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.Rows, dataset.Columns = values.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.WindowCenter, dataset.WindowWidth = 2048, 4096
    dataset.PixelData = values.tobytes()
    dataset.save_as(path, enforce_file_format=True)
