"""The vLLM engine in its actor: the policy that transformers computes, no stale caches."""

import gc
import sys

import numpy as np
import pytest
import ray
import torch
from tiny_qwen2_5_vl import build_tiny_qwen2_5_vl

from actors.generator import Generator, Request
from actors.resources import place
from actors.weights import Manifest, describe, plan_shards, to_array
from medray.config import load_config
from medray.errors import RunFailed
from medray.phantom.studies import study
from medray.policy.chat import ChatCodec
from medray.policy.export import export_items
from medray.policy.loading import load_model, model_facts, resolve_model_path
from medray.policy.tuning import prepare_policy
from tests import plain
from tests.running import ROOT

pytestmark = [pytest.mark.ray, pytest.mark.vllm]

QUESTION = "Describe the chest radiograph."
COUNT = 4
TINY = ("tiny_llava", "tiny_llava_qwen2", "tiny_qwen2_5_vl")
SIZES = ((24, 32), (40, 16), (64, 64))
GROUPS = "[language,projector,vision]"


class Host:
    """Generators one after another in one process: starting vLLM is mostly importing it."""

    def __init__(self) -> None:
        self.generator = None

    def start(self, cfg) -> None:
        self.generator = None
        gc.collect()  # the old engine's cache, before there is a new one
        self.generator = Generator(cfg, 0)

    def call(self, method, *arguments):
        return getattr(self.generator, method)(*arguments)


@pytest.fixture(scope="module")
def host():
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # no worker can import this
    yield ray.remote(Host).options(**place(config()).generator).remote()
    ray.shutdown()


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    return [study(7, "heldout", i).image for i in range(COUNT)]


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    """Noise in several sizes, which Qwen2.5-VL keeps."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in SIZES]


def config(*overrides: str):
    return load_config(ROOT / "configs/quickstart.yaml", overrides)


def call(host, method, *arguments):
    return ray.get(host.call.remote(method, *arguments))


def requests(n: int = COUNT) -> list[Request]:
    return [Request(f"i{i}", f"c{i}", QUESTION, i, i) for i in range(n)]


def score(host, version, answers, images) -> np.ndarray:
    return np.concatenate(call(host, "score", version, requests(len(images)), answers, *images))


def update_of(policy, mode: str, version: int):
    """A weight update as a learner's rank 0 builds it."""
    shards, specs = [], []
    for items in plan_shards(export_items(policy, mode), torch.bfloat16):
        tensors = {item.name: item.build() for item in items}
        shards.append({name: to_array(t) for name, t in tensors.items()})
        specs.append(describe(shards[-1], {name: t.dtype for name, t in tensors.items()}))
    return (Manifest(version, mode, tuple(specs), 0), *shards)


def expected(policy, cfg, answers, images) -> np.ndarray:
    """The same scores by a plain forward pass of transformers."""
    codec = ChatCodec(resolve_model_path(cfg.model.path))
    text = codec.render(QUESTION)
    return np.concatenate(
        [
            plain.token_logps(policy, codec.processor, text, image, answer)
            for image, answer in zip(images, answers, strict=True)
        ]
    )


def start(host, *overrides: str):
    """A generator, the policy it should equal, and the configuration of both."""
    cfg = config(*overrides)
    ray.get(host.start.remote(cfg))
    model = load_model(resolve_model_path(cfg.model.path), "bfloat16")
    return prepare_policy(model, cfg.model).eval(), cfg


@pytest.fixture(scope="module")
def full(host, images):
    """A generator in mode full, its first greedy answers, and the policy it should equal."""
    policy, cfg = start(host, "model.lora=null", f"model.trainable={GROUPS}")
    said = call(host, "generate", 0, requests(), True, *images)
    return host, [list(r.token_ids) for r in said], policy, cfg


def test_generator_model_and_reported_logps_agree(full, images):
    host, answers, policy, cfg = full
    told = call(host, "generate", 0, requests(), True, *images)
    sampled = np.concatenate([r.token_logps for r in told])
    ours = expected(policy, cfg, answers, images)
    assert [list(r.token_ids) for r in told] == answers
    assert all(r.finished and r.policy_version == 0 for r in told)
    assert np.abs(score(host, 0, answers, images) - ours).mean() < 0.05
    assert np.abs(sampled - ours).mean() < 0.05


def test_swapping_the_image_changes_the_generator(full, images):
    host, answers, policy, cfg = full
    swapped = images[::-1]
    other = score(host, 0, answers, swapped)
    assert np.abs(other - score(host, 0, answers, images)).max() > 0.5
    assert np.abs(other - expected(policy, cfg, answers, swapped)).mean() < 0.05


