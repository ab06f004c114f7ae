"""The DeepSpeed learner: every way of sharding gives the same loss and the same weights."""

import math
import shutil

import numpy as np
import pytest
import ray
import torch
from safetensors.torch import load_file, save_file

from actors.learner import Learner
from actors.resources import place
from actors.weights import tensors
from medray.config import LoraConfig, load_config
from medray.policy.loading import resolve_model_path
from medray.policy.packing import PackedBatch
from tests.adapters import save_adapter
from tests.pairs import phantom_batch
from tests.running import ROOT

pytestmark = [pytest.mark.ray, pytest.mark.deepspeed]

STEPS = 3


@pytest.fixture(scope="module", autouse=True)
def cluster():
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def config(*overrides: str):
    base = ["loop.batch=10", "learner.micro_batch=2", "learner.lr=1e-3", "model.dtype=float32"]
    return load_config(ROOT / "configs/quickstart.yaml", [*base, *overrides])


def host_class() -> type:
    """Made here so that it travels by value: workers cannot import a test module."""

    class Host:
        """One process that hosts learners one after the other: the real class, started once."""

        def join(self, cfg, rank: int, address: str, port: int) -> None:
            self.learner = Learner(cfg, rank)
            self.learner.join(address, port)

        def limit_logits(self, values: int) -> None:
            """Make the head work in chunks, as a large vocabulary would."""
            from medray.policy import head

            head.CHUNK_VALUES = values

        def call(self, verb: str, *arguments):
            return getattr(self.learner, verb)(*arguments)

    return Host


HOSTS: dict[int, list] = {}  # world size → its processes


def start(cfg) -> list:
    """A fresh learner on every rank; one process group per world size."""
    world = cfg.learner.world_size
    if world not in HOSTS:
        options = place(cfg).learner | {"num_cpus": 0}
        HOSTS[world] = [ray.remote(host_class()).options(**options).remote() for _ in range(world)]
        ADDRESS[world] = Learner(cfg, 0).rendezvous()
    hosts = HOSTS[world]
    ray.get([host.join.remote(cfg, rank, *ADDRESS[world]) for rank, host in enumerate(hosts)])
    return hosts


ADDRESS: dict[int, tuple[str, int]] = {}


def call(hosts: list, verb: str, *arguments) -> list:
    return ray.get([host.call.remote(verb, *arguments) for host in hosts])


def train(cfg, given: PackedBatch, steps: int = STEPS):
    """(loss of each step, weights after the last, scores of the last) of a fresh learner."""
    learners = start(cfg)
    losses = []
    for version in range(steps):
        reports = call(learners, "step", version, given)
        assert not any(report.skipped for report in reports)
        losses.append(dict(reports[0].metrics)["loss"])
    scores = {s.pair_id: s for report in reports for s in report.scores}
    return losses, exported(learners), scores


def exported(learners: list) -> dict:
    """Weights by name, as a generator would receive them."""
    manifest, *shards = call(learners, "export", "full")[0]
    return {name: t.float() for name, t in tensors(manifest, shards)}


@pytest.fixture(scope="module", params=["lora", "full"])
def tuning(request):
    """The overrides of one way of tuning, and what one plain rank makes of the batch."""
    overrides = {
        "lora": ["model.lora={rank: 4, alpha: 8}"],
        "full": ["model.lora=null", "model.trainable=[language, projector, vision]"],
    }[request.param]
    plain = train(config("learner.zero_stage=0", *overrides), phantom_batch())
    return overrides, plain


@pytest.mark.parametrize(("world", "stage"), [(1, 2), (1, 3), (2, 0), (2, 2), (2, 3)])
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


@pytest.mark.parametrize(
    "overrides",
    [
        ["learner.micro_batch=9"],
        ["learner.micro_batch=1"],
        ["learner.row_tokens=70"],
        ["learner.gradient_checkpointing=true"],
        ["learner.zero_stage=2", "learner.offload=optimizer"],
        ["learner.zero_stage=3", "learner.offload=all"],
    ],
    ids=lambda overrides: overrides[-1],
)
def test_what_saves_memory_changes_nothing(tuning, overrides):
    """Accumulation equals one large batch; checkpointing and offload only move things."""
    tuned, (losses, weights, _) = tuning
    got = train(config(*overrides, *tuned), phantom_batch())
    assert got[0] == pytest.approx(losses, rel=1e-5)
    for name, expected in weights.items():
        assert (got[1][name] - expected).abs().max() < 2e-4, name


