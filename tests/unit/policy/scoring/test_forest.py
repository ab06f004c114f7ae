"""Packing and unpacking: random pairs, random edits, and everything comes back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medray.objectives.base import Needs
from medray.policy.architectures import ARCHITECTURES
from medray.policy.packing import PackedPair, Side
from medray.policy.scoring.forest import Branch, Forest, Layout, build_forest, count_tokens
from medray.policy.scoring.score_pairs import pair_branches, share_out

IMAGE_TOKEN = 99
LLAVA = ARCHITECTURES["LlavaForConditionalGeneration"]
BRANCHES = ("clean/chosen", "clean/rejected", "corrupt/chosen", "corrupt/rejected")
SHAPES = dict.fromkeys(("a", "b", "a'", "b'"), (3, 4, 4))


@st.composite
def sides(draw):
    ids = draw(st.lists(st.integers(0, 3), min_size=1, max_size=9))
    edited = draw(st.lists(st.booleans(), min_size=len(ids), max_size=len(ids)))
    edited[draw(st.integers(0, len(ids) - 1))] = True
    return Side(np.asarray(ids), np.asarray(edited))


@st.composite
def pairs(draw):
    picture = draw(st.sampled_from("ab"))
    words = draw(st.lists(st.integers(5, 9), max_size=3))
    prompt = np.asarray([1, *[IMAGE_TOKEN] * 4, *words])
    corrupted = f"{picture}'" if draw(st.booleans()) else ""
    return PackedPair("p", prompt, draw(sides()), draw(sides()), picture, corrupted, 1.0)


@st.composite
def needs(draw):
    kl = {"clean/chosen": ("kl_fwd",)} if draw(st.booleans()) else {}
    where = st.sampled_from(["edited", "response"])
    return Needs(BRANCHES, draw(where), kl=kl, kl_positions=draw(where))


LAYOUTS = st.builds(
    Layout,
    st.just(LLAVA),
    st.just(IMAGE_TOKEN),
    st.floats(5, 1e4),
    st.booleans(),
    st.none() | st.integers(1, 100),
)


def context(forest: Forest, place: int) -> tuple[list[int], list[int]]:
    """Tokens and positions that the token at a flat place sees, itself last."""
    row, i = divmod(place, forest.ids.shape[1])
    seen = [j for j in range(i + 1) if i < forest.end[row, j]]
    return forest.ids[row, seen].tolist(), forest.positions[0, row, seen].tolist()


def spans(size: int, steps: list[int]) -> list[bool]:
    return [t in steps for t in range(size)]


@given(st.lists(pairs(), min_size=1, max_size=5), needs(), LAYOUTS)
def test_packing_then_unpacking_gives_back_tokens_spans_and_positions(made, read, layout):
    branches = [branch for _, _, branch in pair_branches(made, read)]
    forest = build_forest(branches, SHAPES, layout)
    seen: dict[int, list[int]] = {i: [] for i in range(len(branches))}
    reads = forest.readings
    for of, target, b, step in zip(
        reads.of, reads.targets, reads.branches, reads.steps, strict=True
    ):
        branch = branches[b]
        tokens, positions = context(forest, reads.places[of])
        assert tokens == [*branch.prompt_ids, *branch.ids[:step]]
        assert positions == list(range(len(tokens)))
        assert target == branch.ids[step]
        seen[b].append(int(step))
    kl: dict[int, list[int]] = {i: [] for i in range(len(branches))}
    for of, b, step in zip(reads.kl_of, reads.kl_branches, reads.kl_steps, strict=True):
        tokens, _ = context(forest, reads.places[reads.kl[of]])
        assert tokens == [*branches[b].prompt_ids, *branches[b].ids[:step]]
        kl[b].append(int(step))
    for i, branch in enumerate(branches):
        assert spans(len(branch.ids), seen[i]) == branch.read.tolist()
        wanted = branch.kl_read if branch.kl else np.zeros_like(branch.kl_read)
        assert spans(len(branch.ids), kl[i]) == wanted.tolist()


@given(st.lists(pairs(), min_size=1, max_size=5), needs(), LAYOUTS)
def test_images_stand_where_their_placeholders_are(made, read, layout):
    branches = [branch for _, _, branch in pair_branches(made, read)]
    forest = build_forest(branches, SHAPES, layout)
    flat = forest.ids.reshape(-1)
    assert sorted(forest.image_places) == np.nonzero(flat == IMAGE_TOKEN)[0].tolist()
    assert len(forest.image_places) == 4 * len(forest.order)
    assert {forest.pictures[n] for n in forest.order} == {b.picture for b in branches}
    trees = {(b.picture, b.prompt_ids.tobytes()) for b in branches}
    assert len(forest.order) == (len(trees) if layout.trees else len(branches))
    assert forest.tokens == count_tokens(branches, layout)


def test_a_placeholder_that_a_policy_sampled_is_no_image():
    """Only those of the prompt are; an answer may hold the token as any other."""
    every = np.ones(3, dtype=bool)
    prompt = np.asarray([1, IMAGE_TOKEN, IMAGE_TOKEN, 2])
    branch = Branch(prompt, "a", np.asarray([3, IMAGE_TOKEN, 4]), every, ~every)
    forest = build_forest([branch], SHAPES, Layout(LLAVA, IMAGE_TOKEN, 100.0))
    assert forest.image_places.tolist() == [1, 2]
    assert forest.ids[0, 5] == IMAGE_TOKEN


def test_padding_sees_itself_alone_and_is_seen_by_none():
    branch = Branch(np.asarray([1, 2]), "a", np.asarray([3]), np.ones(1, bool), np.zeros(1, bool))
    forest = build_forest([branch], SHAPES, Layout(LLAVA, IMAGE_TOKEN, 100.0))
    assert forest.ids.shape == (1, 8)
    assert forest.end[0].tolist() == [2, 2, 3, 4, 5, 6, 7, 8]
    assert forest.used[0].tolist() == [True] * 2 + [False] * 6


def test_nothing_behind_the_last_token_read_is_computed():
    """Edits at tokens 0 and 1 of 40: prompt, and what predicts token 1 on either side."""
    edited = np.arange(40) < 2
    chosen, rejected = np.arange(40), np.arange(40) + 40
    pair = PackedPair(
        "p", np.asarray([1, 2, 3]), Side(chosen, edited), Side(rejected, edited), "a", "", 1.0
    )
    branches = [b for _, _, b in pair_branches([pair], Needs(BRANCHES[:2], "edited"))]
    assert count_tokens(branches, Layout(LLAVA, IMAGE_TOKEN, 100.0)) == 3 + 1 + 1
    assert count_tokens(branches, Layout(LLAVA, IMAGE_TOKEN, 100.0, trees=False)) == 4 + 4


@pytest.mark.parametrize("bins", [1, 3])
def test_pairs_on_one_image_stay_in_one_micro_batch(bins):
    side = Side(np.arange(4), np.ones(4, bool))
    prompt = np.asarray([1, 2])
    made = [PackedPair(str(i), prompt, side, side, "ab"[i % 2], "", 1.0) for i in range(6)]
    shares = share_out(made, Needs(BRANCHES[:2], "response"), Layout(LLAVA, 99, 100.0), bins)
    assert sorted(i for share in shares for i in share) == list(range(6))
    assert len(shares) == bins
    for share in shares:
        assert len(share) in (0, 3, 6)
