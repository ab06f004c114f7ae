"""Stored pixel values from the bytes of a file: which syntaxes can be decoded, and within bounds.

A compressed frame states its own size. It is compared with the header's before anything is decoded,
so that a few bytes cannot ask for gigabytes.
"""

from __future__ import annotations

import functools
import io
import struct
from importlib.util import find_spec
from typing import Any, BinaryIO

import numpy as np

from medray.errors import ItemError
from medray.imaging.dicom.header import Header

PACKAGE = "imagecodecs"
# transfer syntax → its name and the function of `PACKAGE` that decodes it
CODECS = {
    "1.2.840.10008.1.2.4.51": ("JPEG Extended", "jpeg8_decode"),
    "1.2.840.10008.1.2.4.57": ("JPEG Lossless", "jpeg8_decode"),
    "1.2.840.10008.1.2.4.70": ("JPEG Lossless", "jpeg8_decode"),
    "1.2.840.10008.1.2.4.80": ("JPEG-LS", "jpegls_decode"),
    "1.2.840.10008.1.2.4.81": ("JPEG-LS", "jpegls_decode"),
    "1.2.840.10008.1.2.4.90": ("JPEG 2000", "jpeg2k_decode"),
    "1.2.840.10008.1.2.4.91": ("JPEG 2000", "jpeg2k_decode"),
    "1.2.840.10008.1.2.4.201": ("High-Throughput JPEG 2000", "jpeg2k_decode"),
    "1.2.840.10008.1.2.4.202": ("High-Throughput JPEG 2000", "jpeg2k_decode"),
    "1.2.840.10008.1.2.4.203": ("High-Throughput JPEG 2000", "jpeg2k_decode"),
}
JPEG_BASELINE, RLE = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.5"
NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
NO_DECODER = "image-no-decoder"
END_OF_IMAGE, END_BYTES = b"\xff\xd9", 64
COLOUR_JPEG = "jpeg8_decode"


def require_decoder(syntax: str, name: str) -> None:
    """Raise ItemError image-no-decoder, naming the compression and what to install, if pixels of a
    transfer syntax cannot be decoded here."""
    if syntax in (*NATIVE, JPEG_BASELINE, RLE):
        return
    if syntax not in CODECS:
        known = _registered_name(syntax)
        raise ItemError(NO_DECODER, f"{name}: {known} cannot be decoded; convert the file")
    if find_spec(PACKAGE) is None:
        why = f"{CODECS[syntax][0]}: no decoder is installed; pip install {PACKAGE}"
        raise ItemError(NO_DECODER, f"{name}: {why}")


def _registered_name(syntax: str) -> str:
    """The name that the standard gives to a transfer syntax: what a file says is not repeated."""
    from pydicom.uid import UID_dictionary

    entry = UID_dictionary.get(syntax)
    return entry[0] if entry else "its transfer syntax"


def stored_values(header: Header, frame: int) -> np.ndarray:
    """The values of a frame, from 1: as stored [H, W], or RGB [H, W, 3].

    Raises EOFError if bytes are missing, ValueError and others for damaged ones.
    """
    from pydicom.pixels import get_decoder
    from pydicom.pixels.utils import as_pixel_options

    register()
    source, syntax = header.stream, header.syntax
    keyword = _skip_element_header(header)
    options = as_pixel_options(header.dataset, pixel_keyword=keyword)
    if syntax not in NATIVE:
        start = source.tell()
        _check_frame(_frame_bytes(header, options, frame), header.dataset, syntax)
        source.seek(start)
    else:
        _check_length(source, header.dataset, frame)
    if syntax in NATIVE and keyword == "PixelData":
        options["pixel_vr"] = "OW" if int(header.dataset.BitsAllocated) > 8 else "OB"
    decoder = get_decoder(syntax)
    plugin = _plugin(syntax, header.dataset)
    values, _ = decoder.as_array(source, index=frame - 1, decoding_plugin=plugin, **options)
    return values


def _plugin(syntax: str, dataset: Any) -> str:
    if syntax == JPEG_BASELINE:
        return "pillow"
    if syntax in CODECS:
        eight = syntax.endswith(".4.51") and int(dataset.BitsStored) <= 8
        return "pillow" if eight else PACKAGE
    return ""


