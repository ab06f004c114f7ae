"""The vLLM engine in its actor: same policy as the learner, no stale caches, its own version."""

import numpy as np
import pytest
import ray
import torch

from actors.generator import Generator, Request
from actors.resources import place
from actors.weights import Manifest, describe, plan_shards, to_array
from medray.config import load_config
from medray.errors import RunFailed
from medray.phantom.studies import study
from medray.policy.chat import ChatCodec
from medray.policy.export import export_items
from medray.policy.loading import load_model, prepare_policy, resolve_model_path
from medray.policy.scoring import SelectedLogits, build_sequences, token_logps
from tests.running import ROOT

pytestmark = [pytest.mark.ray, pytest.mark.vllm]

QUESTION = "Describe the chest radiograph."
COUNT = 4


@pytest.fixture(scope="module")
def cluster():
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    return [study(7, "heldout", i).image for i in range(COUNT)]


def config(*overrides: str):
    return load_config(ROOT / "configs/quickstart.yaml", overrides)


def start(cfg):
    return ray.remote(Generator).options(**place(cfg).generator).remote(cfg, 0)


def requests(n: int = COUNT) -> list[Request]:
    return [Request(f"i{i}", f"c{i}", QUESTION, i, i) for i in range(n)]


def score(generator, version, answers, images) -> np.ndarray:
    return np.concatenate(
        ray.get(generator.score.remote(version, requests(len(images)), answers, *images))
    )


def update_of(policy, mode: str, version: int):
    """A weight update as a learner's rank 0 builds it."""
    shards, specs = [], []
    for items in plan_shards(export_items(policy, mode), torch.bfloat16):
        tensors = {item.name: item.build() for item in items}
        shards.append({name: to_array(t) for name, t in tensors.items()})
        specs.append(describe(shards[-1], {name: t.dtype for name, t in tensors.items()}))
    return (Manifest(version, mode, tuple(specs), 0), *shards)


def learner_scores(policy, answers, images) -> np.ndarray:
    codec = ChatCodec(resolve_model_path("phantom/base"))
    encoded = [codec.encode(QUESTION, image) for image in images]
    sequences = build_sequences(
        [ids for ids, _ in encoded], [np.asarray(a) for a in answers],
        [np.ones(len(a), dtype=bool) for a in answers], [pixels for _, pixels in encoded],
        dtype=torch.bfloat16, device=torch.device("cpu"),
    )  # fmt: skip
    with torch.no_grad():
        logits = SelectedLogits(policy)(**sequences.inputs)
    return token_logps(logits, sequences.targets).numpy()


def base_policy(cfg):
    return prepare_policy(load_model(resolve_model_path("phantom/base"), "bfloat16"), cfg.model)


@pytest.fixture(scope="module")
def full(cluster, images):
    """A generator in mode full, its first greedy answers, and the policy it should equal."""
    cfg = config("model.lora=null", "model.trainable=[language,projector,vision]")
    generator = start(cfg)
    said = ray.get(generator.generate.remote(0, requests(), True, *images))
    return generator, [list(r.token_ids) for r in said], base_policy(cfg), cfg


def test_generator_learner_and_reported_logps_agree(full, images):
    generator, answers, policy, _ = full
    told = ray.get(generator.generate.remote(0, requests(), True, *images))
    sampled = np.concatenate([r.token_logps for r in told])
    ours = learner_scores(policy, answers, images)
    assert [list(r.token_ids) for r in told] == answers
    assert all(r.finished and r.policy_version == 0 for r in told)
    assert np.abs(score(generator, 0, answers, images) - ours).mean() < 0.05
    assert np.abs(sampled - ours).mean() < 0.05


def test_swapping_the_image_changes_the_generator(full, images):
    generator, answers, policy, _ = full
    swapped = images[::-1]
    assert (
        np.abs(score(generator, 0, answers, swapped) - score(generator, 0, answers, images)).max()
        > 0.5
    )
    ours = learner_scores(policy, answers, swapped)
    assert np.abs(score(generator, 0, answers, swapped) - ours).mean() < 0.05


def test_another_version_is_refused(full, images):
    generator, *_ = full
    with pytest.raises(RunFailed, match="policy version 0"):
        ray.get(generator.generate.remote(3, requests(), True, *images))


def test_new_vision_weights_reach_a_prompt_already_seen(full, images):
    """Only the vision tower changes: cached image features would give the old numbers."""
    generator, answers, policy, _ = full
    before = score(generator, 0, answers, images)
    torch.manual_seed(0)
    for name, parameter in policy.named_parameters():
        if "vision_tower" in name and parameter.dim() > 1:
            parameter.data += 0.05 * torch.randn_like(parameter)
    ray.get(generator.update.remote(*update_of(policy, "full", 1)))
    after = score(generator, 1, answers, images)
    assert np.abs(after - before).mean() > 0.1
    assert np.abs(after - learner_scores(policy, answers, images)).mean() < 0.05


def test_a_damaged_update_is_refused(full):
    generator, _, policy, _ = full
    manifest, shard = update_of(policy, "full", 2)
    name = next(iter(shard))
    shard[name] = shard[name] + 1
    with pytest.raises(RunFailed, match="checksum"):
        ray.get(generator.update.remote(manifest, shard))


def test_adapter_mode_serves_the_adapter(cluster, images):
    """LoRA tensors alone move, under a new name per version, and the policy is the learner's."""
    cfg = config("model.lora={rank: 8, alpha: 16}", "loop.sync=adapter")
    generator = start(cfg)
    policy = base_policy(cfg)
    said = ray.get(generator.generate.remote(0, requests(), True, *images))
    answers = [list(r.token_ids) for r in said]
    previous = score(generator, 0, answers, images)
    for version in (1, 2):
        torch.manual_seed(version)
        for name, parameter in policy.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.1)
        ray.get(generator.update.remote(*update_of(policy, "adapter", version)))
        now = score(generator, version, answers, images)
        assert np.abs(now - previous).mean() > 0.1
        assert np.abs(now - learner_scores(policy, answers, images)).mean() < 0.05
        previous = now
    ray.kill(generator)
