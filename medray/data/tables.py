"""One Parquet schema for cases and one for preference pairs, written and read in row groups.

Patients and studies are numbered in order of appearance: enough to keep them together in a
split, and nothing more. Image paths are absolute, or relative to the file.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from medray.data.pairs.base import PreferencePair
from medray.data.rows import existing_folder, infer_answer_type
from medray.data.sources import parquet_rows
from medray.data.splits import Row
from medray.errors import DataError
from medray.files import open_file, output_file
from medray.imaging.places import Named, named
from medray.records import Case, GivenSide, ImageFile, Region

if TYPE_CHECKING:
    import pyarrow as pa

GROUP = 4096  # rows
VERSION = "1"
Kind = Literal["cases", "pairs"]


def schema(kind: Kind) -> pa.Schema:
    """The columns of a file; its metadata hold kind and version."""
    import pyarrow as pa

    text, flag = pa.string(), pa.bool_()
    box = pa.list_(pa.int32())
    region = pa.struct(
        [("label", text), ("box", box), ("mask", text), ("source", text), ("image", pa.int32())]
    )
    others = pa.list_(pa.struct([("image", text), ("image_sha256", text)]))
    spans = pa.list_(pa.struct([("start", pa.int32()), ("end", pa.int32())]))
    truth = pa.list_(pa.struct([("name", text), ("value", text)]))
    image = [("image", text), ("image_sha256", text), ("other_images", others)]
    origin = [("split", text), ("source", text), ("licence", text)]
    columns = {
        "cases": [
            ("case_id", text),
            *image,
            ("question", text),
            ("reference", text),
            ("answer_type", text),
            ("regions", pa.list_(region)),
            ("truth", truth),
            ("patient", pa.int32()),
            ("study", pa.int32()),
            *origin,
        ],
        "pairs": [
            ("pair_id", text),
            *image,
            ("rejected_image", text),
            ("question", text),
            ("chosen", text),
            ("rejected", text),
            ("chosen_spans", spans),
            ("rejected_spans", spans),
            ("score", pa.float64()),
            ("response_was_correct", flag),
            *origin,
        ],
    }
    return pa.schema(columns[kind], metadata={"medray.kind": kind, "medray.version": VERSION})


def write_cases(path: Path, rows: Iterable[Row], paths: str = "absolute") -> int:
    """Write rows to a new Parquet file and return their number; `paths`: how images are named, see
    `medray.imaging.places`. Raises DataError."""
    patient, study, name = _numbers(), _numbers(), named(paths, path.parent)
    return _write(path, "cases", (_case_row(row, patient, study, name) for row in rows))


def write_pairs(path: Path, pairs: Iterable[PreferencePair], paths: str = "absolute") -> int:
    """Like `write_cases`, of pairs."""
    name = named(paths, path.parent)
    return _write(path, "pairs", (_pair_row(pair, name) for pair in pairs))


def kind_of(path: Path) -> Kind:
    """The kind of a Parquet file that medray wrote. Raises DataError for any other file."""
    metadata = _metadata(path)
    kind = metadata.get(b"medray.kind")
    if kind not in (b"cases", b"pairs") or metadata.get(b"medray.version") != VERSION.encode():
        raise DataError(
            str(path), "was not written by this version of medray", "write it: medray data import"
        )
    return "cases" if kind == b"cases" else "pairs"


def written_by_medray(path: Path) -> bool:
    """Whether a Parquet file holds cases or pairs, in any version. Raises DataError."""
    return b"medray.kind" in _metadata(path)


def _metadata(path: Path) -> dict[bytes, bytes]:
    """The metadata of a Parquet file. Raises DataError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise DataError(str(path), "no such file", "give the path of a Parquet file")
    try:
        with open_file(path) as file:
            return pq.read_schema(file).metadata or {}
    except (OSError, pa.ArrowException):
        raise DataError(str(path), "is not a readable Parquet file", "check the file") from None


def read_cases(path: str | None) -> Iterator[Row]:
    """The rows of a Parquet file of cases, one row group in memory at a time."""
    file = existing_folder(path, "parquet")
    _expect(file, "cases")
    for _, row in parquet_rows(file):
        _find_images(row, file.parent)
        regions = tuple(
            Region(
                r["label"],
                tuple(r["box"]) if r["box"] else None,
                r["mask"] and os.path.join(file.parent, r["mask"]),
                r["source"],
                image=r.get("image") or 0,
            )
            for r in row["regions"]
        )
        case = Case(
            **{key: row[key] for key in ("case_id", "image", "image_sha256", "question")},
            **{key: row[key] for key in ("reference", "answer_type", "source", "licence")},
            regions=regions,
            truth=tuple((entry["name"], entry["value"]) for entry in row["truth"]),
            patient_id=_number_text(row["patient"]),
            other_images=_other_images(row),
        )
        yield Row(case, split=row["split"], study_id=_number_text(row["study"]))


def read_pairs(path: Path) -> Iterator[PreferencePair]:
    """The pairs of a Parquet file, one row group in memory at a time."""
    _expect(path, "pairs")
    for _, row in parquet_rows(path):
        _find_images(row, path.parent)
        spans = {
            side: tuple((span["start"], span["end"]) for span in row[side])
            for side in ("chosen_spans", "rejected_spans")
        }
        yield PreferencePair(**(row | spans | {"other_images": _other_images(row)}))


