"""What a file is that is no image that medray reads, so that the message can say it."""

from __future__ import annotations

_STARTS = (
    (b"version https://git-lfs", "a Git LFS pointer: the file was not fetched (git lfs pull)"),
    (b"/annex/objects/", "a git-annex pointer: the file was not fetched (git annex get)"),
    (b"\0\0\0\x0cjP  \r\n", "JPEG 2000: convert it to PNG"),
    (b"\xff\x4f\xff\x51", "JPEG 2000: convert it to PNG"),
    (b"\0\0\0\x0cJXL ", "JPEG XL: convert it to PNG"),
    (b"\xff\x0a", "JPEG XL: convert it to PNG"),
    (b"NRRD", "an NRRD volume: write its slices as PNG"),
    (b"ObjectType", "a MetaImage header: write its slices as PNG"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x93NUMPY", "a NumPy array: write it as PNG"),
    (b"%PDF", "a PDF"),
    (b"%!PS", "PostScript"),
    (b"8BPS", "a Photoshop file"),
    (b"PK\x03\x04", "a ZIP archive: unpack it"),
    (b"7z\xbc\xaf", "a 7z archive: unpack it"),
    (b"Rar!", "a RAR archive: unpack it"),
    (b"\x1f\x8b", "compressed (gzip): unpack it"),
    (b"BZh", "compressed (bzip2): unpack it"),
    (b"\xfd7zXZ", "compressed (xz): unpack it"),
    (b"\x28\xb5\x2f\xfd", "compressed (zstd): unpack it"),
    (b"PAR1", "a Parquet file: name a row and its column"),
    (b"\x7fELF", "a program"),
)
_BRANDS = {b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIF", b"avif": "AVIF"}
_NIFTI = "a NIfTI volume: write its slices as PNG"


def foreign_kind(head: bytes, name: str) -> str:
    """What a file is by its first bytes (348 are enough) and its name; "" if that is unknown.

    >>> foreign_kind(b"<!DOCTYPE html><title>404", "a.png")
    'an HTML page: the download failed'
    """
    if head[344:348] in (b"n+1\0", b"ni1\0") or head[4:8] in (b"n+2\0", b"ni2\0"):
        return _NIFTI
    if head.startswith(b"\x1f\x8b") and name.lower().endswith(".nii.gz"):
        return _NIFTI
    for start, kind in _STARTS:
        if head.startswith(start):
            return kind
    if head[4:8] == b"ftyp":
        return f"{_BRANDS.get(head[8:12], 'a video, or an image like one')}: convert it to PNG"
    if head[257:262] == b"ustar":
        return "a tar archive: unpack it"
    return _text_kind(head) if head.strip(b"\0") else "only zeros: the copy was not finished"


def _text_kind(head: bytes) -> str:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head")):
        return "an HTML page: the download failed"
    if b"<svg" in start:
        return "an SVG drawing: convert it to PNG"
    if start.startswith(b"<?xml"):
        return "XML, not an image"
    if start.startswith((b"{", b"[")) and _is_text(head):
        return "JSON, not an image"
    return "text, not an image" if _is_text(head) else ""


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # else a character that the end cuts
            return False
        text = head[: error.start].decode("utf-8")
    return all(character.isprintable() or character in "\t\r\n\f" for character in text)
