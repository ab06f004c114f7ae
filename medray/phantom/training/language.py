"""A base model around an existing language model: the shipped tower, a new projector, its layers.

The tower and the embeddings are kept as they are; projector and decoder layers learn.
"""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
)

from medray.errors import ModelError
from medray.phantom import BASE_PATH
from medray.phantom.training.base_model import make_config
from medray.phantom.training.families import IMAGE, QWEN2

_START, _END, _PAD = "<|im_start|>", "<|im_end|>", "<|endoftext|>"


def load_language(directory: Path) -> tuple[LlavaForConditionalGeneration, PreTrainedTokenizerFast]:
    """An fp32 LLaVA and its tokenizer; what is not to be trained needs no gradient.

    Its chats are ChatML turns without a system's. Raises ModelError if the directory holds no
    language model that was trained on such turns.
    """
    tokenizer = _tokenizer(directory)
    try:
        text = AutoModelForCausalLM.from_pretrained(
            directory, dtype=torch.float32, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError) as error:
        raise _unusable(directory, f"holds no language model ({type(error).__name__})") from None
    text.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    text.config.update({"eos_token_id": tokenizer.eos_token_id})
    text.config.update({"pad_token_id": tokenizer.pad_token_id})
    tower = LlavaForConditionalGeneration.from_pretrained(BASE_PATH, dtype=torch.float32)
    config = make_config(tokenizer, tower.config.vision_config, text.config)
    model = LlavaForConditionalGeneration(config)
    model.model.vision_tower.load_state_dict(tower.model.vision_tower.state_dict())
    model.model.language_model.load_state_dict(text.base_model.state_dict())
    model.lm_head.load_state_dict(text.get_output_embeddings().state_dict())
    model.model.vision_tower.requires_grad_(False)
    model.get_input_embeddings().requires_grad_(False)
    return model, tokenizer


def _tokenizer(directory: Path) -> PreTrainedTokenizerFast:
    """The directory's own, with a token for the image and the template of our ChatML prompts."""
    if not directory.is_dir():
        raise _unusable(directory, "no such directory")
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            directory, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError) as error:
        raise _unusable(directory, f"holds no tokenizer ({type(error).__name__})") from None
    vocabulary = tokenizer.get_vocab()
    if not {_START, _END} <= vocabulary.keys():
        raise _unusable(directory, f"its tokenizer has no {_START} and {_END}")
    if len(tokenizer("A").input_ids) != len(tokenizer.tokenize("A")):
        raise _unusable(directory, "its tokenizer begins or ends texts with a token of its own")
    tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE, _START]})
    tokenizer.eos_token = _END
    tokenizer.pad_token = _PAD if _PAD in vocabulary else _END
    tokenizer.chat_template = QWEN2.template
    tokenizer.padding_side = "left"
    return tokenizer


def _unusable(directory: Path, why: str) -> ModelError:
    return ModelError(
        f"--language {directory}", why, "give the directory of a chat model with ChatML turns"
    )
