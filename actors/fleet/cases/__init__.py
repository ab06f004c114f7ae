"""Cases that take actors along: found by halving the calls they are in (`bisection`), and
remembered for the rest of the run (`broken`)."""

from actors.fleet.cases.bisection import Found, Trial, bisect
from actors.fleet.cases.broken import REASON, BrokenCases

__all__ = ["REASON", "BrokenCases", "Found", "Trial", "bisect"]
