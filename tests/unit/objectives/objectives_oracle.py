"""The objectives once more, naively: Python floats, loops over tokens, one pair at a time.

Written from the papers' formulas, without any of medray; also the inputs that the tests share.
"""

from __future__ import annotations

import math

import torch

BRANCHES = ("clean/chosen", "clean/rejected", "corrupt/chosen", "corrupt/rejected")
TENSORS = ("policy_logp", "ref_logp", "kl_fwd", "kl_rev")
VISUAL = ("reversed", "chosen_clean_vs_corrupt", "chosen_clean_vs_rejected_corrupt", "none")

DEFAULTS = {
    "fire": {"beta": 0.1, "alpha": 0.01, "gamma": 0.1, "lambda": 0.5, "visual": "reversed"},
    "sft": {},
    "dpo": {"beta": 0.1},
    "cdpo": {"beta": 0.1, "epsilon": 0.1},
    "ipo": {"beta": 0.1},
    "irpo": {"beta": 0.1, "alpha": 1.0},
    "simpo": {"beta": 2.0, "gamma": 1.0},
    "orpo": {"lambda": 0.1},
    "kto": {"beta": 0.1, "lambda_d": 1.0, "lambda_u": 1.0},
    "tdpo1": {"beta": 0.1},
    "tdpo2": {"beta": 0.1, "alpha": 0.5},
    "ddpo": {"beta": 0.1, "gamma_w": 3.0, "normalise": "none"},
    "mask_dpo": {"beta": 0.1},
    "rrpo": {"beta": 0.1, "alpha": 0.01},
    "copo": {"beta": 0.1},
    "mdpo": {"beta": 0.1, "delta": 0.0},
    "mmedpo": {"beta": 0.1},
}

CASES = [
    *((name, {}) for name in DEFAULTS),
    *(("fire", {"visual": visual, "gamma": 0.7}) for visual in VISUAL),
    *(("fire", {"lambda": share, "alpha": 0.3}) for share in (0.0, 0.25, 0.5, 1.0)),
    ("fire", {"gamma": 0.0}),
    ("fire", {"alpha": 0.0}),
    ("dpo", {"beta": 2.0}),
    ("cdpo", {"beta": 0.5, "epsilon": 0.3}),
    ("cdpo", {"epsilon": 0.0}),
    ("cdpo", {"epsilon": 1.0}),
    ("ipo", {"beta": 0.5}),
    ("irpo", {"beta": 0.3, "alpha": 0.2}),
    ("irpo", {"alpha": 0.0}),
    ("simpo", {"beta": 0.7, "gamma": 0.0}),
    ("orpo", {"lambda": 1.5}),
    ("orpo", {"lambda": 0.0}),
    ("kto", {"beta": 0.4, "lambda_d": 1.3, "lambda_u": 0.6}),
    ("tdpo1", {"beta": 0.5}),
    ("tdpo2", {"beta": 0.5, "alpha": 1.0}),
    ("tdpo2", {"alpha": 0.0}),
    ("ddpo", {"beta": 0.3, "gamma_w": 0.5}),
    ("ddpo", {"gamma_w": 5.0, "normalise": "weights", "beta": 2.0}),
    ("mask_dpo", {"beta": 0.5}),
    ("rrpo", {"alpha": 0.3, "beta": 0.4}),
    ("rrpo", {"alpha": 0.0}),
    ("copo", {"beta": 0.4}),
    ("mdpo", {"beta": 0.3, "delta": 0.8}),
    ("mdpo", {"delta": -0.5}),
    ("mmedpo", {"beta": 0.4}),
]


def case_id(value):
    """Readable ids of CASES."""
    if isinstance(value, dict):
        return ",".join(f"{k}={v}" for k, v in value.items()) or "defaults"
    return value


# --- inputs ----------------------------------------------------------------------------------


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
    """Random branches with at least one edited token each, answers of different lengths.

    Some pairs have no v'; their corrupted branches are as real as the others'.
    """
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
            "policy_logp": -draw(4),
            "ref_logp": -draw(4),
            "kl_fwd": draw(2),
            "kl_rev": draw(2),
            "response_mask": response,
            "edit_mask": edited,
        }
    scores["relevance"] = draw(1)[:, 0] + 0.5
    scores["has_corrupt"] = torch.arange(pairs) % 3 != 1
    scores["z0"] = torch.tensor(0.7, dtype=dtype)
    return scores


