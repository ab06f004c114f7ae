"""The families of the tiny base models: a kind of decoder, and how its chats are written.

In both, encode(prompt) + encode(answer) is exactly the encoding of the two together, and decoding
the answer's tokens gives the answer's text back unchanged. After "[/INST]" a space stands, which
that token swallows; a ChatML prompt ends in a line break, with which no answer begins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tokenizers import AddedToken
from transformers import MistralConfig, PreTrainedConfig, Qwen2Config

from medray.phantom import FamilyName

IMAGE = "<image>"

_CONTENT = (
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] if part['type'] == 'image' %}<image>\n{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %}"
    "{% endif %}"
)
_INST_TEMPLATE = (
    "<s>{% for message in messages %}{% if message['role'] == 'user' %}[INST] " + _CONTENT + " "
    "[/INST]{% else %} " + _CONTENT + "</s>{% endif %}{% endfor %}"
)
_CHATML_TEMPLATE = (
    "{% for message in messages %}{% if not loop.first %}{{ '\n' }}{% endif %}"
    "<|im_start|>{{ message['role'] }}\n" + _CONTENT + "<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}{{ '\n' }}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True, slots=True)
class Family:
    """`specials`: token texts by their role in a tokenizer; `turns`: what separates turns.

    `words`: words of the template, which the tokenizer should know as words. `decoder` makes the
    configuration of the language model from the settings that both families share.
    """

    name: FamilyName
    title: str
    specials: Mapping[str, str]
    turns: tuple[AddedToken, ...]
    words: tuple[str, ...]
    template: str
    decoder: Callable[..., PreTrainedConfig]


def _mistral(**shared: Any) -> PreTrainedConfig:
    return MistralConfig(intermediate_size=384, sliding_window=None, **shared)


def _qwen2(**shared: Any) -> PreTrainedConfig:
    """With biases on queries, keys and values, as in Qwen2."""
    return Qwen2Config(intermediate_size=352, use_sliding_window=False, **shared)


def _turn(text: str, *, lstrip: bool = False, rstrip: bool = False) -> AddedToken:
    return AddedToken(text, lstrip=lstrip, rstrip=rstrip, normalized=False, special=True)


MISTRAL = Family(
    name="mistral",
    title="Mistral with grouped-query attention",
    specials={"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"},
    turns=(_turn("[INST]", rstrip=True), _turn("[/INST]", lstrip=True, rstrip=True)),
    words=(),
    template=_INST_TEMPLATE,
    decoder=_mistral,
)
QWEN2 = Family(
    name="qwen2",
    title="Qwen2 with grouped-query attention",
    specials={"pad_token": "<|endoftext|>", "eos_token": "<|im_end|>"},
    turns=(_turn("<|im_start|>"),),
    words=("user", "assistant"),
    template=_CHATML_TEMPLATE,
    decoder=_qwen2,
)
FAMILIES: Mapping[str, Family] = {family.name: family for family in (MISTRAL, QWEN2)}
