"""One request to a model: prompt and inputs in, a reply that fits its schema out."""

from __future__ import annotations

import base64
import io
from typing import Any, TypeVar

import numpy as np

from medray.config import EditorConfig
from medray.editing.llm import prompts
from medray.editing.llm.cache import Cache, digest
from medray.editing.llm.client import Client
from medray.editing.llm.replies import Reply, parse
from medray.errors import ItemError

R = TypeVar("R", bound=Reply)
_REPLY_TOKENS = 2048


class Chat:
    """The endpoint behind a cache. Only replies that fit their schema are cached."""

    def __init__(self, config: EditorConfig) -> None:
        self.client = Client(config)
        self.cache = Cache(config.cache) if config.cache is not None else None

    def ask(
        self,
        model: str,
        prompt: str,
        inputs: dict[str, Any],
        kind: type[R],
        *,
        image: np.ndarray | None = None,
        until: float = float("inf"),
    ) -> R:
        """The reply, parsed as `kind`. Raises ItemError if there is none, or none of that kind."""
        body = request(model, prompt, inputs, image)
        key = digest(model, prompts.version(), body)
        if self.cache is not None and (cached := self.cache.get(key)) is not None:
            try:
                return parse(cached, kind)
            except ItemError:
                pass  # written for an older schema: ask again
        text = self.client.reply(body, until)
        reply = parse(text, kind)
        if self.cache is not None:
            self.cache.put(key, text)
        return reply


def request(
    model: str, prompt: str, inputs: dict[str, Any], image: np.ndarray | None = None
) -> dict[str, Any]:
    """The body of one request: the texts in `inputs`, the image if given, and nothing else."""
    content: str | list[dict[str, Any]] = prompts.material(inputs)
    if image is not None:
        content = [
            {"type": "text", "text": content},
            {"type": "image_url", "image_url": {"url": _as_url(image)}},
        ]
    return {
        "model": model,
        "messages": [
            {"role": "system", "content": prompts.instructions(prompt, image=image is not None)},
            {"role": "user", "content": content},
        ],
        "temperature": 0.0,
        "max_tokens": _REPLY_TOKENS,
        "response_format": {"type": "json_object"},
    }


def _as_url(image: np.ndarray) -> str:
    """A PNG of the pixels alone: no header, tag or name of the file is included."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(image).save(stream, format="PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
