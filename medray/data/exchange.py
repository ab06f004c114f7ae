"""Import of datasets and pairs into one Parquet file, and export of pairs to other layouts."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from medray.data.dataset import READERS, read_rows
from medray.data.pairs.base import Origin, PreferencePair, ReadPair
from medray.data.pairs.fire_mpo import read_fire_mpo
from medray.data.pairs.llama_factory import llama_factory_row, read_llama_factory
from medray.data.pairs.mmedpo import read_mmedpo
from medray.data.pairs.trl import read_trl, trl_row
from medray.data.rows import locate_errors, mapping
from medray.data.run_pairs import is_run, run_pairs
from medray.data.sources import rows_of
from medray.data.tables import read_pairs, write_cases, write_pairs
from medray.errors import DataError
from medray.files import output_file
from medray.imaging.load import file_sha256
from medray.imaging.places import Named, named
from medray.imaging.reference import Reference, parse_reference

PAIRS: dict[str, ReadPair] = {
    "mmedpo": read_mmedpo,
    "fire-mpo": read_fire_mpo,
    "trl": read_trl,
    "llama-factory": read_llama_factory,
}
CASES = tuple(kind for kind in READERS if kind != "phantom")
EXPORTS: dict[str, Callable[[PreferencePair], dict[str, Any]]] = {
    "trl": trl_row,
    "llama-factory": llama_factory_row,
}
OWN = "pairs"  # the layout of medray's own Parquet files


def import_data(
    kind: str,
    source: str,
    out: Path,
    *,
    images: Path | None = None,
    licence: str = "",
    paths: str = "absolute",
) -> str:
    """Read a dataset or pairs of `kind` and write them to `out`; returns e.g. "12 cases".

    `images`: the folder that image paths of pairs are relative to, by default the file's;
    `licence`: for pairs that do not state one; `paths`: how images are named, see
    `medray.imaging.places`. Raises DataError.
    """
    if kind in CASES:
        if images is not None or licence:
            raise DataError(f"kind {kind}", "takes no --images and no --licence", "leave them out")
        return f"{write_cases(out, read_rows(kind, source), paths)} cases"
    if kind not in PAIRS:
        raise DataError(f"kind {kind}", "is not known", f"give {', '.join([*CASES, *PAIRS])}")
    pairs = import_pairs(kind, Path(source), images, licence)
    return f"{write_pairs(out, pairs, paths)} pairs"


def import_pairs(
    kind: str, file: Path, images: Path | None = None, licence: str = ""
) -> Iterator[PreferencePair]:
    """The pairs of a file, one at a time. Raises DataError naming line or row and field."""
    if not file.is_file():
        raise DataError(str(file), "no such file", "give the path of a file of pairs")
    if images is not None and not images.is_dir():
        raise DataError(f"--images {images}", "no such folder", "give the folder of the images")
    origin = Origin(images or file.parent, functools.cache(file_sha256), licence)
    for number, (where, value) in enumerate(rows_of(file)):
        row = mapping(value, where)
        with locate_errors(where):
            pair = PAIRS[kind](row, number, origin)
        yield pair


def export_pairs(source: Path, layout: str, out: Path, *, paths: str = "absolute") -> str:
    """Write the pairs of a Parquet file, or those a run was trained on, in another layout; returns
    e.g. "12 pairs".

    `layout` "pairs" is medray's own Parquet; of the others JSON lines if `out` ends in .jsonl, a
    JSON list otherwise. `paths`: as of `import_data`. Raises DataError.
    """
    if layout not in (*EXPORTS, OWN):
        known = " or ".join((*EXPORTS, OWN))
        raise DataError(f"--to {layout}", "is not known", f"give {known}")
    pairs = run_pairs(source) if is_run(source) else read_pairs(source)
    if layout == OWN:
        return f"{write_pairs(out, pairs, paths)} pairs"
    name = named(paths, out.parent)
    as_lines = out.suffix == ".jsonl"
    before, between, after = ("", "\n", "\n") if as_lines else ("[\n", ",\n", "\n]\n")
    count = 0
    with output_file(out) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for pair in pairs:
            _check_files(pair)
            file.write(between if count else before)
            file.write(json.dumps(EXPORTS[layout](_named(pair, name)), ensure_ascii=False))
            count += 1
        file.write(after)
    return f"{count} pairs"


def _named(pair: PreferencePair, name: Named) -> PreferencePair:
    """The pair with its images as a file that leaves names them."""
    others = tuple(replace(image, path=name(image.path)) for image in pair.other_images)
    image, rejected = name(pair.image), name(pair.rejected_image)
    return replace(pair, image=image, rejected_image=rejected, other_images=others)


def _check_files(pair: PreferencePair) -> None:
    """Refuse images that are part of a file: other tools read whole files. Raises DataError."""
    others = [image.path for image in pair.other_images]
    for image in (pair.image, pair.rejected_image, *others):
        if parse_reference(image) != Reference(image):
            why = "its image is a part of a file"
            raise DataError(f"pair {pair.pair_id}", why, "write it to a file of its own")
