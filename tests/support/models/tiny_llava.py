"""Random LLaVA look-alikes of a few thousand weights, complete with tokenizer and processor.

They are untrained, but their outputs depend on every token and every pixel before them, which is
all that tests of scoring, packing and weight updates need. One has LLaVA-Med's decoder (Mistral,
grouped-query attention), the other HuatuoGPT-Vision's (Qwen2, with its biases).
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    MistralConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

from tests.support.models.tiny_parts import CONTEXT, byte_level, perturb, save

IMAGE_SIZE, PATCH = 16, 8
IMAGE_TOKENS = (IMAGE_SIZE // PATCH) ** 2
# As in LLaVA-Med: one user turn, the image before the question.
CHAT_TEMPLATE = (
    "<s>{% for message in messages %}{% if message['role'] == 'user' %}[INST] "
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>\n"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %} [/INST]"
    "{% else %}{% for part in message['content'] %}{{ part['text'] }}{% endfor %}</s>"
    "{% endif %}{% endfor %}"
)
# As in HuatuoGPT-Vision: turn markers that are ordinary text, no token at the beginning.
HUATUO_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>\n"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>\n"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
    "{{ '\n' if message['role'] == 'user' else ' \n' }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


def build_tiny_llava(path: Path, seed: int = 0) -> Path:
    """Write model (bf16), tokenizer and processor to `path`; the same seed, the same weights."""
    tokenizer = _mistral_tokenizer()
    text = MistralConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        sliding_window=None,
        max_position_embeddings=CONTEXT,
        initializer_range=0.25,
        tie_word_embeddings=False,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlavaForConditionalGeneration(_config(tokenizer, text))
    path = Path(path)
    model.config.architectures = ["LlavaForConditionalGeneration"]
    model.config.dtype = torch.bfloat16
    model.config.save_pretrained(path)
    _processor(tokenizer, CHAT_TEMPLATE).save_pretrained(path)
    weights = {_hub_name(name): w.to(torch.bfloat16) for name, w in model.state_dict().items()}
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    return path


def build_tiny_llava_qwen2(path: Path, seed: int = 0) -> Path:
    """The same with a Qwen2 decoder, its tokenizer and HuatuoGPT-Vision's turns."""
    tokenizer = _qwen2_tokenizer()
    text = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        use_sliding_window=False,
        max_position_embeddings=CONTEXT,
        initializer_range=0.2,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = perturb(LlavaForConditionalGeneration(_config(tokenizer, text)))
    return save(model, _processor(tokenizer, HUATUO_TEMPLATE), Path(path))


def _hub_name(name: str) -> str:
    """The name in published LLaVA checkpoints (which transformers and vLLM both read)."""
    name = name.removeprefix("model.").replace("vision_tower.", "vision_tower.vision_model.")
    name = name.replace("language_model.", "language_model.model.")
    return name.replace("lm_head.", "language_model.lm_head.")


def _mistral_tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = byte_level(["<pad>", "<s>", "</s>", "<image>", "[INST]", "[/INST]"])
    turns = [AddedToken(t, rstrip=True, normalized=False) for t in ("[INST]", "[/INST]")]
    tokenizer.add_special_tokens(turns)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        additional_special_tokens=["<image>", *turns],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=CONTEXT,
    )


def _qwen2_tokenizer() -> PreTrainedTokenizerFast:
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>"]
    return PreTrainedTokenizerFast(
        tokenizer_object=byte_level(special, qwen=True),
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=special[1:],
        chat_template=HUATUO_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=CONTEXT,
    )


def _processor(tokenizer: PreTrainedTokenizerFast, template: str) -> LlavaProcessor:
    images = CLIPImageProcessor(
        size={"shortest_edge": IMAGE_SIZE},
        crop_size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        image_mean=[0.5] * 3,
        image_std=[0.25] * 3,
    )
    return LlavaProcessor(
        images,
        tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        image_token="<image>",
        num_additional_image_tokens=1,
        chat_template=template,
    )


def _config(tokenizer: PreTrainedTokenizerFast, text: PreTrainedConfig) -> LlavaConfig:
    """Initial weights wide enough that log-probabilities differ by several nats."""
    vision = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=IMAGE_SIZE,
        patch_size=PATCH,
        initializer_factor=5.0,
    )
    return LlavaConfig(
        vision_config=vision,
        text_config=text,
        projector_hidden_act="gelu",
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_select_strategy="default",
        vision_feature_layer=-2,
        tie_word_embeddings=False,
    )
