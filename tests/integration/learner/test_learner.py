"""The DeepSpeed learner: every way of sharding gives the same loss and the same weights."""

import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import ray
import torch
from safetensors.torch import load_file, save_file

from medray.config import LoraConfig
from medray.objectives import needs_of
from medray.policy.model.loading import resolve_model_path
from medray.policy.packing import PackedBatch
from tests.support.datasets.pairs import phantom_batch
from tests.support.models.adapters import save_adapter
from tests.support.processes.learners import call, config, exported, loss_of, start, step

pytestmark = [pytest.mark.ray, pytest.mark.deepspeed]

STEPS = 3
CHAOS = pytest.mark.chaos  # the same property, of the other ranks, stages and types


def train(cfg, given: PackedBatch, steps: int = STEPS):
    """(loss of each step, weights after the last, scores of the last) of a fresh learner."""
    learners = start(cfg)
    losses = []
    for version in range(steps):
        reports = step(learners, version, given)
        assert not any(report.skipped for report in reports)
        losses.append(loss_of(reports))
    require_ratios(cfg, reports)
    scores = {s.pair_id: s for report in reports for s in report.scores}
    return losses, exported(learners), scores


def require_ratios(cfg, reports) -> None:
    """The log-ratios of the edited tokens of a pair add up to what the objective read; one pair
    of a small step has them, on one rank."""
    found = [ratios for report in reports for ratios in report.token_ratios]
    if not needs_of(cfg.objective).reference:
        assert not found
        return
    (ratios,) = found
    (score,) = [s for r in reports for s in r.scores if s.pair_id == ratios.pair_id]
    if cfg.objective.name == "fire":
        for tokens, logp, reference in (
            (ratios.chosen, score.chosen_logp, score.chosen_ref_logp),
            (ratios.rejected, score.rejected_logp, score.rejected_ref_logp),
        ):
            edited = sum(token.log_ratio for token in tokens[2:4])
            assert edited == pytest.approx(logp - reference, abs=0.011)
            assert reports[0].policy_version == 0 or any(token.log_ratio for token in tokens)


@pytest.fixture(scope="module", params=["lora", pytest.param("full", marks=CHAOS)])
def tuning(request):
    """The overrides of one way of tuning, and what one plain rank makes of the batch."""
    overrides = {
        "lora": ["model.lora={rank: 4, alpha: 8}"],
        "full": ["model.lora=null", "model.trainable=[language, projector, vision]"],
    }[request.param]
    plain = train(config("learner.zero_stage=0", *overrides), phantom_batch())
    return overrides, plain


@pytest.mark.parametrize(
    ("world", "stage"),
    [(2, 3), *(pytest.param(*way, marks=CHAOS) for way in [(1, 2), (1, 3), (2, 0), (2, 2)])],
)
def test_sharding_changes_neither_loss_nor_weights(tuning, world, stage):
    """Tolerances: losses 1e-5 relative, weights 2e-4 absolute after steps of 1e-3."""
    overrides, (losses, weights, scores) = tuning
    got = train(
        config(f"learner.world_size={world}", f"learner.zero_stage={stage}", *overrides),
        phantom_batch(),
    )
    assert got[0] == pytest.approx(losses, rel=1e-5)
    assert losses[0] != pytest.approx(losses[-1], rel=1e-2), "nothing was learned"
    assert got[2].keys() == scores.keys() == {f"p{i}" for i in range(len(phantom_batch().pairs))}
    for name, expected in weights.items():
        assert (got[1][name] - expected).abs().max() < 2e-4, name


ALONE = [
    ["learner.micro_batch=1"],
    ["learner.row_tokens=70"],
    ["learner.gradient_checkpointing=true"],
    ["learner.zero_stage=3", "learner.offload=all"],
    ["learner.micro_batch=9"],
    ["learner.zero_stage=2", "learner.offload=optimizer"],
]
# Together they are tested at once, and one by one if that fails or by `make test-chaos`.
SAVINGS = [
    [
        "learner.micro_batch=1",
        "learner.row_tokens=70",
        "learner.gradient_checkpointing=true",
        "learner.zero_stage=3",
        "learner.offload=all",
    ],
    *(pytest.param(overrides, marks=CHAOS) for overrides in ALONE),
]


