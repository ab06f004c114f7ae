"""Questions and images as token ids, the same in the generators and in the learners."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from medray.errors import ItemError, ModelError


class ChatCodec:
    """The model's own chat template, tokenizer and image processor.

    Generators take `prompt_ids` (one image placeholder, which vLLM expands); learners take
    `encode`, where the processor has expanded it. Both start from the same rendered text,
    tokenised without added special tokens.
    """

    def __init__(self, path: Path) -> None:
        from transformers import AutoProcessor

        try:
            self.processor: Any = AutoProcessor.from_pretrained(path, local_files_only=True)
        except (OSError, ValueError) as error:
            raise ModelError(str(path), f"no usable processor ({error})", "add the files") from None
        self.tokenizer: Any = self.processor.tokenizer
        if not (self.processor.chat_template or self.tokenizer.chat_template):
            raise ModelError(str(path), "has no chat template", "add chat_template.jinja")
        if self.tokenizer.eos_token_id is None:
            raise ModelError(str(path), "its tokenizer has no eos_token", "declare one")
        self.eos_id: int = self.tokenizer.eos_token_id

    def render(self, question: str) -> str:
        """The prompt up to where the answer starts, with one image placeholder."""
        content = [{"type": "image"}, {"type": "text", "text": self._neutral(question)}]
        messages = [{"role": "user", "content": content}]
        return self.processor.apply_chat_template(messages, add_generation_prompt=True)

    def prompt_ids(self, question: str) -> list[int]:
        """Token ids with one image placeholder, unexpanded."""
        return self.tokenizer.encode(self.render(question), add_special_tokens=False)

    def encode(self, question: str, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """uint8 image [H, W, 3] → prompt ids int64 [P] (expanded), pixels float32 [3, h, w]."""
        out = self.processor(
            text=[self.render(question)], images=[image], return_tensors="np",
            text_kwargs={"add_special_tokens": False},
        )  # fmt: skip
        return out["input_ids"][0].astype(np.int64), self._pixels(out)

    def pixels(self, image: np.ndarray) -> np.ndarray:
        """uint8 image [H, W, 3] → what the vision tower takes, float32 [3, h, w]."""
        return self._pixels(self.processor.image_processor(images=[image], return_tensors="np"))

    def prompt_length(self, question: str, image_tokens: int) -> int:
        """Tokens of the prompt with the image placeholder expanded."""
        return len(self.prompt_ids(question)) - 1 + image_tokens

    def check_length(self, question: str, image_tokens: int, new_tokens: int, context: int) -> None:
        """ItemError("prompt-too-long") where prompt and answer would not fit the context."""
        if self.prompt_length(question, image_tokens) + new_tokens > context:
            raise ItemError("prompt-too-long")

    def _pixels(self, out: Any) -> np.ndarray:
        return np.ascontiguousarray(np.asarray(out["pixel_values"][0], dtype=np.float32))

    def _neutral(self, question: str) -> str:
        """Dataset text must not smuggle in an image placeholder or a turn marker."""
        for token in (*self.tokenizer.all_special_tokens, self.processor.image_token):
            question = question.replace(token, " ")
        return question
