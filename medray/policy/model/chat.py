"""Questions and images as token ids, the same in the generators and in the learners."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from medray.errors import ItemError, ModelError, brief
from medray.imaging.view import View, load_view
from medray.policy.level_table import LevelTable, find_level_table
from medray.policy.model.loading import image_token_of, read_architecture
from medray.policy.model.time_limit import TookTooLong, time_limit
from medray.policy.model.view_size import Limits, limit_pixels, view_size
from medray.policy.picture import Picture

TEMPLATE_SECONDS = 5.0  # for one prompt; an ordinary chat template takes a millisecond
PROBE = "Which side is it on?"
ANSWER = "It is on the left."
MOST_PROMPTS = 10_000  # that are remembered: datasets ask the same again and again
PROBE_IMAGE = np.tile(np.arange(96, dtype=np.uint8)[:, None, None] * 2, (1, 96, 3))
Fit = Literal["crop", "pad", "stretch"]  # how an image of any shape becomes a square, or stays
MARKER = re.compile(r"<[^<>\s]+>|\[/?[A-Z_]+\]")  # what chat templates separate turns with


class ChatCodec:
    """The model's own chat template, tokenizer and image processor.

    Generators use `prompt_ids` (a placeholder per image, which vLLM expands); learners use
    `encode`, in which the processor has expanded them. Both start from the same rendered text,
    tokenised without added special tokens.
    """

    def __init__(self, path: Path, limits: Limits | None = None) -> None:
        """`limits` on the pixels of an image, in place of the processor's own.

        Raises ModelError unless a question with one image becomes a prompt that holds both.
        """
        self.path = path
        self.processor: Any = _load_processor(path)
        # What an engine has to be started with, so that it makes as many tokens of an image.
        self.pixel_limits = limit_pixels(self.processor.image_processor, limits or {})
        self.tokenizer: Any = self.processor.tokenizer
        if not (self.processor.chat_template or self.tokenizer.chat_template):
            raise ModelError(str(path), "has no chat template", "add chat_template.jinja")
        if self.tokenizer.eos_token_id is None:
            raise ModelError(str(path), "its tokenizer has no eos_token", "declare one")
        if getattr(self.processor.image_processor, "do_pan_and_scan", False):
            why = "its processor cuts an image into crops (do_pan_and_scan)"
            raise ModelError(str(path), why, "set do_pan_and_scan to false")
        self.fit = _fit(self.processor.image_processor)
        self.architecture = read_architecture(path)
        self.image_token_id = image_token_of(path)
        self.markers: set[str] = set()
        self._check_template()
        self.markers = self._markers()
        self.eos_id: int = self._end_of_turn()
        self.counted_frame = 0  # tokens around an image's that the processor counts as the image's
        self.prompts: dict[tuple[object, ...], np.ndarray] = {}  # by question, sizes of images
        self.frames: dict[int, int] = {}  # by number of images: all tokens around those of images
        self.frames[1], self.counted_frame = self._frames(1)

    @property
    def placeholder(self) -> str:
        """What the template writes where an image is to be: the image's token, or its first."""
        return getattr(self.processor, "boi_token", None) or self.processor.image_token

    @property
    def placeholder_id(self) -> int:
        return self.tokenizer.convert_tokens_to_ids(self.placeholder)

    def render(self, question: str, images: int = 1) -> str:
        """The prompt up to the start of the answer, with a placeholder for each image."""
        shown: list[dict[str, str]] = [{"type": "image"}] * images
        content = [*shown, {"type": "text", "text": self._neutral(question)}]
        messages = [{"role": "user", "content": content}]
        return self.processor.apply_chat_template(messages, add_generation_prompt=True)

    def prompt_ids(self, question: str, images: int = 1) -> list[int]:
        """Token ids with a placeholder for each image, unexpanded."""
        return self.tokenizer.encode(self.render(question, images), add_special_tokens=False)

    def encode(self, question: str, *images: np.ndarray) -> tuple[np.ndarray, tuple[Picture, ...]]:
        """uint8 images [H, W, 3] → prompt ids int64 [P] (expanded), and each image's picture."""
        key = question, *(image.shape[:2] for image in images)
        table = self.level_table
        looked_up = [table.look_up(image) if table else None for image in images]
        pictures = tuple(levels for levels in looked_up if levels is not None)
        if key in self.prompts and len(pictures) == len(images):
            return self.prompts[key], pictures
        out, processed = self._process(question, *images)
        if len(self.prompts) >= MOST_PROMPTS:
            self.prompts.clear()
        self.prompts[key] = out["input_ids"][0].astype(np.int64)
        return self.prompts[key], pictures if len(pictures) == len(images) else processed

    def _process(self, question: str, *images: np.ndarray) -> tuple[Any, tuple[np.ndarray, ...]]:
        """The processor's outputs, and the pictures in them."""
        out = self.processor(
            text=[self.render(question, len(images))],
            images=[Image.fromarray(image) for image in images],
            return_tensors="np",
            text_kwargs={"add_special_tokens": False},
        )
        patches = self._counts(*images)["num_image_patches"]
        return out, self.architecture.pictures(out, patches)

    def pixels(self, image: np.ndarray) -> Picture:
        """uint8 image [H, W, 3] → the vision tower's input: a picture, see `Architecture`."""
        levels = self.level_table.look_up(image) if self.level_table else None
        return levels or self._pixels(image)

    def _pixels(self, image: np.ndarray) -> np.ndarray:
        # Not by the image processor alone: the processor may set options of its own.
        return self._process("", image)[1][0]

    @functools.cached_property
    def level_table(self) -> LevelTable | None:
        """The numbers of grey levels, if pictures of images at the model's size hold no others."""
        return find_level_table(self._pixels, PROBE_IMAGE)

    @property
    def resample(self) -> Image.Resampling:
        """The filter by which the processor resizes."""
        return Image.Resampling(int(self.processor.image_processor.resample))

    def load_view(self, path: str) -> View:
        """An image at the size to which the processor would reduce it. Raises ItemError."""
        return load_view(path, self._view_size, self.resample)

    def _view_size(self, size: tuple[int, int]) -> tuple[int, int]:
        try:
            return view_size(self.processor.image_processor, size)
        except ValueError as error:  # as in `image_tokens`
            raise ItemError("image-unreadable", f"the processor refuses it ({error})") from None

    def image_tokens(self, image: np.ndarray) -> int:
        """Tokens that an image [H, W, 3] becomes; ItemError if the processor refuses it."""
        return int(self._counts(image)["num_image_tokens"][0]) - self.counted_frame

    def _counts(self, *images: np.ndarray) -> Any:
        """Lists num_image_tokens and num_image_patches, by image; ItemError if one is refused."""
        try:  # the processor's method that vLLM calls, too: no picture is computed
            sizes = [image.shape[:2] for image in images]
            return self.processor._get_num_multimodal_tokens(image_sizes=sizes)
        except ValueError as error:  # a strip, hundreds of times as long as it is wide
            raise ItemError("image-unreadable", f"the processor refuses it ({error})") from None

    def prompt_length(self, question: str, *images: np.ndarray) -> int:
        """Tokens of the prompt with the image placeholders expanded."""
        count = len(images)
        if count not in self.frames:
            self.frames[count], _ = self._frames(count)
        text_tokens = len(self.prompt_ids(question, count)) - count
        return text_tokens + self.frames[count] + sum(map(self.image_tokens, images))

    def check_length(
        self, question: str, images: Sequence[np.ndarray], new_tokens: int, context: int
    ) -> None:
        """ItemError("prompt-too-long") if prompt and answer would not fit the context."""
        if self.prompt_length(question, *images) + new_tokens > context:
            raise ItemError("prompt-too-long")

    def require_images(self, count: int) -> None:
        """ModelError unless the template writes so many images for as many, and the processor
        takes them."""
        found = self.prompt_ids(PROBE, count).count(self.placeholder_id)
        if found != count:
            where, why = f"the chat template of {self.path}", f"writes {found} images for {count}"
            raise ModelError(where, why, "set data.max_images=1, or give a model for several")
        self._frames(count)

    def _check_template(self) -> None:
        """ModelError unless the template writes the question, and the image exactly once."""
        where = f"the chat template of {self.path}"
        give = "give the template of a vision-language model"
        try:
            with time_limit(TEMPLATE_SECONDS, "<template>"):
                text = self.render(PROBE)
        except TookTooLong:
            raise ModelError(where, f"runs for over {TEMPLATE_SECONDS:g} s", "repair it") from None
        except Exception as error:  # of jinja, or whatever the template does
            why = f"fails on a question with an image ({brief(error)})"
            raise ModelError(where, why, give) from None
        if PROBE not in text:
            raise ModelError(where, "leaves the question out", give)
        ids = self.tokenizer.encode(text, add_special_tokens=False)
        token, count = self.placeholder, ids.count(self.placeholder_id)
        if token in text and not count:
            why = f"its tokenizer has no token {token}, which the template writes for an image"
            raise ModelError(str(self.path), why, "give the tokenizer that belongs to the model")
        if count == 0:
            raise ModelError(where, f"leaves the image out: it writes no {token}", give)
        if count > 1:
            raise ModelError(where, f"writes {count} images for one", give)

    def _frames(self, images: int) -> tuple[int, int]:
        """Tokens around those of so many images, and how many the processor counts with each."""
        where = f"the processor of {self.path}"
        todo = "give the files that belong to the model"
        try:
            ids, _ = self.encode(PROBE, *[PROBE_IMAGE] * images)
            counted = images * (self.image_tokens(PROBE_IMAGE) + self.counted_frame)
        except Exception as error:  # of transformers, torchvision or numpy
            why = f"cannot encode an image ({brief(error)})"
            if getattr(self.processor, "patch_size", 0) is None:
                why = "has no patch_size in processor_config.json"
            raise ModelError(where, why, todo) from None
        found = int((ids == self.image_token_id).sum())
        if not found:
            why = f"writes no token {self.image_token_id}, which config.json names as the image's"
            raise ModelError(where, why, todo)
        frame = len(ids) - (len(self.prompt_ids(PROBE, images)) - images) - found
        if not 0 <= counted - found <= frame:
            what = "an image" if images == 1 else f"{images} images"
            why = f"writes {found} tokens for {what} that it counts as {counted}"
            raise ModelError(where, why, todo)
        return frame, (counted - found) // images

    def _end_of_turn(self) -> int:
        """The special token that the template writes behind an answer, or the tokenizer's."""
        turns = [
            {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": PROBE}]},
            {"role": "assistant", "content": [{"type": "text", "text": ANSWER}]},
        ]
        end = self.tokenizer.eos_token_id
        try:
            text = self.processor.apply_chat_template(turns)
        except Exception:  # a template for prompts only
            return end
        behind = text.rpartition(ANSWER)[2].lstrip()
        ids = self.tokenizer.encode(behind, add_special_tokens=False)
        added = self.tokenizer.added_tokens_decoder
        return int(ids[0]) if ids and ids[0] in added and added[ids[0]].special else end

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


def _fit(image_processor: Any) -> Fit:
    """To a square before resizing, as in LLaVA's own processor; by cropping; or not at all."""
    if getattr(image_processor, "do_pad", False):
        return "pad"
    return "crop" if getattr(image_processor, "do_center_crop", False) else "stretch"


def _load_processor(path: Path) -> Any:
    """transformers' processor of a model directory; ModelError if it cannot be built."""
    from transformers import AutoProcessor

    try:
        processor = AutoProcessor.from_pretrained(
            path, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # also of the tokenizers library, which raises nothing narrower
        raise ModelError(
            str(path), f"no usable processor ({brief(error)})", "add the files"
        ) from None
    for part in ("tokenizer", "image_processor"):
        if getattr(processor, part, None) is None:
            raise ModelError(str(path), f"its processor has no {part}", "add the files")
    return processor
