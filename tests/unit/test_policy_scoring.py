"""Scores of pairs against a naive oracle: each branch its own forward, unpadded, full logits."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from medray.config import LoraConfig, ModelConfig
from medray.objectives import OBJECTIVES, Needs
from medray.policy.chat import ChatCodec
from medray.policy.loading import base_model, load_model, prepare_policy
from medray.policy.packing import PackedPair, Side
from medray.policy.scoring import (
    SelectedLogits,
    build_sequences,
    kl_divergence,
    score_pairs,
    token_logps,
)

CPU = torch.device("cpu")
ALL_BRANCHES = ("clean/chosen", "clean/rejected", "corrupt/chosen", "corrupt/rejected")
BOTH = ("kl_fwd", "kl_rev")
EVERYTHING = Needs(ALL_BRANCHES, "response", kl=dict.fromkeys(ALL_BRANCHES, BOTH))
NEEDS = {
    "fire": OBJECTIVES["fire"].needs,
    "fire rejected_corrupt": OBJECTIVES["fire"].needs_for(
        OBJECTIVES["fire"].resolve({"visual": "chosen_clean_vs_rejected_corrupt", "lambda": 1})
    ),
    "dpo": OBJECTIVES["dpo"].needs,
    "mask_dpo": OBJECTIVES["mask_dpo"].needs,
    "everything": EVERYTHING,
}
# question, chosen, rejected, edited tokens of each, has v', relevance
SAID = (
    ("Describe.", "Small left nodule.", "Large left nodule.", (0, 1), (0,), True, 1.0),
    ("Is there a nodule on the left side?", "No", "Yes", (0,), (0,), False, 0.75),
    ("Which side?", "The right side.", "The left side, upper zone.", (2,), (2, 5), True, 1.25),
    ("Where?", "Upper zone", "Lower zone.", (0, 1), (0,), True, 1.0),
)


@pytest.fixture(scope="module")
def codec(tiny_llava):
    return ChatCodec(tiny_llava)


@pytest.fixture(scope="module")
def llava(tiny_llava):
    return load_model(tiny_llava, "float32").eval()


@pytest.fixture(scope="module")
def pixels(codec):
    rng = np.random.default_rng(0)
    images = {key: rng.integers(0, 256, (24, 20, 3), dtype=np.uint8) for key in "abcd"}
    images |= {f"{key}'": rng.integers(0, 256, (24, 20, 3), dtype=np.uint8) for key in "abcd"}
    return {key: codec.pixels(image) for key, image in images.items()}


@pytest.fixture(scope="module")
def pairs(codec):
    image = np.zeros((20, 20, 3), dtype=np.uint8)
    made = []
    for key, (question, chosen, rejected, own, other, corrupt, weight) in zip(
        "abcd", SAID, strict=True
    ):
        prompt, _ = codec.encode(question, image)
        sides = side(codec, chosen, own), side(codec, rejected, other)
        made.append(PackedPair(key, prompt, *sides, key, f"{key}'" if corrupt else "", weight))
    return made


def side(codec, text, edited):
    ids = np.array([*codec.tokenizer.encode(text, add_special_tokens=False), codec.eos_id])
    return Side(ids, np.isin(np.arange(len(ids)), edited))


def shaken(model, seed, scale=0.05):
    """A copy whose language model is no longer that of `model`."""
    other = copy.deepcopy(model)
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in other.named_parameters():
            if "language_model" in name or "lm_head" in name:
                p += scale * torch.randn(p.shape, generator=rng)
    return other.requires_grad_(True)


@pytest.fixture
def policy(llava):
    return shaken(llava, seed=1)


def score(pairs, pixels, needs, policy, reference, codec):
    return score_pairs(
        pairs, pixels, needs, policy=SelectedLogits(policy), reference=SelectedLogits(reference),
        dtype=torch.float32, device=CPU,
    )  # fmt: skip


def naive_scores(pairs, pixels, needs, policy, reference):
    """{(pair, branch): {name: [T]}}: one forward per branch through transformers itself."""
    found = {}
    for b, pair in enumerate(pairs):
        for branch in needs.branches:
            image, name = branch.split("/")
            key = pair.image_key if image == "clean" else pair.corrupted_key
            if not key:
                continue
            answer = torch.from_numpy(getattr(pair, name).ids)
            ours = naive_distribution(policy, pair.prompt_ids, answer, pixels[key])
            with torch.no_grad():
                theirs = naive_distribution(reference, pair.prompt_ids, answer, pixels[key])
            at = torch.arange(len(answer))
            found[b, branch] = {
                "policy_logp": ours[at, answer],
                "ref_logp": theirs[at, answer],
                "kl_fwd": (theirs.exp() * (theirs - ours)).sum(-1),
                "kl_rev": (ours.exp() * (ours - theirs)).sum(-1),
            }
    return found


def naive_distribution(model, prompt, answer, image):
    """log p(· | image, prompt, answer so far) before each answer token, [T, V]."""
    ids = torch.cat([torch.from_numpy(prompt), answer])[None]
    logits = model(input_ids=ids, pixel_values=torch.from_numpy(image)[None]).logits[0]
    return logits[len(prompt) - 1 : -1].float().log_softmax(-1)


@pytest.mark.parametrize("which", NEEDS)
def test_values_agree_with_the_naive_oracle(which, pairs, pixels, policy, llava, codec):
    needs = NEEDS[which]
    scores = score(pairs, pixels, needs, policy, llava, codec)
    oracle = naive_scores(pairs, pixels, needs, policy, llava)
    width = max(len(s.ids) for p in pairs for s in (p.chosen, p.rejected))
    assert set(scores) == {*needs.branches, "relevance", "has_corrupt"}
    for branch in needs.branches:
        read = needs.kl.get(branch, ())
        assert set(scores[branch]) == {
            "policy_logp", "ref_logp", "response_mask", "edit_mask", *read,
        }  # fmt: skip
        for b, pair in enumerate(pairs):
            own = pair.side(branch.split("/")[1])
            wanted = torch.ones(len(own.ids), dtype=torch.bool)
            if needs.positions == "edited":
                wanted = torch.from_numpy(own.edited)
            for name in ("policy_logp", "ref_logp", *read):
                expected = torch.zeros(width)
                if (b, branch) in oracle:
                    values = oracle[b, branch][name].detach()
                    expected[: len(wanted)] = torch.where(wanted, values, torch.zeros(()))
                torch.testing.assert_close(
                    scores[branch][name][b].detach(), expected, rtol=1e-5, atol=1e-5
                )
            assert scores[branch]["edit_mask"][b, : len(own.ids)].tolist() == own.edited.tolist()
            assert int(scores[branch]["response_mask"][b].sum()) == len(own.ids)
    assert scores["has_corrupt"].tolist() == [True, False, True, True]
    assert scores["relevance"].tolist() == [1.0, 0.75, 1.25, 1.0]


def test_the_oracle_has_something_to_say(pairs, pixels, policy, llava):
    """Policy and reference, and clean and corrupted image, differ by far more than 1e-5."""
    oracle = naive_scores(pairs, pixels, EVERYTHING, policy, llava)
    for (b, branch), values in oracle.items():
        assert (values["policy_logp"] - values["ref_logp"]).abs().max() > 1e-2
        assert values["kl_fwd"].max() > 1e-3
        if branch == "clean/chosen" and (b, "corrupt/chosen") in oracle:
            other = oracle[b, "corrupt/chosen"]["policy_logp"]
            assert (values["policy_logp"] - other).abs().max() > 1e-2


@pytest.mark.parametrize("name", OBJECTIVES)
def test_loss_and_gradients_agree_with_the_naive_oracle(name, pairs, pixels, llava, codec):
    objective = OBJECTIVES[name]
    ours, plain = shaken(llava, seed=1), shaken(llava, seed=1)
    loss, _ = objective(score(pairs, pixels, objective.needs, ours, llava, codec))
    loss.sum().backward()
    found = naive_scores(pairs, pixels, objective.needs, plain, llava)
    expected = torch.stack([naive_loss(name, pairs, found, b) for b in range(len(pairs))])
    expected.sum().backward()
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
    pairs_of_gradients = {
        key: (p.grad, q.grad)
        for (key, p), q in zip(ours.named_parameters(), plain.parameters(), strict=True)
        if q.grad is not None
    }
    assert set(pairs_of_gradients) == {k for k, p in ours.named_parameters() if p.grad is not None}
    size = max(float(q.norm()) for _, q in pairs_of_gradients.values())
    assert size > 1e-2
    for key, (p, q) in pairs_of_gradients.items():  # relative, but zero is zero to rounding
        assert (p - q).norm() <= 1e-5 * q.norm() + 1e-5 * size, key


def naive_loss(name, pairs, found, b):
    """The formula of one pair, at the default hyper-parameters."""

    def delta(branch):
        own = pairs[b].side(branch.split("/")[1])
        values = found[b, branch]["policy_logp"] - found[b, branch]["ref_logp"]
        return (values if name == "dpo" else values[torch.from_numpy(own.edited)]).sum()

    loss = torch.log1p(torch.exp(-0.1 * (delta("clean/chosen") - delta("clean/rejected"))))
    if name == "fire":
        if (b, "corrupt/chosen") in found:
            margin = 0.1 * (delta("corrupt/rejected") - delta("corrupt/chosen"))
            loss = loss + 0.1 * torch.log1p(torch.exp(-margin))
        edited = torch.from_numpy(pairs[b].chosen.edited)
        chosen = found[b, "clean/chosen"]
        loss = loss + 0.01 * 0.5 * (chosen["kl_fwd"] + chosen["kl_rev"])[edited].sum()
    return loss * pairs[b].relevance


def test_the_reference_gets_no_gradient_and_is_asked_first(pairs, pixels, policy, llava, codec):
    asked = []

    def forward(name, model):
        def run(**inputs):
            asked.append((name, torch.is_grad_enabled()))
            return SelectedLogits(model)(**inputs)

        return run

    score_pairs(
        pairs, pixels, NEEDS["fire"], policy=forward("policy", policy),
        reference=forward("reference", llava), dtype=torch.float32, device=CPU,
    )  # fmt: skip
    assert asked == [("reference", False), ("policy", True)]


def test_without_a_reference_none_is_asked(pairs, pixels, policy, codec):
    needs = Needs(branches=ALL_BRANCHES[:2], positions="response", reference=False)
    scores = score_pairs(
        pairs, pixels, needs, policy=SelectedLogits(policy), reference=None,
        dtype=torch.float32, device=CPU,
    )  # fmt: skip
    assert "ref_logp" not in scores["clean/chosen"]
    assert bool((scores["clean/chosen"]["policy_logp"][:, 0] < 0).all())


def test_only_what_is_read_goes_through_the_head(pairs, pixels, policy, llava, codec):
    """mask_dpo: one row of logits per edited token of either side, and none beside."""
    counted = []

    def forward(**inputs):
        counted.append((len(inputs["rows"]), len(inputs["input_ids"])))
        return SelectedLogits(policy)(**inputs)

    score_pairs(
        pairs, pixels, NEEDS["mask_dpo"], policy=forward, reference=SelectedLogits(llava),
        dtype=torch.float32, device=CPU,
    )  # fmt: skip
    edited = sum(int(p.chosen.edited.sum() + p.rejected.edited.sum()) for p in pairs)
    assert counted == [(edited, 2 * len(pairs))]


def test_no_pair_has_a_corrupted_image(pairs, pixels, policy, llava, codec):
    bare = [
        PackedPair(p.pair_id, p.prompt_ids, p.chosen, p.rejected, p.image_key, "", p.relevance)
        for p in pairs
    ]
    scores = score(bare, pixels, NEEDS["fire"], policy, llava, codec)
    assert scores["has_corrupt"].tolist() == [False] * 4
    assert scores["corrupt/chosen"]["policy_logp"].abs().max() == 0
    fire, _ = OBJECTIVES["fire"](scores)
    plain, _ = OBJECTIVES["fire"](scores, visual="none")
    assert torch.equal(fire, plain)
    fire.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in policy.parameters() if p.grad is not None)


@pytest.mark.parametrize("swapped", ["clean", "corrupt"])
def test_pixels_reach_policy_and_reference(swapped, pairs, pixels, policy, llava, codec):
    before = score(pairs[:1], pixels, EVERYTHING, policy, llava, codec)
    other = pixels | {"a" if swapped == "clean" else "a'": pixels["d"]}
    after = score(pairs[:1], other, EVERYTHING, policy, llava, codec)
    for branch in ALL_BRANCHES:
        for name in ("policy_logp", "ref_logp"):
            moved = (after[branch][name] - before[branch][name]).abs().max()
            assert (moved > 1e-2) == branch.startswith(swapped), (branch, name)


@pytest.mark.parametrize("which", ["fire", "everything"])
def test_batch_composition_and_order_change_nothing(which, pairs, pixels, policy, llava, codec):
    needs = NEEDS[which]
    whole = score(pairs, pixels, needs, policy, llava, codec)
    for group in ([3, 1], [0], [1], [2, 0, 3]):
        part = score([pairs[i] for i in group], pixels, needs, policy, llava, codec)
        for branch in needs.branches:
            for name, values in part[branch].items():
                expected = whole[branch][name][group][:, : values.shape[1]]
                torch.testing.assert_close(values, expected, rtol=1e-5, atol=1e-5)


# --- the pieces --------------------------------------------------------------------------


def test_token_logps_and_kl_by_hand():
    # p = (1/4, 3/4), q = (1/2, 1/2): KL(p‖q) = ¼·ln½ + ¾·ln(3/2)
    p, q = torch.tensor([[1.0, 3.0]]).log() + 5, torch.tensor([[2.0, 2.0]]).log()
    assert token_logps(p, torch.tensor([1])).tolist() == pytest.approx([np.log(0.75)], rel=1e-6)
    expected = 0.25 * np.log(0.5) + 0.75 * np.log(1.5)
    assert kl_divergence(p, q).tolist() == pytest.approx([expected], rel=1e-5)
    assert kl_divergence(p, p).tolist() == [0.0]


def test_sequences_by_hand():
    made = build_sequences(
        [np.array([7, 8]), np.array([9])], [np.array([1, 2, 3]), np.array([4])],
        [np.array([True, False, True]), np.array([True])],
        [np.zeros((3, 2, 2), np.float32), np.ones((3, 2, 2), np.float32)],
        dtype=torch.float32, device=CPU,
    )  # fmt: skip
    assert made.inputs["input_ids"].tolist() == [[7, 8, 1, 2, 3], [9, 4, 0, 0, 0]]
    assert made.inputs["attention_mask"].tolist() == [[1] * 5, [1, 1, 0, 0, 0]]
    assert made.rows.tolist() == [0, 0, 1]
    assert made.inputs["positions"].tolist() == [1, 3, 0]  # where the token is predicted
    assert made.targets.tolist() == [1, 3, 4]
    assert made.steps.tolist() == [0, 2, 0]
    assert made.inputs["pixel_values"].mean(dim=(1, 2, 3)).tolist() == [0.0, 1.0]


def sequences_of(pairs, pixels, codec):
    answers = [p.chosen.ids for p in pairs]
    return build_sequences(
        [p.prompt_ids for p in pairs], answers, [np.ones(len(a), dtype=bool) for a in answers],
        [pixels[p.image_key] for p in pairs], dtype=torch.float32, device=CPU,
    )  # fmt: skip


def with_lora(llava, *, zero):
    """A LoRA policy; its adapter as it starts, or filled with something."""
    model = prepare_policy(copy.deepcopy(llava), ModelConfig(lora=LoraConfig(rank=4, alpha=8.0)))
    if not zero:
        rng = torch.Generator().manual_seed(2)
        with torch.no_grad():
            for name, p in model.named_parameters():
                if ".lora_B." in name:
                    p.copy_(0.1 * torch.randn(p.shape, generator=rng))
    return model


def test_selected_logits_are_those_of_transformers(pairs, pixels, llava, codec):
    sequences = sequences_of(pairs, pixels, codec)
    inputs = dict(sequences.inputs)
    rows, positions = inputs.pop("rows"), inputs.pop("positions")
    with torch.no_grad():
        expected = llava(**inputs).logits[rows, positions]
        for policy in (llava, with_lora(llava, zero=True)):
            assert base_model(policy).__class__ is llava.__class__
            got = SelectedLogits(policy)(**sequences.inputs)
            torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


def test_selected_logits_go_through_the_adapter(pairs, pixels, llava, codec):
    sequences = sequences_of(pairs, pixels, codec)
    tuned = with_lora(llava, zero=False)
    scorer = SelectedLogits(tuned)
    with torch.no_grad():
        plain = SelectedLogits(llava)(**sequences.inputs)
        adapted = scorer(**sequences.inputs)
        with tuned.disable_adapter():
            reference = scorer(**sequences.inputs)
        inputs = dict(sequences.inputs)
        rows, positions = inputs.pop("rows"), inputs.pop("positions")
        merged = copy.deepcopy(tuned).merge_and_unload()(**inputs).logits[rows, positions]
    assert (adapted - plain).abs().max() > 1e-2
    torch.testing.assert_close(adapted, merged, rtol=1e-4, atol=1e-4)
    assert torch.equal(reference, plain)


def test_under_lora_only_the_adapter_gets_a_gradient(pairs, pixels, llava, codec):
    tuned = with_lora(llava, zero=False)
    loss, _ = OBJECTIVES["fire"](score(pairs, pixels, NEEDS["fire"], tuned, llava, codec))
    loss.sum().backward()
    moved = {name for name, p in tuned.named_parameters() if p.grad is not None}
    assert moved == {name for name, _ in tuned.named_parameters() if ".lora_" in name}
    assert all(p.grad.abs().max() > 0 for n, p in tuned.named_parameters() if ".lora_B." in n)


def test_bfloat16_models_give_float32_logits(pairs, pixels, tiny_llava, codec):
    model = load_model(tiny_llava, "bfloat16")
    logits = SelectedLogits(model)(**sequences_of_dtype(pairs, pixels, codec, torch.bfloat16))
    assert logits.dtype == torch.float32


def sequences_of_dtype(pairs, pixels, codec, dtype):
    inputs = dict(sequences_of(pairs, pixels, codec).inputs)
    return inputs | {"pixel_values": inputs["pixel_values"].to(dtype)}
