"""Identities between objectives, and changes that leave a loss the same."""

from __future__ import annotations

import math

import pytest
import torch

from medray.objectives import OBJECTIVES
from tests.unit.objectives.objectives_oracle import (
    BRANCHES,
    CASES,
    TENSORS,
    VISUAL,
    case_id,
    copy_scores,
    delta,
    random_scores,
    select,
)
from tests.unit.objectives.objectives_oracle import as_floats as floats_of

cases = pytest.mark.parametrize(("name", "hyperparameters"), CASES, ids=case_id)


def run(name, scores, **hyperparameters):
    """The loss, then the gradient of its sum by every tensor of every branch (zero if none)."""
    scores = copy_scores(scores)
    leaves = [scores[w][t].requires_grad_() for w in BRANCHES for t in TENSORS]
    loss, _ = OBJECTIVES[name](scores, **hyperparameters)
    loss.sum().backward()
    grads = [torch.zeros_like(x) if x.grad is None else x.grad for x in leaves]
    return [loss.detach(), *grads]


def assert_same(left, right):
    """Bitwise equal, gradients included."""
    for one, other in zip(left, right, strict=True):
        assert torch.equal(one, other)


def all_edited(scores):
    scores = copy_scores(scores)
    for branch_name in BRANCHES:
        scores[branch_name]["edit_mask"] = scores[branch_name]["response_mask"].clone()
    return scores


# --- one objective as another ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "given", "right", "also"),
    [
        ("fire", {"gamma": 0, "alpha": 0}, "mask_dpo", {}),
        ("fire", {"visual": "none", "alpha": 0}, "mask_dpo", {}),
        ("fire", {"visual": "none"}, "fire", {"gamma": 0}),
        ("ddpo", {"gamma_w": 1}, "dpo", {}),
        ("tdpo2", {"alpha": 0}, "dpo", {}),
        ("cdpo", {"epsilon": 0}, "dpo", {}),
        ("irpo", {"alpha": 0}, "dpo", {}),
        ("rrpo", {"alpha": 0}, "mask_dpo", {}),
        ("orpo", {"lambda": 0}, "sft", {}),
    ],
)
def test_one_objective_equals_another(left, given, right, also):
    scores = random_scores()
    assert_same(run(left, scores, **given), run(right, scores, **also))


@pytest.mark.parametrize(
    ("left", "given", "right"),
    [
        ("mask_dpo", {}, "dpo"),
        ("fire", {"gamma": 0, "alpha": 0}, "dpo"),
        ("rrpo", {"alpha": 0}, "dpo"),
    ],
)
def test_one_objective_equals_another_if_every_token_is_edited(left, given, right):
    scores = all_edited(random_scores())
    assert_same(run(left, scores, **given), run(right, scores))
    assert not torch.equal(run(left, random_scores(), **given)[0], run(right, random_scores())[0])


def test_rrpo_is_fire_with_forward_kl_if_every_token_is_edited():
    scores = all_edited(random_scores())
    fire = run("fire", scores, gamma=0, alpha=0.2, **{"lambda": 1})
    assert_same(run("rrpo", scores, alpha=0.2), fire)


def test_mdpo_minus_copo_and_anchor_is_dpo():
    scores = random_scores()
    scores.pop("relevance")
    mdpo, copo, dpo = (run(name, scores, beta=0.3) for name in ("mdpo", "copo", "dpo"))
    copied = copy_scores(scores)
    chosen = copied["clean/chosen"]
    leaves = [copied[w][t].requires_grad_() for w in BRANCHES for t in TENSORS]
    ratio = (chosen["policy_logp"] - chosen["ref_logp"]) * chosen["response_mask"]
    anchor = -torch.log(torch.sigmoid(0.3 * ratio.sum(-1)))
    anchor.sum().backward()
    grads = [torch.zeros_like(x) if x.grad is None else x.grad for x in leaves]
    for total, conditional, anchored, rest in zip(
        mdpo, copo, [anchor.detach(), *grads], dpo, strict=True
    ):
        torch.testing.assert_close(total - conditional - anchored, rest, rtol=1e-12, atol=1e-14)


def test_mmedpo_on_the_clean_image_is_dpo():
    scores = random_scores()
    scores["relevance"] = torch.ones(5, dtype=torch.float64)
    scores["corrupt/rejected"] = scores["clean/rejected"]
    loss, metrics = OBJECTIVES["mmedpo"](scores)
    other, expected = OBJECTIVES["dpo"](scores)
    assert torch.equal(loss, other)
    assert torch.equal(metrics["reward_margin"], expected["reward_margin"])


