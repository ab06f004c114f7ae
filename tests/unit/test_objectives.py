"""Objectives against values derived by hand and against a naive implementation pair by pair."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
import torch

from medray.errors import ConfigError
from medray.objectives import OBJECTIVES, find_objective
from medray.objectives.fire import VISUAL

BRANCHES = ("clean/chosen", "clean/rejected", "corrupt/chosen", "corrupt/rejected")
TENSORS = ("policy_logp", "ref_logp", "kl_fwd", "kl_rev")
ABLATIONS = (*VISUAL, "none")


def branch(policy, ref, edited, response=None, kl_fwd=None, kl_rev=None):
    """One pair's branch from plain lists, [1, T], fp64."""
    row = {"policy_logp": policy, "ref_logp": ref, "edit_mask": edited}
    row["response_mask"] = response or [1] * len(policy)
    row |= {"kl_fwd": kl_fwd or [0.0] * len(policy), "kl_rev": kl_rev or [0.0] * len(policy)}
    return {
        name: torch.tensor([v], dtype=torch.bool if "mask" in name else torch.float64)
        for name, v in row.items()
    }


def random_scores(seed=0, pairs=5, width=7, dtype=torch.float64):
    """Random branches with at least one edited token each, answers of different lengths."""
    rng = torch.Generator().manual_seed(seed)

    def draw(scale):
        return (torch.rand(pairs, width, generator=rng, dtype=torch.float64) * scale).to(dtype)

    scores = {}
    for name in BRANCHES:
        lengths = torch.randint(2, width + 1, (pairs, 1), generator=rng)
        response = torch.arange(width) < lengths
        edited = (torch.rand(pairs, width, generator=rng) < 0.5) & response
        edited[:, 0] = True
        scores[name] = {
            "policy_logp": -draw(4), "ref_logp": -draw(4), "kl_fwd": draw(2), "kl_rev": draw(2),
            "response_mask": response, "edit_mask": edited,
        }  # fmt: skip
    scores["relevance"] = draw(1)[:, 0] + 0.5
    scores["has_corrupt"] = torch.arange(pairs) % 3 != 1
    return scores


def naive_delta(scores, name, b, mask):
    total = 0.0
    for t, keep in enumerate(scores[name][mask][b].tolist()):
        if keep:
            total += float(scores[name]["policy_logp"][b, t]) - float(
                scores[name]["ref_logp"][b, t]
            )
    return total


def naive_nll_of_sigmoid(x):
    """−log σ(x), by the textbook, on Python floats."""
    return math.log1p(math.exp(-x)) if x > 0 else math.log1p(math.exp(x)) - x


def naive(name, scores, hyper):
    """The formulas of the papers in Python floats, one pair at a time."""
    losses = []
    for b in range(scores["clean/chosen"]["policy_logp"].shape[0]):
        mask = "response_mask" if name == "dpo" else "edit_mask"
        beta = hyper.get("beta", 0.1)
        r = {n: beta * naive_delta(scores, n, b, mask) for n in BRANCHES}
        loss = naive_nll_of_sigmoid(r["clean/chosen"] - r["clean/rejected"])
        if name == "fire":
            margin = {
                "reversed": r["corrupt/rejected"] - r["corrupt/chosen"],
                "chosen_clean_vs_corrupt": r["clean/chosen"] - r["corrupt/chosen"],
                "chosen_clean_vs_rejected_corrupt": r["clean/chosen"] - r["corrupt/rejected"],
            }.get(hyper.get("visual", "reversed"))
            if margin is not None and bool(scores["has_corrupt"][b]):
                loss += hyper.get("gamma", 0.1) * naive_nll_of_sigmoid(margin)
            lam, chosen = hyper.get("lambda", 0.5), scores["clean/chosen"]
            for t, keep in enumerate(chosen["edit_mask"][b].tolist()):
                if keep:
                    kl = lam * float(chosen["kl_fwd"][b, t])
                    kl += (1 - lam) * float(chosen["kl_rev"][b, t])
                    loss += hyper.get("alpha", 0.01) * kl
        losses.append(loss * float(scores["relevance"][b]))
    return losses


