"""The page to be graded: one HTML file that needs no network and hides where the texts come from.

The template autoescapes, and the content security policy allows only the page's own script and
style, by their digests. The page holds opaque ids; what they stand for is in the key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from medray.data.pairs.differences import differences
from medray.files import output_file
from medray.records import Span
from medray.report.pairs import PairImages, TextPart, text_parts
from medray.report.pairs.inline_images import inline_image
from medray.report.pairs.pair_images import ImageSource, collect_images
from medray.report.templates import csp_digest, environment, packaged
from medray.review.key import AnswerKey, AnyKey, Key, write_key
from medray.rundir import RunDirectory
from medray.terminal import visible

LARGEST = 1024  # pixels of an image's longer side: a reader looks for small things
_FOLDER = Path(__file__).parent


def write_page(
    run: Path, rows: Sequence[dict[str, Any]], key: AnyKey, out: Path, *, images: bool = True
) -> list[str]:
    """Write the page of drawn rows to `out`, and its key into the run.

    rows: of the ledger, or as `draw_answers` returns them.

    Returns why images are missing, each reason once. Raises DataError if one of both cannot be
    written; then there is neither page nor key.
    """
    cards = [
        _card(name, first == "A", pair)
        for (name, first), pair in zip(
            _first_sides(key).items(), _pictures(run, rows, key, images), strict=True
        )
    ]
    style, script = packaged(_FOLDER / "review.css"), packaged(_FOLDER / "review.js")
    html = (
        environment(_FOLDER)
        .get_template("review.html.j2")
        .render(
            review=key.id,
            cards=cards,
            images=images,
            answers=isinstance(key, AnswerKey),
            alone=isinstance(key, AnswerKey) and len(key.sources) == 1,
            several=any(len(card["images"]) > 1 for card in cards),
            style=style,
            script=script,
            style_digest=csp_digest(style),
            script_digest=csp_digest(script),
        )
    )
    with output_file(out) as temporary:
        temporary.write_bytes(html.encode("utf-8", "replace"))
        write_key(run, key)
    return list(dict.fromkeys(card["note"] for card in cards if card["note"]))


def _first_sides(key: AnyKey) -> dict[str, str]:
    """Where the chosen side, or the answer of the first evaluation, stands."""
    if isinstance(key, Key):
        return {name: entry.chosen for name, entry in key.pairs.items()}
    return {name: entry.first for name, entry in key.pairs.items()}


def _pictures(
    run: Path, rows: Sequence[dict[str, Any]], key: AnyKey, images: bool
) -> list[PairImages]:
    if not images:
        return [PairImages(row) for row in rows]
    if isinstance(key, Key):
        return collect_images(run, rows, clean_only=True)
    source = ImageSource(RunDirectory.open(run).read_config())
    return [source.clean(row, heldout=True, entire=True) for row in rows]


def _card(name: str, chosen_first: bool, pair: PairImages) -> dict[str, Any]:
    """What the template needs of one pair: nothing that tells the sides apart."""
    row = pair.row
    return {
        "id": name,
        "question": visible(row["question"]),
        "reference": visible(row["reference"]),
        "sentence": row["scope"] == "sentence",
        "prefix": visible(row["prefix"]).strip() if row["scope"] == "sentence" else "",
        "sides": _sides(visible(row["chosen"]), row["rejected"], chosen_first),
        "images": [inline_image(seen.image, largest=LARGEST) for seen in pair.images],
        "note": pair.note,
    }


def _sides(chosen: str, other: str | None, chosen_first: bool) -> dict[str, list[TextPart]]:
    """The texts by their letters, with the words marked in which they differ; one alone is A."""
    if other is None:
        return {"A": _parts(chosen, ())}
    rejected = visible(other)
    a, b = (chosen, rejected) if chosen_first else (rejected, chosen)
    of_a, of_b = differences(a, b)
    return {"A": _parts(a, of_a), "B": _parts(b, of_b)}


def _parts(text: str, spans: Sequence[Span]) -> list[TextPart]:
    return text_parts(text, [asdict(span) for span in spans])
