"""Packing and unpacking: random pairs with random edits are recovered completely."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from medray.objectives.base import Needs
from medray.policy.architectures import ARCHITECTURES
from medray.policy.packing import PackedPair, Side
from medray.policy.scoring.forest import Branch, Forest, Layout, build_forest, count_tokens
from medray.policy.scoring.score_pairs import pair_branches

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
    keys = draw(st.sampled_from([("a",), ("b",)]))
    words = draw(st.lists(st.integers(5, 9), max_size=3))
    prompt = np.asarray([1, *[IMAGE_TOKEN] * 4, *words])
    corrupted = (f"{keys[0]}'",) if draw(st.booleans()) else ()
    prefix = np.asarray(draw(st.lists(st.integers(0, 3), max_size=4)), dtype=np.int64)
    both = draw(sides()), draw(sides())
    return PackedPair("p", prompt, *both, keys, corrupted, 1.0, prefix)


@st.composite
def needs(draw):
    kl = {"clean/chosen": ("kl_fwd",)} if draw(st.booleans()) else {}
    positions = st.sampled_from(["edited", "response"])
    return Needs(BRANCHES, draw(positions), kl=kl, kl_positions=draw(positions))


LAYOUTS = st.builds(
    Layout,
    st.just(LLAVA),
    st.just(IMAGE_TOKEN),
    st.floats(5, 1e4),
    st.booleans(),
    st.none() | st.integers(1, 100),
)


def context(forest: Forest, position: int) -> tuple[list[int], list[int]]:
    """Tokens that the token at a flat position sees, itself last, and their position ids."""
    row, i = divmod(position, forest.ids.shape[1])
    visible = [j for j in range(i + 1) if i < forest.subtree_end[row, j]]
    return forest.ids[row, visible].tolist(), forest.position_ids[0, row, visible].tolist()


def mask(size: int, steps: list[int]) -> list[bool]:
    return [t in steps for t in range(size)]


@given(st.lists(pairs(), min_size=1, max_size=5), needs(), LAYOUTS)
def test_packing_then_unpacking_recovers_tokens_masks_and_position_ids(drawn, required, layout):
    branches = [branch for _, _, branch in pair_branches(drawn, required)]
    forest = build_forest(branches, SHAPES, layout)
    logp_steps: dict[int, list[int]] = {i: [] for i in range(len(branches))}
    index = forest.read_index
    for n, target, b, step in zip(
        index.logp_index, index.targets, index.logp_branches, index.logp_steps, strict=True
    ):
        branch = branches[b]
        tokens, position_ids = context(forest, index.positions[n])
        assert tokens == [*branch.prompt_ids, *branch.answer_ids[:step]]
        assert position_ids == list(range(len(tokens)))
        assert target == branch.answer_ids[step]
        logp_steps[b].append(int(step))
    kl_steps: dict[int, list[int]] = {i: [] for i in range(len(branches))}
    for k, b, step in zip(index.kl_value_index, index.kl_branches, index.kl_steps, strict=True):
        tokens, _ = context(forest, index.positions[index.kl_index[k]])
        assert tokens == [*branches[b].prompt_ids, *branches[b].answer_ids[:step]]
        kl_steps[b].append(int(step))
    for i, branch in enumerate(branches):
        size = len(branch.answer_ids)
        assert mask(size, logp_steps[i]) == branch.logp_mask.tolist()
        kl_mask = branch.kl_mask if branch.directions else np.zeros_like(branch.kl_mask)
        assert mask(size, kl_steps[i]) == kl_mask.tolist()


@given(st.lists(pairs(), min_size=1, max_size=5), needs(), LAYOUTS)
def test_images_are_at_the_positions_of_their_placeholders(drawn, required, layout):
    branches = [branch for _, _, branch in pair_branches(drawn, required)]
    forest = build_forest(branches, SHAPES, layout)
    flat = forest.ids.reshape(-1)
    assert sorted(forest.image_positions) == np.nonzero(flat == IMAGE_TOKEN)[0].tolist()
    assert len(forest.image_positions) == 4 * len(forest.tree_images)
    assert {forest.image_keys[n] for n in forest.tree_images} == {b.image_keys[0] for b in branches}
    least = len({b.image_keys for b in branches}) if layout.trees else len(branches)
    assert least <= len(forest.tree_images) <= len(branches)
    if layout.break_even > 1000 and layout.row_tokens is None:
        assert len(forest.tree_images) == least
    assert forest.tokens == count_tokens(branches, layout)


def test_a_placeholder_that_a_policy_sampled_is_not_an_image():
    """Only those of the prompt are; in an answer it is a token like any other."""
    all_tokens = np.ones(3, dtype=bool)
    prompt = np.asarray([1, IMAGE_TOKEN, IMAGE_TOKEN, 2])
    branch = Branch(prompt, ("a",), np.asarray([3, IMAGE_TOKEN, 4]), all_tokens, ~all_tokens)
    forest = build_forest([branch], SHAPES, Layout(LLAVA, IMAGE_TOKEN, 100.0))
    assert forest.image_positions.tolist() == [1, 2]
    assert forest.ids[0, 5] == IMAGE_TOKEN


def test_padding_sees_only_itself_and_no_token_sees_it():
    branch = Branch(
        np.asarray([1, 2]), ("a",), np.asarray([3]), np.ones(1, bool), np.zeros(1, bool)
    )
    forest = build_forest([branch], SHAPES, Layout(LLAVA, IMAGE_TOKEN, 100.0))
    assert forest.ids.shape == (1, 8)
    assert forest.subtree_end[0].tolist() == [2, 2, 3, 4, 5, 6, 7, 8]
    assert forest.used[0].tolist() == [True] * 2 + [False] * 6


def test_nothing_after_the_last_token_read_is_computed():
    """Edits at tokens 0 and 1 of 40: the prompt, and what predicts token 1 on each side."""
    edited = np.arange(40) < 2
    chosen, rejected = np.arange(40), np.arange(40) + 40
    pair = PackedPair(
        "p", np.asarray([1, 2, 3]), Side(chosen, edited), Side(rejected, edited), ("a",), (), 1.0
    )
    branches = [b for _, _, b in pair_branches([pair], Needs(BRANCHES[:2], "edited"))]
    assert count_tokens(branches, Layout(LLAVA, IMAGE_TOKEN, 100.0)) == 3 + 1 + 1
    assert count_tokens(branches, Layout(LLAVA, IMAGE_TOKEN, 100.0, trees=False)) == 4 + 4


def test_a_tree_holds_what_sentences_and_questions_share_once():
    """Four image tokens and a template token; two questions; two sentences behind each other."""
    edited = np.ones(2, dtype=bool)

    def pair(question, prefix, chosen, rejected):
        prompt = np.asarray([1, *[IMAGE_TOKEN] * 4, *question, 8])
        both = Side(np.asarray(chosen), edited), Side(np.asarray(rejected), edited)
        return PackedPair("p", prompt, *both, ("a",), (), 1.0, np.asarray(prefix, dtype=np.int64))

    drawn = [
        pair([5, 6], [20, 21], [30, 31], [40, 41]),  # 5 + 3, then 20 21 and 30 | 40
        pair([5, 6], [20, 21, 40, 41], [50, 51], [60, 61]),  # 41 more, then 50 | 60
        pair([5, 7], [], [70, 71], [80, 81]),  # 7 8, then 70 | 80
    ]
    branches = [b for _, _, b in pair_branches(drawn, Needs(BRANCHES[:2], "response"))]
    layout = Layout(LLAVA, IMAGE_TOKEN, 100.0)
    assert count_tokens(branches, layout) == 5 + 3 + 2 + 2 + 1 + 2 + 2 + 2
    assert len(build_forest(branches, SHAPES, layout).tree_images) == 1


def test_a_question_before_the_image_is_not_shared():
    side = Side(np.arange(2), np.ones(2, bool))
    prompts = [np.asarray([word, IMAGE_TOKEN, IMAGE_TOKEN, 3]) for word in (5, 6)]
    drawn = [PackedPair("p", prompt, side, side, ("a",), (), 1.0) for prompt in prompts]
    branches = [b for _, _, b in pair_branches(drawn, Needs(BRANCHES[:2], "response"))]
    forest = build_forest(branches, SHAPES, Layout(LLAVA, IMAGE_TOKEN, 100.0))
    assert len(forest.tree_images) == 2