def test_mmedpo_on_one_answer_is_copo():
    scores = random_scores()
    scores["corrupt/rejected"] = scores["corrupt/chosen"]
    scores["has_corrupt"] = torch.ones(5, dtype=torch.bool)
    assert torch.equal(OBJECTIVES["mmedpo"](scores)[0], OBJECTIVES["copo"](scores)[0])


def test_tdpo1_is_tdpo2_with_alpha_1_except_for_one_gradient():
    scores = random_scores()
    one, two = run("tdpo1", scores), run("tdpo2", scores, alpha=1)
    stopped = 1 + TENSORS.index("kl_fwd")  # of clean/chosen, the first branch
    torch.testing.assert_close(one[0], two[0], rtol=1e-12, atol=0)
    assert (two[stopped] == 0).all()
    assert (one[stopped] != 0).any()
    for i in set(range(1, len(one))) - {stopped}:
        torch.testing.assert_close(one[i], two[i], rtol=1e-12, atol=1e-16)


def test_cdpo_with_epsilon_1_is_dpo_of_the_swapped_pair():
    scores = random_scores()
    swapped = exchange(scores, "clean/chosen", "clean/rejected")
    assert torch.equal(OBJECTIVES["cdpo"](scores, epsilon=1)[0], OBJECTIVES["dpo"](swapped)[0])


def test_ddpo_normalised_by_equal_weights_is_dpo_of_the_average():
    """γ_w cancels if all tokens are edited; ipo reports the same average as its reward."""
    scores = all_edited(random_scores())
    _, divided = OBJECTIVES["ddpo"](scores, gamma_w=7, normalise="weights")
    _, average = OBJECTIVES["ipo"](scores)
    torch.testing.assert_close(
        divided["reward_margin"], average["reward_margin"], rtol=1e-12, atol=0
    )


# --- policy = reference, swapped sides -------------------------------------------------------

HAS = [True, False, True, True, False]  # has_corrupt of random_scores()
LOG2 = math.log(2)
REFERENCE_FREE = ("sft", "simpo", "orpo")
AT_REFERENCE = {
    "fire": [LOG2 * (1 + 0.1 * has) for has in HAS],
    **dict.fromkeys(
        ("dpo", "cdpo", "mask_dpo", "tdpo1", "tdpo2", "ddpo", "rrpo", "mmedpo"), [LOG2] * 5
    ),
    "copo": [LOG2 * has for has in HAS],
    "mdpo": [LOG2 * (2 + has) for has in HAS],
    "ipo": [25.0] * 5,  # (0 − 1/.2)²
    "kto": [1.0] * 5,  # twice 1 − σ(0), z0 = 0
}


def at_reference(scores):
    scores = copy_scores(scores)
    scores.pop("relevance")
    scores["z0"].zero_()
    for branch_name in BRANCHES:
        scores[branch_name]["ref_logp"] = scores[branch_name]["policy_logp"].clone()
        scores[branch_name]["kl_fwd"].zero_()
        scores[branch_name]["kl_rev"].zero_()
    return scores


@pytest.mark.parametrize("name", [n for n in OBJECTIVES if n not in REFERENCE_FREE])
def test_losses_if_the_policy_equals_the_reference(name):
    scores = at_reference(random_scores())
    loss, metrics = OBJECTIVES[name](scores)
    if name == "irpo":
        loss = loss - OBJECTIVES["sft"](scores)[0]
    assert loss.tolist() == pytest.approx(AT_REFERENCE.get(name, [LOG2] * 5), rel=1e-12)
    assert metrics["reward_margin"].tolist() == [0.0] * 5
    assert metrics["reward_accuracy"].tolist() == [0.0] * 5


@pytest.mark.parametrize(("name", "hyperparameters"), [("simpo", {"gamma": 0}), ("orpo", {})])
def test_two_equal_answers_give_log_2(name, hyperparameters):
    """Without a reference, the loss is log 2 if both answers are equally likely."""
    scores = random_scores()
    scores["clean/rejected"] = scores["clean/chosen"]
    _, metrics = OBJECTIVES[name](scores, **hyperparameters)
    assert metrics["loss_rank"].tolist() == pytest.approx([LOG2] * 5, rel=1e-12)
    assert metrics["reward_margin"].tolist() == [0.0] * 5


