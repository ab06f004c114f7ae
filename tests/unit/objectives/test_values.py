"""Losses and gradients: by hand, by the naive implementation, by finite differences."""

from __future__ import annotations

import copy
import math
from decimal import Decimal, localcontext

import pytest
import torch

from medray.objectives import OBJECTIVES
from medray.objectives.reference_free import log_odds
from tests.unit.objectives.objectives_oracle import (
    BRANCHES,
    CASES,
    DEFAULTS,
    TENSORS,
    as_floats,
    branch,
    case_id,
    naive,
    naive_pair,
    random_scores,
)

cases = pytest.mark.parametrize(("name", "hyperparameters"), CASES, ids=case_id)


# --- by hand ---------------------------------------------------------------------------------

# One pair. Over the edited tokens:
#   v:   Δ_M(y+) = (−1 − −2) + (−1 − −1.5) = 1.5        Δ_M(y−) = −2 − −1 = −1
#   v':  Δ_M(y+) = −4 − −3 = −1                         Δ_M(y−) = −1 − −3 =  2
# and over all of them:
#   v:   Δ(y+) = 1.5 + (−3 − −1) = −0.5     Δ(y−) = −1 + (−1 − −4) = 2     h = −2.5
#   v':  Δ(y+) = −1                         Δ(y−) =  2
#   mean(y+) = −5/3      mean(y−) = −3/2
#   D(y+) = .2 + .4 + 9 = 9.6     D(y−) = .5 + .25 = .75
HAND = {
    "clean/chosen": branch(
        [-1, -1, -3], [-2, -1.5, -1], [1, 1, 0], None, [0.2, 0.4, 9.0], [0.6, 1.0, 9.0]
    ),
    "clean/rejected": branch([-2, -1], [-1, -4], [1, 0], None, [0.5, 0.25]),
    "corrupt/chosen": branch([-4], [-3], [1]),
    "corrupt/rejected": branch([-1], [-3], [1]),
    "z0": torch.tensor(0.5, dtype=torch.float64),
}


def nls(x):
    """−log σ(x) of a small x."""
    return math.log(1 + math.exp(-x))


