"""The policy as a vLLM engine (the only file that imports vllm)."""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from actors.transfer import Part, arriving, keep_freed_memory
from actors.weights import Manifest, Shard, TensorSpec, named
from medray.config import Config
from medray.errors import MedrayError, RunFailed
from medray.policy.architectures import ARCHITECTURES
from medray.policy.architectures.llava import Llava
from medray.policy.chat import ChatCodec
from medray.policy.loading import ModelFacts, model_facts
from medray.records import Request, Response

BACKEND = "ray_store"  # the name under which vLLM knows our way of updating weights


class Generator:
    """Answers questions about images with the weights of exactly one policy version.

    Every call names the version it expects; an engine that has another one refuses, so no
    answer is ever stamped with a version that did not produce it. After an update that failed
    the engine refuses everything.
    """

    def __init__(self, config: Config, replica: int) -> None:
        self.config, self.replica, self.version = config, replica, 0
        facts = model_facts(config.model)
        self.codec = ChatCodec(facts.path)
        self.adapter: Any = None
        self.adapter_dir = Path(tempfile.mkdtemp(prefix="medray-adapter-"))
        self.updates = 0
        self.refusal: RunFailed | None = None  # what every call is answered, from a failure on
        self.asleep = False
        self.seen = {"prefix_queries": 0, "prefix_hits": 0}
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
        for output in outputs:
            self.seen["prefix_queries"] += len(output.prompt_token_ids)
            self.seen["prefix_hits"] += output.num_cached_tokens or 0
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

    def update(self, manifest: Manifest, shards: Sequence[Part]) -> float:
        """Take over the weights of `manifest.version`, newer or older; returns seconds.

        `shards`: references to the manifest's shards (in a list: Ray leaves them alone there),
        or the shards. RunFailed with the cause where anything fails: the engine then holds a
        mixture, refuses every later call, and the caller must replace this actor.
        """
        self._require_whole()
        self.wake()
        begin = time.perf_counter()
        self.updates += 1
        try:
            if manifest.mode == "adapter":
                self._load_adapter(manifest, shards)
            else:
                self._load_weights(manifest, shards)
            self._reset_caches()
        except Exception as error:
            cause = str(error) if isinstance(error, MedrayError) else f"{error!r}"
            self.refusal = RunFailed(
                f"{self!r} holds a mixture of versions {self.version} and {manifest.version}",
                f"its update failed: {cause}", "replace this actor",
            )  # fmt: skip
            if isinstance(error, MedrayError):
                raise
            raise RunFailed(f"weight update of {self!r}", cause, "see the Ray logs") from error
        self.version = manifest.version
        return time.perf_counter() - begin

    def policy_version(self) -> int:
        return self.version

    def cache_stats(self) -> dict[str, int]:
        """Queries and hits since the last call, counted without vLLM's statistics.

        prefix_*: tokens of prompts that `generate` gave (scoring reads no cached prefix);
        image_*: pictures whose processed pixels were looked for. vLLM does not count how often
        a picture's features were at hand.
        """
        pictures = self.llm.llm_engine.renderer.stat_mm_cache()
        told = self.seen | {
            "image_queries": pictures.queries if pictures else 0,
            "image_hits": pictures.hits if pictures else 0,
        }
        self.seen = dict.fromkeys(self.seen, 0)
        return told

    def sleep(self) -> None:
        """Give the GPU's memory back until `wake`: weights wait in host memory.

        Level 1 of vLLM's two: an update brings only what trains, so the rest must not be lost.
        """
        self._require_whole()
        if not self.llm.llm_engine.model_config.enable_sleep_mode:
            raise RunFailed(f"{self!r}", "does not share a GPU", "set generator.colocated to true")
        self.llm.sleep(level=1)
        self.asleep = True

    def wake(self) -> None:
        """Take the GPU's memory again; every call that needs it does so. The caches are empty."""
        if self.asleep:
            self.llm.wake_up()
            self.asleep = False
            self._reset_caches()

    def _require(self, version: int) -> None:
        self._require_whole()
        self.wake()
        if version != self.version:
            raise RunFailed(
                f"{self!r} has policy version {self.version}", f"{version} was expected"
            )

    def _require_whole(self) -> None:
        if self.refusal is not None:
            raise self.refusal
        if self.asleep:
            raise RunFailed(f"{self!r}", "is asleep", "wake it first")

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

    def _load_weights(self, manifest: Manifest, shards: Sequence[Part]) -> None:
        """Shard by shard through vLLM's own weight transfer, into every worker."""
        self.llm.start_weight_update()
        for specs, shard in arriving(manifest, shards):
            self.llm.update_weights({"update_info": {"specs": specs, "shard": shard}})
        self.llm.finish_weight_update(weight_version=str(manifest.version))

    def _load_adapter(self, manifest: Manifest, shards: Sequence[Part]) -> None:
        """A new name, id and path per update: they key vLLM's prefix cache.

        Not per version: a run that goes back to a checkpoint comes to a version again.
        """
        import json

        from safetensors.torch import save_file
        from vllm.lora.request import LoRARequest

        from medray.policy.export import adapter_config

        lora = self.config.model.lora
        if lora is None:
            raise RunFailed("weight update", "an adapter came, and model.lora is null")
        directory = self.adapter_dir / str(self.updates)
        directory.mkdir()
        came = {n: t for part in arriving(manifest, shards) for n, t in named(*part)}
        save_file(came, directory / "adapter_model.safetensors")
        (directory / "adapter_config.json").write_text(
            json.dumps(adapter_config(lora.rank, lora.alpha, lora.rank_stabilised))
        )
        old = self.adapter
        self.adapter = LoRARequest(f"update-{self.updates}", self.updates, str(directory))
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


