"""One request to a model: prompt and inputs in, a reply that fits its schema out."""

from __future__ import annotations

import base64
import io
from typing import Any, TypeVar

import numpy as np

from medray.config import EditorConfig
from medray.editing.llm import prompts
from medray.editing.llm.cache import Cache, digest
from medray.editing.llm.completion import Body, Completer, Dialogue
from medray.editing.llm.replies import Reply, parse, schema
from medray.errors import ItemError

R = TypeVar("R", bound=Reply)
_REPLY_TOKENS = 2048


class Chat:
    """A completer behind a cache. Only replies that fit their schema are cached."""

    def __init__(self, config: EditorConfig, completer: Completer) -> None:
        self.completer = completer
        self.cache = Cache(config.cache) if config.cache is not None else None

    def ask(
        self,
        model: str,
        prompt: str,
        inputs: dict[str, Any],
        kind: type[R],
        *,
        image: np.ndarray | None = None,
    ) -> Dialogue[R]:
        """The reply, parsed as `kind`. Raises ItemError if there is none, or none of that kind."""
        form = schema(kind) if self.completer.constrained else None
        body = request(model, prompt, inputs, image, form)
        key = digest(self.completer.identity(model), prompts.version(), body)
        if self.cache is not None and (cached := self.cache.get(key)) is not None:
            try:
                return parse(cached, kind)
            except ItemError:
                pass  # written for an older schema: ask again
        text = yield body
        reply = parse(text, kind)
        if self.cache is not None:
            self.cache.put(key, text)
        return reply


def request(
    model: str,
    prompt: str,
    inputs: dict[str, Any],
    image: np.ndarray | None = None,
    form: dict[str, Any] | None = None,
) -> Body:
    """The body of one request: the texts in `inputs`, the image if given, and nothing else.

    `form`: the JSON schema that the reply has to fit; None: any JSON object.
    """
    content: str | list[dict[str, Any]] = prompts.material(inputs)
    if image is not None:
        content = [
            {"type": "text", "text": content},
            {"type": "image_url", "image_url": {"url": _as_url(image)}},
        ]
    reply_format: dict[str, Any] = {"type": "json_object"}
    if form is not None:
        named = {"name": prompt, "schema": form, "strict": True}
        reply_format = {"type": "json_schema", "json_schema": named}
    return {
        "model": model,
        "messages": [
            {"role": "system", "content": prompts.instructions(prompt, image=image is not None)},
            {"role": "user", "content": content},
        ],
        "temperature": 0.0,
        "max_tokens": _REPLY_TOKENS,
        "response_format": reply_format,
    }


def _as_url(image: np.ndarray) -> str:
    """A PNG of the pixels alone: no header, tag or name of the file is included."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(image).save(stream, format="PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
