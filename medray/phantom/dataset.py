"""Write phantom studies as a folder like any other dataset: PNG files and JSONL rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from medray.config import PhantomStyle
from medray.errors import DataError
from medray.files import is_taken, new_folder, read_file
from medray.phantom.studies.study import Study
from medray.phantom.styles import STYLES

FORMAT_VERSION = 1
SOURCE, LICENCE = "phantom", "CC0-1.0"


def write_dataset(
    out: Path, *, seed: int, n_train: int, n_heldout: int, style: PhantomStyle = "short"
) -> None:
    """Write `n_train` + `n_heldout` studies, three cases each, to the new folder `out`.

        images/train-000000.png …   48 × 48 px, RGB
        records.jsonl               one case per line, train first, then held-out
        dataset.json                format version, style, seed, counts

    The same seed gives the same bytes. The folder appears only when it is complete.
    """
    out = Path(out)
    if is_taken(out):
        raise DataError(str(out), "already exists and is not empty", "choose a new folder")
    if min(n_train, n_heldout) < 0:
        raise DataError(f"{n_train} train, {n_heldout} held-out", "counts cannot be negative")
    with new_folder(out) as folder:
        _write(folder, style, seed, {"train": n_train, "heldout": n_heldout})


def style_of(folder: Path) -> str:
    """The style of a dataset that was written before; "short" if the folder does not tell."""
    try:
        metadata = json.loads(read_file(folder / "dataset.json"))
    except (OSError, ValueError):
        return "short"
    return str(metadata.get("style", "short")) if isinstance(metadata, dict) else "short"


def _write(folder: Path, style: PhantomStyle, seed: int, counts: dict[str, int]) -> None:
    (folder / "images").mkdir()
    with (folder / "records.jsonl").open("w", encoding="utf-8", newline="\n") as lines:
        for split, count in counts.items():
            for index in range(count):
                phantom = STYLES[style].study(seed, split, index)
                Image.fromarray(phantom.image).save(folder / _image_name(split, index))
                for row in case_rows(phantom, split, index):
                    lines.write(json.dumps(row, ensure_ascii=False) + "\n")
    metadata = {
        "format_version": FORMAT_VERSION,
        "source": SOURCE,
        "licence": LICENCE,
        "style": style,
        "seed": seed,
    }
    metadata |= {"studies": counts, "cases": 3 * sum(counts.values())}
    (folder / "dataset.json").write_text(json.dumps(metadata, indent=2) + "\n", encoding="utf-8")


def case_rows(phantom: Study, split: str, index: int) -> Iterator[dict[str, Any]]:
    """The JSON rows of one study: report, closed, open."""
    patient = f"{SOURCE}-{split}-{index:06d}"
    regions = [{"label": r.label, "box": list(r.box)} for r in phantom.regions if r.box]
    for exchange in phantom.exchanges:
        yield {
            "id": f"{patient}-{exchange.answer_type}",
            "image": _image_name(split, index),
            "question": exchange.question,
            "answer": exchange.answer,
            "answer_type": exchange.answer_type,
            "split": split,
            "regions": regions,
            "truth": phantom.truth.attributes(),
            "patient_id": patient,
            "source": SOURCE,
            "licence": LICENCE,
        }


def _image_name(split: str, index: int) -> str:
    return f"images/{split}-{index:06d}.png"
