"""The policy as a vLLM engine: responses, scores, and new weights."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from actors.generator import vllm_patches
from actors.generator.engine import start_engine
from actors.generator.receive import ShardSource, arriving
from actors.weights.manifest import Manifest, named
from actors.weights.model_files import DescribedShard, model_shards
from medray.config import Config
from medray.errors import MedrayError, RunFailed
from medray.files import disk_fault
from medray.policy.export.weight_update import adapter_config
from medray.policy.model.chat import ChatCodec
from medray.policy.model.loading import model_facts
from medray.process import Scratch
from medray.records import Request, Response

PART = 16  # responses that are sent together, while the engine works on the others


class Generator:
    """Answers questions about images with the weights of exactly one policy version.

    Every call names the version it expects; an engine with another one refuses, so no response is
    ever stamped with a version that did not produce it. After an update that failed the engine
    refuses everything.
    """

    def __init__(self, config: Config, replica: int) -> None:
        self.config, self.replica, self.version = config, replica, 0
        facts = model_facts(config.model)
        self.path, self.codec = facts.path, ChatCodec(facts.path, facts.limits)
        self.adapter: Any = None
        # Gone with this process: at once on a cluster of the command's own, else when the next
        # process of medray looks for leftovers.
        self.scratch = Scratch(Path(tempfile.gettempdir())).__enter__()
        self.adapter_dir = self.scratch.folder("adapters")
        self.updates, self.loaded_weights = 0, False
        self.broken: RunFailed | None = None  # raised by every call after a failed update
        self.asleep = False
        self.prefix_stats = {"prefix_queries": 0, "prefix_hits": 0}
        self.llm = start_engine(config, facts, self.codec.pixel_limits)

    def __repr__(self) -> str:
        return f"Generator(replica={self.replica})"

    def generate(
        self, expected_version: int, requests: Sequence[Request], greedy: bool, *images: np.ndarray
    ) -> Iterator[list[Response]]:
        """One response per request, in parts, as they finish.

        images: uint8 [H, W, 3], indexed by the requests. Log-probabilities, which take time of the
        engine, come with greedy answers, whose confidence is measured, and where
        loop.importance_clip reads them.
        """
        from vllm import SamplingParams

        self._require_version(expected_version)
        generator = self.config.generator
        logprobs = 0 if greedy or self.config.loop.importance_clip is not None else None
        prompts = self._prompts(requests, images, [request.prefix_ids for request in requests])
        sampling = [
            SamplingParams(
                temperature=0.0 if greedy else generator.temperature,
                max_tokens=max(1, generator.max_new_tokens - len(request.prefix_ids)),
                seed=request.seed,
                stop_token_ids=[self.codec.eos_id],
                logprobs=logprobs,
                detokenize=False,  # the codec decodes complete answers
            )
            for request in requests
        ]
        part: list[Response] = []
        for i, output in vllm_patches.stream_outputs(self.llm, prompts, sampling, self.adapter):
            self.prefix_stats["prefix_queries"] += len(output.prompt_token_ids)
            self.prefix_stats["prefix_hits"] += output.num_cached_tokens or 0
            part.append(self._response(requests[i], output))
            if len(part) >= PART:
                yield part
                part = []
        if part:
            yield part

    def score(
        self,
        expected_version: int,
        requests: Sequence[Request],
        answers: Sequence[Sequence[int]],
        *images: np.ndarray,
    ) -> list[np.ndarray]:
        """Log-probabilities of given answers (token ids [T] each) → float32 [T] each."""
        from vllm import SamplingParams

        self._require_version(expected_version)
        prompts = self._prompts(requests, images, answers)
        sampling = SamplingParams(
            temperature=0.0, max_tokens=1, prompt_logprobs=0, detokenize=False
        )
        outputs = self.llm.generate(prompts, sampling, use_tqdm=False, lora_request=self.adapter)
        scored = []
        for output, answer in zip(outputs, answers, strict=True):
            steps = output.prompt_logprobs[-len(answer) :]
            values = [step[token].logprob for step, token in zip(steps, answer, strict=True)]
            scored.append(np.asarray(values, dtype=np.float32))
        return scored

    def adopt(
        self,
        parcel: tuple[Manifest, Sequence[ShardSource]],
        requests: Sequence[Request],
        answers: Sequence[Sequence[int]],
        *images: np.ndarray,
    ) -> tuple[dict[str, int], list[np.ndarray]]:
        """In one call, all that a generator has to do for new weights: `cache_stats` before
        `update`, and `score` after it, of no answers if there are none."""
        manifest, shards = parcel
        stats = self.cache_stats()
        self.update(manifest, shards)
        return stats, self.score(manifest.version, requests, answers, *images) if answers else []

    def update(self, manifest: Manifest, shards: Sequence[ShardSource]) -> float:
        """Adopt the weights of `manifest.version`, newer or older; returns seconds.

        `shards`: references to the manifest's shards (in a list, so that Ray does not resolve
        them), or the shards. Raises RunFailed with the cause if anything fails: the engine then
        holds a mixture, refuses every later call, and the caller must replace this actor.
        """
        self._refuse_if_broken()
        self.wake()
        start = time.perf_counter()
        self.updates += 1
        try:
            if manifest.mode == "adapter":
                self._load_adapter(manifest, shards)
            else:
                self._load_weights(manifest, shards)
            self._reset_caches()
        except Exception as error:
            cause = str(error) if isinstance(error, MedrayError) else f"{error!r}"
            self.broken = RunFailed(
                f"{self!r} holds a mixture of versions {self.version} and {manifest.version}",
                f"its update failed: {cause}",
                "replace this actor",
            )
            if isinstance(error, MedrayError):
                raise
            if fault := disk_fault(error):
                raise fault from error
            raise RunFailed(f"weight update of {self!r}", cause, "see the Ray logs") from error
        self.version = manifest.version
        return time.perf_counter() - start

    def reset(self, config: Config) -> None:
        """Begin another run on this engine: version 0, the weights of the model's files.

        `config` may differ in what the engine was not started with. Raises RunFailed; the caller
        must then replace this actor.
        """
        self._refuse_if_broken()
        self.wake()
        if self.loaded_weights:
            self._load_shards(model_shards(self.path), 0)
        self._drop_adapter()
        self._reset_caches()
        self.cache_stats()  # the last run's
        self.config, self.version, self.loaded_weights = config, 0, False

    def policy_version(self) -> int:
        return self.version

    def cache_stats(self) -> dict[str, int]:
        """Queries and hits since the last call, counted without vLLM's statistics.

        prefix_*: tokens of prompts given to `generate` (scoring reads no cached prefix);
        image_*: images whose processed pixels were looked up. vLLM does not count how often it
        reused an image's features.
        """
        queries, hits = vllm_patches.image_cache_stats(self.llm)
        stats = self.prefix_stats | {"image_queries": queries, "image_hits": hits}
        self.prefix_stats = dict.fromkeys(self.prefix_stats, 0)
        return stats

    def sleep(self) -> None:
        """Release the GPU's memory until `wake`; the weights move to host memory.

        Level 1 of vLLM's two: an update brings only the weights that train, so the others must
        not be discarded.
        """
        self._refuse_if_broken()
        if not self.llm.llm_engine.model_config.enable_sleep_mode:
            raise RunFailed(f"{self!r}", "does not share a GPU", "set generator.colocated to true")
        if not self.asleep:
            self.llm.sleep(level=1)
            self.asleep = True

    def wake(self) -> None:
        """Take the GPU's memory again, with empty caches; every call that needs it does so."""
        if self.asleep:
            self.llm.wake_up()
            self.asleep = False
            self._reset_caches()

    def _require_version(self, version: int) -> None:
        self._refuse_if_broken()
        self.wake()
        if version != self.version:
            raise RunFailed(
                f"{self!r} has policy version {self.version}", f"{version} was expected"
            )

    def _refuse_if_broken(self) -> None:
        if self.broken is not None:
            raise self.broken

    def _prompts(
        self,
        requests: Sequence[Request],
        images: Sequence[np.ndarray],
        answers: Sequence[Sequence[int]],
    ) -> list[dict[str, Any]]:
        """Token prompts with their images, each followed by the tokens of its answer."""
        from PIL import Image

        pictures = [Image.fromarray(image) for image in images]
        return [
            {
                "prompt_token_ids": [
                    *self.codec.prompt_ids(request.question, len(request.images)),
                    *answer,
                ],
                "multi_modal_data": {"image": [pictures[image] for image in request.images]},
            }
            for request, answer in zip(requests, answers, strict=True)
        ]

    def _response(self, request: Request, output: Any) -> Response:
        best, given = output.outputs[0], request.prefix_ids
        sampled = tuple(int(i) for i in best.token_ids)
        logps: tuple[float, ...] = ()
        if best.logprobs is not None:
            steps = zip(best.logprobs, sampled, strict=True)
            logps = (0.0,) * len(given) + tuple(float(step[token].logprob) for step, token in steps)
        ids = (*given, *sampled)
        text = self.codec.tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        finished = bool(sampled) and sampled[-1] == self.codec.eos_id
        names = request.item_id, request.case_id
        return Response(*names, self.version, text, ids, logps, finished, len(given))

    def _load_weights(self, manifest: Manifest, shards: Sequence[ShardSource]) -> None:
        self.loaded_weights = True
        self._load_shards(arriving(manifest, shards), manifest.version)

    def _load_shards(self, shards: Iterable[DescribedShard], version: int) -> None:
        """Shard by shard through vLLM's own weight transfer, into every worker."""
        self.llm.start_weight_update()
        for specs, shard in shards:
            self.llm.update_weights({"update_info": {"specs": specs, "shard": shard}})
        self.llm.finish_weight_update(weight_version=str(version))

    def _load_adapter(self, manifest: Manifest, shards: Sequence[ShardSource]) -> None:
        """A new name, id and path per update: they are keys of vLLM's prefix cache.

        Not per version: a run that returns to a checkpoint reaches a version a second time.
        """
        from safetensors.torch import save_file
        from vllm.lora.request import LoRARequest

        lora = self.config.model.lora
        if lora is None:
            raise RunFailed("weight update", "an adapter arrived, and model.lora is null")
        directory = self.adapter_dir / str(self.updates)
        directory.mkdir()
        weights = {n: t for part in arriving(manifest, shards) for n, t in named(*part)}
        save_file(weights, directory / "adapter_model.safetensors")
        (directory / "adapter_config.json").write_text(
            json.dumps(adapter_config(lora.rank, lora.alpha, lora.rank_stabilised))
        )
        adapter = LoRARequest(f"update-{self.updates}", self.updates, str(directory))
        if not self.llm.llm_engine.add_lora(adapter):
            raise RunFailed(f"{self!r}", f"vLLM refused the adapter of {manifest.version}")
        self._drop_adapter()
        self.adapter = adapter

    def _drop_adapter(self) -> None:
        """Without it the engine answers by the base weights."""
        if self.adapter is not None:
            self.llm.llm_engine.remove_lora(self.adapter.lora_int_id)
            shutil.rmtree(self.adapter.lora_path, ignore_errors=True)
            self.adapter = None

    def _reset_caches(self) -> None:
        """Prefix, multi-modal and encoder cache hold values of the old weights."""
        if not self.llm.reset_prefix_cache():
            raise RunFailed(f"{self!r}", "vLLM could not reset its prefix cache")
        self.llm.llm_engine.reset_mm_cache()
        self.llm.llm_engine.reset_encoder_cache()
