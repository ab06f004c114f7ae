"""From text to claims, and from claims to a verdict on an answer."""

from medray.editing.reading.claims import claims
from medray.editing.reading.facts import Facts, facts
from medray.editing.reading.judge import Judgement, judge

__all__ = ["Facts", "Judgement", "claims", "facts", "judge"]
