"""The policy as a vLLM engine (the only file that imports vllm)."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from actors.weights import Manifest, Shard, tensors
from medray.config import Config
from medray.errors import RunFailed
from medray.policy.architectures import ARCHITECTURES
from medray.policy.architectures.llava import Llava
from medray.policy.chat import ChatCodec
from medray.policy.loading import ModelFacts, model_facts
from medray.records import Response


@dataclass(frozen=True, slots=True)
class Request:
    """One answer to give. `image` indexes the pictures handed over with the call."""

    item_id: str
    case_id: str
    question: str
    image: int
    seed: int


class Generator:
    """Answers questions about images with the weights of exactly one policy version.

    Every call names the version it expects; an engine that has another one refuses, so no
    answer is ever stamped with a version that did not produce it.
    """

    def __init__(self, config: Config, replica: int) -> None:
        self.config, self.replica, self.version = config, replica, 0
        facts = model_facts(config.model)
        self.codec = ChatCodec(facts.path)
        self.adapter: Any = None
        self.adapter_dir = Path(tempfile.mkdtemp(prefix="medray-adapter-"))
        self.llm = _start_engine(config, facts)

    def __repr__(self) -> str:
        return f"Generator(replica={self.replica})"

    def generate(
        self, expected_version: int, requests: Sequence[Request], greedy: bool, *images: np.ndarray
    ) -> list[Response]:
        """One response per request, in order; images uint8 [H, W, 3], indexed by the requests."""
        from vllm import SamplingParams

        self._require(expected_version)
        generator = self.config.generator
        prompts = self._prompts(requests, images, [()] * len(requests))
        sampling = [
            SamplingParams(
                temperature=0.0 if greedy else generator.temperature,
                max_tokens=generator.max_new_tokens, seed=request.seed, logprobs=0,
            )
            for request in requests
        ]  # fmt: skip
        outputs = self.llm.generate(prompts, sampling, use_tqdm=False, lora_request=self.adapter)
        return [self._response(r, o) for r, o in zip(requests, outputs, strict=True)]

    def score(
        self,
        expected_version: int,
        requests: Sequence[Request],
        answers: Sequence[Sequence[int]],
        *images: np.ndarray,
    ) -> list[np.ndarray]:
        """Log-probabilities of given answers (token ids [T] each) → float32 [T] each."""
        from vllm import SamplingParams

        self._require(expected_version)
        prompts = self._prompts(requests, images, answers)
        sampling = SamplingParams(temperature=0.0, max_tokens=1, prompt_logprobs=0)
        outputs = self.llm.generate(prompts, sampling, use_tqdm=False, lora_request=self.adapter)
        scored = []
        for output, answer in zip(outputs, answers, strict=True):
            steps = output.prompt_logprobs[-len(answer) :]
            values = [step[token].logprob for step, token in zip(steps, answer, strict=True)]
            scored.append(np.asarray(values, dtype=np.float32))
        return scored

    def update(self, manifest: Manifest, *shards: Shard) -> float:
        """Take over the weights of `manifest.version`; returns seconds.

        If it raises, the engine holds a mixture: the caller must replace this actor.
        """
        begin = time.perf_counter()
        if manifest.mode == "adapter":
            self._load_adapter(manifest, shards)
        else:
            self.llm.collective_rpc(_reload, args=(manifest, list(shards)))
        self._reset_caches()
        self.version = manifest.version
        return time.perf_counter() - begin

    def policy_version(self) -> int:
        return self.version

    def _require(self, version: int) -> None:
        if version != self.version:
            raise RunFailed(
                f"{self!r} has policy version {self.version}", f"{version} was expected"
            )

    def _prompts(
        self,
        requests: Sequence[Request],
        images: Sequence[np.ndarray],
        answers: Sequence[Sequence[int]],
    ) -> list[dict[str, Any]]:
        """Token prompts (an answer appended where one is given) with their pictures."""
        from PIL import Image

        pictures = [Image.fromarray(image) for image in images]
        return [
            {
                "prompt_token_ids": [*self.codec.prompt_ids(request.question), *answer],
                "multi_modal_data": {"image": pictures[request.image]},
            }
            for request, answer in zip(requests, answers, strict=True)
        ]

    def _response(self, request: Request, output: Any) -> Response:
        best = output.outputs[0]
        ids = tuple(int(i) for i in best.token_ids)
        logps = tuple(
            float(step[token].logprob) for step, token in zip(best.logprobs, ids, strict=True)
        )
        text = self.codec.tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        finished = bool(ids) and ids[-1] == self.codec.eos_id
        return Response(request.item_id, request.case_id, self.version, text, ids, logps, finished)

    def _load_adapter(self, manifest: Manifest, shards: Sequence[Shard]) -> None:
        """A new name, id and path per version: they key vLLM's prefix cache."""
        import json

        from safetensors.torch import save_file
        from vllm.lora.request import LoRARequest

        from medray.policy.export import adapter_config

        lora = self.config.model.lora
        assert lora is not None
        directory = self.adapter_dir / f"v{manifest.version}"
        directory.mkdir()
        save_file(dict(tensors(manifest, shards)), directory / "adapter_model.safetensors")
        (directory / "adapter_config.json").write_text(
            json.dumps(adapter_config(lora.rank, lora.alpha, lora.rank_stabilised))
        )
        old = self.adapter
        self.adapter = LoRARequest(f"v{manifest.version}", manifest.version + 1, str(directory))
        if not self.llm.llm_engine.add_lora(self.adapter):
            raise RunFailed(f"{self!r}", f"vLLM refused the adapter of {manifest.version}")
        if old is not None:
            self.llm.llm_engine.remove_lora(old.lora_int_id)
            shutil.rmtree(old.lora_path, ignore_errors=True)

    def _reset_caches(self) -> None:
        """Prefix, multi-modal and encoder cache hold values of the old weights."""
        if not self.llm.reset_prefix_cache():
            raise RunFailed(f"{self!r}", "vLLM could not reset its prefix cache")
        self.llm.llm_engine.reset_mm_cache()
        self.llm.llm_engine.reset_encoder_cache()