COMPARED = {
    "copo": ("clean/chosen", "corrupt/chosen"),
    "mmedpo": ("clean/chosen", "corrupt/rejected"),
}


def exchange(scores, one, other):
    return scores | {one: scores[other], other: scores[one]}


@pytest.mark.parametrize("name", [n for n in OBJECTIVES if n != "sft"])
def test_swapping_the_sides_negates_the_margin(name):
    scores = random_scores()
    swapped = exchange(scores, *COMPARED.get(name, ("clean/chosen", "clean/rejected")))
    loss, metrics = OBJECTIVES[name](scores)
    other_loss, other = OBJECTIVES[name](swapped)
    margin = metrics["reward_margin"]
    assert torch.equal(other["reward_margin"], -margin)
    assert (margin != 0).sum() >= 3
    accuracy = metrics["reward_accuracy"] + other["reward_accuracy"]
    assert torch.equal(accuracy, (margin != 0).double())
    if name in ("dpo", "mask_dpo", "ddpo", "copo", "mmedpo"):  # −log σ(−h) = −log σ(h) + h
        gap = margin * scores["relevance"]
        torch.testing.assert_close(other_loss, loss + gap, rtol=1e-9, atol=0)


def test_the_margin_is_the_implicit_reward_of_the_full_answer():
    """β·h, the same number whatever the loss does with it."""
    scores = random_scores()
    pairs = [floats_of(scores, b) for b in range(5)]
    expected = [0.1 * (delta(p, "clean/chosen") - delta(p, "clean/rejected")) for p in pairs]
    for name in ("dpo", "cdpo", "irpo", "kto", "tdpo1", "tdpo2", "mdpo"):
        _, metrics = OBJECTIVES[name](scores)
        assert metrics["reward_margin"].tolist() == pytest.approx(expected, rel=1e-12)


# --- weights ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OBJECTIVES)
def test_relevance_multiplies_the_loss_but_not_the_metrics(name):
    scores = random_scores()
    weights = scores.pop("relevance")
    base, metrics = OBJECTIVES[name](scores)
    loss, same = OBJECTIVES[name](scores | {"relevance": weights})
    assert torch.equal(loss, base * weights)
    assert all(torch.equal(same[key], metrics[key]) for key in metrics)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_metrics_are_per_pair_and_detached(name):
    scores = random_scores()
    scores["clean/chosen"]["policy_logp"].requires_grad_()
    loss, metrics = OBJECTIVES[name](scores)
    assert loss.requires_grad
    assert loss.shape == (5,)
    assert metrics
    assert all(m.shape == (5,) and not m.requires_grad for m in metrics.values())


# --- no v' -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "without"), [("fire", "mask_dpo"), ("copo", None)])
def test_a_pair_without_corrupted_image_has_no_visual_part(name, without):
    scores = random_scores()
    scores["has_corrupt"] = torch.tensor([True, False, True, False, False])
    hyperparameters = {"alpha": 0} if name == "fire" else {}
    loss, metrics = OBJECTIVES[name](scores, **hyperparameters)
    rest = OBJECTIVES[without](scores)[0] if without else torch.zeros_like(loss)
    assert torch.equal(loss == rest, ~scores["has_corrupt"])
    part = metrics["loss_visual" if name == "fire" else "loss_rank"]
    assert torch.equal(part == 0, ~scores["has_corrupt"])
    if name == "copo":
        for metric in metrics.values():
            assert (metric[~scores["has_corrupt"]] == 0).all()


def test_without_has_corrupt_every_pair_has_one():
    scores = random_scores()
    every = scores | {"has_corrupt": torch.ones(5, dtype=torch.bool)}
    scores.pop("has_corrupt")
    for name in ("fire", "copo", "mdpo"):
        assert torch.equal(OBJECTIVES[name](scores)[0], OBJECTIVES[name](every)[0])


def test_mmedpo_reads_its_clean_fallback():
    """A pair without v' still has its branch, so it is not left out."""
    scores = random_scores()
    assert (~scores["has_corrupt"]).any()
    every = scores | {"has_corrupt": torch.ones(5, dtype=torch.bool)}
    assert_same(run("mmedpo", scores), run("mmedpo", every))


