"""The page to be graded: one HTML file that needs no network and hides where the sides come from.

The template autoescapes, and the content security policy allows only the page's own script and
style, by their digests. The page holds opaque ids; what they stand for is in the key.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from medray.data.pairs.differences import differences
from medray.files import output_file
from medray.records import Span
from medray.report.pairs import PairImages, TextPart, text_parts
from medray.report.pairs.inline_images import inline_image
from medray.report.pairs.pair_images import collect_images
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
    style, script = _packaged("review.css"), _packaged("review.js")
    html = _template().render(
        review=key.id,
        cards=cards,
        images=images,
        style=style,
        script=script,
        style_digest=_csp_digest(style),
        script_digest=_csp_digest(script),
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


def _packaged(name: str) -> str:
    """A file of this package that the page contains as it is."""
    return (_FOLDER / name).read_text(encoding="utf-8")


def _csp_digest(content: str) -> str:
    """As a content security policy names an inline script or style."""
    digest = hashlib.sha256(content.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("review.html.j2")
