"""The list of pairs that pages show: which rows, with which images, and what its filter offers."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medray.files import write_text
from medray.report.pairs.cards import THUMBNAIL, Pictures, card, choices, fitting
from medray.report.pairs.inline_images import LARGEST
from medray.report.pairs.pair_images import ImageSource
from medray.report.pairs.rows import PairImages, choose_pairs
from medray.report.pairs.selection import (
    Array,
    Order,
    PairFilter,
    Places,
    evenly,
    find_rows,
    read_rows,
)
from medray.report.templates import render
from medray.rundir import RunDirectory

SAMPLE = 12  # pairs that a report shows with everything
PAIRS, DROPPED = 1600, 400  # that it holds
THUMBNAILS = 200  # images that it reads beside those of the sample
TEXT_ROOM, PICTURE_ROOM = 9_200_000, 9_000_000  # bytes on a page
# Pixels of the longer side of an image on a page of so many rows, each with its image and v'
SIZES = ((80, LARGEST), (250, 256), (PAIRS + DROPPED, THUMBNAIL))
EVERY_ROW = PairFilter(statuses=("trained", "skipped", "dropped"))


@dataclass(slots=True)
class PairList:
    """What `list.html.j2` needs; `total` is how many rows there were to choose from."""

    cards: list[dict[str, Any]]
    choices: dict[str, list[tuple[str, int]]]
    total: int


def report_list(
    run: RunDirectory, found: Places, source: ImageSource | None, pictures: Pictures
) -> PairList:
    """Pairs and dropped answers from the entire run: first a sample with image, region and v'.

    `found`: all rows of the run; `source`: None for a page without images.
    """
    (dropped,) = np.nonzero(found.dropped)
    places = np.sort(np.concatenate([_pairs(found), evenly(dropped, DROPPED)]))
    rows = fitting(list(read_rows(run, found.take(places))), TEXT_ROOM)
    trained = [row for row in rows if row["status"] == "trained"]
    sample = choose_pairs([row for row in trained if row["chosen_tokens"]] or trained, SAMPLE)
    chosen = {row["pair_id"] for row in sample}
    rest = sorted(
        (row for row in rows if row["pair_id"] not in chosen),
        key=lambda row: (row["chosen"] is None, row["step"]),
    )
    shown = [*(source.complete(row) if source else PairImages(row) for row in sample)]
    cards = [card(pair, pictures) for pair in shown]
    cards += _with_thumbnails(rest, source, pictures)
    return PairList(cards, choices([*sample, *rest]), len(found))


def _pairs(found: Places) -> Array:
    """At most PAIRS: those with log-ratios by token, and evenly over the run others."""
    (by_token,) = np.nonzero(found.by_token & ~found.dropped)
    (others,) = np.nonzero(~found.by_token & ~found.dropped)
    first = evenly(by_token, PAIRS)
    return np.concatenate([first, evenly(others, PAIRS - len(first))])


def write_pairs_page(
    run_dir: str | os.PathLike[str],
    out: Path,
    wanted: PairFilter | None = None,
    *,
    order: Order = "step",
    limit: int | None = None,
    images: bool = True,
) -> Path:
    """Write the rows that match (default: all pairs) as a page, each with its images.

    More rows than `limit`, or than a page holds, are thinned out evenly, or cut in another order
    than by step.
    """
    run = RunDirectory.open(run_dir)
    config = run.read_config()
    found = find_rows(run, wanted or PairFilter())
    most = PAIRS + DROPPED if limit is None else min(limit, PAIRS + DROPPED)
    places = found.spread(most) if order == "step" else found.by(order).first(most)
    rows = fitting(list(read_rows(run, places)), TEXT_ROOM)
    pictures = Pictures(PICTURE_ROOM)
    source = ImageSource(config) if images else None
    largest = next(size for count, size in SIZES if len(rows) <= count)
    cards = []
    for row in rows:
        pair = source.complete(row) if source and not pictures.full else PairImages(row)
        cards.append(card(pair, pictures, largest=largest))
    page = render(
        "pairs/pairs.html.j2",
        title=config.run.name,
        list=PairList(cards, choices(rows), len(found)),
        pictures=pictures.stored(),
        without_images=images and pictures.full,
        step=wanted.steps if wanted else None,
    )
    write_text(out, page)
    return out


def _with_thumbnails(
    rows: list[dict[str, Any]], source: ImageSource | None, pictures: Pictures
) -> list[dict[str, Any]]:
    """Cards of rows with small images, as far as there is room for them."""
    cards, read = [], 0
    for row in rows:
        keys = [row["image_sha256"], *(row["other_images_sha256"] or ())]
        pair, there = PairImages(row), all(key in pictures for key in keys)
        if source and not there and not pictures.full and read < THUMBNAILS:
            pair, read = source.clean(row), read + 1
        cards.append(card(pair, pictures, largest=THUMBNAIL))
    return cards
