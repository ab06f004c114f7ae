"""Trees against the naive oracle (support/datasets/pairs.py): same values, loss, gradients."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from medray.objectives import OBJECTIVES, Needs
from medray.policy.model.loading import load_model
from medray.policy.model.tuning import base_model
from medray.policy.scoring import head
from medray.policy.scoring.score_pairs import FrozenModel, read_branches, score_answers, score_pairs
from tests.support.datasets.pairs import distribution, naive_scores
from tests.support.worlds import TUNING, World, close, require_naive_gradients, score, scorer_of

ARCHITECTURES = ("tiny_llava", "tiny_llava_qwen2", "tiny_qwen2_5_vl")
ALL_BRANCHES = ("clean/chosen", "clean/rejected", "corrupt/chosen", "corrupt/rejected")
EVERYTHING = Needs(
    ALL_BRANCHES,
    "response",
    kl=dict.fromkeys(ALL_BRANCHES, ("kl_fwd", "kl_rev")),
    kl_positions="response",
)
NEEDS = {name: objective.needs for name, objective in OBJECTIVES.items()} | {
    "everything": EVERYTHING,
    "fire rejected_corrupt": OBJECTIVES["fire"].needs_for(
        OBJECTIVES["fire"].resolve({"visual": "chosen_clean_vs_rejected_corrupt", "lambda": 1})
    ),
}
WORLDS: dict[str, World] = {}
CHAOS = pytest.mark.chaos  # what the same needs, or the same tuning, show of another architecture


@pytest.fixture(params=ARCHITECTURES)
def world(request) -> World:
    name = request.param
    if name not in WORLDS:
        WORLDS[name] = World(request.getfixturevalue(name))
    return WORLDS[name]


def on_every_architecture(cases: list, all_on: set) -> pytest.MarkDecorator:
    """All cases on the first architecture; on the others those of `all_on`, the rest by
    `make test-chaos`."""
    first, *rest = ARCHITECTURES
    return pytest.mark.parametrize(
        ("case", "world"),
        [
            *((case, first) for case in cases),
            *(
                pytest.param(case, name, marks=() if case in all_on else CHAOS)
                for name in rest
                for case in cases
            ),
        ],
        indirect=["world"],
        ids=lambda value: value if isinstance(value, str) else "-".join(value),
    )


@pytest.fixture
def llava(tiny_llava) -> World:
    return WORLDS.setdefault("tiny_llava", World(tiny_llava))


@on_every_architecture([*NEEDS], {"everything", "fire", "fire rejected_corrupt"})
def test_values_agree_with_the_naive_oracle(case, world):
    needs = NEEDS[case]
    policy = world.policy("lora")
    with torch.no_grad():
        scores = score(world, policy, needs)
        expected = naive_scores(policy, world.model, world.pairs, world.pixels, needs)
    assert set(scores) == set(expected) == {*needs.branches, "relevance", "has_corrupt"}
    for branch in needs.branches:
        names = {"policy_logp", "response_mask", "edit_mask", *needs.kl.get(branch, ())}
        assert set(scores[branch]) == names | ({"ref_logp"} if needs.reference else set())
        masks = {"edited": expected[branch]["edit_mask"]}
        masks["response"] = expected[branch]["response_mask"]
        for name, got in scores[branch].items():
            positions = needs.kl_positions if name.startswith("kl") else needs.positions
            mask = masks[positions] if got.is_floating_point() else 1
            close(got.float(), (expected[branch][name] * mask).float(), (branch, name))
    assert torch.equal(scores["relevance"], expected["relevance"])
    assert scores["has_corrupt"].tolist() == [p.pair_id != "no-corrupt" for p in world.pairs]


def test_the_oracle_distinguishes_policy_and_reference_and_images(world):
    """Policy and reference, and clean and corrupted image, differ by far more than 1e-5."""
    with torch.no_grad():
        scores = naive_scores(
            world.policy("lora"), world.model, world.pairs, world.pixels, EVERYTHING
        )
    clean, corrupt = scores["clean/chosen"], scores["corrupt/chosen"]
    assert (clean["policy_logp"] - clean["ref_logp"]).abs().amax(-1).min() > 1e-2
    assert clean["kl_fwd"].amax(-1).min() > 1e-3
    has_corrupt = scores["has_corrupt"]
    difference = clean["policy_logp"] - corrupt["policy_logp"]
    assert difference[has_corrupt].abs().amax(-1).min() > 1e-2


GRADIENTS = [
    *[(name, "lora") for name in OBJECTIVES],
    *[
        (name, tuning)
        for name in ("fire", "tdpo2", "mdpo")
        for tuning in TUNING
        if tuning != "lora"
    ],
]


@on_every_architecture(GRADIENTS, {("fire", tuning) for tuning in TUNING} | {("mdpo", "full")})
def test_loss_and_every_gradient_agree_with_the_naive_oracle(case, world):
    """Frozen and trainable towers, one or several edits at the start, in the middle, at the very
    first and the very last token, unequal lengths, no v', several image sizes."""
    name, tuning = case
    require_naive_gradients(OBJECTIVES[name], tuning, world)