CASES = [
    ("dpo", {}),
    ("dpo", {"beta": 2.0}),
    ("mask_dpo", {}),
    ("mask_dpo", {"beta": 0.5}),
    *(("fire", {"visual": visual, "gamma": 0.7}) for visual in ABLATIONS),
    *(("fire", {"lambda": lam, "alpha": 0.3}) for lam in (0.0, 0.5, 1.0)),
    ("fire", {}),
    ("fire", {"gamma": 0.0}),
    ("fire", {"alpha": 0.0}),
]


@pytest.mark.parametrize(("name", "hyper"), CASES)
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)], ids=["fp64", "fp32"]
)
def test_agrees_with_the_naive_implementation(name, hyper, dtype, tolerance):
    scores = random_scores(seed=3, pairs=16, dtype=dtype)
    loss, _ = OBJECTIVES[name](scores, **hyper)
    assert loss.dtype == dtype
    assert loss.tolist() == pytest.approx(naive(name, scores, hyper), rel=tolerance)


# One pair, by hand. β = 0.1:
#   Δ_M(y+) = (−1 − −2) + (−1 − −1.5) = 1.5     all tokens: + (−3 − −1) = −0.5
#   Δ_M(y−) = (−2 − −1) = −1                    all tokens: + (−1 − −4) =  2
#   v':  Δ_M(y+) = −4 − −3 = −1,   Δ_M(y−) = −1 − −3 = 2
HAND = {
    "clean/chosen": branch(
        [-1, -1, -3], [-2, -1.5, -1], [1, 1, 0], None, [0.2, 0.4, 9.0], [0.6, 1.0, 9.0]
    ),
    "clean/rejected": branch([-2, -1], [-1, -4], [1, 0]),
    "corrupt/chosen": branch([-4], [-3], [1]),
    "corrupt/rejected": branch([-1], [-3], [1]),
}


def test_mask_dpo_by_hand():
    loss, metrics = OBJECTIVES["mask_dpo"](HAND)
    assert loss.tolist() == pytest.approx([math.log(1 + math.exp(-0.25))], rel=1e-12)
    assert metrics["reward_margin"].tolist() == pytest.approx([0.25], rel=1e-12)
    assert metrics["reward_accuracy"].tolist() == [1.0]


def test_dpo_by_hand():
    loss, metrics = OBJECTIVES["dpo"](HAND)
    assert loss.tolist() == pytest.approx([math.log(1 + math.exp(0.25))], rel=1e-12)
    assert metrics["reward_accuracy"].tolist() == [0.0]


@pytest.mark.parametrize(
    ("visual", "margin"),
    [
        ("reversed", 0.1 * (2 - -1)),
        ("chosen_clean_vs_corrupt", 0.1 * (1.5 - -1)),
        ("chosen_clean_vs_rejected_corrupt", 0.1 * (1.5 - 2)),
    ],
)
def test_fire_by_hand(visual, margin):
    # kl: λ = .25 → .25·(.2 + .4) + .75·(.6 + 1.0) = .15 + 1.2 = 1.35
    given = {"gamma": 0.5, "alpha": 0.2, "lambda": 0.25, "visual": visual}
    loss, metrics = OBJECTIVES["fire"](HAND, **given)
    rank, contrast = math.log(1 + math.exp(-0.25)), math.log(1 + math.exp(-margin))
    assert loss.tolist() == pytest.approx([rank + 0.5 * contrast + 0.2 * 1.35], rel=1e-12)
    assert metrics["loss_rank"].tolist() == pytest.approx([rank], rel=1e-12)
    assert metrics["loss_visual"].tolist() == pytest.approx([contrast], rel=1e-12)
    assert metrics["loss_kl"].tolist() == pytest.approx([1.35], rel=1e-12)


def test_defaults_are_those_of_the_paper():
    given = {"beta": 0.1, "alpha": 0.01, "gamma": 0.1, "lambda": 0.5, "visual": "reversed"}
    assert OBJECTIVES["fire"].resolve({}) == given
    assert OBJECTIVES["dpo"].resolve({}) == OBJECTIVES["mask_dpo"].resolve({}) == {"beta": 0.1}


def test_fire_without_contrast_and_anchor_is_mask_dpo():
    scores = random_scores()
    fire, _ = OBJECTIVES["fire"](scores, gamma=0, alpha=0)
    masked, _ = OBJECTIVES["mask_dpo"](scores)
    assert torch.equal(fire, masked)


