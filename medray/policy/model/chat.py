"""Questions and images as token ids, the same in the generators and in the learners."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from medray.errors import ItemError, ModelError
from medray.policy.model.loading import read_architecture

MARKER = re.compile(r"<[^<>\s]+>|\[/?[A-Z_]+\]")  # what chat templates separate turns with


class ChatCodec:
    """The model's own chat template, tokenizer and image processor.

    Generators use `prompt_ids` (one image placeholder, which vLLM expands); learners use
    `encode`, in which the processor has expanded it. Both start from the same rendered text,
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
        # To a square before resizing, as in LLaVA's own processor; others centre-crop.
        self.pads = bool(getattr(self.processor.image_processor, "do_pad", False))
        self.architecture = read_architecture(path)
        self.markers: set[str] = set()
        self.markers = self._markers()

    def render(self, question: str) -> str:
        """The prompt up to the start of the answer, with one image placeholder."""
        content = [{"type": "image"}, {"type": "text", "text": self._neutral(question)}]
        messages = [{"role": "user", "content": content}]
        return self.processor.apply_chat_template(messages, add_generation_prompt=True)

    def prompt_ids(self, question: str) -> list[int]:
        """Token ids with one image placeholder, unexpanded."""
        return self.tokenizer.encode(self.render(question), add_special_tokens=False)

    def encode(self, question: str, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """uint8 image [H, W, 3] → prompt ids int64 [P] (expanded), and the image's picture."""
        out = self.processor(
            text=[self.render(question)],
            images=[Image.fromarray(image)],
            return_tensors="np",
            text_kwargs={"add_special_tokens": False},
        )
        return out["input_ids"][0].astype(np.int64), self.architecture.picture(out)

    def pixels(self, image: np.ndarray) -> np.ndarray:
        """uint8 image [H, W, 3] → the vision tower's input: a picture, see `Architecture`."""
        out = self.processor.image_processor(images=[Image.fromarray(image)], return_tensors="np")
        return self.architecture.picture(out)

    def image_tokens(self, image: np.ndarray) -> int:
        """Tokens that an image [H, W, 3] becomes; ItemError if the processor refuses it."""
        try:  # the processor's method that vLLM calls, too: no picture is computed
            sizes = self.processor._get_num_multimodal_tokens(image_sizes=[image.shape[:2]])
        except ValueError as error:  # a strip, hundreds of times as long as it is wide
            raise ItemError("image-unreadable", f"the processor refuses it ({error})") from None
        return int(sizes["num_image_tokens"][0])

    def prompt_length(self, question: str, image: np.ndarray) -> int:
        """Tokens of the prompt with the image placeholder expanded."""
        return len(self.prompt_ids(question)) - 1 + self.image_tokens(image)

    def check_length(self, question: str, image: np.ndarray, new_tokens: int, context: int) -> None:
        """ItemError("prompt-too-long") if prompt and answer would not fit the context."""
        if self.prompt_length(question, image) + new_tokens > context:
            raise ItemError("prompt-too-long")

    def _markers(self) -> set[str]:
        """Placeholders and turn markers: the tokenizer's, and the template's plain-text ones."""
        added = {token for token in self.tokenizer.get_added_vocab() if token.strip()}
        special = {*self.tokenizer.all_special_tokens, self.processor.image_token}
        return added | special | set(MARKER.findall(self.render("")))

    def _neutral(self, question: str) -> str:
        """Dataset text must not smuggle in an image placeholder or a turn marker."""
        for marker in sorted(self.markers, key=len, reverse=True):
            question = question.replace(marker, " ")
        return question