BY_HAND = {
    # λ = .25: kl = .25·(.2 + .4) + .75·(.6 + 1.0) = 1.35; v' reversed: .1·(2 − −1) = .3
    "fire": (
        {"gamma": 0.5, "alpha": 0.2, "lambda": 0.25},
        nls(0.25) + 0.5 * nls(0.3) + 0.2 * 1.35,
        0.25,
    ),
    "sft": ({}, 5 / 3, None),
    "dpo": ({}, nls(-0.25), -0.25),
    "cdpo": ({}, 0.9 * nls(-0.25) + 0.1 * nls(0.25), -0.25),
    # h̄ = −.5/3 − 2/2 = −7/6;  −7/6 − 1/.2 = −37/6
    "ipo": ({}, 1369 / 36, -0.7 / 6),
    "irpo": ({"alpha": 0.5}, nls(-0.25) + 2.5 / 3, -0.25),
    # 2·(−5/3 + 3/2) − 1 = −4/3
    "simpo": ({}, nls(-4 / 3), -1 / 3),
    # odds = 1/(e^{−mean} − 1), so e^{−(difference of log-odds)} = (e^{5/3} − 1)/(e^{3/2} − 1)
    "orpo": (
        {},
        5 / 3 + 0.1 * math.log(1 + (math.exp(5 / 3) - 1) / (math.exp(1.5) - 1)),
        math.log((math.exp(1.5) - 1) / (math.exp(5 / 3) - 1)),
    ),
    # y+: 1 − σ(.1·(−.5 − .5)) = 1/(1 + e^{−.1});  y−: 1 − σ(.1·(.5 − 2)) = 1/(1 + e^{−.15})
    "kto": ({"lambda_u": 2.0}, 1 / (1 + math.exp(-0.1)) + 2 / (1 + math.exp(-0.15)), -0.25),
    # −2.5 − (.75 − 9.6) = 6.35
    "tdpo1": ({}, nls(0.635), -0.25),
    # −2.5 − .5·(.75 − 9.6) = 1.925
    "tdpo2": ({}, nls(0.1925), -0.25),
    # 3·1.5 − 2 = 2.5 and 3·(−1) + 3 = 0
    "ddpo": ({}, nls(0.25), 0.25),
    "mask_dpo": ({}, nls(0.25), 0.25),
    "rrpo": ({}, nls(0.25) + 0.01 * 9.6, 0.25),
    # −.5 − −1 = .5
    "copo": ({}, nls(0.05), 0.05),
    # dpo + copo + anchor: .1·(−.5) − .2 = −.25
    "mdpo": ({"delta": 0.2}, nls(-0.25) + nls(0.05) + nls(-0.25), -0.25),
    # −.5 − 2 = −2.5
    "mmedpo": ({}, nls(-0.25), -0.25),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_by_hand(name):
    hyperparameters, expected, margin = BY_HAND[name]
    loss, metrics = OBJECTIVES[name](HAND, **hyperparameters)
    assert loss.tolist() == pytest.approx([expected], rel=1e-12)
    if margin is None:
        assert not {"reward_margin", "reward_accuracy"} & set(metrics)
    else:
        assert metrics["reward_margin"].tolist() == pytest.approx([margin], rel=1e-12)
        assert metrics["reward_accuracy"].tolist() == [float(margin > 0)]


# The objectives whose loss is not just loss_rank.
PARTS = {
    "fire": {"loss_rank": nls(0.25), "loss_visual": nls(0.3), "loss_kl": 1.1},  # .5·.6 + .5·1.6
    "sft": {"loss_nll": 5 / 3},
    "irpo": {"loss_rank": nls(-0.25), "loss_nll": 5 / 3},
    "orpo": {"loss_nll": 5 / 3},
    "tdpo1": {"loss_rank": nls(0.635), "kl_chosen": 9.6, "kl_rejected": 0.75},
    "tdpo2": {"loss_rank": nls(0.1925), "kl_chosen": 9.6, "kl_rejected": 0.75},
    "rrpo": {"loss_rank": nls(0.25), "loss_kl": 9.6},
    "mdpo": {"loss_rank": nls(-0.25), "loss_visual": nls(0.05), "loss_anchor": nls(-0.05)},
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_parts_by_hand(name):
    loss, metrics = OBJECTIVES[name](HAND)
    expected = PARTS.get(name, {"loss_rank": loss.item()})
    for part, value in expected.items():
        assert metrics[part].tolist() == pytest.approx([value], rel=1e-12)
    rest = set(metrics) - set(expected) - {"reward_margin", "reward_accuracy"}
    assert rest == ({"loss_rank"} if name == "orpo" else set())


@pytest.mark.parametrize(
    ("visual", "margin"),
    [
        ("reversed", 0.1 * (2 - -1)),
        ("chosen_clean_vs_corrupt", 0.1 * (1.5 - -1)),
        ("chosen_clean_vs_rejected_corrupt", 0.1 * (1.5 - 2)),
    ],
)
@pytest.mark.parametrize(("share", "anchor"), [(0.0, 1.6), (0.25, 1.35), (0.5, 1.1), (1.0, 0.6)])
def test_ablations_of_fire_by_hand(visual, margin, share, anchor):
    given = {"gamma": 0.5, "alpha": 0.2, "lambda": share, "visual": visual}
    loss, metrics = OBJECTIVES["fire"](HAND, **given)
    assert loss.tolist() == pytest.approx([nls(0.25) + 0.5 * nls(margin) + 0.2 * anchor], rel=1e-12)
    assert metrics["loss_visual"].tolist() == pytest.approx([nls(margin)], rel=1e-12)
    assert metrics["loss_kl"].tolist() == pytest.approx([anchor], rel=1e-12)


def test_ddpo_normalised_by_its_weights_by_hand():
    # Σw = 3 + 3 + 1 = 7 and 3 + 1 = 4: 2.5/7 − 0/4
    loss, metrics = OBJECTIVES["ddpo"](HAND, normalise="weights", beta=0.7)
    assert loss.tolist() == pytest.approx([nls(0.25)], rel=1e-12)
    assert metrics["reward_margin"].tolist() == pytest.approx([0.25], rel=1e-12)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_defaults_are_those_of_the_sources(name):
    assert OBJECTIVES[name].resolve({}) == DEFAULTS[name]


# --- the baseline of kto ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "used"), [(None, 0.0), (-3.0, 0.0), (0.0, 0.0), (0.5, 0.5), ([0.5], 0.5)]
)
def test_kto_takes_its_baseline_from_the_scores(given, used):
    scores = {key: value for key, value in HAND.items() if key != "z0"}
    if given is not None:
        scores["z0"] = torch.tensor(given, dtype=torch.float32)
    loss, _ = OBJECTIVES["kto"](scores)
    # 1 − σ(.1·(−.5 − z0)) + 1 − σ(.1·(z0 − 2))
    expected = 1 / (1 + math.exp(-0.05 - 0.1 * used)) + 1 / (1 + math.exp(0.1 * used - 0.2))
    assert loss.dtype == torch.float64
    assert loss.tolist() == pytest.approx([expected], rel=1e-12)


def test_kto_may_have_a_baseline_per_pair():
    scores = random_scores()
    each = torch.tensor([0.0, 0.5, 1.0, -1.0, 2.0], dtype=torch.float64)
    loss, _ = OBJECTIVES["kto"](scores | {"z0": each})
    for b, z0 in enumerate(each):
        assert torch.equal(OBJECTIVES["kto"](scores | {"z0": z0})[0][b], loss[b])


@pytest.mark.parametrize("shape", [(5, 1), (4,), (1, 5)])
def test_a_baseline_of_another_shape_is_refused(shape):
    with pytest.raises(RuntimeError, match="expand"):
        OBJECTIVES["kto"](random_scores() | {"z0": torch.zeros(shape)})


def test_the_baseline_of_kto_has_no_gradient():
    scores = random_scores()
    scores["z0"].requires_grad_()
    logps = scores["clean/chosen"]["policy_logp"].requires_grad_()
    OBJECTIVES["kto"](scores)[0].sum().backward()
    assert scores["z0"].grad is None
    assert logps.grad.abs().sum() > 0


# --- by the naive implementation -------------------------------------------------------------


@cases
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)], ids=["fp64", "fp32"]
)
def test_agrees_with_the_naive_implementation(name, hyperparameters, dtype, tolerance):
    scores = random_scores(seed=3, pairs=16, dtype=dtype)
    loss, _ = OBJECTIVES[name](scores, **hyperparameters)
    assert loss.dtype == dtype
    assert loss.tolist() == pytest.approx(naive(name, scores, hyperparameters), rel=tolerance)