def copy_scores(scores):
    """A copy that can be modified: nothing is shared."""
    return {
        key: {k: v.clone() for k, v in value.items()} if isinstance(value, dict) else value.clone()
        for key, value in scores.items()
    }


def select(scores, index):
    """The pairs of that index; a single number for all pairs is kept."""

    def take(value):
        return value[index] if value.dim() else value

    return {
        key: {k: take(v) for k, v in value.items()} if isinstance(value, dict) else take(value)
        for key, value in scores.items()
    }


def as_floats(scores, b):
    """Pair b in plain Python: {branch: {tensor: list}}, relevance, has_corrupt, z0."""
    pair = {n: {k: v[b].tolist() for k, v in scores[n].items()} for n in BRANCHES if n in scores}
    pair |= {key: scores[key][b].item() for key in ("relevance", "has_corrupt") if key in scores}
    return pair | ({"z0": scores["z0"].item()} if "z0" in scores else {})


# --- the parts of the formulas ---------------------------------------------------------------


def nls(x):
    """−log σ(x)."""
    return math.log1p(math.exp(-x)) if x > 0 else math.log1p(math.exp(x)) - x


def sigma(x):
    return 1 / (1 + math.exp(-x))


def delta(pair, branch_name, mask="response_mask", edited_weight=1.0):
    """Δ(y|v): the sum of the log-ratios of the tokens of a mask."""
    side, total = pair[branch_name], 0.0
    for t in range(len(side["policy_logp"])):
        if side[mask][t]:
            ratio = side["policy_logp"][t] - side["ref_logp"][t]
            total += ratio * (edited_weight if side["edit_mask"][t] else 1.0)
    return total


def length(pair, branch_name):
    return sum(1 for token in pair[branch_name]["response_mask"] if token)


def mean(pair, branch_name):
    """mean(y): log-probability per token."""
    side, total = pair[branch_name], 0.0
    for t in range(len(side["policy_logp"])):
        if side["response_mask"][t]:
            total += side["policy_logp"][t]
    return total / length(pair, branch_name)


def kl(pair, branch_name, mask, forward_share=1.0):
    side, total = pair[branch_name], 0.0
    for t in range(len(side["policy_logp"])):
        if side[mask][t]:
            total += forward_share * side["kl_fwd"][t] + (1 - forward_share) * side["kl_rev"][t]
    return total


# --- the objectives: (pair, hyper-parameters, the pair as sg sees it) → loss -----------------


def fire(p, k, _):
    r = {branch_name: k["beta"] * delta(p, branch_name, "edit_mask") for branch_name in BRANCHES}
    loss = nls(r["clean/chosen"] - r["clean/rejected"])
    if p["has_corrupt"] and k["visual"] == "reversed":
        loss += k["gamma"] * nls(r["corrupt/rejected"] - r["corrupt/chosen"])
    if p["has_corrupt"] and k["visual"] == "chosen_clean_vs_corrupt":
        loss += k["gamma"] * nls(r["clean/chosen"] - r["corrupt/chosen"])
    if p["has_corrupt"] and k["visual"] == "chosen_clean_vs_rejected_corrupt":
        loss += k["gamma"] * nls(r["clean/chosen"] - r["corrupt/rejected"])
    return loss + k["alpha"] * kl(p, "clean/chosen", "edit_mask", k["lambda"])


def sft(p, k, _):
    return -mean(p, "clean/chosen")


def h(p):
    return delta(p, "clean/chosen") - delta(p, "clean/rejected")


def dpo(p, k, _):
    return nls(k["beta"] * h(p))


def cdpo(p, k, _):
    e = k["epsilon"]
    return (1 - e) * nls(k["beta"] * h(p)) + e * nls(-k["beta"] * h(p))


def ipo(p, k, _):
    chosen = delta(p, "clean/chosen") / length(p, "clean/chosen")
    rejected = delta(p, "clean/rejected") / length(p, "clean/rejected")
    return (chosen - rejected - 1 / (2 * k["beta"])) ** 2