def _skip_element_header(header: Header) -> str:
    """Move to the value of the pixel data element; returns its keyword. Raises EOFError."""
    big = header.syntax == NATIVE[2]
    implicit = header.syntax == NATIVE[0]
    start = header.stream.read(8 if implicit else 12)
    if len(start) < (8 if implicit else 12):
        raise EOFError
    element = struct.unpack(">HH" if big else "<HH", start[:4])[1]
    return {8: "FloatPixelData", 9: "DoubleFloatPixelData", 16: "PixelData"}[element]


def _frame_bytes(header: Header, options: dict[str, Any], frame: int) -> bytes:
    from pydicom.encaps import get_frame

    return get_frame(
        header.stream,
        frame - 1,
        number_of_frames=int(options["number_of_frames"]),
        extended_offsets=options.get("extended_offsets"),
    )


def _check_frame(content: bytes, dataset: Any, syntax: str) -> None:
    """Raise ValueError if a compressed frame has another size than the header says; EOFError if
    its end is missing, where the decoder would not notice."""
    if syntax == RLE:
        return
    if END_OF_IMAGE not in content[-END_BYTES:]:  # the same marker in JPEG and JPEG 2000
        raise EOFError
    size = _jpeg_size(content) if content.startswith(b"\xff\xd8") else _jpeg2000_size(content)
    if size != (int(dataset.Rows), int(dataset.Columns)):
        raise ValueError("the compressed frame has another size than the header")


def _check_length(source: BinaryIO, dataset: Any, frame: int) -> None:
    """Raise EOFError if an uncompressed frame ends behind the end of the file."""
    position = source.tell()
    present = source.seek(0, io.SEEK_END) - position
    source.seek(position)
    bits = int(dataset.SamplesPerPixel) * int(dataset.BitsAllocated)
    if str(dataset.PhotometricInterpretation) == "YBR_FULL_422":
        bits = 2 * bits // 3
    if present < int(dataset.Rows) * int(dataset.Columns) * bits * frame // 8:
        raise EOFError


def _jpeg_size(content: bytes) -> tuple[int, int] | None:
    """(height, width) in the frame header of a JPEG or JPEG-LS stream; None without one."""
    position = 2
    while position + 9 <= len(content) and content[position] == 0xFF:
        marker = content[position + 1]
        if marker == 0xFF:  # fill bytes
            position += 1
            continue
        frame_header = 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)
        if frame_header or marker == 0xF7:
            height, width = struct.unpack(">HH", content[position + 5 : position + 9])
            return height, width
        position += 2 + int.from_bytes(content[position + 2 : position + 4], "big")
    return None


def _jpeg2000_size(content: bytes) -> tuple[int, int] | None:
    """(height, width) in the size marker of a JPEG 2000 codestream; None without one."""
    start = content.find(b"\xff\x4f\xff\x51")  # some files have it in a JP2 box
    if start < 0 or len(content) < start + 24:
        return None
    width, height, left, top = struct.unpack(">IIII", content[start + 8 : start + 24])
    return height - top, width - left


@functools.cache
def register() -> None:
    """Make the decoders of `PACKAGE` known to pydicom."""
    from pydicom.pixels import get_decoder

    for syntax in CODECS:
        get_decoder(syntax).add_plugin(PACKAGE, (__name__, "decode_frame"))


# What pydicom expects of a module with decoders:
DECODER_DEPENDENCIES = dict.fromkeys(CODECS, (PACKAGE,))


def is_available(syntax: str) -> bool:
    return syntax in CODECS and find_spec(PACKAGE) is not None


def decode_frame(content: bytes, runner: Any) -> bytes:
    """The values of a compressed frame as bytes; tells `runner` how they are laid out."""
    import imagecodecs

    name = CODECS[str(runner.transfer_syntax)][1]
    several = int(runner.samples_per_pixel) > 1
    same = {"colorspace": "RGB", "outcolorspace": "RGB"}  # pydicom converts colours itself
    options = same if name == COLOUR_JPEG and several else {}
    values = getattr(imagecodecs, name)(content, **options)
    bits = values.dtype.itemsize * 8
    if int(runner.pixel_representation) and int(runner.bits_stored) < bits:
        unused = bits - int(runner.bits_stored)
        signed = values.astype(np.dtype(f"i{values.dtype.itemsize}"))
        values = (signed << unused) >> unused
    runner.set_option("bits_allocated", bits)
    if several:
        runner.set_option("planar_configuration", 0)
    if str(runner.photometric_interpretation) in ("YBR_ICT", "YBR_RCT"):
        runner.set_option("photometric_interpretation", "RGB")  # the decoder undoes both
    return values.tobytes()