def test_every_objective_has_a_case():
    assert {name for name, _ in CASES} == set(OBJECTIVES) == set(BY_HAND) == set(DEFAULTS)
    reached = {(name, key) for name, hyperparameters in CASES for key in hyperparameters}
    assert {(n, key) for n, o in OBJECTIVES.items() for key in o.hyperparameters} - reached == {
        ("fire", "beta")  # mask_dpo's
    }


# --- gradients -------------------------------------------------------------------------------


@cases
def test_gradients_agree_with_finite_differences_of_the_naive_implementation(name, hyperparameters):
    scores = random_scores(seed=1, pairs=2, width=4)
    pairs = [as_floats(scores, b) for b in range(2)]
    leaves = {(w, t): scores[w][t].requires_grad_() for w in BRANCHES for t in TENSORS}
    OBJECTIVES[name](scores, **hyperparameters)[0].sum().backward()
    for (branch_name, tensor), leaf in leaves.items():
        gradient = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
        expected = [
            [
                central_difference(name, hyperparameters, pair, branch_name, tensor, t)
                for t in range(4)
            ]
            for pair in pairs
        ]
        torch.testing.assert_close(
            gradient, torch.tensor(expected, dtype=torch.float64), rtol=1e-6, atol=1e-9
        )


def central_difference(name, hyperparameters, pair, branch_name, tensor, t, step=1e-5):
    ends = []
    for sign in (1, -1):
        moved = copy.deepcopy(pair)
        moved[branch_name][tensor][t] += sign * step
        ends.append(naive_pair(name, moved, hyperparameters, frozen=pair))
    return (ends[0] - ends[1]) / (2 * step)