def irpo(p, k, _):
    return nls(k["beta"] * h(p)) - k["alpha"] * mean(p, "clean/chosen")


def simpo(p, k, _):
    return nls(k["beta"] * (mean(p, "clean/chosen") - mean(p, "clean/rejected")) - k["gamma"])


def orpo(p, k, _):
    odds = []
    for branch_name in ("clean/chosen", "clean/rejected"):
        probability = math.exp(mean(p, branch_name))
        odds.append(math.log(probability / (1 - probability)))
    return -mean(p, "clean/chosen") + k["lambda"] * nls(odds[0] - odds[1])


def kto(p, k, _):
    z0 = max(0.0, p.get("z0", 0.0))
    chosen = 1 - sigma(k["beta"] * (delta(p, "clean/chosen") - z0))
    rejected = 1 - sigma(k["beta"] * (z0 - delta(p, "clean/rejected")))
    return k["lambda_d"] * chosen + k["lambda_u"] * rejected


def tdpo1(p, k, _):
    d = {w: kl(p, w, "response_mask") for w in ("clean/chosen", "clean/rejected")}
    return nls(k["beta"] * (h(p) - (d["clean/rejected"] - d["clean/chosen"])))


def tdpo2(p, k, frozen):
    rejected = kl(p, "clean/rejected", "response_mask")
    chosen = kl(frozen, "clean/chosen", "response_mask")
    return nls(k["beta"] * (h(p) - k["alpha"] * (rejected - chosen)))


def ddpo(p, k, _):
    sums = []
    for branch_name in ("clean/chosen", "clean/rejected"):
        total, weights = delta(p, branch_name, edited_weight=k["gamma_w"]), 0.0
        for inside, edited in zip(
            p[branch_name]["response_mask"], p[branch_name]["edit_mask"], strict=True
        ):
            weights += (k["gamma_w"] if edited else 1.0) if inside else 0.0
        sums.append(total / weights if k["normalise"] == "weights" else total)
    return nls(k["beta"] * (sums[0] - sums[1]))


def mask_dpo(p, k, _):
    margin = delta(p, "clean/chosen", "edit_mask") - delta(p, "clean/rejected", "edit_mask")
    return nls(k["beta"] * margin)


def rrpo(p, k, _):
    return mask_dpo(p, k, _) + k["alpha"] * kl(p, "clean/chosen", "response_mask")


def copo(p, k, _):
    if not p["has_corrupt"]:
        return 0.0
    return nls(k["beta"] * (delta(p, "clean/chosen") - delta(p, "corrupt/chosen")))


def mdpo(p, k, _):
    anchor = nls(k["beta"] * delta(p, "clean/chosen") - k["delta"])
    return nls(k["beta"] * h(p)) + copo(p, k, _) + anchor


def mmedpo(p, k, _):
    return nls(k["beta"] * (delta(p, "clean/chosen") - delta(p, "corrupt/rejected")))


FORMULAS = {
    "fire": fire,
    "sft": sft,
    "dpo": dpo,
    "cdpo": cdpo,
    "ipo": ipo,
    "irpo": irpo,
    "simpo": simpo,
    "orpo": orpo,
    "kto": kto,
    "tdpo1": tdpo1,
    "tdpo2": tdpo2,
    "ddpo": ddpo,
    "mask_dpo": mask_dpo,
    "rrpo": rrpo,
    "copo": copo,
    "mdpo": mdpo,
    "mmedpo": mmedpo,
}


def naive_pair(name, pair, hyperparameters, frozen=None):
    """Loss of one pair of floats; `frozen` holds the values behind a stop-gradient."""
    loss = FORMULAS[name](pair, DEFAULTS[name] | hyperparameters, frozen or pair)
    return loss * pair.get("relevance", 1.0)


def naive(name, scores, hyperparameters):
    """Losses of all pairs."""
    pairs = scores["clean/chosen"]["policy_logp"].shape[0]
    return [naive_pair(name, as_floats(scores, b), hyperparameters) for b in range(pairs)]
