"""A language model: chat requests in, replies that fit their schemas out."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

from actors.judge.engine import prompt_ids, start_engine
from medray.errors import ItemError

SHORTEST_REPLY = 64  # tokens; a prompt that leaves less room is refused


class LanguageModel:
    """Completes batches of chat requests, greedily. Keeps nothing between calls."""

    def __init__(self, directory: str, seed: int) -> None:
        self.directory = directory
        self.born = f"{os.getpid()}-{time.time_ns()}"
        self.broken = ""
        self.llm = start_engine(directory, seed)

    def __repr__(self) -> str:
        return f"LanguageModel({os.path.basename(os.path.normpath(self.directory))})"

    def process(self) -> str:
        """Another value after each restart. Raises RuntimeError once the engine is broken."""
        if self.broken:
            raise RuntimeError(self.broken)
        return self.born

    def complete(self, bodies: Sequence[dict[str, Any]]) -> list[str | ItemError]:
        """The text of each reply, or the reason for its absence; one batch of the engine.

        bodies: as for an OpenAI-compatible endpoint, with a JSON schema as response format.
        """
        context = self.llm.model_config.max_model_len
        replies: list[str | ItemError] = []
        fitting: dict[int, list[int]] = {}
        for number, body in enumerate(bodies):
            replies.append(ItemError("llm-refused", "the prompt is too long for the model"))
            try:
                ids = prompt_ids(self.llm.get_tokenizer(), body["messages"])
            except Exception as error:  # whatever a tokenizer makes of odd characters
                replies[number] = ItemError("llm-refused", f"{type(error).__name__} in the prompt")
                continue
            if context - len(ids) >= SHORTEST_REPLY:
                fitting[number] = ids
        sampling = [_sampling(bodies[i], context - len(ids)) for i, ids in fitting.items()]
        try:
            prompts = [{"prompt_token_ids": ids} for ids in fitting.values()]
            outputs = self.llm.generate(prompts, sampling, use_tqdm=False)
        except Exception as error:
            self.broken = f"{type(error).__name__} in the engine"
            raise
        for number, output in zip(fitting, outputs, strict=True):
            replies[number] = _text(output.outputs[0])
        return replies


def _sampling(body: dict[str, Any], room: int) -> Any:
    """Greedy decoding under the request's JSON schema, in at most `room` tokens."""
    from vllm import SamplingParams
    from vllm.sampling_params import StructuredOutputsParams

    return SamplingParams(
        temperature=body["temperature"],
        max_tokens=min(body["max_tokens"], room),
        seed=0,
        structured_outputs=StructuredOutputsParams(
            json=body["response_format"]["json_schema"]["schema"]
        ),
    )


def _text(output: Any) -> str | ItemError:
    if output.finish_reason == "length":
        return ItemError("llm-malformed", "the reply was cut off")
    return str(output.text)