@cases
def test_gradcheck(name, hyperparameters):
    scores = random_scores(seed=1, pairs=3, width=4)
    detached = {("clean/chosen", "kl_fwd")} if name == "tdpo2" else set()  # by its stop-gradient
    names = [(w, t) for w in BRANCHES for t in TENSORS if (w, t) not in detached]
    leaves = [scores[w][t].clone().requires_grad_() for w, t in names]

    def run(*values):
        given = {w: dict(scores[w]) for w in BRANCHES}
        for (w, t), value in zip(names, values, strict=True):
            given[w][t] = value
        extra = {key: scores[key] for key in ("relevance", "has_corrupt", "z0")}
        return OBJECTIVES[name](given | extra, **hyperparameters)[0]

    assert torch.autograd.gradcheck(run, leaves)


def test_tdpo2_has_a_kl_gradient_only_on_the_rejected_side():
    scores = random_scores()
    chosen, rejected = (scores[f"clean/{s}"]["kl_fwd"] for s in ("chosen", "rejected"))
    for leaf in (chosen, rejected):
        leaf.requires_grad_()
    OBJECTIVES["tdpo2"](scores)[0].sum().backward()
    assert chosen.grad is None
    assert (rejected.grad[scores["clean/rejected"]["response_mask"]] > 0).all()
    OBJECTIVES["tdpo1"](scores)[0].sum().backward()
    assert (chosen.grad[scores["clean/chosen"]["response_mask"]] < 0).all()


# --- extreme values --------------------------------------------------------------------------


@cases
@pytest.mark.parametrize("branch_name", BRANCHES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["fp64", "fp32"])
def test_unlikely_answers_give_finite_losses_and_gradients(
    name, hyperparameters, branch_name, dtype
):
    scores = random_scores(dtype=dtype)
    scores[branch_name]["policy_logp"] = scores[branch_name]["policy_logp"] - 1e5
    leaves = [scores[w]["policy_logp"].requires_grad_() for w in BRANCHES]
    loss, metrics = OBJECTIVES[name](scores, **hyperparameters)
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    assert all(torch.isfinite(value).all() for value in metrics.values())
    assert all(torch.isfinite(x.grad).all() for x in leaves if x.grad is not None)


@pytest.mark.parametrize("logp", [-1e-9, -1e-4, -0.1, -0.69, -0.7, -2.0, -20.0, -700.0])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 1e-6)], ids=["fp64", "fp32"]
)
def test_log_odds_keep_their_precision(logp, dtype, tolerance):
    value = torch.tensor([min(logp, -torch.finfo(dtype).eps)], dtype=dtype, requires_grad=True)
    odds = log_odds(value)
    odds.sum().backward()
    with localcontext() as context:
        context.prec = 400
        x = Decimal(value.item())
        expected, slope = float(x - (1 - x.exp()).ln()), float(1 / (1 - x.exp()))
    assert odds.item() == pytest.approx(expected, rel=tolerance, abs=tolerance)
    assert value.grad.item() == pytest.approx(slope, rel=tolerance)  # d/dx = 1/(1 − e^x)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["fp64", "fp32"])
@pytest.mark.parametrize("chosen", [0.0, 1e-7, -1e-30, -1.0])
@pytest.mark.parametrize("rejected", [0.0, 1e-7, -1e-30, -1.0])
def test_orpo_is_finite_for_answers_that_are_certain(chosen, rejected, dtype):
    """A log-probability of 0, or above it by rounding, has no finite odds."""
    scores = random_scores(dtype=dtype)
    for side, value in (("chosen", chosen), ("rejected", rejected)):
        logps = scores[f"clean/{side}"]["policy_logp"]
        scores[f"clean/{side}"]["policy_logp"] = torch.full_like(logps, value).requires_grad_()
    loss, metrics = OBJECTIVES["orpo"](scores)
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    assert torch.isfinite(metrics["reward_margin"]).all()
    for side in ("chosen", "rejected"):
        assert torch.isfinite(scores[f"clean/{side}"]["policy_logp"].grad).all()
    certain = [value > -0.5 for value in (chosen, rejected)]
    expected = certain[0] - certain[1]
    assert (metrics["reward_margin"].sign() == expected).all()