@pytest.mark.parametrize("row_tokens", [None, 1, 90, 10_000])
def test_how_trees_are_packed_into_rows_changes_nothing(row_tokens, world):
    policy = world.policy("lora")
    with torch.no_grad():
        expected = score(world, policy, EVERYTHING)
        got = score(world, policy, EVERYTHING, row_tokens=row_tokens)
    for branch in ALL_BRANCHES:
        for name, value in expected[branch].items():
            close(got[branch][name].float(), value.float(), (branch, name))


@pytest.mark.parametrize("which", ["fire", "everything"])
def test_batch_composition_and_order_change_nothing(which, world):
    needs, policy = NEEDS[which], world.policy("lora")
    with torch.no_grad():
        together = score(world, policy, needs)
        for group in ([3, 1], [0], [6], [2, 0, 5, 4]):
            part = score(world, policy, needs, [world.pairs[i] for i in group])
            for branch in needs.branches:
                for name, got in part[branch].items():
                    wanted = together[branch][name][group][:, : got.shape[1]]
                    close(got.float(), wanted.float(), (branch, name))


def test_sliding_windows_are_counted_in_the_branch(llava):
    """Not in the row, where a token's own prompt may lie far before other branches."""
    model = copy.deepcopy(llava.model)
    model.config.text_config.sliding_window = 9
    model.model.language_model.config.sliding_window = 9
    world = copy.copy(llava)
    world.model = model
    policy = world.policy("lora")
    with torch.no_grad():
        scores = score(world, policy, EVERYTHING)
        expected = naive_scores(policy, model, llava.pairs, llava.pixels, EVERYTHING)
        unbounded = score(llava, llava.policy("lora"), EVERYTHING)
    assert scorer_of(policy).layout.trees
    for branch in ALL_BRANCHES:
        for name in ("policy_logp", "ref_logp", "kl_fwd"):
            close(scores[branch][name], expected[branch][name], (branch, name))
            assert (scores[branch][name] - unbounded[branch][name]).abs().max() > 1e-2
    require_naive_gradients(OBJECTIVES["fire"], "lora", world)


@pytest.mark.parametrize(("tuning", "passes"), [("lora", 1), ("lora on everything", 2)])
def test_a_frozen_tower_sees_each_picture_once(tuning, passes, world, monkeypatch):
    policy = world.policy(tuning)
    scorer = scorer_of(policy)
    batch_sizes = []
    plain = scorer.layout.architecture.features

    def counted(model, pictures):
        batch_sizes.append(len(pictures))
        return plain(model, pictures)

    monkeypatch.setattr(type(scorer.layout.architecture), "features", lambda _, m, p: counted(m, p))
    score(world, policy, NEEDS["fire"])
    pictures = len(world.pixels)  # all of them, each once
    assert batch_sizes == [pictures] * passes


def test_only_what_is_read_goes_through_the_head(llava, monkeypatch):
    """mask_dpo: one row of logits per position that predicts an edited token, for each model."""
    policy = llava.policy("lora")
    counted = []
    plain = head.scale_and_cap
    monkeypatch.setattr(
        head,
        "scale_and_cap",
        lambda logits, text: counted.append(len(logits)) or plain(logits, text),
    )
    score(llava, policy, NEEDS["mask_dpo"])
    edited = sum(int(p.chosen.edited.sum() + p.rejected.edited.sum()) for p in llava.pairs)
    assert counted == [counted[0]] * 2
    assert len(llava.pairs) < counted[0] < edited  # what both sides share is read once


def test_the_reference_gets_no_gradient(llava):
    reference = scorer_of(copy.deepcopy(llava.model).requires_grad_(True))
    scores = score_pairs(
        llava.pairs,
        llava.pixels,
        NEEDS["fire"],
        policy=scorer_of(llava.policy("full")),
        reference=FrozenModel(reference),
    )
    loss, _ = OBJECTIVES["fire"](scores)
    loss.sum().backward()
    assert all(p.grad is None for p in reference.parameters())


