"""DICOM: a frame of a file as a viewer shows it, whatever its compression.

Only pixels leave this folder: header values appear in no message, warning or exception.
"""

from medray.imaging.dicom.header import Header, frame_count, looks_like_dicom, quiet, read_header
from medray.imaging.dicom.reading import check_dicom, read_dicom

__all__ = [
    "Header",
    "check_dicom",
    "frame_count",
    "looks_like_dicom",
    "quiet",
    "read_dicom",
    "read_header",
]
