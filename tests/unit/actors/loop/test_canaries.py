"""How many answers prove that a weight update has arrived."""

from __future__ import annotations

import pytest

from actors.loop.canaries import CANARY_PROMPTS, enough


@pytest.mark.parametrize(
    ("prompt", "answers", "compared"),
    [
        (30, [8] * CANARY_PROMPTS, 8),  # all of the short ones
        (30, [100, 100, 100], 2),
        (30, [200, 3, 100], 2),  # never one alone
        (30, [20, 20, 20, 20, 20], 4),
        (30, [63, 1, 50], 2),
        (150, [8] * CANARY_PROMPTS, 4),  # mostly of image tokens
        (3000, [8] * CANARY_PROMPTS, 2),
        (30, [5], 1),
        (30, [], 0),
    ],
)
def test_so_many_that_their_tokens_suffice(prompt, answers, compared):
    assert enough([(prompt, answer) for answer in answers]) == compared
