"""The page to be graded: one HTML file that needs no network and hides where the sides come from.

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
from medray.report.pairs.pair_images import collect_images
from medray.report.templates import csp_digest, environment, packaged
from medray.review.key import Key, write_key
from medray.terminal import visible

LARGEST = 1024  # pixels of an image's longer side: a reader looks for small things
_FOLDER = Path(__file__).parent


def write_page(
    run: Path, rows: Sequence[dict[str, Any]], key: Key, out: Path, *, images: bool = True
) -> list[str]:
    """Write the page of drawn rows to `out`, and its key into the run.

    Returns why images are missing, each reason once. Raises DataError if one of both cannot be
    written; then there is neither page nor key.
    """
    pictures = collect_images(run, rows, clean_only=True) if images else map(PairImages, rows)
    cards = [
        _card(name, entry.chosen == "A", pair)
        for (name, entry), pair in zip(key.pairs.items(), pictures, strict=True)
    ]
    style, script = packaged(_FOLDER / "review.css"), packaged(_FOLDER / "review.js")
    html = (
        environment(_FOLDER)
        .get_template("review.html.j2")
        .render(
            review=key.id,
            cards=cards,
            images=images,
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


def _card(name: str, chosen_first: bool, pair: PairImages) -> dict[str, Any]:
    """What the template needs of one pair: nothing that tells the sides apart."""
    row = pair.row
    chosen, rejected = visible(row["chosen"]), visible(row["rejected"])
    a, b = (chosen, rejected) if chosen_first else (rejected, chosen)
    of_a, of_b = differences(a, b)
    return {
        "id": name,
        "question": visible(row["question"]),
        "reference": visible(row["reference"]),
        "sentence": row["scope"] == "sentence",
        "prefix": visible(row["prefix"]).strip() if row["scope"] == "sentence" else "",
        "sides": {"A": _parts(a, of_a), "B": _parts(b, of_b)},
        "image": None if pair.image is None else inline_image(pair.image, largest=LARGEST),
        "note": pair.note,
    }


def _parts(text: str, spans: Sequence[Span]) -> list[TextPart]:
    return text_parts(text, [asdict(span) for span in spans])