@functools.cache
def _register_transfer() -> None:
    """Make our way of updating weights known to vLLM (once: it refuses a second time)."""
    from vllm.distributed.weight_transfer.base import (
        WeightTransferEngine,
        WeightTransferInitInfo,
        WeightTransferUpdateInfo,
    )
    from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory
    from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead
    from vllm.model_executor.model_loader.reload import (
        finalize_layerwise_reload,
        initialize_layerwise_reload,
    )

    @dataclass
    class Nothing(WeightTransferInitInfo):
        """There is nobody to meet."""

    @dataclass
    class Piece(WeightTransferUpdateInfo):
        """One verified shard: arrays, which reach other processes without a copy more."""

        specs: tuple[TensorSpec, ...]
        shard: Shard

    class RayStoreEngine(WeightTransferEngine[Nothing, Piece]):
        """What each worker does with a shard.

        Where the layers keep their weights as they were loaded, a shard is copied into them: one
        copy, no new memory. Where vLLM changes them after loading (quantised, or packed for a
        CPU's kernels), its own reload does it all again, layer by layer.
        """

        init_info_cls, update_info_cls = Nothing, Piece
        supports_draft_weight_update = False

        def init_transfer_engine(self, init_info: Nothing) -> None:
            pass

        def start_weight_update(self) -> None:
            whole = all(parameter.numel() for parameter in self.model.parameters())
            self.in_place = whole and self.vllm_config.quant_config is None
            if not self.in_place:
                initialize_layerwise_reload(self.model)

        def receive_weights(self, update_info: Piece) -> None:
            self.model.load_weights(named(update_info.specs, update_info.shard))

        def finish_weight_update(self) -> None:
            if not self.in_place:
                finalize_layerwise_reload(self.model, self.model_config)
            for module in self.model.modules():  # tied to the embeddings, a head is not itself
                if isinstance(module, ParallelLMHead):  # reloaded, and a CPU has a packed copy
                    module.quant_method.process_weights_after_loading(module)

        def shutdown(self) -> None:
            pass

    WeightTransferEngineFactory.register_engine(BACKEND, RayStoreEngine)


def _start_engine(config: Config, facts: ModelFacts) -> Any:
    os.environ.update(
        VLLM_ENABLE_V1_MULTIPROCESSING="0", VLLM_LOGGING_LEVEL="ERROR",
        HF_HUB_OFFLINE="1", VLLM_NO_USAGE_STATS="1", VLLM_CPU_KVCACHE_SPACE="1",
        THP_MEM_ALLOC_ENABLE="1",  # torch's: weights on a CPU move into new memory at every update
    )  # fmt: skip
    import torch
    from vllm import LLM
    from vllm.config import WeightTransferConfig

    mend_vllm()
    lora = config.model.lora if config.loop.sync == "adapter" else None
    on_gpu = torch.cuda.is_available()
    options: dict[str, Any] = {}
    if not on_gpu:
        keep_freed_memory()
    if lora is not None:
        options |= {"enable_lora": True, "max_lora_rank": _vllm_rank(lora.rank), "max_loras": 1}
        options |= {"enable_tower_connector_lora": set(lora.targets) != {"language"}}
    if on_gpu:
        options |= {"gpu_memory_utilization": config.generator.memory}
        options |= {"enable_sleep_mode": config.generator.colocated}
    return LLM(
        model=str(facts.path), dtype=config.model.dtype, max_model_len=facts.context,
        tensor_parallel_size=config.generator.tensor_parallel, seed=config.run.seed,
        limit_mm_per_prompt={"image": 1}, enforce_eager=not on_gpu, max_num_seqs=64,
        disable_log_stats=True, weight_transfer_config=WeightTransferConfig(backend=BACKEND),
        **options,
    )  # fmt: skip


def _vllm_rank(rank: int) -> int:
    """vLLM allocates for one of a few ranks."""
    for allowed in (8, 16, 32, 64, 128, 256, 320, 512):
        if rank <= allowed:
            return allowed
    raise RunFailed(f"model.lora.rank = {rank}", "vLLM serves at most 512", "lower it")


def mend_vllm() -> None:
    """Teach vLLM our weight transfer and its models what they do not know, before an engine starts.

    vLLM calls this too, in every worker process of an engine that has several: it is a plugin
    of the group `vllm.general_plugins`.
    """
    import re

    from vllm import ModelRegistry
    from vllm.model_executor.models.utils import WeightsMapper

    _register_transfer()
    for architecture in ARCHITECTURES.values():
        if architecture.vllm_names:
            model = ModelRegistry.models[architecture.name].load_model_cls()
            renames = {re.compile(old): new for old, new in architecture.vllm_names.items()}
            model.hf_to_vllm_mapper |= WeightsMapper(orig_to_new_regex=renames)
    llava = ModelRegistry.models[Llava.name].load_model_cls()
    llava.get_mm_lora_token_counts = _llava_token_counts
    _leave_weights_unpacked()


def _leave_weights_unpacked() -> None:
    """On a CPU, keep linear layers as they are loaded.

    vLLM packs them for oneDNN once, for a server that keeps its weights; here they change at every
    step, and packing takes four times as long as the rest of an update.
    """
    from vllm import _custom_ops

    _custom_ops._supports_onednn = False


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