def test_under_lora_only_the_adapter_gets_a_gradient(llava):
    policy = llava.policy("lora")
    loss, _ = OBJECTIVES["fire"](score(llava, policy, NEEDS["fire"]))
    loss.sum().backward()
    moved = {name for name, p in policy.named_parameters() if p.grad is not None}
    assert moved == {name for name, _ in policy.named_parameters() if ".lora_" in name}
    assert all(p.grad.abs().max() > 0 for n, p in policy.named_parameters() if ".lora_B." in n)


def test_pairs_without_corrupted_images_have_no_visual_loss(llava):
    bare = [replace(pair, corrupted_keys=()) for pair in llava.pairs]
    policy = llava.policy("full")
    scores = score(llava, policy, NEEDS["fire"], bare)
    assert not scores["has_corrupt"].any()
    fire, _ = OBJECTIVES["fire"](scores)
    plain, _ = OBJECTIVES["fire"](scores, visual="none")
    assert torch.equal(fire, plain)
    fire.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in policy.parameters() if p.grad is not None)


@pytest.mark.parametrize("swapped", ["clean", "corrupt"])
def test_pixels_reach_policy_and_reference(swapped, world):
    policy, pair = world.policy("lora"), world.pairs[0]
    (key,) = pair.image_keys if swapped == "clean" else pair.corrupted_keys
    with torch.no_grad():
        before = score(world, policy, EVERYTHING, [pair])
        other = copy.copy(world)
        other.pixels = world.pixels | {key: -world.pixels[key]}
        after = score(other, policy, EVERYTHING, [pair])
    for branch in ALL_BRANCHES:
        for name in ("policy_logp", "ref_logp"):
            moved = (after[branch][name] - before[branch][name]).abs().max()
            assert (moved > 1e-2) == branch.startswith(swapped), (branch, name)


def test_answers_are_scored_without_pairs(world):
    policy = world.policy("lora")
    prompts = [
        (p.prompt_ids, p.rejected.ids, [world.pixels[k] for k in p.image_keys]) for p in world.pairs
    ]
    for got, (prompt, answer, pictures) in zip(
        score_answers(prompts, policy=scorer_of(policy)), prompts, strict=True
    ):
        with torch.no_grad():
            logps = distribution(policy, prompt, answer, pictures)
        expected = logps[torch.arange(len(answer)), torch.from_numpy(answer)]
        np.testing.assert_allclose(got, expected.numpy(), rtol=1e-4, atol=1e-4)


def test_gradient_checkpointing_changes_no_gradient(world):
    gradients = []
    for enabled in (False, True):
        policy = world.policy("lora").train()
        if enabled:
            base_model(policy).gradient_checkpointing_enable({"use_reentrant": False})
        loss, _ = OBJECTIVES["fire"](score(world, policy, NEEDS["fire"]))
        loss.sum().backward()
        gradients.append([p.grad for p in policy.parameters() if p.grad is not None])
    for plain, checkpointed in zip(*gradients, strict=True):
        close(checkpointed, plain, "gradient")


def test_soft_capping_is_applied(llava):
    """As in the text model itself: tanh(logits / cap) · cap before the softmax."""
    model = copy.deepcopy(llava.model)
    model.config.text_config.final_logit_softcapping = 2.0
    answer, pair = llava.pairs[0].chosen.ids, llava.pairs[0]
    prompt = (pair.prompt_ids, answer, [llava.pixels[k] for k in pair.image_keys])
    (got,) = score_answers([prompt], policy=scorer_of(model))
    with torch.no_grad():
        ids = torch.from_numpy(np.concatenate(prompt[:2]))[None]
        raw = model(input_ids=ids, pixel_values=torch.from_numpy(prompt[2][0])[None]).logits[0]
    capped = (torch.tanh(raw[len(prompt[0]) - 1 : -1] / 2) * 2).log_softmax(-1)
    expected = capped[torch.arange(len(answer)), torch.from_numpy(answer)]
    np.testing.assert_allclose(got, expected.numpy(), rtol=1e-5, atol=1e-5)


def test_bfloat16_models_give_float32_values(tiny_llava, llava):
    scorer = scorer_of(load_model(tiny_llava, "bfloat16"))
    pair = llava.pairs[0]
    from medray.policy.scoring.score_pairs import pair_branches

    branches = [b for *_, b in pair_branches([pair], NEEDS["dpo"])]
    _, values = read_branches(branches, llava.pixels, policy=scorer, reference=None)
    assert values["policy_logp"].dtype == torch.float32
