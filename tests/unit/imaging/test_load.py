"""Reading images of every kind that users may have, and refusing damaged ones."""

from __future__ import annotations

import io
import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medray.errors import ItemError
from medray.imaging.load import encode_png, file_sha256, load_image, pixels_sha256


def save(folder: Path, image: Image.Image, name: str = "a.png", **options) -> Path:
    path = folder / name
    image.save(path, **options)
    return path


def reason(path: Path) -> str:
    with pytest.raises(ItemError) as caught:
        load_image(path)
    assert str(path.parent) not in str(caught.value)  # only the file's own name
    return caught.value.reason


def noise(height: int = 40, width: int = 30) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.data
def test_every_vqa_rad_image_loads(shared_data):
    files = sorted((shared_data / "vqa_rad" / "VQA_RAD Image Folder").iterdir())
    assert len(files) == 314
    for file in files:
        image = load_image(file)
        assert image.dtype == np.uint8
        assert image.ndim == 3
        assert image.shape[2] == 3
        assert 0 < max(image.shape) <= 512


def test_an_rgb_png_survives_encode_png_bit_for_bit(tmp_path):
    pixels = noise()
    (tmp_path / "a.png").write_bytes(encode_png(pixels))
    assert np.array_equal(load_image(tmp_path / "a.png"), pixels)


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("1", 1, (255, 255, 255)),
        ("L", 77, (77, 77, 77)),
        ("LA", (0, 0), (255, 255, 255)),  # transparent: white
        ("RGBA", (10, 20, 30, 255), (10, 20, 30)),
        ("RGBA", (10, 20, 30, 0), (255, 255, 255)),
        ("RGBA", (0, 0, 0, 51), (204, 204, 204)),  # a fifth of black on white
    ],
)
def test_modes_become_rgb_with_transparency_on_white(tmp_path, mode, colour, expected):
    path = save(tmp_path, Image.new(mode, (4, 3), colour))
    image = load_image(path)
    assert image.shape == (3, 4, 3)
    assert (image == expected).all()


def test_palette_with_and_without_transparency(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    opaque = load_image(save(tmp_path, image, "p.png"))
    assert opaque[0].tolist() == [[255, 0, 0], [0, 0, 255]]
    clear = load_image(save(tmp_path, image, "t.png", transparency=1))
    assert clear[0].tolist() == [[255, 0, 0], [255, 255, 255]]


def test_cmyk_jpeg(tmp_path):
    path = save(tmp_path, Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "a.jpg", quality=95)
    red = load_image(path)[8, 8].astype(int)
    assert red[0] > 240
    assert red[1:].max() < 15


def test_16_bit_grey_is_scaled_by_its_range(tmp_path):
    values = np.array([[1000, 2000, 3000]], dtype=np.uint16)
    image = load_image(save(tmp_path, Image.fromarray(values)))
    assert image[0].tolist() == [[0] * 3, [128] * 3, [255] * 3]


def test_float_tiff_with_nan(tmp_path):
    values = np.array([[0.0, np.nan, 4.0]], dtype=np.float32)
    image = load_image(save(tmp_path, Image.fromarray(values), "a.tiff"))
    assert image[0, :, 0].tolist() == [0, 0, 255]


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA", "P", "I;16"])
def test_one_pixel(tmp_path, mode):
    assert load_image(save(tmp_path, Image.new(mode, (1, 1)))).shape == (1, 1, 3)


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be displayed rotated by 90° clockwise
    stored = noise(2, 3)
    path = save(tmp_path, Image.fromarray(stored), exif=exif)
    assert np.array_equal(load_image(path), np.rot90(stored, -1))


def test_the_content_decides_and_not_the_name(tmp_path):
    pixels = noise()
    for name in ("a.jpg", "a.dcm", "a.txt", "a"):
        (tmp_path / name).write_bytes(encode_png(pixels))
        assert np.array_equal(load_image(tmp_path / name), pixels)


def test_missing_empty_folder_and_text(tmp_path):
    (tmp_path / "zero.png").touch()
    (tmp_path / "text.png").write_text("<html>not found</html>")
    assert reason(tmp_path / "gone.png") == "image-missing"
    assert reason(tmp_path / "zero.png") == "image-empty"
    assert reason(tmp_path / "text.png") == "image-unreadable"
    assert reason(tmp_path / "zero.png" / "inside.png") == "image-missing"
    (tmp_path / "folder.png").mkdir()
    assert reason(tmp_path / "folder.png") == "image-unreadable"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_truncated_anywhere(tmp_path, kind, share):
    buffer = io.BytesIO()
    Image.fromarray(noise(200, 200)).save(buffer, format=kind)
    content = buffer.getvalue()
    path = tmp_path / "cut.img"
    path.write_bytes(content[: int(len(content) * share)])
    assert reason(path) == "image-truncated"


def test_damage_in_the_middle_is_unreadable(tmp_path):
    data = bytearray(encode_png(noise(100, 100)))
    data[2000:2100] = bytes(100)
    (tmp_path / "a.png").write_bytes(bytes(data))
    assert reason(tmp_path / "a.png") == "image-unreadable"


def test_decompression_bomb_is_refused_before_it_is_decoded(tmp_path):
    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    for side in (9_000, 10_000, 100_000):  # below, above and far above Pillow's own limits
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
        body = chunk(b"IDAT", zlib.compress(bytes(1000)))
        (tmp_path / "bomb.png").write_bytes(
            b"\x89PNG\r\n\x1a\n" + header + body + chunk(b"IEND", b"")
        )
        assert reason(tmp_path / "bomb.png") == "image-unreadable"


def test_digests(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert file_sha256(tmp_path / "a").startswith("ba7816bf8f01cfea")  # FIPS 180-2, B.1
    assert file_sha256(tmp_path / "gone") == ""
    assert file_sha256(tmp_path) == ""
    zeros = np.zeros((2, 3), np.uint8)
    others = [zeros.reshape(3, 2), zeros.view(np.int8), zeros + np.uint8(1)]
    assert len({pixels_sha256(array) for array in [zeros, *others]}) == 4
    transposed = noise().transpose(1, 0, 2)
    assert pixels_sha256(transposed) == pixels_sha256(transposed.copy())


def test_encode_png_of_a_mask():
    mask = np.array([[True, False]])
    assert np.asarray(Image.open(io.BytesIO(encode_png(mask)))).tolist() == [[255, 0]]


def test_item_error_survives_pickling_between_actors(tmp_path):
    with pytest.raises(ItemError) as caught:
        load_image(tmp_path / "gone.png")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.reason, str(copy)) == ("image-missing", "gone.png: no such file")