def test_visual_none_is_gamma_zero():
    scores = random_scores()
    none, _ = OBJECTIVES["fire"](scores, visual="none")
    zero, _ = OBJECTIVES["fire"](scores, gamma=0)
    assert torch.equal(none, zero)


def test_mask_dpo_on_every_token_is_dpo():
    scores = random_scores()
    for name in BRANCHES:
        scores[name]["edit_mask"] = scores[name]["response_mask"]
    masked, _ = OBJECTIVES["mask_dpo"](scores)
    whole, _ = OBJECTIVES["dpo"](scores)
    assert torch.equal(masked, whole)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_policy_equal_to_reference_gives_log_2_per_sigmoid(name):
    scores = random_scores()
    scores.pop("relevance")
    for part in BRANCHES:
        scores[part]["ref_logp"] = scores[part]["policy_logp"].clone()
        scores[part]["kl_fwd"] = scores[part]["kl_rev"] = torch.zeros_like(
            scores[part]["policy_logp"]
        )
    loss, metrics = OBJECTIVES[name](scores)
    visual = 0.1 if name == "fire" else 0.0
    expected = [math.log(2) * (1 + visual * has) for has in (True, False, True, True, False)]
    assert loss.tolist() == pytest.approx(expected, rel=1e-12)
    assert metrics["reward_margin"].tolist() == [0.0] * 5
    assert metrics["reward_accuracy"].tolist() == [0.0] * 5


@pytest.mark.parametrize("name", OBJECTIVES)
def test_swapping_the_sides_negates_the_margin(name):
    scores = random_scores()
    swapped = dict(scores)
    for image in ("clean", "corrupt"):
        swapped[f"{image}/chosen"] = scores[f"{image}/rejected"]
        swapped[f"{image}/rejected"] = scores[f"{image}/chosen"]
    loss, metrics = OBJECTIVES[name](scores)
    other_loss, other = OBJECTIVES[name](swapped)
    margin = metrics["reward_margin"]
    assert torch.equal(other["reward_margin"], -margin)
    if name != "fire":  # −log σ(−h) = −log σ(h) + h
        gap = margin * scores["relevance"]
        torch.testing.assert_close(other_loss, loss + gap, rtol=1e-9, atol=0)


@pytest.mark.parametrize(("name", "hyper"), CASES)
def test_gradients_agree_with_finite_differences(name, hyper):
    scores = random_scores(seed=1, pairs=3, width=4)
    places = [(b, t) for b in BRANCHES for t in TENSORS]
    leaves = [scores[b][t].clone().requires_grad_() for b, t in places]

    def run(*values):
        given = {b: dict(scores[b]) for b in BRANCHES}
        for (b, t), value in zip(places, values, strict=True):
            given[b][t] = value
        extra = {k: scores[k] for k in ("relevance", "has_corrupt")}
        return OBJECTIVES[name](given | extra, **hyper)[0]

    assert torch.autograd.gradcheck(run, leaves)


@pytest.mark.parametrize("given", [{}, {"relevance": True}], ids=["plain", "weighted"])
def test_relevance_multiplies_the_whole_loss_and_not_the_metrics(given):
    scores = random_scores()
    plain = {k: v for k, v in scores.items() if k != "relevance"}
    weighted = plain | {"relevance": torch.full((5,), 3.0, dtype=torch.float64)} if given else plain
    for objective in OBJECTIVES.values():
        base, metrics = objective(plain)
        loss, same = objective(weighted)
        torch.testing.assert_close(loss, (3.0 if given else 1.0) * base, rtol=1e-12, atol=0)
        assert all(torch.equal(same[key], metrics[key]) for key in metrics)


def test_a_pair_without_corrupted_image_has_no_visual_term():
    scores = random_scores()
    scores["has_corrupt"] = torch.tensor([True, False, True, False, False])
    loss, metrics = OBJECTIVES["fire"](scores)
    without, _ = OBJECTIVES["fire"](scores, visual="none")
    assert (metrics["loss_visual"] > 0).tolist() == [True, False, True, False, False]
    assert torch.equal(loss == without, ~scores["has_corrupt"])


