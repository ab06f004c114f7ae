"""Why answers were dropped, and what to do about it, from drop_reasons.yaml."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import yaml

_FILE = Path(__file__).with_name("drop_reasons.yaml")
_GUARD = ("a sentence's correction is not sure", "none: a pair that might be false is not made")


@cache
def drop_reasons() -> dict[str, tuple[str, str]]:
    """Reason → (what happened, what to do)."""
    entries = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    return {reason: (entry["happened"], entry["todo"]) for reason, entry in entries.items()}


def explain(reason: str) -> tuple[str, str]:
    """(what happened, what to do) for any drop reason; ("", "") if it is unknown.

    >>> explain("abstained:grammar")[0]
    'an article, a number, a case or a negation is wrong'
    """
    guard = _GUARD if reason.startswith("abstained:") else ("", "")
    return drop_reasons().get(reason, guard)
