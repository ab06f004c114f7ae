"""One reader per dataset, as its authors distribute it. The table is the only registry.

To add one: a file here with a function of `data.path` that gives rows, its entry below, and its
name in `DataConfig.kind`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from medray.data.readers.dicom_folder import read_dicom_folder
from medray.data.readers.jsonl import read_phantom, stream_jsonl
from medray.data.readers.medheval import read_medheval
from medray.data.readers.mimic_cxr_jpg import read_mimic_cxr_jpg
from medray.data.readers.parquet import read_parquet
from medray.data.readers.pathvqa import read_pathvqa
from medray.data.readers.r2gen import read_iu_xray, read_mimic_cxr
from medray.data.readers.slake import read_slake, read_slake_zh
from medray.data.readers.vgmed import read_vgmed
from medray.data.readers.vqa_rad import read_vqa_rad
from medray.data.splits import Row
from medray.data.tables import read_given_pairs

# kind → function from data.path to rows, one at a time; raises DataError
READERS: dict[str, Callable[[str | None], Iterable[Row]]] = {
    "vqa-rad": read_vqa_rad,
    "slake": read_slake,
    "slake-zh": read_slake_zh,
    "pathvqa": read_pathvqa,
    "iu-xray": read_iu_xray,
    "mimic-cxr": read_mimic_cxr,
    "mimic-cxr-jpg": read_mimic_cxr_jpg,
    "vgmed": read_vgmed,
    "medheval": read_medheval,
    "dicom": read_dicom_folder,
    "jsonl": stream_jsonl,
    "phantom": read_phantom,
    "parquet": read_parquet,
    "pairs": read_given_pairs,
}

__all__ = ["READERS"]