VISUAL_CASES = [
    *(("fire", {"visual": visual, "gamma": 0.7}) for visual in VISUAL),
    ("copo", {}),
    ("mdpo", {}),
    ("mdpo", {"delta": 0.3}),
]


@pytest.mark.parametrize(("name", "hyperparameters"), VISUAL_CASES, ids=case_id)
@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
def test_a_missing_branch_may_hold_anything(name, hyperparameters, poison):
    """Rows without v' affect neither loss nor gradient nor metric of any row."""
    clean, dirty = random_scores(), random_scores()
    lacking = ~dirty["has_corrupt"]
    for branch_name in BRANCHES[2:]:
        for tensor in TENSORS:
            dirty[branch_name][tensor][lacking] = poison
        for mask in ("response_mask", "edit_mask"):
            dirty[branch_name][mask][lacking] = torch.arange(7) % 2 == 0
    assert_same(run(name, clean, **hyperparameters), run(name, dirty, **hyperparameters))
    metrics, same = (OBJECTIVES[name](scores, **hyperparameters)[1] for scores in (clean, dirty))
    assert all(torch.equal(metrics[key], same[key]) for key in metrics)


# --- masks, padding, order, batches ----------------------------------------------------------


@cases
@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_what_is_masked_may_hold_anything(name, hyperparameters, poison):
    objective = OBJECTIVES[name]
    needs = objective.needs_for(objective.resolve(hyperparameters))
    mask_of = {"edited": "edit_mask", "response": "response_mask"}
    clean, dirty = random_scores(), random_scores()
    for side in (dirty[branch_name] for branch_name in BRANCHES):
        for tensor in ("policy_logp", "ref_logp"):
            side[tensor][~side[mask_of[needs.positions]]] = poison
        for tensor in ("kl_fwd", "kl_rev"):
            side[tensor][~side[mask_of[needs.kl_positions]]] = poison
    assert_same(run(name, clean, **hyperparameters), run(name, dirty, **hyperparameters))


@cases
def test_padding_changes_nothing(name, hyperparameters):
    scores = random_scores()
    padded = dict(scores)
    for branch_name in BRANCHES:
        padded[branch_name] = {
            key: torch.nn.functional.pad(value, (0, 3), value=0 if "mask" in key else math.nan)
            for key, value in scores[branch_name].items()
        }
    before, after = run(name, scores, **hyperparameters), run(name, padded, **hyperparameters)
    torch.testing.assert_close(after[0], before[0], rtol=1e-12, atol=0)
    for narrow, wide in zip(before[1:], after[1:], strict=True):
        torch.testing.assert_close(wide[:, :7], narrow, rtol=1e-12, atol=1e-16)
        assert (wide[:, 7:] == 0).all()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_branches_may_differ_in_width(name):
    scores = random_scores()
    expected = run(name, scores)[0]
    side = scores["clean/rejected"]
    scores["clean/rejected"] = {
        key: torch.nn.functional.pad(value, (0, 2), value=0 if "mask" in key else math.nan)
        for key, value in side.items()
    }
    torch.testing.assert_close(run(name, scores)[0], expected, rtol=1e-12, atol=0)


@cases
def test_order_and_batch_change_nothing(name, hyperparameters):
    scores = random_scores()
    expected = run(name, scores, **hyperparameters)
    order = torch.tensor([3, 0, 4, 1, 2])
    assert_same(
        run(name, select(scores, order), **hyperparameters), [value[order] for value in expected]
    )
    chunks = [
        run(name, select(scores, slice(a, b)), **hyperparameters)
        for a, b in ((0, 2), (2, 3), (3, 5))
    ]
    assert_same([torch.cat(parts) for parts in zip(*chunks, strict=True)], expected)
    _, metrics = OBJECTIVES[name](scores, **hyperparameters)
    _, mixed = OBJECTIVES[name](select(scores, order), **hyperparameters)
    assert all(torch.equal(mixed[key], metrics[key][order]) for key in metrics)


@cases
def test_masks_may_be_of_any_type(name, hyperparameters):
    scores = random_scores()
    numbers = copy_scores(scores)
    for branch_name in BRANCHES:
        for mask in ("response_mask", "edit_mask"):
            numbers[branch_name][mask] = numbers[branch_name][mask].long()
    numbers["has_corrupt"] = numbers["has_corrupt"].double()
    assert_same(run(name, scores, **hyperparameters), run(name, numbers, **hyperparameters))