@pytest.mark.parametrize(("world", "stage"), [(1, 2), (2, 3)])
def test_a_head_in_chunks_changes_nothing(tuning, world, stage):
    """Logits of a few places at a time, made again in the backward pass, also when sharded."""
    overrides, (losses, weights, _) = tuning
    cfg = config(
        f"learner.world_size={world}", f"learner.zero_stage={stage}",
        "learner.gradient_checkpointing=true", *overrides,
    )  # fmt: skip
    hosts = start(cfg)
    whole = 2**26
    try:
        ray.get([host.limit_logits.remote(2000) for host in hosts])
        got = train(cfg, phantom_batch())
    finally:
        ray.get([host.limit_logits.remote(whole) for host in hosts])
    assert got[0] == pytest.approx(losses, rel=1e-5)
    for name, expected in weights.items():
        assert (got[1][name] - expected).abs().max() < 2e-4, name


@pytest.mark.parametrize("name", ["kto", "simpo", "mmedpo", "tdpo2"])
def test_objectives_do_not_depend_on_ranks_or_micro_batches(name):
    """kto's baseline is that of the whole batch; the rest is a mean over pairs."""
    common = ["model.lora={rank: 4, alpha: 8}", f"objective={{name: {name}}}"]
    one = train(config("learner.micro_batch=10", *common), phantom_batch())
    two = train(config("learner.world_size=2", "learner.micro_batch=2", *common), phantom_batch())
    assert two[0] == pytest.approx(one[0], rel=1e-5)
    assert one[0][0] != pytest.approx(one[0][-1], rel=1e-3), "nothing was learned"
    for pair, expected in one[2].items():
        assert two[2][pair].loss == pytest.approx(expected.loss, rel=1e-3), pair


def test_training_continues_an_adapter_with_its_start_as_reference(tmp_path):
    """The first loss is that of policy = reference, although the adapter is far from zero."""
    save_adapter(tmp_path / "adapter", "float32", LoraConfig(rank=4, alpha=8.0), scale=0.05)
    common = ["model.lora={rank: 4, alpha: 8}", "objective={name: dpo}"]
    given = phantom_batch()
    losses, _, scores = train(config(f"model.adapter={tmp_path}/adapter", *common), given, steps=1)
    assert losses[0] == pytest.approx(math.log(2) * np.mean([p.relevance for p in given.pairs]))
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


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_stages_agree_in_bfloat16(stage):
    """bf16 weights of every stage: one loss curve within bf16's resolution."""
    common = ["model.dtype=bfloat16", "model.lora={rank: 4, alpha: 8}"]
    losses, *_ = train(config(f"learner.zero_stage={stage}", *common), phantom_batch())
    expected = BF16.setdefault("losses", losses)
    assert losses == pytest.approx(expected, rel=5e-3)


BF16: dict[str, list[float]] = {}


@pytest.mark.parametrize(("dtype", "stage"), [("float32", 0), ("bfloat16", 2)])
def test_a_non_finite_loss_leaves_the_weights_alone(dtype, stage):
    """The pairs come back scored, the step is skipped, and the next one is as if it never was."""
    cfg = config(f"model.dtype={dtype}", f"learner.zero_stage={stage}", "model.lora={rank: 4}")
    good = phantom_batch()
    poisoned = PackedBatch(good.pairs, good.pixels | {"x1": np.full((3, 48, 48), np.nan, "f4")})
    undisturbed, weights, _ = train(cfg, good, steps=2)
    learner = start(cfg)
    (first,) = call(learner, "step", 0, good)
    (bad,) = call(learner, "step", 1, poisoned)
    (second,) = call(learner, "step", 1, good)
    assert bad.skipped
    assert not first.skipped
    assert not second.skipped
    losses = [dict(report.metrics)["loss"] for report in (first, second)]
    assert losses == pytest.approx(undisturbed, rel=1e-6)
    for name, tensor in exported(learner).items():
        assert (tensor - weights[name]).abs().max() < 1e-6, name


def test_pixels_reach_policy_and_reference():
    """Another image gives other log-probabilities, in both forwards."""
    learner = start(config("model.lora={rank: 4}", "learner.lr=0"))
    good = phantom_batch()
    other = PackedBatch(good.pairs, {k: -v for k, v in good.pixels.items()})
    (first,), (second,) = (call(learner, "step", i, b) for i, b in enumerate((good, other)))
    for before, after in zip(first.scores, second.scores, strict=True):
        assert before.chosen_logp != pytest.approx(after.chosen_logp, abs=1e-3)
        assert before.chosen_ref_logp != pytest.approx(after.chosen_ref_logp, abs=1e-3)
