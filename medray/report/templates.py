"""The templates of the pages: everything is escaped, and characters that do something are visible.

Each page is one file. Its content security policy forbids every load, and every style and script
but its own, which it names by their digests.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from medray.report.charts import number
from medray.terminal import visible

_FOLDER = Path(__file__).parent


def render(name: str, **content: Any) -> str:
    """A page from a template of this package; no text in `content` is trusted."""
    style, script = packaged(_FOLDER / "style.css"), packaged(_FOLDER / "pairs/pairs.js")
    policy = (
        f"default-src 'none'; img-src data:; style-src '{csp_digest(style)}'; "
        f"script-src '{csp_digest(script)}'; base-uri 'none'; form-action 'none'"
    )
    page = {"style": style, "script": script, "policy": policy}
    return environment(_FOLDER).get_template(name).render(**page, **content)


def show(value: Any) -> str:
    """A value formatted for the page."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return (f"{value:,}" if isinstance(value, int) else number(value)).replace("-", "−")


def duration(seconds: float) -> str:
    """
    >>> duration(75), duration(7384)
    ('1 min 15 s', '2 h 3 min')
    """
    total = round(seconds)
    if total < 60:
        return f"{seconds:.1f} s"
    if total < 3600:
        return f"{total // 60} min {total % 60} s"
    return f"{total // 3600} h {total % 3600 // 60} min"


@cache
def environment(*folders: Path) -> jinja2.Environment:
    """The templates of some folders, the first that has one of a name."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folders),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=_spelt_out,
    )
    made.filters |= {"show": show, "duration": duration}
    return made


@cache
def packaged(file: Path) -> str:
    """A file of the package that a page contains as it is."""
    return file.read_text(encoding="utf-8")


def csp_digest(content: str) -> str:
    """As a content security policy names an inline style or script."""
    digest = hashlib.sha256(content.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _spelt_out(value: Any) -> Any:
    """Plain texts with characters that do something made visible; markup is ours already."""
    return visible(value) if type(value) is str else value
