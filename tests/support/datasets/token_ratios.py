"""Log-ratios by token for pairs of a synthetic ledger."""

from __future__ import annotations

import random
import re

from medray.records import Pair, TokenRatio, TokenRatios


def token_ratios(pair: Pair, rng: random.Random) -> TokenRatios:
    """As if tokens were words with the blanks before them, and an end of turn."""

    def ratios(text: str) -> tuple[TokenRatio, ...]:
        ranges = [match.span() for match in re.finditer(r"\s*\S+", text)]
        ranges.append((len(text), len(text)))
        return tuple(TokenRatio(*ends, round(rng.gauss(0, 0.7), 2)) for ends in ranges)

    return TokenRatios(pair.pair_id, ratios(pair.chosen), ratios(pair.rejected))
