"""The keys of a language model: where it is, and how it may be asked."""

from __future__ import annotations

from typing import Annotated, ClassVar

import pydantic
from pydantic import Field

from medray.config.section import PositiveInt, Section


class LanguageModelConfig(Section):
    """A model behind any OpenAI-compatible chat endpoint, or one in a directory."""

    section: ClassVar[str]  # as messages name it

    url: Annotated[str, Field(pattern=r"^https?://[^\s/?#@]+(/[^\s?#@]*)?$")] | None = None
    model: str | None = None  # its name at the endpoint
    plain_http: bool = False  # whether texts may go to another machine without encryption
    proxy: Annotated[str, Field(pattern=r"^https?://[^\s/?#@]+/?$")] | None = (
        None  # to the endpoint
    )
    path: str | None = None  # a Hugging Face directory, served inside the cluster; no endpoint
    api_key_env: Annotated[str, Field(pattern=r"^[A-Z_][A-Z0-9_]*$")] | None = None
    timeout: float = Field(60.0, gt=0.0)  # seconds for one request, including its retries
    retries: int = Field(3, ge=0)
    concurrency: PositiveInt = 8  # concurrent requests, of each editor
    budget: PositiveInt | None = None  # requests per run, or per evaluation
    cache: str | None = None  # a directory; null: replies are not cached

    @property
    def requests(self) -> int | None:
        """How many requests one client may send; None: any number."""
        return self.budget


class JudgeConfig(LanguageModelConfig):
    """The model that judges answers in an evaluation; without url and path there is none."""

    section: ClassVar[str] = "eval.judge"

    @pydantic.model_validator(mode="after")
    def _one_model(self) -> JudgeConfig:
        if self.path and (self.url or self.model):
            raise ValueError("path is served here: remove url and model")
        if bool(self.url) != bool(self.model):
            raise ValueError("url and model go together: name the model at the endpoint")
        return self

    @property
    def name(self) -> str | None:
        """The model as a request names it."""
        return self.path or self.model
