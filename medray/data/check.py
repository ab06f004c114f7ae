"""Checks of a Parquet file of cases or pairs, counted and named in one pass.

Only digests are kept, never texts, so memory grows with the number of rows alone. Patients and
studies are named by their numbers in the file, images by the first row that shows them: names of
files may be those of patients.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medray.data.pairs.base import PreferencePair
from medray.data.rows import placeholder
from medray.data.splits import Row
from medray.data.tables import kind_of, read_cases, read_pairs
from medray.editing.language.english import is_english
from medray.errors import ItemError
from medray.imaging.load import load_image
from medray.imaging.reference import parse_reference
from medray.records import ImageFile
from medray.terminal import visible

DETAILED = ("image-unreadable", "image-no-decoder")  # reasons whose message says more
SHOWN = 5  # names per line; the JSON has all of them


@dataclass(slots=True)
class Finding:
    """A count. `names`: the rows, images or patients counted, if that helps."""

    count: int = 0
    names: list[str] = field(default_factory=list)

    def add(self, name: str) -> None:
        self.count += 1
        self.names.append(name)


@dataclass(slots=True)
class Check:
    """The result of `check_file`: counts of the contents, findings of the faults."""

    file: str
    kind: str
    rows: int = 0
    images: int = 0
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    findings: dict[str, Finding] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain values for JSON, with every name."""
        return {
            "file": self.file,
            "kind": self.kind,
            "rows": self.rows,
            "images": self.images,
            "counts": {name: dict(sorted(c.items())) for name, c in self.counts.items()},
            "findings": {
                name: {"count": f.count, "names": f.names} for name, f in self.findings.items()
            },
        }

    def lines(self) -> list[str]:
        """A compact table: the contents, then the faults, one line per finding."""
        table = [("rows", f"{self.rows} {self.kind}"), ("images", str(self.images))]
        for name, counter in self.counts.items():
            counts = (f"{key or '(none)'} {count}" for key, count in sorted(counter.items()))
            table.append((name, ", ".join(counts)))
        for name, finding in self.findings.items():
            shown = ", ".join(finding.names[:SHOWN])
            more = ", …" if len(finding.names) > SHOWN else ""
            names = f"  ({shown}{more})" if shown else ""
            table.append((name, f"{finding.count}{names}"))
        width = max(len(name) for name, _ in table)
        return [visible(f"{name:<{width}}  {text}") for name, text in table]


def check_file(path: Path, *, images: bool = True) -> Check:
    """Check a file in one pass. `images`: read every image, instead of only checking its path."""
    kind = kind_of(path)
    check = Check(str(path), kind)
    if kind == "cases":
        _cases(check, read_cases(str(path)), images)
    else:
        _pairs(check, read_pairs(path), images)
    return check


class _SharedChecks:
    """The checks that cases and pairs share: images, ids, repeated questions, split sides."""

    def __init__(self, check: Check, read: bool) -> None:
        self.check, self.read = check, read
        self.ids: set[bytes] = set()
        self.answers: dict[bytes, bytes] = {}  # (image, question) → answer
        self.images: set[bytes] = set()
        self.missing = Finding()
        self.groups: dict[str, dict[Any, tuple[set[str], str]]] = {}
        self.repeated, self.duplicates, self.conflicts = Finding(), Finding(), Finding()

    def row(self, name: str, image: str, question: str, answer: str) -> None:
        """Count a row by its id; `image`: the keys of its images."""
        self.check.rows += 1
        key = _digest(name)
        if key in self.ids:
            self.repeated.add(name)
        self.ids.add(key)
        question_key, answer_key = _digest(image, question.lower()), _digest(answer.lower())
        if question_key in self.answers:
            self.duplicates.add(name)
            if self.answers[question_key] != answer_key:
                self.conflicts.add(name)
        self.answers.setdefault(question_key, answer_key)

    def image(self, name: str, path: str, sha256: str) -> str:
        """The key of an image, which is read when it is first seen."""
        key = sha256 or f"unreadable:{path}"
        if (known := _digest(key)) not in self.images:
            self.images.add(known)
            if fault := _fault(path, self.read):
                self.missing.add(f"{name}: {fault}")
        return key

    def side(self, by: str, key: str, name: str, split: str) -> None:
        """Record that a patient, study or image is on a side of the split."""
        if key and split:
            sides, _ = self.groups.setdefault(by, {}).setdefault(_digest(key), (set(), name))
            sides.add(split)

    def findings(self) -> Iterator[tuple[str, Finding]]:
        self.check.images = len(self.images)
        yield "ids that occur twice", self.repeated
        yield "questions asked again of the same image", self.duplicates
        yield "of these with another answer", self.conflicts
        yield "images that cannot be read", self.missing
        for by, members in self.groups.items():
            shared = [name for sides, name in members.values() if len(sides) > 1]
            yield f"leak: {by} on several sides of the split", Finding(len(shared), shared)


