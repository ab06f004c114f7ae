"""The DeepSpeed learner: every way of sharding gives the same loss and the same weights."""

import numpy as np
import pytest
import ray

from actors.learner import Learner
from actors.resources import place
from actors.weights import tensors
from medray.config import load_config
from medray.policy.packing import PackedBatch, PackedPair, Side
from tests.running import ROOT

pytestmark = [pytest.mark.ray, pytest.mark.deepspeed]

PAIRS = 9  # odd: with two ranks and micro-batches of 2 the shares are unequal
STEPS = 3


@pytest.fixture(scope="module", autouse=True)
def cluster():
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def config(*overrides: str):
    base = ["loop.batch=10", "learner.micro_batch=2", "learner.lr=1e-3", "model.dtype=float32"]
    return load_config(ROOT / "configs/quickstart.yaml", [*base, *overrides])


def batch(seed: int = 0) -> PackedBatch:
    """Random pairs over the base model's vocabulary, a third of them without v'."""
    rng = np.random.default_rng(seed)
    pixels: dict[str, np.ndarray] = {}

    def side() -> Side:
        edited = np.zeros(rng.integers(6, 12), dtype=bool)
        edited[2:4] = True
        return Side(rng.integers(10, 400, len(edited)), edited)

    pairs = []
    for i in range(PAIRS):
        corrupted = f"v{i}" if i % 3 else ""
        for key in filter(None, (f"x{i}", corrupted)):
            pixels[key] = rng.normal(size=(3, 48, 48)).astype(np.float32)
        prompt = np.concatenate([[1], np.full(36, IMAGE_TOKEN), rng.integers(10, 400, 5)])
        pairs.append(PackedPair(f"p{i}", prompt, side(), side(), f"x{i}", corrupted, 1.0 + i / 50))
    return PackedBatch(tuple(pairs), pixels)


def image_token() -> int:
    from transformers import AutoConfig

    from medray.policy.loading import resolve_model_path

    return AutoConfig.from_pretrained(resolve_model_path("phantom/base")).image_token_index


IMAGE_TOKEN = image_token()


def host_class() -> type:
    """Made here so that it travels by value: workers cannot import a test module."""

    class Host:
        """One process that hosts learners one after the other: the real class, started once."""

        def join(self, cfg, rank: int, address: str, port: int) -> None:
            self.learner = Learner(cfg, rank)
            self.learner.join(address, port)

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
    plain = train(config("learner.zero_stage=0", *overrides), batch())
    return overrides, plain


@pytest.mark.parametrize(("world", "stage"), [(1, 2), (1, 3), (2, 0), (2, 2), (2, 3)])
def test_sharding_changes_neither_loss_nor_weights(tuning, world, stage):
    """Tolerances: losses 1e-5 relative, weights 2e-4 absolute after steps of 1e-3."""
    overrides, (losses, weights, scores) = tuning
    got = train(
        config(f"learner.world_size={world}", f"learner.zero_stage={stage}", *overrides), batch()
    )
    assert got[0] == pytest.approx(losses, rel=1e-5)
    assert losses[0] != pytest.approx(losses[-1], rel=1e-2), "nothing was learned"
    assert got[2].keys() == scores.keys() == {f"p{i}" for i in range(PAIRS)}
    for name, expected in weights.items():
        assert (got[1][name] - expected).abs().max() < 2e-4, name


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_stages_agree_in_bfloat16(stage):
    """bf16 weights of every stage: one loss curve within bf16's resolution."""
    common = ["model.dtype=bfloat16", "model.lora={rank: 4, alpha: 8}"]
    losses, *_ = train(config(f"learner.zero_stage={stage}", *common), batch())
    expected = BF16.setdefault("losses", losses)
    assert losses == pytest.approx(expected, rel=5e-3)


BF16: dict[str, list[float]] = {}


@pytest.mark.parametrize(("dtype", "stage"), [("float32", 0), ("bfloat16", 2)])
def test_a_non_finite_loss_leaves_the_weights_alone(dtype, stage):
    """The pairs come back scored, the step is skipped, and the next one is as if it never was."""
    cfg = config(f"model.dtype={dtype}", f"learner.zero_stage={stage}", "model.lora={rank: 4}")
    good = batch()
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
    good = batch()
    other = PackedBatch(good.pairs, {k: -v for k, v in good.pixels.items()})
    (first,), (second,) = (call(learner, "step", i, b) for i, b in enumerate((good, other)))
    for before, after in zip(first.scores, second.scores, strict=True):
        assert before.chosen_logp != pytest.approx(after.chosen_logp, abs=1e-3)
        assert before.chosen_ref_logp != pytest.approx(after.chosen_ref_logp, abs=1e-3)