def _reload(worker: Any, manifest: Manifest, shards: list[Shard]) -> None:
    """Runs in every vLLM worker: vLLM's own reload path, layer by layer."""
    from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead

    worker.model_runner.reload_weights(weights_iterator=tensors(manifest, shards))
    for module in worker.model_runner.get_model().modules():
        if isinstance(module, ParallelLMHead):  # tied to the embeddings, it is not itself reloaded,
            module.quant_method.process_weights_after_loading(module)  # and a CPU has a packed copy


def _start_engine(config: Config, facts: ModelFacts) -> Any:
    os.environ.update(
        VLLM_ENABLE_V1_MULTIPROCESSING="0", VLLM_LOGGING_LEVEL="ERROR",
        HF_HUB_OFFLINE="1", VLLM_NO_USAGE_STATS="1", VLLM_CPU_KVCACHE_SPACE="1",
    )  # fmt: skip
    import torch
    from vllm import LLM

    mend_vllm()
    lora = config.model.lora if config.loop.sync == "adapter" else None
    on_gpu = torch.cuda.is_available()
    options: dict[str, Any] = {}
    if lora is not None:
        options |= {"enable_lora": True, "max_lora_rank": _vllm_rank(lora.rank), "max_loras": 1}
        options |= {"enable_tower_connector_lora": set(lora.targets) != {"language"}}
    if on_gpu:
        options |= {"gpu_memory_utilization": config.generator.memory}
    return LLM(
        model=str(facts.path), dtype=config.model.dtype, max_model_len=facts.context,
        tensor_parallel_size=config.generator.tensor_parallel, seed=config.run.seed,
        limit_mm_per_prompt={"image": 1}, enforce_eager=not on_gpu, max_num_seqs=64,
        disable_log_stats=True, **options,
    )  # fmt: skip


def _vllm_rank(rank: int) -> int:
    """vLLM allocates for one of a few ranks."""
    for allowed in (8, 16, 32, 64, 128, 256, 320, 512):
        if rank <= allowed:
            return allowed
    raise RunFailed(f"model.lora.rank = {rank}", "vLLM serves at most 512", "lower it")


def mend_vllm() -> None:
    """Teach vLLM's models what they do not know, before an engine builds one.

    vLLM calls this too, in every worker process of an engine that has several: it is a plugin
    of the group `vllm.general_plugins`.
    """
    import re

    from vllm import ModelRegistry
    from vllm.model_executor.models.utils import WeightsMapper

    for architecture in ARCHITECTURES.values():
        if architecture.vllm_names:
            model = ModelRegistry.models[architecture.name].load_model_cls()
            renames = {re.compile(old): new for old, new in architecture.vllm_names.items()}
            model.hf_to_vllm_mapper |= WeightsMapper(orig_to_new_regex=renames)
    llava = ModelRegistry.models[Llava.name].load_model_cls()
    llava.get_mm_lora_token_counts = _llava_token_counts


def _llava_token_counts(
    model: Any, *, modality: str, mm_kwargs: Any, num_mm_embeds: int
) -> tuple[int, int]:
    """Tokens that LoRA meets in a CLIP tower and in the projector, of so many image tokens.

    vLLM forgets the class token, which the tower computes and the projector never sees: the
    last tokens of a batch would go without the adapter (on a CPU, shapes do not match).
    """
    if model.config.vision_feature_select_strategy != "default":
        return num_mm_embeds, num_mm_embeds
    vision = model.config.vision_config
    per_image = (vision.image_size // vision.patch_size) ** 2
    return num_mm_embeds + -(-num_mm_embeds // per_image), num_mm_embeds