@pytest.mark.parametrize("overrides", SAVINGS, ids=lambda overrides: overrides[-1])
def test_what_saves_memory_changes_nothing(tuning, overrides):
    """Accumulation equals one large batch; checkpointing and offload only move things."""
    tuned, (losses, weights, _) = tuning
    got = train(config(*overrides, *tuned), phantom_batch())
    assert got[0] == pytest.approx(losses, rel=1e-5)
    for name, expected in weights.items():
        assert (got[1][name] - expected).abs().max() < 2e-4, name


@pytest.mark.parametrize(("world", "stage"), [(1, 2), pytest.param(2, 3, marks=CHAOS)])
def test_a_head_in_chunks_changes_nothing(tuning, world, stage):
    """Logits of a few places at a time, made again in the backward pass, also when sharded."""
    overrides, (losses, weights, _) = tuning
    cfg = config(
        f"learner.world_size={world}",
        f"learner.zero_stage={stage}",
        "learner.gradient_checkpointing=true",
        *overrides,
    )
    hosts = start(cfg)
    everything = 2**26
    try:
        ray.get([host.limit_logits.remote(2000) for host in hosts])
        got = train(cfg, phantom_batch())
    finally:
        ray.get([host.limit_logits.remote(everything) for host in hosts])
    assert got[0] == pytest.approx(losses, rel=1e-5)
    for name, expected in weights.items():
        assert (got[1][name] - expected).abs().max() < 2e-4, name


@pytest.mark.parametrize(
    "name", ["kto", "mmedpo", *(pytest.param(name, marks=CHAOS) for name in ("simpo", "tdpo2"))]
)
def test_objectives_do_not_depend_on_ranks_or_micro_batches(name):
    """kto's baseline is that of the complete batch; the rest is a mean over pairs."""
    common = ["model.lora={rank: 4, alpha: 8}", f"objective={{name: {name}}}"]
    one = train(config("learner.micro_batch=10", *common), phantom_batch())
    two = train(config("learner.world_size=2", "learner.micro_batch=2", *common), phantom_batch())
    assert two[0] == pytest.approx(one[0], rel=1e-5)
    assert one[0][0] != pytest.approx(one[0][-1], rel=1e-3), "nothing was learned"
    for pair, expected in one[2].items():
        assert two[2][pair].loss == pytest.approx(expected.loss, rel=1e-3), pair


def window(given: PackedBatch) -> dict[str, float]:
    """Relevance by pair: mean 1, variance 0.1 over the batch, kept within 0.75 and 1.25."""
    raw = np.array([pair.relevance for pair in given.pairs])
    weights = np.clip(1 + np.sqrt(0.1) * (raw - raw.mean()) / raw.std(), 0.75, 1.25)
    return {pair.pair_id: w for pair, w in zip(given.pairs, weights, strict=True)}


def test_training_continues_an_adapter_with_its_start_as_reference(tmp_path):
    """The first loss is that of policy = reference, although the adapter is far from zero."""
    save_adapter(tmp_path / "adapter", "float32", LoraConfig(rank=4, alpha=8.0), scale=0.05)
    common = ["model.lora={rank: 4, alpha: 8}", "objective={name: dpo}"]
    given = phantom_batch()
    losses, _, scores = train(config(f"model.adapter={tmp_path}/adapter", *common), given, steps=1)
    assert losses[0] == pytest.approx(math.log(2) * np.mean(list(window(given).values())))
    _, _, fresh = train(config(*common), given, steps=1)
    for pair, score in scores.items():
        assert score.chosen_logp == pytest.approx(score.chosen_ref_logp, rel=1e-5)
        assert abs(score.chosen_logp - fresh[pair].chosen_logp) > 0.1


def test_a_named_model_is_the_reference(tiny_base):
    common = ["model.lora={rank: 4, alpha: 8}", "objective={name: dpo}"]
    *_, scores = train(config(f"model.reference={tiny_base}", *common), phantom_batch(), steps=1)
    *_, plain = train(config(*common), phantom_batch(), steps=1)
    for pair, score in scores.items():
        assert score.chosen_logp == pytest.approx(plain[pair].chosen_logp, rel=1e-5)
        assert abs(score.chosen_ref_logp - plain[pair].chosen_ref_logp) > 0.1