@pytest.mark.parametrize("visual", ABLATIONS)
@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
def test_a_missing_branch_may_hold_anything(visual, poison):
    """Rows without v' touch neither the loss nor the gradient of any row."""
    clean, dirty = random_scores(), random_scores()
    lacking = ~dirty["has_corrupt"]
    for part in BRANCHES[2:]:
        for tensor in TENSORS:
            dirty[part][tensor][lacking] = poison
    for expected, actual in zip(
        values_and_gradients("fire", clean, visual=visual),
        values_and_gradients("fire", dirty, visual=visual),
        strict=True,
    ):
        assert torch.equal(expected, actual)


@pytest.mark.parametrize(("name", "hyper"), CASES)
@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_what_is_masked_may_hold_anything(name, hyper, poison):
    clean, dirty = random_scores(), random_scores()
    mask = "response_mask" if name == "dpo" else "edit_mask"
    for part in BRANCHES:
        for tensor in TENSORS:
            dirty[part][tensor][~dirty[part][mask]] = poison
    for expected, actual in zip(
        values_and_gradients(name, clean, **hyper),
        values_and_gradients(name, dirty, **hyper),
        strict=True,
    ):
        assert torch.equal(expected, actual)


def values_and_gradients(name, scores, **hyper):
    """The loss, then the gradient of its sum by every tensor that has one."""
    leaves = [scores[b][t].requires_grad_() for b in BRANCHES for t in TENSORS]
    loss, _ = OBJECTIVES[name](scores, **hyper)
    loss.sum().backward()
    return [loss.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_padding_changes_nothing(name):
    scores = random_scores()
    padded = dict(scores)
    for part in BRANCHES:
        fill = {"edit_mask": False, "response_mask": False}
        padded[part] = {
            key: torch.nn.functional.pad(value, (0, 3), value=fill.get(key, 7.0))
            for key, value in scores[part].items()
        }
    torch.testing.assert_close(
        OBJECTIVES[name](padded)[0], OBJECTIVES[name](scores)[0], rtol=1e-12, atol=0
    )


@pytest.mark.parametrize("name", OBJECTIVES)
def test_order_and_batch_change_nothing(name):
    scores = random_scores()
    whole, _ = OBJECTIVES[name](scores)
    order = torch.tensor([3, 0, 4, 1, 2])
    assert torch.equal(OBJECTIVES[name](select(scores, order))[0], whole[order])
    for b in range(5):
        assert torch.equal(OBJECTIVES[name](select(scores, torch.tensor([b])))[0], whole[b : b + 1])


def select(scores, index):
    return {
        key: {k: v[index] for k, v in value.items()} if isinstance(value, dict) else value[index]
        for key, value in scores.items()
    }


@pytest.mark.parametrize("name", OBJECTIVES)
def test_metrics_are_per_pair_and_detached(name):
    scores = random_scores()
    scores["clean/chosen"]["policy_logp"].requires_grad_()
    loss, metrics = OBJECTIVES[name](scores)
    assert loss.requires_grad
    assert loss.shape == (5,)
    assert {"loss_rank", "reward_margin", "reward_accuracy"} <= set(metrics)
    assert all(m.shape == (5,) and not m.requires_grad for m in metrics.values())


@pytest.mark.parametrize("name", OBJECTIVES)
def test_large_margins_stay_finite(name):
    scores = random_scores()
    scores["clean/rejected"]["policy_logp"] = scores["clean/rejected"]["policy_logp"] + 1e5
    loss, *gradients = values_and_gradients(name, select(scores, torch.arange(5)), beta=1.0)
    assert bool((loss > 1e4).all())
    assert all(bool(torch.isfinite(g).all()) for g in gradients)


# --- the declaration ---------------------------------------------------------------------

DECLARED = [
    *CASES,
    *(
        ("fire", {"alpha": alpha, "gamma": gamma, "lambda": lam, "visual": visual})
        for alpha in (0.0, 0.1)
        for gamma in (0.0, 0.1)
        for lam in (0.0, 0.5, 1.0)
        for visual in ABLATIONS
    ),
]


class Watched(Mapping):
    """A mapping that notes what is read from it."""

    def __init__(self, inner, seen, prefix=()):
        self.inner, self.seen, self.prefix = inner, seen, prefix

    def __getitem__(self, key):
        value = self.inner[key]
        if isinstance(value, dict):
            return Watched(value, self.seen, (*self.prefix, key))
        self.seen.add((*self.prefix, key))
        return value

    def __iter__(self):
        return iter(self.inner)

    def __len__(self):
        return len(self.inner)


def declared_tensors(needs):
    """Every (branch, tensor) that the declaration names."""
    mask = {"edited": "edit_mask", "response": "response_mask"}[needs.positions]
    names = ("policy_logp", mask, *(("ref_logp",) if needs.reference else ()))
    return {(b, n) for b in needs.branches for n in (*names, *needs.kl.get(b, ()))}


@pytest.mark.parametrize(("name", "hyper"), DECLARED)
def test_needs_declares_exactly_what_is_read(name, hyper):
    objective = OBJECTIVES[name]
    needs = objective.needs_for(objective.resolve(hyper))
    seen: set[tuple[str, ...]] = set()
    objective(Watched(random_scores(), seen), **hyper)
    assert {path for path in seen if len(path) == 2} == declared_tensors(needs)
    assert set(needs.kl) <= set(needs.branches)
    assert needs.corrupt == any(b.startswith("corrupt/") for b, _ in declared_tensors(needs))


@pytest.mark.parametrize(("name", "hyper"), CASES)
def test_declared_tensors_suffice_and_none_can_be_left_out(name, hyper):
    objective, scores = OBJECTIVES[name], random_scores()
    wanted = declared_tensors(objective.needs_for(objective.resolve(hyper)))

    def only(places):
        given = {b: {t: scores[b][t] for p, t in places if p == b} for b, _ in places}
        return objective(given | {k: scores[k] for k in ("relevance", "has_corrupt")}, **hyper)[0]

    assert torch.equal(only(wanted), objective(scores, **hyper)[0])
    for place in wanted:
        with pytest.raises(KeyError):
            only(wanted - {place})


def test_needs_of_the_defaults():
    fire = OBJECTIVES["fire"].needs
    assert fire.branches == BRANCHES
    assert fire.positions == "edited"
    assert fire.kl == {"clean/chosen": ("kl_fwd", "kl_rev")}
    assert OBJECTIVES["dpo"].needs.positions == "response"
    assert OBJECTIVES["mask_dpo"].needs.positions == "edited"
    assert OBJECTIVES["mask_dpo"].needs.branches == BRANCHES[:2]
    assert not OBJECTIVES["dpo"].needs.corrupt


# --- hyper-parameters --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("fire", {"beta": 0}, "objective.beta = 0"),
        ("fire", {"beta": -0.1}, "objective.beta = -0.1"),
        ("fire", {"beta": "0.1"}, "not a number"),
        ("fire", {"beta": True}, "not a number"),
        ("fire", {"beta": None}, "not a number"),
        ("fire", {"beta": (0.1,)}, "not a number"),
        ("fire", {"alpha": -1e-9}, "objective.alpha"),
        ("fire", {"alpha": math.nan}, "objective.alpha"),
        ("fire", {"alpha": math.inf}, "objective.alpha"),
        ("fire", {"gamma": -1}, "objective.gamma"),
        ("fire", {"lambda": 1.01}, "objective.lambda"),
        ("fire", {"lambda": -0.01}, "objective.lambda"),
        ("fire", {"visual": "sideways"}, "chosen_clean_vs_corrupt"),
        ("fire", {"visual": 1}, "one of reversed"),
        ("fire", {"epsilon": 0.1}, "beta, alpha, gamma, lambda, visual"),
        ("dpo", {"alpha": 0.1}, "objective.alpha: dpo has no such hyper-parameter"),
        ("mask_dpo", {"gamma": 0.1}, "mask_dpo has no such hyper-parameter"),
    ],
)
def test_wrong_hyperparameters_are_refused(name, given, said):
    with pytest.raises(ConfigError) as caught:
        OBJECTIVES[name](random_scores(), **given)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_integers_are_numbers():
    assert OBJECTIVES["fire"].resolve({"beta": 1, "gamma": 0, "lambda": 1})["beta"] == 1.0


def test_an_unknown_objective_is_answered_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"'fier'.*fire, dpo, mask_dpo"):
        find_objective("fier")
    assert all(find_objective(name).name == name for name in OBJECTIVES)
