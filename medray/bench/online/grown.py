"""A tiny base model in the shape of a larger one: it says the same, at the larger one's cost.

A random model says nothing that an editor can read, and no pairs come about. So the tiny decoder is
placed in the larger one: its numbers in the first of the wider dimensions, its heads among the
others, its layers before layers that add nothing. All of them are computed. The tower is random, as
nothing narrow fits into a LayerNorm of another width, and no head attends to what it sees: the
model answers what its prior is, as the tiny one does if it is shown nothing.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medray.bench.learner.models import IMAGE, PATCH, build_model
from medray.bench.learner.settings import make_settings
from medray.policy.model.loading import load_model

COPIED = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
# In two dimensions behind the tiny ones a word has little of the first, an image much of the
# second. A key holds the opposite of the second, which a query multiplies by its first and this
# factor.
WORD, PICTURE, AVERSION = 0.05, 100.0, 1000.0  # the first two in units of a word's numbers
PATCHES = 0.02  # of the tower's usual scale: what a patch holds, beside where it is
BEFORE = "<s>", "[INST]"  # the words before an image


def grow(base: Path, out: Path) -> None:
    """Write to the new folder `out` the model of `base`, a tiny LLaVA, in the `small` shape."""
    settings = make_settings("small", dtype="float32")
    tiny, small = load_model(base, "float32"), build_model(settings, torch.device("cpu")).eval()
    assert tiny.config.image_token_index == small.config.image_token_index == IMAGE
    words = json.loads((base / "tokenizer.json").read_text())["model"]["vocab"]
    with torch.no_grad():
        _grow_decoder(tiny, small)
        _repeat_before_text(small, [words[word] for word in BEFORE])
    small.to(torch.bfloat16).save_pretrained(out)
    _write_processor(base, out, side=settings.image_side * PATCH)


def _grow_decoder(tiny: Any, small: Any) -> None:
    """Place the decoder of `tiny` in that of `small`, whose numbers elsewhere add nothing."""
    old, new = tiny.model.language_model, small.model.language_model
    vocabulary, width = old.embed_tokens.weight.shape
    words, head = new.embed_tokens.weight, small.lm_head.weight
    words.zero_()
    words[:vocabulary, :width] = old.embed_tokens.weight
    words[:, width] = WORD * old.embed_tokens.weight.std()
    words[IMAGE, :] = 0.0
    words[IMAGE, width + 1] = PICTURE * old.embed_tokens.weight.std()
    head.zero_()
    head[:vocabulary, :width] = tiny.lm_head.weight
    head[vocabulary:, width] = -10 * AVERSION  # nothing that the tiny one cannot say
    _grow_norm(old.norm, new.norm)
    for number, layer in enumerate(new.layers):
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()
        if number < len(old.layers):
            _grow_layer(old.layers[number], layer, old.config, new.config)


def _repeat_before_text(small: Any, before: list[int]) -> None:
    """Have an image end in the words before it, which then are not too far from the text, and
    nobody look at what they repeat, nor at the rest of the image.
    """
    tower, words = small.model.vision_tower, small.model.language_model.embed_tokens.weight
    tower.embeddings.patch_embedding.weight *= PATCHES
    tower.embeddings.position_embedding.weight.normal_()
    layer, given = small.model.multi_modal_projector.linear_2, list[Tensor]()
    with layer.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0])):
        side = small.config.vision_config.image_size
        small.model.get_image_features(pixel_values=torch.zeros(1, 3, side, side))
    places = given[0].reshape(-1, given[0].shape[-1])  # [image tokens, D]
    usual = places[: -len(before)].mean(0)
    wanted = torch.zeros(len(places), words.shape[1])
    wanted[-len(before) :] = words[before] - words[IMAGE]
    layer.weight.copy_(torch.linalg.lstsq(places - usual, wanted).solution.T)
    layer.bias.copy_(words[IMAGE] - layer.weight @ usual)
    words[before] = words[IMAGE].clone()


def _grow_norm(old: Any, new: Any) -> None:
    """The mean square is taken over more dimensions, of which only the first are not zero."""
    new.weight[: len(old.weight)] = old.weight * (len(old.weight) / len(new.weight)) ** 0.5


def _grow_layer(old: Any, new: Any, old_config: Any, new_config: Any) -> None:
    _grow_norm(old.input_layernorm, new.input_layernorm)
    _grow_norm(old.post_attention_layernorm, new.post_attention_layernorm)
    _grow_attention(old.self_attn, new.self_attn, old_config, new_config)
    inner, width = old.mlp.gate_proj.weight.shape
    _place(old.mlp.gate_proj.weight, new.mlp.gate_proj.weight[:inner])
    _place(old.mlp.up_proj.weight, new.mlp.up_proj.weight[:inner])
    new.mlp.down_proj.weight[:width, :inner] = old.mlp.down_proj.weight


def _grow_attention(old: Any, new: Any, old_config: Any, new_config: Any) -> None:
    """Each head in the place of a larger one, and in it a dimension that keeps off the images."""
    size, large, width = old_config.head_dim, new_config.head_dim, old_config.hidden_size
    groups = old_config.num_key_value_heads
    each = old_config.num_attention_heads // groups  # queries of one key
    more = new_config.num_attention_heads // new_config.num_key_value_heads
    turned, still = _turning(size, large), large // 2 - 1
    for group in range(groups):
        key, value = new.k_proj.weight[group * large :], new.v_proj.weight[group * large :]
        key[:large] = 0.0
        key[turned, :width] = old.k_proj.weight[group * size :][:size]
        key[still, width + 1] = -1.0
        _place(old.v_proj.weight[group * size :][:size], value[:size])
        for i in range(each):
            head, place = (group * each + i) * size, (group * more + i) * large
            query = new.q_proj.weight[place : place + large]
            query.zero_()
            # scores are divided by the root of the size
            query[turned, :width] = old.q_proj.weight[head : head + size] * (large / size) ** 0.5
            query[still, width] = AVERSION
            columns = old.o_proj.weight[:, head : head + size]
            new.o_proj.weight[:width, place : place + size] = columns


def _place(narrow: Tensor, wide: Tensor) -> None:
    """Rows that read the first dimensions only."""
    wide.zero_()
    wide[:, : narrow.shape[1]] = narrow


def _turning(size: int, large: int) -> Tensor:
    """The dimensions of a larger head that rotate as those of a smaller one do."""
    first = torch.arange(size // 2) * (large // size)
    return torch.cat([first, first + large // 2])


def _write_processor(base: Path, out: Path, *, side: int) -> None:
    """The tokenizer of `base`, and its image processor for images of `side` pixels."""
    for name in COPIED:
        shutil.copyfile(base / name, out / name)
    processor: dict[str, Any] = json.loads((base / "processor_config.json").read_text())
    processor["image_processor"] |= {
        "crop_size": {"height": side, "width": side},
        "size": {"shortest_edge": side},
    }
    processor["patch_size"] = PATCH
    (out / "processor_config.json").write_text(json.dumps(processor, indent=1) + "\n")
