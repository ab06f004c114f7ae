"""Real vLLM generators in processes of their own, for tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import ray
import torch

from actors.fleet import plan_placement
from actors.generator.actor import Generator
from actors.weights.manifest import Manifest, Shard, pack, plan_shards
from medray.config import Config, load_config
from medray.policy.export.weight_update import export_items
from medray.policy.model.chat import ChatCodec
from medray.policy.model.loading import load_model, model_facts, resolve_model_path
from medray.policy.model.tuning import prepare_policy
from medray.records import Request
from tests.support.models import plain
from tests.support.paths import ROOT

QUESTION = "Describe the chest radiograph."
SIZES = ((24, 32), (40, 16), (64, 64))
GROUPS = "[language,projector,vision]"
TUNING = {
    "full": ("model.lora=null", f"model.trainable={GROUPS}"),
    "adapter": (f"model.lora={{rank: 4, alpha: 8, targets: {GROUPS}}}", "loop.sync=adapter"),
}


HOSTS: list[Any] = []  # the one that tests share


def new_host() -> Any:
    """A process that can host generators."""
    options = plan_placement(config()).generator
    return ray.remote(host_class()).options(**options).remote()


def shared_host() -> Any:
    """The process that hosts the generators of all tests, one after another."""
    if not HOSTS:
        HOSTS.append(new_host())
    return HOSTS[0]


def host_class() -> type:
    """Made here so that it travels by value: workers cannot import a test module."""

    class Host:
        """Generators one after another in one process: starting vLLM is mostly importing it."""

        def __init__(self) -> None:
            self.generator = None

        def start(self, cfg) -> None:
            import gc

            self.generator = None
            gc.collect()  # the old engine's cache, before there is a new one
            self.generator = Generator(cfg, 0)

        def call(self, method, *arguments):
            """What the method returns; of one that yields, all parts."""
            import inspect

            result = getattr(self.generator, method)(*arguments)
            return list(result) if inspect.isgenerator(result) else result

        def listen(self, count, method, *arguments):
            """The first `count` parts of what a method yields, and what vLLM still has to do."""
            parts = getattr(self.generator, method)(*arguments)
            heard = [next(parts) for _ in range(count)]
            parts.close()
            return heard, self.generator.llm.llm_engine.get_num_unfinished_requests()

        def pid(self) -> int:
            import os

            return os.getpid()

    return Host


def config(*overrides: str) -> Config:
    return load_config(ROOT / "configs/quickstart.yaml", overrides)


def call(host: Any, method: str, *arguments) -> Any:
    return ray.get(host.call.remote(method, *arguments))


def pictures_of(sizes: Sequence[tuple[int, int]]) -> list[np.ndarray]:
    """Noise in several sizes, which Qwen2.5-VL keeps."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


def requests(n: int) -> list[Request]:
    return [Request(f"i{i}", f"c{i}", QUESTION, (i,), i) for i in range(n)]


def generate(host: Any, version: int, requests_: Sequence[Request], greedy: bool, *images) -> list:
    """Responses in the order of the requests."""
    parts = call(host, "generate", version, requests_, greedy, *images)
    by_id = {response.item_id: response for part in parts for response in part}
    return [by_id[request.item_id] for request in requests_]


def score(host: Any, version: int, answers, images) -> np.ndarray:
    return np.concatenate(call(host, "score", version, requests(len(images)), answers, *images))


def packed(policy, mode: str, version: int) -> tuple[Manifest, list[Shard]]:
    """A weight update as a learner's rank 0 returns it."""
    plan = plan_shards(export_items(policy, mode), torch.bfloat16)
    manifest, *shards = pack(plan, version, mode, lambda _: nullcontext())
    return manifest, shards


def update_of(policy, mode: str, version: int) -> tuple[Manifest, list[ray.ObjectRef]]:
    """The same with its shards in the object store."""
    manifest, shards = packed(policy, mode, version)
    return manifest, [ray.put(shard) for shard in shards]


def expected(policy, cfg: Config, answers, images) -> np.ndarray:
    """The same scores by a plain forward pass of transformers."""
    codec = ChatCodec(resolve_model_path(cfg.model.path))
    text = codec.render(QUESTION)
    return np.concatenate(
        [
            plain.token_logps(policy, codec.processor, text, image, answer)
            for image, answer in zip(images, answers, strict=True)
        ]
    )


def start(host: Any, *overrides: str) -> tuple[Any, Config]:
    """A generator; the policy it should equal, and the configuration of both."""
    cfg = config(*overrides)
    ray.get(host.start.remote(cfg))
    return policy_of(cfg), cfg


def policy_of(cfg: Config) -> Any:
    model = load_model(resolve_model_path(cfg.model.path), "bfloat16")
    return prepare_policy(model, cfg.model).eval()


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


def begin(host: Any, path, mode: str, pictures) -> tuple[Any, Config, Callable]:
    """A generator of a look-alike that agrees with transformers, and a way to ask it again."""
    shape = "generator.max_new_tokens=8", "model.max_images=2"
    policy, cfg = start(host, f"model.path={path}", *shape, *TUNING[mode])
    responses = generate(host, 0, requests(len(pictures)), True, *pictures)
    placeholder = model_facts(cfg.model).image_token  # transformers would want a picture for it
    kept = [
        (r, p) for r, p in zip(responses, pictures, strict=True) if placeholder not in r.token_ids
    ]
    theirs = np.concatenate([r.token_logps for r, _ in kept])
    ours = expected(policy, cfg, [r.token_ids for r, _ in kept], [p for _, p in kept])
    assert np.abs(theirs - ours).mean() < 0.05
    rng = np.random.default_rng(1)
    answers = [rng.integers(260, 330, 9).tolist() for _ in pictures]  # no special tokens

    def agreed(policy, version: int, host: Any = host) -> np.ndarray:
        """The generator's scores, which must be the policy's."""
        now = score(host, version, answers, pictures)
        assert np.abs(now - expected(policy, cfg, answers, pictures)).mean() < 0.05
        return now

    return policy, cfg, agreed
