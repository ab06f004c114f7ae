"""Original LLaVA-Med and HuatuoGPT-Vision checkpoints → the transformers layout.

Weights keep their values; only their names change. `<image>` gets an id within the existing
embedding (see conversion/tokens.py), so the softmax is the original's too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medray.config import ModelConfig
from medray.errors import ModelError
from medray.files import is_taken, new_folder
from medray.policy.conversion.families import Family, build_config, pads_to_square, read_original
from medray.policy.conversion.tokens import Tokens, build_tokenizer, check_prompt
from medray.policy.conversion.tower import Tower, find_tower, image_processor
from medray.policy.conversion.weights import Tensor, check_complete, read_names, write_weights
from medray.policy.model.loading import model_facts

EMBEDDING = "model.embed_tokens.weight"


@dataclass(frozen=True, slots=True)
class Converted:
    """The result of converting an original."""

    title: str
    tensors: int
    left_out: int
    image_id: int
    id_origin: str  # what the image's id was in the original
    tower: str

    def line(self) -> str:
        return (
            f"{self.title}: {self.tensors} tensors, {self.left_out} left out; vision tower from "
            f"{self.tower}; <image> is {self.image_id}, {self.id_origin}"
        )


def convert(original: Path, out: Path, vision_tower: Path | None = None) -> Converted:
    """Write the model to the new folder `out`, which appears complete or not at all.

    Everything is read and checked before the first byte is written; then memory holds one
    output file (2 GiB) at a time. `vision_tower`: a CLIP directory, for originals without a
    tower, or without its configuration.
    """
    original, out = Path(original), Path(out)
    if is_taken(out):
        raise ModelError(str(out), "already exists and is not empty", "choose a new folder")
    family, config_json = read_original(original)
    original_tensors = read_names(original, tower=False)
    tower = find_tower(original, config_json, vision_tower, original_tensors)
    tensors = [*original_tensors, *tower.weights]
    tokens = build_tokenizer(original, family, _embedding_rows(original_tensors, original))
    config = build_config(family, config_json, tower.config, tokens.image_id)
    check_complete(tensors, config, original)
    processor = _processor(
        family,
        tokens,
        config,
        image_processor(tower, config, pad=pads_to_square(family, config_json)),
    )
    check_prompt(original, tokens, _sample(processor))
    _write(out, tensors, config, processor)
    kept = sum(bool(t.target) for t in tensors)
    return Converted(
        family.title,
        kept,
        len(tensors) - kept,
        tokens.image_id,
        tokens.id_origin,
        _tower_source(tower),
    )


def _embedding_rows(tensors: Iterable[Tensor], original: Path) -> int:
    for tensor in tensors:
        if tensor.name == EMBEDDING:
            return tensor.shape[0]
    raise ModelError(str(original), f"weights are missing: {EMBEDDING}", "complete it")


def _processor(family: Family, tokens: Tokens, config: Any, images: Any) -> Any:
    from transformers import LlavaProcessor

    return LlavaProcessor(
        images,
        tokens.tokenizer,
        patch_size=config.vision_config.patch_size,
        vision_feature_select_strategy="default",
        image_token="<image>",
        num_additional_image_tokens=1,  # the class token, which "default" removes again
        chat_template=family.chat_template,
    )


def _sample(processor: Any) -> str:
    """A prompt with an image and a question, as ChatCodec renders it."""
    content = [{"type": "image"}, {"type": "text", "text": "Is there a nodule on the left?"}]
    turn = [{"role": "user", "content": content}]
    return processor.apply_chat_template(turn, add_generation_prompt=True)


def _write(out: Path, tensors: list[Tensor], config: Any, processor: Any) -> None:
    """Write all files under a temporary name next to `out`, then rename it."""
    from transformers import GenerationConfig

    tokenizer = processor.tokenizer
    generation = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    try:
        with new_folder(out) as draft:
            config.save_pretrained(draft)
            generation.save_pretrained(draft)
            processor.save_pretrained(draft)
            write_weights(tensors, draft)
            model_facts(ModelConfig(path=str(draft)))  # check that medray accepts what was written
    except OSError as error:
        raise ModelError(str(out), f"cannot be written ({error})", "choose another path") from None


def _tower_source(tower: Tower) -> str:
    return str(tower.directory) if tower.weights else "the checkpoint"
