"""The tokenizer, and an id for `<image>`, which the originals write as −200 and never embed.

The id must be a row of the embedding, because transformers embeds the placeholder before the
features replace it; vLLM finds it by its id. No text may be encoded to it, and the softmax must
stay the original's: so no row is appended, because its logit could only be guessed. Two options
remain, in this order:

- a row that the tokenizer does not use: Qwen2 has 152,064 rows and 151,646 tokens. It was in the
  softmax throughout training and never a target.
- the byte piece `<0xFF>` if every row has a token, as in Mistral's 32,000. Byte pieces spell in
  UTF-8 what no other piece covers, and UTF-8 has no byte 0xFF: the piece is in no encoded text,
  so it too was never a target. `<unk>` would do as well if it were not LLaVA-Med's padding, and 0.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from medray.errors import ModelError
from medray.policy.conversion.families import Family

IMAGE = "<image>"
UNUSED_BYTE = "<0xFF>"


@dataclass(frozen=True, slots=True)
class Tokens:
    tokenizer: Any
    source: Any  # the original's tokenizer
    image_id: int
    id_origin: str  # what the id was before


def build_tokenizer(original: Path, family: Family, rows: int) -> Tokens:
    """The original's tokenizer with `<image>`, for an embedding of `rows` rows."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    source = _read(original, family)
    tokenizer_json = json.loads(source.backend_tokenizer.to_str())
    image_id, id_origin = _add_image_token(tokenizer_json, rows, original)
    named = {k: getattr(source, f"{k}_token") for k in ("bos", "eos", "unk", "pad")}
    if named["eos"] is None:
        raise ModelError(str(original), "its tokenizer has no eos_token", "declare one")
    named["pad"] = named["pad"] or named["eos"]
    others = [t for t in source.all_special_tokens if t not in named.values()]
    # The generic class loads tokenizer.json unchanged; the specific ones rebuild it from the
    # vocabulary, which would lose the renamed byte.
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(tokenizer_json)),
        **{f"{k}_token": v for k, v in named.items() if v is not None},
        additional_special_tokens=[*(t for t in others if t != IMAGE), IMAGE],
        clean_up_tokenization_spaces=False,
        padding_side=source.padding_side,
        model_max_length=source.model_max_length,
    )
    return Tokens(tokenizer, source, image_id, id_origin)


def check_prompt(original: Path, tokens: Tokens, prompt: str) -> None:
    """ModelError unless `prompt` is encoded as in the original: part by part around the image.

    In the original, every SentencePiece part begins with a space of its own; tokenizers add it to
    the first part only or to all, depending on settings that a release may not include.
    """
    source, tokenizer = tokens.source, tokens.tokenizer
    start = tokenizer.bos_token or ""
    parts = prompt.removeprefix(start).split(IMAGE) if start else prompt.split(IMAGE)
    encoded = [source.encode(part, add_special_tokens=False) for part in parts]
    expected = [tokenizer.bos_token_id] if start and prompt.startswith(start) else []
    expected += encoded[0]
    for _, after in pairwise(encoded):
        expected += [tokens.image_id, *after]
    if tokenizer.encode(prompt, add_special_tokens=False) != expected:
        raise ModelError(
            str(original),
            "its tokenizer does not encode a prompt as two separate parts around the image",
            "use the tokenizer files of the release",
        )


def _read(original: Path, family: Family) -> Any:
    import transformers

    # `legacy`: a space before every part, also after a special token, because each part gets one.
    settings = {"legacy": True} if family.tokenizer == "LlamaTokenizer" else {}
    kind = getattr(transformers, family.tokenizer)
    try:
        source = kind.from_pretrained(original, local_files_only=True, **settings)
    except (OSError, ValueError, TypeError, KeyError, ImportError) as error:
        raise ModelError(str(original), f"no usable tokenizer ({error})", "add the files") from None
    if len(source) < 256:  # without files, some classes are empty instead of failing
        raise ModelError(str(original), "no usable tokenizer", "add the files")
    return source


def _add_image_token(tokenizer_json: dict[str, Any], rows: int, original: Path) -> tuple[int, str]:
    """Add `<image>` to a tokenizer.json; returns its id and what the id was before."""
    vocabulary, added = tokenizer_json["model"]["vocab"], tokenizer_json["added_tokens"]
    ids = vocabulary | {token["content"]: token["id"] for token in added}
    free = max(ids.values()) + 1
    if free > rows:
        why = f"its tokenizer has {free} tokens, its embedding {rows} rows"
        raise ModelError(str(original), why, "use the tokenizer files of the release")
    if IMAGE in ids:
        image_id, id_origin = ids[IMAGE], "its own token"
    elif free < rows:
        image_id, id_origin = free, "a row without a token"
    elif _is_unused(tokenizer_json):
        image_id, id_origin = vocabulary.pop(UNUSED_BYTE), f"the byte piece {UNUSED_BYTE}"
        vocabulary[IMAGE] = image_id
    else:
        why = "its tokenizer has neither a free row nor an unused byte piece for <image>"
        raise ModelError(str(original), why, "use the tokenizer files of the release")
    token = {"id": image_id, "content": IMAGE, "single_word": False, "lstrip": False}
    token |= {"rstrip": False, "normalized": False, "special": True}
    others = [t for t in added if t["content"] != IMAGE]
    tokenizer_json["added_tokens"] = sorted([*others, token], key=lambda t: t["id"])
    return image_id, id_origin


def _is_unused(tokenizer_json: dict[str, Any]) -> bool:
    """Whether `<0xFF>` exists as a byte piece and nothing else produces it."""
    model = tokenizer_json["model"]
    merged = {"".join(m if isinstance(m, list) else m.split(" ")) for m in model["merges"]}
    return (
        bool(model.get("byte_fallback"))
        and UNUSED_BYTE in model["vocab"]
        and UNUSED_BYTE not in merged
        and all(token["content"] != UNUSED_BYTE for token in tokenizer_json["added_tokens"])
    )
