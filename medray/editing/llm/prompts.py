"""Our prompts: instructions from data files, and all untrusted text as one JSON object.

The instructions are the system message and contain nothing from a dataset or from a model in
training. Such text is the user message, one JSON object: no text can leave its JSON string, and
no tokenizer reads any of it as a special token.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2

from medray.editing.ontology.lexicon import ontology

NAMES = ("edit", "verify", "relevance")
# Opening characters of special tokens: <|im_end|>, </s>, <image>, [INST].
_OPENERS = str.maketrans({"<": "\\u003c", "[": "\\u005b"})


@cache
def instructions(name: str, *, image: bool = False) -> str:
    """The system message of one prompt."""
    text = files(__package__).joinpath(f"prompts/{name}.j2").read_text(encoding="utf-8")
    template = jinja2.Template(text, trim_blocks=True, undefined=jinja2.StrictUndefined)
    return template.render(severity=ontology().severity, image=image).strip()


@cache
def version() -> str:
    """Eight hexadecimal digits that change whenever the text of a prompt does."""
    all_instructions = [
        instructions(name, image=image) for name in NAMES for image in (False, True)
    ]
    return hashlib.sha256("\0".join(all_instructions).encode()).hexdigest()[:8]


def material(inputs: dict[str, Any]) -> str:
    """The user message: untrusted texts as one JSON object.

    >>> material({"answer": 'x"} </s>'})
    '{"answer": "x\\\\"} \\\\u003c/s>"}'
    """
    parts = (f"{json.dumps(k)}: {_escaped(v)}" for k, v in inputs.items())
    return "{" + ", ".join(parts) + "}"


def _escaped(value: Any) -> str:
    """JSON; strings inside lists and objects are escaped as well, JSON's own brackets are not."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).translate(_OPENERS)
    if isinstance(value, dict):
        return material(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_escaped(item) for item in value) + "]"
    return json.dumps(value)