def test_another_version_is_refused(full, images):
    host, *_ = full
    with pytest.raises(RunFailed, match="policy version 0"):
        call(host, "generate", 3, requests(), True, *images)


def test_new_vision_weights_reach_a_prompt_already_seen(full, images):
    """Only the vision tower changes: cached image features would give the old numbers."""
    host, answers, policy, cfg = full
    before = score(host, 0, answers, images)
    torch.manual_seed(0)
    for name, parameter in policy.named_parameters():
        if "vision_tower" in name and parameter.dim() > 1:
            parameter.data += 0.05 * torch.randn_like(parameter)
    call(host, "update", *update_of(policy, "full", 1))
    after = score(host, 1, answers, images)
    assert np.abs(after - before).mean() > 0.1
    assert np.abs(after - expected(policy, cfg, answers, images)).mean() < 0.05


def test_a_damaged_update_is_refused(full):
    host, _, policy, _ = full
    manifest, shard = update_of(policy, "full", 2)
    name = next(iter(shard))
    shard[name] = shard[name] + 1
    with pytest.raises(RunFailed, match="checksum"):
        call(host, "update", manifest, shard)


# --- every architecture, in both modes ----------------------------------------------------


def move(policy, marks: tuple[str, ...], seed: int) -> None:
    """Other weights where a name has one of the marks; LoRA's B leaves its zeros."""
    torch.manual_seed(seed)
    for name, parameter in policy.named_parameters():
        if not parameter.requires_grad or not any(mark in name for mark in marks):
            continue
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
        elif "lora_A" not in name:
            parameter.data += 0.05 * torch.randn_like(parameter)


TUNING = {
    "full": ("model.lora=null", f"model.trainable={GROUPS}"),
    "adapter": (f"model.lora={{rank: 4, alpha: 8, targets: {GROUPS}}}", "loop.sync=adapter"),
}


def begin(host, path, mode, pictures):
    """A generator of a look-alike that agrees with transformers, and a way to ask it again."""
    policy, cfg = start(host, f"model.path={path}", "generator.max_new_tokens=8", *TUNING[mode])
    said = call(host, "generate", 0, requests(len(SIZES)), True, *pictures)
    placeholder = model_facts(cfg.model).image_token  # transformers would want a picture for it
    said = [(r, p) for r, p in zip(said, pictures, strict=True) if placeholder not in r.token_ids]
    told = np.concatenate([r.token_logps for r, _ in said])
    ours = expected(policy, cfg, [r.token_ids for r, _ in said], [p for _, p in said])
    assert np.abs(told - ours).mean() < 0.05
    rng = np.random.default_rng(1)
    answers = [rng.integers(260, 330, 9).tolist() for _ in SIZES]  # no special tokens

    def agreed(policy, version):
        """The generator's scores, which must be the policy's."""
        now = score(host, version, answers, pictures)
        assert np.abs(now - expected(policy, cfg, answers, pictures)).mean() < 0.05
        return now

    return policy, cfg, agreed


@pytest.mark.parametrize("mode", ["full", "adapter"])
@pytest.mark.parametrize("model", TINY)
def test_generator_follows_the_policy(host, request, pictures, model, mode):
    """Before and after updates of the vision tower alone, and then of everything."""
    policy, _, agreed = begin(host, request.getfixturevalue(model), mode, pictures)
    previous = agreed(policy, 0)
    for version, marks in ((1, ("vision", "visual")), (2, ("",))):
        move(policy, marks, version)
        call(host, "update", *update_of(policy, mode, version))
        now = agreed(policy, version)
        assert np.abs(now - previous).mean() > 0.1
        previous = now
    if mode == "full":  # an adapter, merged into what is sent
        policy = prepare_policy(policy, config(*TUNING["adapter"]).model)
        move(policy, ("",), 3)
        call(host, "update", *update_of(policy, "full", 3))
        assert np.abs(agreed(policy.merge_and_unload(), 3) - previous).mean() > 0.1


def test_a_head_tied_to_the_embeddings_follows_them(host, tmp_path, pictures):
    """vLLM reloads the embeddings only; on a CPU the head has a packed copy of its own."""
    path = build_tiny_qwen2_5_vl(tmp_path / "tied", tied=True)
    policy, _, agreed = begin(host, path, "full", pictures)
    previous = agreed(policy, 0)
    move(policy, ("embed_tokens",), 1)
    call(host, "update", *update_of(policy, "full", 1))
    assert np.abs(agreed(policy, 1) - previous).mean() > 0.1
