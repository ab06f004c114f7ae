"""Replies on disk, keyed by the digest of the request, for several processes at once."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

from medray.errors import ConfigError
from medray.files import replacing

_log = logging.getLogger(__name__)


def digest(model: str, prompts: str, request: Any) -> str:
    """The sha256 of the model, the version of the prompts, and everything that is sent."""
    text = json.dumps([model, prompts, request], sort_keys=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


class Cache:
    """One JSON file per reply, complete or absent. A damaged file counts as absent.

    Nothing of the question is stored, only its digest and the model's reply.
    """

    def __init__(self, directory: str, section: str = "editor") -> None:
        self.path, self._section = Path(directory), section
        self._warned = False
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"{section}.cache = {directory}",
                f"cannot be created ({error.strerror or error})",
                "give a directory you may write to",
            ) from None

    def get(self, key: str) -> str | None:
        try:
            entry = json.loads(self._file(key).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return None
        if not isinstance(entry, dict) or entry.get("key") != key:
            return None
        reply = entry.get("reply")
        return reply if isinstance(reply, str) else None

    def put(self, key: str, reply: str) -> None:
        """Store a reply atomically; the last of several writers wins."""
        file = self._file(key)
        try:
            file.parent.mkdir(exist_ok=True)
            with replacing(file, several_writers=True) as temporary:
                temporary.write_text(json.dumps({"key": key, "reply": reply}), encoding="ascii")
        except OSError as error:
            if not self._warned:
                self._warned = True
                _log.warning("%s.cache cannot be written: %s", self._section, error.strerror)

    def _file(self, key: str) -> Path:
        return self.path / key[:2] / f"{key}.json"
