"""What the pages show of a row: its texts in parts, its figures, and pictures kept once each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from medray.report.pairs.drop_reasons import explain
from medray.report.pairs.inline_images import (
    LARGEST,
    InlineImage,
    inline_image,
    outline,
    resized_mask,
)
from medray.report.pairs.rows import PairImages, TextPart, error_types, text_parts
from medray.report.pairs.selection import evenly
from medray.report.pairs.token_strip import strip_size, with_strip

THUMBNAIL = 160  # pixels of the longer side where a page has many images
MARKUP = 2000  # bytes of a card without its texts


@dataclass(frozen=True, slots=True)
class Picture:
    """An image of the store, and the outline of a region on it as an SVG path in its pixels."""

    name: str
    width: int
    height: int
    display_width: int  # CSS pixels
    outline: str = ""


@dataclass(slots=True)
class Pictures:
    """The images of a page, each in it once however many cards show it.

    `room`: bytes that they may take on the page; an image that does not fit is left out.
    """

    room: int
    full: bool = False  # an image did not fit: reading more is in vain
    _kept: dict[str, tuple[str, InlineImage]] = field(default_factory=dict)

    def __contains__(self, key: str) -> bool:
        return key in self._kept

    def add(
        self,
        key: str,
        image: np.ndarray | None,
        region: np.ndarray | None = None,
        *,
        largest: int = LARGEST,
    ) -> Picture | None:
        """image: uint8 [H, W, 3], the one of `key`, or None if it is kept already; region: bool
        [H, W] to outline. None if there is no image, or no room."""
        if key not in self._kept and image is not None:
            found = inline_image(image, largest=largest)
            self.full |= len(found.uri) > self.room
            if len(found.uri) <= self.room:
                self.room -= len(found.uri)
                self._kept[key] = f"image-{len(self._kept)}", found
        if key not in self._kept:
            return None
        name, kept = self._kept[key]
        size = kept.width, kept.height
        border = "" if region is None else outline(resized_mask(region, size))
        return Picture(name, *size, kept.display_width, border)

    def stored(self) -> list[tuple[str, InlineImage]]:
        """(name, image) of each."""
        return list(self._kept.values())


def card(pair: PairImages, pictures: Pictures, *, largest: int = LARGEST) -> dict[str, Any]:
    """What the template needs of one row."""
    row = pair.row
    what_happened, what_to_do = explain(row["drop_reason"] or "")
    return {
        "row": row,
        "note": pair.note,
        "error_types": error_types(row),
        "answer": {True: "right", False: "wrong", None: ""}[row["response_was_correct"]],
        "images": shown_images(pair, pictures, largest=largest),
        **{side: _parts(row, side) for side in ("chosen", "rejected")},
        "by_token": bool(row["chosen_tokens"] or row["rejected_tokens"]),
        "chosen_gain": _difference(row["chosen_logp"], row["chosen_ref_logp"]),
        "rejected_gain": _difference(row["rejected_logp"], row["rejected_ref_logp"]),
        "what_happened": what_happened,
        "what_to_do": what_to_do,
    }


def _parts(row: dict[str, Any], side: str) -> list[TextPart]:
    parts = text_parts(row[side], row[f"{side}_spans"])
    return with_strip(parts, row[f"{side}_tokens"])


def shown_images(
    pair: PairImages, pictures: Pictures, *, largest: int = LARGEST
) -> list[tuple[Picture | None, Picture | None]]:
    """Each image of a row and its corrupted one, those that there are; kept ones are not needed
    in `pair`."""
    row, v = pair.row, pair.row.get("corrupted_sha256") or ""
    keys = [row["image_sha256"] or row["case_id"], *(row.get("other_images_sha256") or ())]
    keys += [f"{keys[0]}/{number}" for number in range(len(keys), len(pair.images))]
    found = []
    for number, key in enumerate(keys):
        seen = pair.images[number] if number < len(pair.images) else None
        image, region, corrupted = (
            (seen.image, seen.region, seen.corrupted) if seen else (None, None, None)
        )
        of_v = f"{v}/{number}" if v and number else v
        clean = pictures.add(key, image, region, largest=largest)
        found.append((clean, pictures.add(of_v, corrupted, region, largest=largest)))
    return [both for both in found if any(both)]


def choices(rows: Iterable[dict[str, Any]]) -> dict[str, list[tuple[str, int]]]:
    """What the page's filter offers, with the number of rows: error types, statuses, reasons."""
    types: Counter[str] = Counter()
    statuses: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for row in rows:
        types.update(error_types(row))
        statuses[row["status"]] += 1
        reasons.update([row["drop_reason"]] if row["drop_reason"] else [])
    return {
        "error_types": sorted(types.items()),
        "statuses": sorted(statuses.items(), key=lambda item: -item[1]),
        "reasons": sorted(reasons.items(), key=lambda item: (-item[1], item[0])),
    }


def text_size(row: dict[str, Any]) -> int:
    """About how many bytes the card of a row takes."""
    names = ["question", "reference", "prefix", "chosen", "rejected"]
    names += ["response"] if row["chosen"] is None else []
    spans = [*(row["chosen_spans"] or ()), *(row["rejected_spans"] or ())]
    texts = [row[name] or "" for name in names] + [span["reason"] or "" for span in spans]
    written = sum(len(text.encode("utf-8", "replace")) for text in texts)
    return MARKUP + written + 120 * len(spans) + strip_size(row)


def fitting(rows: Sequence[dict[str, Any]], room: int) -> list[dict[str, Any]]:
    """As many of the rows as take `room` bytes, evenly over all of them."""
    size = sum(map(text_size, rows))
    if size <= room:
        return list(rows)
    count = max(1, len(rows) * room // size)
    return [rows[position] for position in evenly(np.arange(len(rows)), count)]


def _difference(policy: float | None, reference: float | None) -> float | None:
    return None if policy is None or reference is None else policy - reference
