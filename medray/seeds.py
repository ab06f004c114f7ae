"""Every random stream, derived from the run's seed and from the purpose of the stream.

All of these are pure functions: the same in every process, on every machine and after every
resume, so a run is reproducible whatever runs in parallel. Streams of different purposes are
independent.
"""

from __future__ import annotations

import hashlib
from random import Random

import numpy as np

REFILL = 1_000_003  # keeps the orders of refilled steps distinct: a prime above any step


def sort_key(seed: int, text: str) -> str:
    """Hexadecimal digest to sort by, for a seeded order."""
    return hashlib.sha256(f"{seed}:{text}".encode()).hexdigest()


def item_seed(seed: int, name: str) -> int:
    """The seed of one case (corruption, wrong variant) or one item (sampling), in [0, 2⁶³)."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def refill_seed(seed: int, step: int) -> int:
    """The seed of the order of the cases that replace a batch of `step` without any pair."""
    return seed + REFILL * step


def rank_seed(seed: int, version: int, rank: int) -> int:
    """The seed of a learner rank that resumes at `version` without random state, in [0, 2⁶³)."""
    mixed = np.random.SeedSequence([seed, version, rank])
    return int(mixed.generate_state(1, np.uint64)[0] >> 1)


def stream(seed: int, purpose: str) -> Random:
    """The stream of one purpose, such as the order of an epoch."""
    return Random(f"{seed}/{purpose}")


def text_stream(seed: int, *texts: str) -> Random:
    """The stream of one combination of texts, such as question, reference and answer."""
    key = "\0".join((str(seed), *texts)).encode("utf-8", "surrogatepass")
    return Random(int.from_bytes(hashlib.sha256(key).digest()[:8], "big"))


def array_stream(name: str) -> np.random.Generator:
    """The stream of one named array, for NumPy."""
    digest = hashlib.sha256(name.encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))
