"""How many answers prove that a weight update has arrived."""

from __future__ import annotations

import pytest

from actors.loop.canaries import CANARY_PROMPTS, enough


@pytest.mark.parametrize(
    ("lengths", "compared"),
    [
        ([8] * CANARY_PROMPTS, 8),  # all of the short ones
        ([100, 100, 100], 2),
        ([200, 3, 100], 2),  # never one alone
        ([20, 20, 20, 20, 20], 4),
        ([63, 1, 50], 2),
        ([5], 1),
        ([], 0),
    ],
)
def test_so_many_that_their_tokens_suffice(lengths, compared):
    assert enough(lengths) == compared
