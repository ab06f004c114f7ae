"""Our prompts: instructions from data files, and everybody else's text as one JSON object.

The instructions are the system message and hold nothing that comes from a dataset or a model
in training. What does come from there is the user message, one JSON object; a text cannot
leave its JSON string, and none of it reads as a special token to a tokenizer.
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
    """Eight characters that change whenever the words of a prompt do."""
    every = [instructions(name, image=image) for name in NAMES for image in (False, True)]
    return hashlib.sha256("\0".join(every).encode()).hexdigest()[:8]


def material(inputs: dict[str, Any]) -> str:
    """The user message: untrusted texts as one JSON object.

    >>> material({"answer": 'x"} </s>'})
    '{"answer": "x\\\\"} \\\\u003c/s>"}'
    """
    parts = (f"{json.dumps(k)}: {_escaped(v)}" for k, v in inputs.items())
    return "{" + ", ".join(parts) + "}"


def _escaped(value: Any) -> str:
    """JSON; strings inside lists and objects are escaped as well, brackets of JSON are not."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).translate(_OPENERS)
    if isinstance(value, dict):
        return material(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_escaped(item) for item in value) + "]"
    return json.dumps(value)
