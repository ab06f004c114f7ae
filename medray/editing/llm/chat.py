"""One request to a model: prompt and inputs in, a reply that fits its schema out."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from medray.config import LanguageModelConfig
from medray.editing.llm import prompts
from medray.editing.llm.cache import Cache, digest
from medray.editing.llm.completion import Body, Completer, Dialogue
from medray.editing.llm.replies import Reply, parse, schema
from medray.errors import ItemError

R = TypeVar("R", bound=Reply)
_REPLY_TOKENS = 2048


class Chat:
    """A completer behind a cache. Only replies that fit their schema are cached."""

    def __init__(self, config: LanguageModelConfig, completer: Completer) -> None:
        self.completer = completer
        self.cache = None if config.cache is None else Cache(config.cache, config.section)

    def ask(
        self,
        model: str,
        prompt: str,
        inputs: dict[str, Any],
        kind: type[R],
        *,
        images: Sequence[np.ndarray] = (),
    ) -> Dialogue[R]:
        """The reply, parsed as `kind`. Raises ItemError if there is none, or none of that kind."""
        form = schema(kind) if self.completer.constrained else None
        body = request(model, prompt, inputs, images, form)
        return (yield from self.send(body, prompts.version(), kind))

    def send(self, body: Body, version: str, kind: type[R]) -> Dialogue[R]:
        """The reply to a request, parsed as `kind`; `version`: of the prompts, for the cache.

        Raises ItemError as `ask`.
        """
        key = digest(self.completer.identity(body["model"]), version, body)
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
    images: Sequence[np.ndarray] = (),
    form: dict[str, Any] | None = None,
) -> Body:
    """The body of one request by the editor's prompt of this name: the texts in `inputs`, the
    images given, and nothing else. `form`: as in `write_request`."""
    content: str | list[dict[str, Any]] = prompts.material(inputs)
    if images:
        shown = [{"type": "image_url", "image_url": {"url": _as_url(image)}} for image in images]
        content = [{"type": "text", "text": content}, *shown]
    system = prompts.instructions(prompt, image=bool(images))
    return write_request(model, prompt, system, content, form)


def write_request(
    model: str,
    name: str,
    system: str,
    content: str | list[dict[str, Any]],
    form: dict[str, Any] | None = None,
    *,
    tokens: int = _REPLY_TOKENS,
) -> Body:
    """The body of one request, for a reply in JSON of at most so many tokens. `form`: the schema
    that it has to fit, called `name`; None: any JSON object."""
    reply_format: dict[str, Any] = {"type": "json_object"}
    if form is not None:
        named = {"name": name, "schema": form, "strict": True}
        reply_format = {"type": "json_schema", "json_schema": named}
    return {
        "model": model,
        "messages": [{"role": "system", "content": system}, {"role": "user", "content": content}],
        "temperature": 0.0,
        "max_tokens": tokens,
        "response_format": reply_format,
    }


def _as_url(image: np.ndarray) -> str:
    """A PNG of the pixels alone: no header, tag or name of the file is included."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(image).save(stream, format="PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
