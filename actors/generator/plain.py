"""vLLM without medray, to compare a generator with: for `medray bench generate`."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

import numpy as np

from actors import ENGINE_MARK
from actors.accelerator import has_gpu
from actors.generator.engine import engine_environment, engine_options, import_vllm
from actors.generator.vllm_patches import rename_weights
from medray.config import Config
from medray.policy.model.chat import ChatCodec
from medray.policy.model.loading import model_facts
from medray.records import Request


class PlainEngine:
    """vLLM's `LLM.generate` on prompts that are ready, and nothing around it: as anybody starts it
    with a run's options. On CPUs it packs its weights, which are never to change."""

    def __init__(self, config: Config) -> None:
        self.config, facts = config, model_facts(config.model)
        self.codec = ChatCodec(facts.path, facts.limits)
        gpu = has_gpu()
        os.environ.update(engine_environment(gpu=gpu))
        del os.environ[ENGINE_MARK]  # else vllm_plugin patches it
        LLM, *_ = import_vllm()
        rename_weights()
        limits = self.codec.pixel_limits
        options = {"mm_processor_kwargs": limits} if limits else {}
        self.llm = LLM(**options, **engine_options(config, facts, gpu=gpu))

    def generate(
        self, requests: Sequence[Request], greedy: bool, *images: np.ndarray
    ) -> tuple[float, float, list[list[int]]]:
        """Seconds, those of the processor, and the token ids of every answer; images: uint8
        [H, W, 3], indexed by the requests."""
        from PIL import Image
        from vllm import SamplingParams

        generator = self.config.generator
        prompts = [
            {
                "prompt_token_ids": self.codec.prompt_ids(request.question),
                "multi_modal_data": {"image": [Image.fromarray(images[request.images[0]])]},
            }
            for request in requests
        ]
        sampling = [
            SamplingParams(
                temperature=0.0 if greedy else generator.temperature,
                max_tokens=generator.max_new_tokens,
                seed=request.seed,
                stop_token_ids=[self.codec.eos_id],
            )
            for request in requests
        ]
        cpu, start = time.process_time(), time.perf_counter()
        outputs = self.llm.generate(prompts, sampling, use_tqdm=False)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        return seconds, cpu, [list(output.outputs[0].token_ids) for output in outputs]
