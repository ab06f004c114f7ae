"""Objectives as declarations: what they read, what they accept, what they refuse."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping

import pytest
import torch

from medray.errors import ConfigError, DataError, RunFailed
from medray.objectives import OBJECTIVES, Needs, find_objective
from medray.objectives.base import SMALLEST
from tests.unit.objectives.objectives_oracle import (
    BRANCHES,
    CASES,
    TENSORS,
    VISUAL,
    case_id,
    random_scores,
)

cases = pytest.mark.parametrize(("name", "hyperparameters"), CASES, ids=case_id)
PAIR = BRANCHES[:2]


# --- needs -----------------------------------------------------------------------------------

NEEDS_OF_DEFAULTS = {
    "fire": Needs(BRANCHES, "edited", kl={"clean/chosen": ("kl_fwd", "kl_rev")}),
    "sft": Needs(("clean/chosen",), "response", reference=False, chosen="reference"),
    "simpo": Needs(PAIR, "response", reference=False),
    "orpo": Needs(PAIR, "response", reference=False),
    "kto": Needs(PAIR, "response", kto_baseline=True),
    "tdpo1": Needs(PAIR, "response", kl=dict.fromkeys(PAIR, ("kl_fwd",)), kl_positions="response"),
    "tdpo2": Needs(PAIR, "response", kl=dict.fromkeys(PAIR, ("kl_fwd",)), kl_positions="response"),
    "ddpo": Needs(PAIR, "response", masks=("edit_mask",)),
    "mask_dpo": Needs(PAIR, "edited"),
    "rrpo": Needs(PAIR, "edited", kl={"clean/chosen": ("kl_fwd",)}, kl_positions="response"),
    "copo": Needs(("clean/chosen", "corrupt/chosen"), "response"),
    "mdpo": Needs((*PAIR, "corrupt/chosen"), "response"),
    "mmedpo": Needs(("clean/chosen", "corrupt/rejected"), "response", clean_fallback=True),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_needs_at_the_default_hyperparameters(name):
    assert OBJECTIVES[name].needs == NEEDS_OF_DEFAULTS.get(name, Needs(PAIR, "response"))


@pytest.mark.parametrize(
    ("name", "hyperparameters", "same"),
    [
        ("fire", {"alpha": 0, "gamma": 0}, "mask_dpo"),
        ("fire", {"alpha": 0, "visual": "none"}, "mask_dpo"),
        ("rrpo", {"alpha": 0}, "mask_dpo"),
        ("tdpo2", {"alpha": 0}, "dpo"),
        ("tdpo2", {"alpha": 1}, "tdpo1"),
    ],
)
def test_what_is_switched_off_is_not_needed(name, hyperparameters, same):
    objective = OBJECTIVES[name]
    assert objective.needs_for(objective.resolve(hyperparameters)) == OBJECTIVES[same].needs


def test_tensors_of_a_branch():
    rrpo = OBJECTIVES["rrpo"].needs
    assert set(rrpo.tensors("clean/chosen")) == {
        "policy_logp",
        "ref_logp",
        "kl_fwd",
        "edit_mask",
        "response_mask",
    }
    assert set(rrpo.tensors("clean/rejected")) == {"policy_logp", "ref_logp", "edit_mask"}
    assert set(OBJECTIVES["sft"].needs.tensors("clean/chosen")) == {"policy_logp", "response_mask"}
    assert len(OBJECTIVES["fire"].needs.tensors("clean/chosen")) == 5  # edit_mask once


DECLARED = [
    *CASES,
    *(
        ("fire", {"alpha": alpha, "gamma": gamma, "lambda": lam, "visual": visual})
        for alpha in (0.0, 0.1)
        for gamma in (0.0, 0.1)
        for lam in (0.0, 0.5, 1.0)
        for visual in VISUAL
    ),
]


class RecordingMapping(Mapping):
    """A mapping that records what is read from it."""

    def __init__(self, inner, seen, prefix=()):
        self.inner, self.seen, self.prefix = inner, seen, prefix

    def __getitem__(self, key):
        value = self.inner[key]
        if isinstance(value, dict):
            return RecordingMapping(value, self.seen, (*self.prefix, key))
        self.seen.add((*self.prefix, key))
        return value

    def __contains__(self, key):
        return key in self.inner  # a membership test is not a read

    def __iter__(self):
        return iter(self.inner)

    def __len__(self):
        return len(self.inner)


def needs_of(name, hyperparameters):
    objective = OBJECTIVES[name]
    return objective.needs_for(objective.resolve(hyperparameters))


def declared(needs):
    """Every (branch, tensor) that the declaration names."""
    return {
        (branch_name, tensor)
        for branch_name in needs.branches
        for tensor in needs.tensors(branch_name)
    }


@pytest.mark.parametrize(("name", "hyperparameters"), DECLARED, ids=case_id)
def test_needs_declare_exactly_what_is_read(name, hyperparameters):
    needs, seen = needs_of(name, hyperparameters), set()
    OBJECTIVES[name](RecordingMapping(random_scores(), seen), **hyperparameters)
    assert {path for path in seen if len(path) == 2} == declared(needs)
    numbers = {"relevance"} | ({"z0"} if needs.kto_baseline else set())
    numbers |= {"has_corrupt"} if needs.corrupt and not needs.clean_fallback else set()
    assert {path[0] for path in seen if len(path) == 1} == numbers
    assert set(needs.kl) <= set(needs.branches)
    assert needs.corrupt == any(
        branch_name.startswith("corrupt/") for branch_name, _ in declared(needs)
    )


@cases
def test_what_is_not_declared_may_be_missing_or_hold_anything(name, hyperparameters):
    objective, scores = OBJECTIVES[name], random_scores()
    expected = objective(scores, **hyperparameters)[0]
    wanted = declared(needs_of(name, hyperparameters))
    assert torch.equal(objective(only(scores, wanted), **hyperparameters)[0], expected)
    poisoned = random_scores()
    for branch_name in BRANCHES:
        for tensor in (*TENSORS, "edit_mask", "response_mask"):
            if (branch_name, tensor) not in wanted:
                poisoned[branch_name][tensor] = torch.full((5, 7), math.nan, dtype=torch.float64)
    if name != "kto":
        poisoned["z0"] = torch.tensor(math.nan)
    assert torch.equal(objective(poisoned, **hyperparameters)[0], expected)


def only(scores, names):
    given = {
        branch_name: {t: scores[branch_name][t] for w, t in names if w == branch_name}
        for branch_name, _ in names
    }
    return given | {key: scores[key] for key in ("relevance", "has_corrupt", "z0")}


# --- incomplete scores -----------------------------------------------------------------------


@cases
def test_a_missing_tensor_is_named(name, hyperparameters):
    scores = random_scores()
    wanted = declared(needs_of(name, hyperparameters))
    for missing in wanted:
        given = only(scores, wanted - {missing})
        given.setdefault(missing[0], {})
        with pytest.raises(RunFailed) as caught:
            OBJECTIVES[name](given, **hyperparameters)
        what = f"scores['{missing[0]}']['{missing[1]}']"
        assert str(caught.value).startswith(f"{what}: missing, and {name} reads it")


@cases
def test_a_missing_branch_is_named(name, hyperparameters):
    for branch_name in needs_of(name, hyperparameters).branches:
        scores = random_scores()
        del scores[branch_name]
        with pytest.raises(
            RunFailed, match=rf"^scores\['{branch_name}'\]: missing, and {name} reads it"
        ):
            OBJECTIVES[name](scores, **hyperparameters)


MASK_OF = {"edited": "edit_mask", "response": "response_mask"}


@cases
def test_a_pair_with_no_token_to_read_is_named(name, hyperparameters):
    needs = needs_of(name, hyperparameters)
    for branch_name in needs.branches:
        scores = random_scores()
        scores["has_corrupt"] = torch.tensor([True, True, True, False, True])
        scores[branch_name][MASK_OF[needs.positions]][3] = False
        if branch_name.startswith("corrupt/") and not needs.clean_fallback:
            assert torch.isfinite(OBJECTIVES[name](scores, **hyperparameters)[0]).all()
            continue
        with pytest.raises(DataError) as caught:
            OBJECTIVES[name](scores, **hyperparameters)
        assert str(caught.value) == (
            f"row 3 of scores['{branch_name}']: {name} reads {needs.positions} tokens and there are"
            " none — drop the pair"
        )


@pytest.mark.parametrize(
    "name", [n for n, o in OBJECTIVES.items() if o.needs.positions != "edited"]
)
def test_an_answer_may_have_no_edited_token_if_all_are_read(name):
    scores = random_scores()
    for branch_name in BRANCHES:
        scores[branch_name]["edit_mask"] = torch.zeros_like(scores[branch_name]["edit_mask"])
    assert torch.isfinite(OBJECTIVES[name](scores)[0]).all()


# --- hyper-parameters ------------------------------------------------------------------------

CLOSED_INTERVALS = {  # low and high that are allowed, per hyper-parameter
    "beta": (SMALLEST, math.inf),
    "alpha": (0.0, math.inf),
    "gamma": (0.0, math.inf),
    "lambda": (0.0, math.inf),
    "epsilon": (0.0, 1.0),
    "lambda_d": (0.0, math.inf),
    "lambda_u": (0.0, math.inf),
    "gamma_w": (SMALLEST, math.inf),
    "delta": (-math.inf, math.inf),
}


@pytest.mark.parametrize(
    ("name", "key"),
    [
        (n, key)
        for n, o in OBJECTIVES.items()
        for key, r in o.hyperparameters.items()
        if not r.choices
    ],
)
def test_hyperparameters_outside_their_range_are_refused(name, key):
    low, high = CLOSED_INTERVALS[key]
    if (name, key) == ("fire", "lambda"):
        high = 1.0
    resolve = OBJECTIVES[name].resolve
    for end in (low, high):
        if math.isfinite(end):
            assert resolve({key: end})[key] == end
    neighbours = (math.nextafter(low, -math.inf), math.nextafter(high, math.inf))
    outside = [value for value in neighbours if not low <= value <= high]
    for wrong in (*outside, math.nan, math.inf, -math.inf, "0.1", True, None, (0.1,)):
        with pytest.raises(ConfigError, match=rf"objective\.{key} = "):
            resolve({key: wrong})


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("fire", {"beta": 0}, "objective.beta = 0"),
        ("fire", {"beta": -0.1}, "objective.beta = -0.1"),
        ("fire", {"beta": "0.1"}, "not a number"),
        ("fire", {"alpha": math.nan}, "objective.alpha"),
        ("fire", {"visual": "sideways"}, "chosen_clean_vs_corrupt"),
        ("fire", {"visual": 1}, "one of reversed"),
        ("fire", {"epsilon": 0.1}, "beta, alpha, gamma, lambda, visual"),
        ("dpo", {"alpha": 0.1}, "objective.alpha: dpo has no such hyper-parameter"),
        ("mask_dpo", {"gamma": 0.1}, "mask_dpo has no such hyper-parameter"),
        ("sft", {"beta": 0.1}, "sft has no such hyper-parameter — it has: none"),
        ("ddpo", {"normalise": "mean"}, "one of none, weights"),
        ("ddpo", {"gamma_w": 0}, "objective.gamma_w = 0"),
        ("orpo", {"lambda_": 0.1}, "orpo has no such hyper-parameter — it has: lambda"),
        ("cdpo", {"epsilon": 1.5}, "outside [0, 1]"),
    ],
)
def test_wrong_hyperparameters_are_refused(name, given, message):
    with pytest.raises(ConfigError) as caught:
        OBJECTIVES[name](random_scores(), **given)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_integers_are_numbers():
    assert OBJECTIVES["fire"].resolve({"beta": 1, "gamma": 0, "lambda": 1})["beta"] == 1.0


# --- the registry ----------------------------------------------------------------------------


def test_an_unknown_objective_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"'fier'.*fire, sft, dpo, .*, mmedpo$"):
        find_objective("fier")
    assert all(find_objective(name).name == name for name in OBJECTIVES)


def test_every_objective_names_its_source():
    """In the docstring of its function or of its module."""
    for name, objective in OBJECTIVES.items():
        module = sys.modules[objective.compute.__module__].__doc__ or ""
        text = (objective.compute.__doc__ or "") + module
        assert name == "sft" or "Source:" in text, name