def _find_images(row: dict[str, Any], folder: Path) -> None:
    """Make paths that are relative to the file such that they can be opened."""
    for entry in (row, *(row.get("other_images") or ())):
        for key in ("image", "rejected_image"):
            if entry.get(key):
                entry[key] = os.path.join(folder, entry[key])


def _other_images(row: dict[str, Any]) -> tuple[ImageFile, ...]:
    """Those of a row; files of earlier versions have none."""
    return tuple(ImageFile(i["image"], i["image_sha256"]) for i in row.get("other_images") or ())


def read_given_pairs(path: str | None) -> Iterator[Row]:
    """The pairs of a Parquet file as cases, what is preferred as the reference; those of no split
    are trained on. Raises DataError, also if an id occurs twice."""
    file = existing_folder(path, "pairs")
    if file.is_dir():
        raise DataError(str(file), "is a folder", "give the file that `medray data import` wrote")
    seen: set[str] = set()
    for pair in read_pairs(file):
        if pair.pair_id in seen:
            why = f"pair {pair.pair_id!r} occurs twice"
            raise DataError(str(file), why, "give every pair an id of its own, and import it again")
        seen.add(pair.pair_id)
        yield Row(_given_case(pair), split=pair.split or "train")


def _given_case(pair: PreferencePair) -> Case:
    given = GivenSide(
        pair.rejected,
        pair.rejected_image,
        pair.chosen_spans,
        pair.rejected_spans,
        pair.score,
        pair.response_was_correct,
    )
    return Case(
        case_id=pair.pair_id,
        image=pair.image,
        image_sha256=pair.image_sha256,
        question=pair.question,
        reference=pair.chosen,
        answer_type=infer_answer_type(pair.chosen),
        source=pair.source,
        licence=pair.licence,
        given=given,
        other_images=pair.other_images,
    )


def _expect(path: Path, kind: Kind) -> None:
    if kind_of(path) != kind:
        raise DataError(str(path), f"does not hold {kind}", f"give a file of {kind}")


def _case_row(
    row: Row, patient: Callable[[str], Any], study: Callable[[str], Any], name: Named
) -> dict[str, Any]:
    case = row.case
    regions = [
        {
            "label": r.label,
            "box": r.box,
            "mask": r.mask and name(r.mask),
            "source": r.source,
            "image": r.image,
        }
        for r in case.regions
    ]
    return {
        "case_id": case.case_id,
        "image": name(case.image),
        "image_sha256": case.image_sha256,
        "other_images": _stored(case.other_images, name),
        "question": case.question,
        "reference": case.reference,
        "answer_type": case.answer_type,
        "regions": regions,
        "truth": [{"name": name, "value": value} for name, value in case.truth],
        "patient": patient(case.patient_id),
        "study": study(row.study_id),
        "split": row.split,
        "source": case.source,
        "licence": case.licence,
    }


def _pair_row(pair: PreferencePair, name: Named) -> dict[str, Any]:
    row = {name: getattr(pair, name) for name in PreferencePair.__slots__}
    for side in ("chosen_spans", "rejected_spans"):
        row[side] = [{"start": start, "end": end} for start, end in row[side]]
    row["other_images"] = _stored(pair.other_images, name)
    for key in ("image", "rejected_image"):
        row[key] = row[key] and name(row[key])
    return row


def _stored(images: Iterable[ImageFile], name: Named) -> list[dict[str, str]]:
    return [{"image": name(i.path), "image_sha256": i.sha256} for i in images]


def _numbers() -> Callable[[str], int | None]:
    """A function that numbers names in order of appearance; None for ""."""
    numbers: dict[str, int] = {}
    return lambda name: numbers.setdefault(name, len(numbers)) if name else None


def _number_text(number: int | None) -> str:
    return "" if number is None else str(number)


def _write(path: Path, kind: Kind, rows: Iterator[dict[str, Any]]) -> int:
    """Write all rows to a temporary file, sync, then rename: the file is complete or absent."""
    import pyarrow.parquet as pq

    columns, count = schema(kind), 0
    with output_file(path) as temporary:
        with pq.ParquetWriter(temporary, columns, compression="zstd") as writer:
            while group := list(itertools.islice(rows, GROUP)):
                writer.write_table(_table(group, columns))
                count += len(group)
        if not count:
            raise DataError(str(path), "there is nothing to write", "give a dataset that has rows")
    return count


def _table(group: list[dict[str, Any]], columns: pa.Schema) -> pa.Table:
    """Rows as a table. Raises DataError naming the row if a value does not fit its column."""
    import pyarrow as pa

    try:
        return pa.Table.from_pylist(group, schema=columns)
    except (UnicodeEncodeError, OverflowError, pa.ArrowException):
        if len(group) > 1:
            for row in group:
                _table([row], columns)
            raise
    where = f"row {next(iter(group[0].values()))!r}"
    others = [image["image"] for image in group[0]["other_images"]]
    paths = [group[0]["image"], group[0].get("rejected_image") or "", *others]
    if not all(map(_encodable, paths)):
        why = "the path of its image is not UTF-8"
        raise DataError(where, why, "rename its folders, or work in a UTF-8 locale")
    raise DataError(where, "has a text that is not Unicode, or a number too large", "fix the row")


def _encodable(text: str) -> bool:
    """Whether a text holds no bytes of a name that Python could not decode."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
