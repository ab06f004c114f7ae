"""The naive oracle against numbers computed by hand, and with and without padding."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from math import log
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from medray.bench.learner.models import build_policy
from medray.bench.learner.naive import naive_scores
from medray.bench.learner.settings import make_settings
from medray.bench.learner.workload import make_workload
from medray.objectives import Needs
from medray.policy.architectures import ARCHITECTURES
from medray.policy.model.tuning import base_model
from medray.policy.packing import PackedPair, Side

ALL = ("clean/chosen", "clean/rejected", "corrupt/chosen", "corrupt/rejected")
BOTH = ("kl_fwd", "kl_rev")
EVERYTHING = Needs(ALL, "response", kl=dict.fromkeys(ALL, BOTH), kl_positions="response")
CLEAN, CORRUPT = 0, 1


class Bigrams(nn.Module):
    """p(next | token) over three tokens, with another table if the picture is corrupted."""

    policy = torch.tensor(
        [
            [[1 / 2, 1 / 4, 1 / 4], [1 / 4, 1 / 4, 1 / 2], [1 / 8, 1 / 8, 3 / 4]],
            [[1 / 4, 1 / 2, 1 / 4], [1 / 2, 1 / 4, 1 / 4], [1 / 4, 1 / 4, 1 / 2]],
        ]
    )  # [picture, token, next]
    off = torch.tensor([[1 / 4, 1 / 2, 1 / 4]] * 3).expand(2, 3, 3)

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(model_type="llava")
        self.weight = nn.Parameter(torch.ones(()))
        self.tables = self.policy
        self.calls: list[tuple[int, ...]] = []

    @contextlib.contextmanager
    def disable_adapter(self):
        self.tables = self.off
        yield
        self.tables = self.policy

    def forward(self, input_ids, attention_mask, pixel_values, use_cache):
        self.calls.append(tuple(input_ids.shape))
        assert attention_mask.shape == input_ids.shape
        assert not use_cache
        picture = pixel_values[:, 0, 0, 0].long()
        logits = self.tables[picture[:, None], input_ids].log() + 7.0  # not normalised
        return SimpleNamespace(logits=logits * self.weight)


def pair(corrupted: tuple[str, ...] = ("v'",)) -> PackedPair:
    """Prompt 1; chosen 0 2, its second token edited; rejected 0 1 2, its second and third."""
    return PackedPair(
        pair_id="p",
        prompt_ids=np.array([1]),
        chosen=Side(np.array([0, 2]), np.array([False, True])),
        rejected=Side(np.array([0, 1, 2]), np.array([False, True, True])),
        image_keys=("v",),
        corrupted_keys=corrupted,
        relevance=0.75,
    )


PIXELS = {
    "v": np.full((3, 2, 2), CLEAN, dtype=np.float32),
    "v'": np.full((3, 2, 2), CORRUPT, dtype=np.float32),
}


def test_scores_agree_with_numbers_computed_by_hand():
    """Clean: p(0|1) = ¼, p(2|0) = ¼, p(1|0) = ¼, p(2|1) = ½; adapters off: ¼, ¼, ½, ¼.

    KL between (½, ¼, ¼) and (¼, ½, ¼) is ¼·log 2 either way; between (¼, ¼, ½) and (¼, ½, ¼)
    too. Corrupt: p(0|1) = ½, p(2|0) = ¼; p(·|0) is the reference's, so its KL is 0.
    """
    scores = naive_scores(Bigrams(), [pair()], PIXELS, EVERYTHING)
    two = log(2)
    expected = {
        ("clean/chosen", "policy_logp"): [-2 * two, -2 * two, 0],
        ("clean/chosen", "ref_logp"): [-2 * two, -2 * two, 0],
        ("clean/chosen", "kl_fwd"): [two / 4, two / 4, 0],
        ("clean/chosen", "kl_rev"): [two / 4, two / 4, 0],
        ("clean/rejected", "policy_logp"): [-2 * two, -2 * two, -two],
        ("clean/rejected", "ref_logp"): [-2 * two, -two, -2 * two],
        ("corrupt/chosen", "policy_logp"): [-two, -2 * two, 0],
        ("corrupt/chosen", "ref_logp"): [-2 * two, -2 * two, 0],
        ("corrupt/chosen", "kl_fwd"): [two / 4, 0, 0],
        ("corrupt/rejected", "policy_logp"): [-two, -two, -2 * two],
    }
    for (branch, name), values in expected.items():
        torch.testing.assert_close(
            scores[branch][name], torch.tensor([values]), msg=f"{branch} {name}"
        )
    assert scores["clean/chosen"]["response_mask"].tolist() == [[True, True, False]]
    assert scores["clean/chosen"]["edit_mask"].tolist() == [[False, True, False]]
    assert scores["clean/rejected"]["edit_mask"].tolist() == [[False, True, True]]
    assert scores["relevance"].tolist() == [0.75]
    assert scores["has_corrupt"].tolist() == [True]


def test_forward_and_reverse_kl_differ():
    """After token 2: p = (1/8, 1/8, 3/4), q = (¼, ½, ¼)."""
    after_two = replace(pair(), prompt_ids=np.array([2]))
    scores = naive_scores(Bigrams(), [after_two], PIXELS, EVERYTHING)["clean/chosen"]
    forward = log(2) / 4 + log(4) / 2 + log(1 / 3) / 4
    reverse = log(1 / 2) / 8 + log(1 / 4) / 8 + 3 * log(3) / 4
    torch.testing.assert_close(scores["kl_fwd"][0, 0], torch.tensor(forward))
    torch.testing.assert_close(scores["kl_rev"][0, 0], torch.tensor(reverse))


@pytest.mark.parametrize("one_by_one", [False, True])
def test_a_pair_without_a_corrupted_image_gets_zeros_or_clean_values(one_by_one):
    """Zeros, or the values of its clean image as a fallback; the other pairs are unaffected."""
    pairs = [pair(""), pair()]
    bare = naive_scores(Bigrams(), pairs, PIXELS, EVERYTHING, one_by_one=one_by_one)
    clean_fallback = naive_scores(
        Bigrams(), pairs, PIXELS, replace(EVERYTHING, clean_fallback=True), one_by_one=one_by_one
    )
    assert bare["has_corrupt"].tolist() == clean_fallback["has_corrupt"].tolist() == [False, True]
    for name in ("policy_logp", "ref_logp", *BOTH):
        corrupt, clean = bare["corrupt/chosen"][name], bare["clean/chosen"][name]
        assert corrupt[0].tolist() == [0, 0, 0]
        assert torch.equal(clean_fallback["corrupt/chosen"][name][0], clean[0])
        assert torch.equal(clean_fallback["corrupt/chosen"][name][1], corrupt[1])


def test_only_what_is_needed_is_computed():
    model = Bigrams()
    needs = Needs(("clean/chosen",), "response", reference=False)
    scores = naive_scores(model, [pair()], PIXELS, needs)
    assert set(scores) == {"clean/chosen", "relevance", "has_corrupt"}
    assert set(scores["clean/chosen"]) == {"policy_logp", "response_mask", "edit_mask"}
    assert model.calls == [(1, 3)]


def test_each_kind_of_image_is_one_padded_batch_or_each_sequence_runs_alone():
    batched, alone = Bigrams(), Bigrams()
    naive_scores(batched, [pair(), pair()], PIXELS, EVERYTHING)
    naive_scores(alone, [pair()], PIXELS, EVERYTHING, one_by_one=True)
    assert batched.calls == [(4, 4)] * 4  # reference and policy, clean and corrupt
    assert sorted(alone.calls) == [(1, 3)] * 4 + [(1, 4)] * 4


def test_a_separate_reference_is_used_instead_and_gets_no_gradient():
    model, reference = Bigrams(), Bigrams()
    scores = naive_scores(model, [pair()], PIXELS, EVERYTHING, reference)
    clean = scores["clean/chosen"]
    assert torch.equal(clean["policy_logp"], clean["ref_logp"])
    sum(
        scores[branch][name].sum() for branch in ALL for name in clean if "mask" not in name
    ).backward()
    assert model.weight.grad is not None
    assert reference.weight.grad is None


@pytest.mark.parametrize("shape", ["tiny", "tiny-qwen2.5-vl"])
def test_padding_changes_nothing(shape):
    """Real architectures, prompts and answers of several lengths."""
    settings = make_settings(shape, batch=3, tail=9, edited=2, common=3, prompt=7)
    policy = build_policy(settings, torch.device("cpu"))
    architecture = ARCHITECTURES[type(base_model(policy)).__name__]
    work = make_workload(settings, architecture)
    first, second, third = work.pairs
    short = Side(second.rejected.ids[:7], second.rejected.edited[:7])
    pairs = [
        replace(first, prompt_ids=first.prompt_ids[:-4]),
        replace(second, rejected=short),
        replace(third, corrupted_keys=()),
    ]
    with torch.no_grad():
        together = naive_scores(policy, pairs, work.pixels, EVERYTHING)
        alone = naive_scores(policy, pairs, work.pixels, EVERYTHING, one_by_one=True)
    for branch in ALL:
        assert together[branch].keys() == alone[branch].keys()
        for name, value in together[branch].items():
            torch.testing.assert_close(value, alone[branch][name], rtol=1e-5, atol=1e-5)
    clean = together["clean/chosen"]
    assert (clean["policy_logp"] - clean["ref_logp"]).abs().amax(-1).min() > 1e-3
    assert (clean["policy_logp"] - together["corrupt/chosen"]["policy_logp"])[:2].abs().max() > 1e-4
