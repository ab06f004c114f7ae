"""Trees of answers: what they share is stored once, and no branch sees another."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medray.policy.scoring.tree import build_tree

# Few different tokens, so that random answers share prefixes.
TOKENS = st.integers(0, 2)
ANSWERS = st.lists(st.lists(TOKENS, max_size=7), min_size=1, max_size=6)
PROMPTS = st.lists(st.integers(0, 9), min_size=1, max_size=5)


def array(tokens) -> np.ndarray:
    return np.asarray(tokens, dtype=np.int64)


def visible_to(tree, token: int) -> list[int]:
    return [j for j in range(token + 1) if token < tree.subtree_end[j]]


def test_by_hand():
    # prompt 7 8, answers 1 2 3 and 1 4:   7 8 1 2 3 4
    tree = build_tree(array([7, 8]), [array([1, 2, 3]), array([1, 4])])
    assert tree.ids.tolist() == [7, 8, 1, 2, 3, 4]
    assert tree.depth.tolist() == [0, 1, 2, 3, 4, 3]
    assert tree.subtree_end.tolist() == [6, 6, 6, 5, 5, 6]
    assert [path.tolist() for path in tree.paths] == [[1, 2, 3, 4], [1, 2, 5]]
    assert visible_to(tree, 5) == [0, 1, 2, 5]


@pytest.mark.parametrize("other", [[], [1], [1, 2], [5]])
def test_an_answer_may_be_a_prefix_of_another(other):
    tree = build_tree(array([9]), [array([1, 2]), array(other)])
    assert tree.sequence(0).tolist() == [9, 1, 2]
    assert tree.sequence(1).tolist() == [9, *other]
    assert len(tree) == 3 + (other == [5])


@given(PROMPTS, ANSWERS)
def test_every_answer_is_recovered_and_sees_only_itself(prompt, answers):
    tree = build_tree(array(prompt), [array(a) for a in answers])
    for i, answer in enumerate(answers):
        assert tree.sequence(i).tolist() == prompt + answer
        path = tree.paths[i]
        assert len(path) == len(answer) + 1
        for t, token in enumerate(path):
            visible = visible_to(tree, token)
            assert tree.ids[visible].tolist() == prompt + answer[:t]
            assert tree.depth[visible].tolist() == list(range(len(prompt) + t))


@given(PROMPTS, ANSWERS)
def test_a_shared_prefix_is_stored_once(prompt, answers):
    prefixes = {tuple(a[:n]) for a in answers for n in range(1, len(a) + 1)}
    assert len(build_tree(array(prompt), [array(a) for a in answers])) == len(prompt) + len(
        prefixes
    )