@pytest.fixture(scope="module")
def tiny_base(tmp_path_factory):
    """The shipped model with other weights."""
    path = tmp_path_factory.mktemp("model") / "other"
    shutil.copytree(resolve_model_path("phantom/base"), path)
    weights = load_file(path / "model.safetensors")
    rng = torch.Generator().manual_seed(4)
    noisy = {
        n: w + (0.02 * torch.randn(w.shape, generator=rng)).to(w.dtype) for n, w in weights.items()
    }
    save_file(noisy, path / "model.safetensors", metadata={"format": "pt"})
    return path


@pytest.mark.parametrize("stage", [3, *(pytest.param(stage, marks=CHAOS) for stage in (1, 2))])
def test_stages_agree_in_bfloat16(stage):
    """bf16 weights of every stage: one loss curve within bf16's resolution."""
    common = ["model.dtype=bfloat16", "model.lora={rank: 4, alpha: 8}"]
    losses, expected = (
        train(config(f"learner.zero_stage={each}", *common), phantom_batch())[0]
        for each in (stage, 0)
    )
    assert losses == pytest.approx(expected, rel=5e-3)


@pytest.mark.parametrize(
    ("dtype", "stage"), [("bfloat16", 2), pytest.param("float32", 0, marks=CHAOS)]
)
def test_a_non_finite_loss_leaves_the_weights_alone(dtype, stage):
    """The pairs come back scored, the step is skipped, and the next one is as if it never was."""
    cfg = config(f"model.dtype={dtype}", f"learner.zero_stage={stage}", "model.lora={rank: 4}")
    good = phantom_batch()
    poisoned = PackedBatch(good.pairs, good.pixels | {"x1": np.full((3, 48, 48), np.nan, "f4")})
    undisturbed, weights, _ = train(cfg, good, steps=2)
    learner = start(cfg)
    (first,) = step(learner, 0, good)
    (bad,) = step(learner, 1, poisoned)
    (second,) = step(learner, 1, good)
    assert bad.skipped
    assert not first.skipped
    assert not second.skipped
    losses = [dict(report.metrics)["loss"] for report in (first, second)]
    assert losses == pytest.approx(undisturbed, rel=1e-6)
    for name, tensor in exported(learner).items():
        assert (tensor - weights[name]).abs().max() < 1e-6, name


NAN_WAYS = [
    ("bfloat16", 2),
    *(pytest.param("float32", stage, marks=CHAOS) for stage in (0, 2, 3)),
    *(pytest.param("bfloat16", stage, marks=CHAOS) for stage in (0, 3)),
]


@pytest.mark.parametrize(("dtype", "stage"), NAN_WAYS)
def test_a_nan_on_one_rank_stops_all(dtype, stage):
    """NaN pixels of one pair, which only the second rank scores: both skip, both go on."""
    cfg = config(
        f"model.dtype={dtype}",
        f"learner.zero_stage={stage}",
        "learner.world_size=2",
        "model.lora={rank: 4}",
    )
    good = phantom_batch()
    undisturbed, weights, _ = train(cfg, good, steps=2)
    learners = start(cfg)
    first = step(learners, 0, good)
    before = exported(learners)
    hers = {pair.pair_id: pair for pair in good.pairs}[first[1].scores[0].pair_id]
    poison = {hers.image_keys[0]: np.full((3, 48, 48), np.nan, "f4")}
    bad = step(learners, 1, PackedBatch(good.pairs, good.pixels | poison))
    assert [report.skipped for report in bad] == [True, True]
    lost = [{s.pair_id for s in report.scores if math.isnan(s.loss)} for report in bad]
    assert not lost[0], "poisoned on the second rank only"
    assert hers.pair_id in lost[1]
    for name, tensor in exported(learners).items():
        assert torch.equal(tensor, before[name]), name
    second = step(learners, 1, good)
    assert [report.skipped for report in (*first, *second)] == [False] * 4
    assert [loss_of(first), loss_of(second)] == pytest.approx(undisturbed, rel=1e-6)
    for name, tensor in exported(learners).items():
        assert (tensor - weights[name]).abs().max() < 1e-6, name


