"""Starts a vLLM engine for a chat model, and writes its prompts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from actors.accelerator import has_gpu
from medray.editing.llm.completion.model_directory import context_of


def start_engine(directory: str, seed: int) -> Any:
    """vLLM's `LLM` for the directory, in this process, whose environment changes for good.

    As vLLM ships it, without medray's patches: these weights never change.
    """
    os.environ.update(
        VLLM_ENABLE_V1_MULTIPROCESSING="0",
        VLLM_LOGGING_LEVEL="ERROR",
        HF_HUB_OFFLINE="1",
        VLLM_NO_USAGE_STATS="1",
        VLLM_CPU_KVCACHE_SPACE="1",
        VLLM_USE_FLASHINFER_SAMPLER="0",  # it would need a CUDA toolkit: see generator/engine.py
    )
    gpu = has_gpu()
    from vllm import LLM

    return LLM(
        model=directory,
        max_model_len=context_of(directory),
        seed=seed,
        enforce_eager=not gpu,
        max_num_seqs=64,
        disable_log_stats=True,
        limit_mm_per_prompt={"image": 0, "video": 0, "audio": 0},
        # Blanks between tokens are valid JSON without an end.
        structured_outputs_config={"backend": "guidance", "disable_any_whitespace": True},
    )


def prompt_ids(tokenizer: Any, messages: Sequence[dict[str, str]]) -> list[int]:
    """A conversation as the model's chat template writes it, ready for the reply.

    Reasoning before the reply is switched off where a template can: a reply is constrained from its
    first token. A template without a system turn gets the instructions in the user's.
    """
    from jinja2 import TemplateError

    def written(turns: Sequence[dict[str, str]]) -> list[int]:
        ids = tokenizer.apply_chat_template(
            list(turns), add_generation_prompt=True, return_dict=False, enable_thinking=False
        )
        return [int(token) for token in ids]

    try:
        return written(messages)
    except TemplateError:
        text = "\n\n".join(message["content"] for message in messages)
        return written([{"role": "user", "content": text}])