def _cases(check: Check, rows: Iterable[Row], read: bool) -> None:
    checks, empty, regionless = _SharedChecks(check, read), Finding(), Finding()
    foreign, marked = Finding(), Finding()
    counts = {name: Counter[str]() for name in ("split", "answer type", "source", "licence")}
    for row in rows:
        case = row.case
        keys = [checks.image(case.case_id, image.path, image.sha256) for image in case.images]
        checks.row(case.case_id, "\0".join(keys), case.question, case.reference)
        checks.side("patient", case.patient_id, f"patient {case.patient_id}", row.split)
        checks.side("study", row.study_id, f"study {row.study_id}", row.split)
        for key in keys:
            checks.side("image", key, case.case_id, row.split)
        values = (row.split, case.answer_type, case.source, case.licence)
        for counter, value in zip(counts.values(), values, strict=True):
            counter[value] += 1
        if not case.reference:
            empty.add(case.case_id)
        if placeholder(f"{case.question} {case.reference}"):
            marked.add(case.case_id)
        if not (is_english(case.question) and is_english(case.reference)):
            foreign.add(case.case_id)
        regionless.count += not case.regions
    check.counts = counts
    check.findings = {
        **dict(checks.findings()),
        "empty answers": empty,
        "marks of chat templates in texts": marked,
        "not in English": foreign,
        "without region": regionless,
    }


def _pairs(check: Check, pairs: Iterable[PreferencePair], read: bool) -> None:
    checks = _SharedChecks(check, read)
    same, empty, zero, unmarked, marked = (Finding() for _ in range(5))
    counts = {name: Counter[str]() for name in ("split", "source", "licence")}
    for pair in pairs:
        images = [ImageFile(pair.image, pair.image_sha256), *pair.other_images]
        keys = [checks.image(pair.pair_id, image.path, image.sha256) for image in images]
        answers = f"{pair.chosen}\0{pair.rejected}"
        checks.row(pair.pair_id, "\0".join(keys), pair.question, answers)
        for key in keys:
            checks.side("image", key, pair.pair_id, pair.split)
        for counter, value in zip(
            counts.values(), (pair.split, pair.source, pair.licence), strict=True
        ):
            counter[value] += 1
        if _plain(pair.chosen) == _plain(pair.rejected) and not pair.rejected_image:
            same.add(pair.pair_id)
        if not (pair.chosen and pair.rejected):
            empty.add(pair.pair_id)
        if placeholder(f"{pair.question} {pair.chosen} {pair.rejected}"):
            marked.add(pair.pair_id)
        if pair.score is not None and pair.score <= 0:
            zero.add(pair.pair_id)
        unmarked.count += not (pair.chosen_spans or pair.rejected_spans)
    check.counts = counts
    check.findings = dict(checks.findings()) | {
        "chosen and rejected are the same": same,
        "empty answers": empty,
        "marks of chat templates in texts": marked,
        "score of zero or less": zero,
        "without edited spans": unmarked,
    }


def _plain(text: str) -> str:
    return " ".join(text.lower().split())


def _fault(path: str, read: bool) -> str:
    """Why an image cannot be used; "" if it can."""
    if not read:
        return "" if os.path.isfile(parse_reference(path).file) else "image-missing"
    try:
        load_image(path)
    except ItemError as error:
        detail = error.what.removeprefix(f"{parse_reference(path).name}: ")
        return f"{error.reason} ({detail})" if error.reason in DETAILED else error.reason
    return ""


def _digest(*parts: str) -> bytes:
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=12).digest()