@pytest.mark.parametrize("world", [2, pytest.param(1, marks=CHAOS)])
def test_the_split_over_editor_calls_changes_nothing(world):
    """Nine pairs as 1, 2 and 5 batches, shuffled: the same bits, over the same window."""
    cfg = config("model.lora={rank: 4}", f"learner.world_size={world}")
    given = phantom_batch()
    rng, seen = np.random.default_rng(0), []
    for parts in (1, 2, 5):
        order = [given.pairs[i] for i in rng.permutation(len(given.pairs))]
        batches = [
            PackedBatch(tuple(own), {k: given.pixels[k] for k in images(own)})
            for own in (order[part::parts] for part in range(parts))
        ]
        learners = start(cfg)
        reports = [step(learners, version, *batches) for version in range(2)]
        losses = {s.pair_id: s.loss for report in reports[-1] for s in report.scores}
        seen.append(([loss_of(report) for report in reports], losses, exported(learners)))
    for losses, by_pair, weights in seen[1:]:
        assert (losses, by_pair) == seen[0][:2]
        assert all(torch.equal(weights[name], seen[0][2][name]) for name in weights)


def images(pairs: list) -> set[str]:
    return {key for pair in pairs for key in (*pair.image_keys, *pair.corrupted_keys)}


def test_lagging_answers_weigh_what_they_still_are_worth():
    """Sampled as likely as now: nothing changes. Sampled e^-9 less likely: all at the bound."""
    common = ["model.lora={rank: 4}", "objective={name: dpo}", "learner.world_size=2"]
    given = phantom_batch()
    plain = step(start(config(*common)), 0, given)
    clipped = [*common, "loop.importance_clip=2.0"]
    for shift, weight in ((0.0, 1.0), (9.0, 2.0), (-9.0, 0.5)):
        learners = start(config(*clipped))
        reports = step(learners, 0, sampled(learners, given, shift))
        got = dict(reports[0].metrics)
        assert loss_of(reports) == pytest.approx(loss_of(plain) * weight, rel=1e-4)
        assert got["importance_mean"] == pytest.approx(weight, rel=1e-4)
        assert got["importance_log_ratio"] == pytest.approx(abs(shift), abs=1e-4)
        assert got["importance_clipped"] == (1.0 if shift else 0.0)
    untold = dict(step(start(config(*clipped)), 0, given)[0].metrics)
    assert untold["importance_mean"] == 1.0
    assert not any(name.startswith("importance") for name, _ in plain[0].metrics)


def sampled(learners: list, given: PackedBatch, shift: float) -> PackedBatch:
    """The rejected sides as sampled by a policy that found each token `shift` nats less likely."""
    prompts = [
        (p.prompt_ids, p.rejected.ids, [given.pixels[k] for k in p.image_keys]) for p in given.pairs
    ]
    scored, _ = call(learners, "score", prompts)
    pairs = [
        replace(pair, rejected=replace(pair.rejected, behaviour=logps - np.float32(shift)))
        for pair, logps in zip(given.pairs, scored, strict=True)
    ]
    return PackedBatch(tuple(pairs), given.pixels)


def test_pixels_reach_policy_and_reference():
    """Another image gives other log-probabilities, in both forwards."""
    learner = start(config("model.lora={rank: 4}", "learner.lr=0"))
    untrained = exported(learner)
    good = phantom_batch()
    other = PackedBatch(good.pairs, {k: -v for k, v in good.pixels.items()})
    (first,), (second,) = (step(learner, i, b) for i, b in enumerate((good, other)))
    for before, after in zip(first.scores, second.scores, strict=True):
        assert before.chosen_logp != pytest.approx(after.chosen_logp, abs=1e-3)
        assert before.chosen_ref_logp != pytest.approx(after.chosen_ref_logp, abs=1e-3)
    for name, tensor in exported(learner).items():
        assert torch.equal(tensor, untrained[name]), f"{name} changed at a learning rate of zero"
