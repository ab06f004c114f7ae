"""Every random stream, derived from the run's seed and from what it is for.

All of them are pure functions: the same in every process, on every machine, after every resume, so
a run can be repeated whatever is done in parallel. Streams of different purposes share nothing.
"""

from __future__ import annotations

import hashlib
from random import Random

import numpy as np

REFILL = 1_000_003  # keeps the orders of refilled steps apart: a prime above any step's number


def sort_key(seed: int, text: str) -> str:
    """Hexadecimal digest by which things are put into a seeded order."""
    return hashlib.sha256(f"{seed}:{text}".encode()).hexdigest()


def item_seed(seed: int, name: str) -> int:
    """The seed of one case (corruption, wrong variant) or one item (sampling), in [0, 2⁶³)."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def refill_seed(seed: int, step: int) -> int:
    """Of the order of the cases that replace a batch of `step` that gave no pair."""
    return seed + REFILL * step


def rank_seed(seed: int, version: int, rank: int) -> int:
    """Of a learner's rank that continues at `version` without its own random state, in [0, 2⁶³)."""
    mixed = np.random.SeedSequence([seed, version, rank])
    return int(mixed.generate_state(1, np.uint64)[0] >> 1)


def stream(seed: int, purpose: str) -> Random:
    """The stream of one purpose, such as an epoch's order."""
    return Random(f"{seed}/{purpose}")


def text_stream(seed: int, *texts: str) -> Random:
    """The stream of what is made of some texts."""
    key = "\0".join((str(seed), *texts)).encode("utf-8", "surrogatepass")
    return Random(int.from_bytes(hashlib.sha256(key).digest()[:8], "big"))


def array_stream(name: str) -> np.random.Generator:
    """The stream of one named array, for NumPy."""
    digest = hashlib.sha256(name.encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))
