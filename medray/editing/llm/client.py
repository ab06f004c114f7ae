"""One OpenAI-compatible chat endpoint over HTTP: deadline, retries, budget, and no secrets.

No message and no log line contains the key, the texts sent or the body of a reply: an endpoint
may repeat them in its own error messages.
"""

from __future__ import annotations

import email.utils
import json
import logging
import os
import random
import threading
import time
from dataclasses import dataclass
from typing import Any

import httpx

from medray.config import EditorConfig
from medray.errors import ConfigError, ItemError

_log = logging.getLogger(__name__)
_BUSY = {408, 409, 425, 429}  # like 5xx: the same request may succeed later
_MAX_BYTES = 1 << 20  # of a reply
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 8.0  # seconds between attempts
_IN_A_ROW, _REST = 8, 30.0  # after this many failures, no request for this many seconds
_MARGIN = 0.01  # seconds; no attempt starts with less time left


class Budget:
    """The number of requests that may still be sent, over all threads."""

    def __init__(self, limit: int | None) -> None:
        self._left, self._lock = limit, threading.Lock()

    def spend(self) -> None:
        with self._lock:
            if self._left is None:
                return
            if self._left <= 0:
                raise ItemError("llm-budget", "the requests of editor.budget are used up")
            self._left -= 1


@dataclass(frozen=True, slots=True)
class _Failure:
    why: str
    retry_after: float = 0.0


class Client:
    """A thread-safe client. `sent` counts the requests, including retries."""

    def __init__(self, config: EditorConfig) -> None:
        assert config.url is not None
        self._url = config.url.rstrip("/") + "/chat/completions"
        self._timeout, self._retries = config.timeout, config.retries
        limit = None if config.budget is None else config.budget // config.replicas
        self._budget = Budget(limit)
        self._lock = threading.Lock()
        self._failed, self._rest_until = 0, 0.0
        self._reported: set[str] = set()
        self.sent = 0
        self._http = httpx.Client(
            headers={"content-type": "application/json", **_authorisation(config.api_key_env)},
            limits=httpx.Limits(max_connections=config.concurrency),
        )

    def reply(self, body: dict[str, Any], until: float = float("inf")) -> str:
        """The text of the first choice. `until` is the deadline, as a time.monotonic().

        Raises ItemError: llm-unreachable, llm-refused, llm-budget, llm-malformed.
        """
        data = json.dumps(body).encode("ascii")
        until = min(until, time.monotonic() + self._timeout)
        if time.monotonic() < self._rest_until:
            raise ItemError("llm-unreachable", "the endpoint has failed too often recently")
        failure = _Failure("no time is left")
        for attempt in range(self._retries + 1):
            if until - time.monotonic() < _MARGIN:
                break
            self._budget.spend()
            result = self._once(data, until)
            if isinstance(result, bytes):
                self._failed = 0
                return _content(result)
            failure = result
            wait = max(failure.retry_after, _backoff(attempt))
            if attempt == self._retries or time.monotonic() + wait >= until:
                break
            time.sleep(wait)
        self._count_failure(failure)
        raise ItemError("llm-unreachable", failure.why)

    def _once(self, data: bytes, until: float) -> bytes | _Failure:
        with self._lock:
            self.sent += 1
        left = max(_MARGIN, until - time.monotonic())
        try:
            with self._http.stream("POST", self._url, content=data, timeout=left) as response:
                status = response.status_code
                if status in _BUSY or status >= 500:
                    header = response.headers.get("retry-after", "")
                    return _Failure(f"status {status}", _seconds(header))
                if status != 200:
                    self._report(f"rejects requests with status {status}")
                    raise ItemError("llm-refused", f"status {status}")
                return _read(response, until)
        except httpx.HTTPError as error:
            return _Failure(type(error).__name__)

    def _count_failure(self, failure: _Failure) -> None:
        self._report(f"cannot be reached ({failure.why})")
        with self._lock:
            self._failed += 1
            if self._failed >= _IN_A_ROW:
                self._failed, self._rest_until = 0, time.monotonic() + _REST

    def _report(self, problem: str) -> None:
        """Log each kind of problem once: the ledger counts the rest."""
        with self._lock:
            new = problem not in self._reported
            self._reported.add(problem)
        if new:
            _log.warning("editor.url %s; see the drop reasons in the ledger", problem)


def _authorisation(variable: str | None) -> dict[str, str]:
    """The header with the key from an environment variable."""
    if variable is None:
        return {}
    key = os.environ.get(variable, "").strip()
    if not key or not key.isascii() or not key.isprintable():
        why = "is not set where the editor runs" if not key else "does not contain a valid key"
        raise ConfigError(
            f"editor.api_key_env = {variable}",
            f"the variable {why}",
            "set it on every node, or remove editor.api_key_env",
        )
    return {"authorization": f"Bearer {key}"}


def _read(response: httpx.Response, until: float) -> bytes:
    """The body, unless it is too large or too late."""
    body = bytearray()
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) > _MAX_BYTES:
            raise ItemError("llm-malformed", "the reply is larger than 1 MiB")
        if time.monotonic() > until:
            raise httpx.ReadTimeout("the reply arrived too slowly")
    return bytes(body)


def _content(body: bytes) -> str:
    try:
        choice = json.loads(body)["choices"][0]
        text, finish = choice["message"]["content"], choice.get("finish_reason")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise ItemError("llm-malformed", "not a chat completion") from None
    if not isinstance(text, str) or finish == "length":
        why = "the reply was cut off" if finish == "length" else "the reply has no text"
        raise ItemError("llm-malformed", why)
    return text


def _backoff(attempt: int) -> float:
    """Exponential backoff with jitter, so that many threads do not retry at the same time."""
    wait: float = min(_LONGEST_WAIT, _FIRST_WAIT * 2.0**attempt)
    return wait * random.uniform(0.5, 1.0)


def _seconds(retry_after: str) -> float:
    """The seconds of a Retry-After header, a number or a date; 0.0 if it is neither.

    >>> _seconds("2"), _seconds("soon"), _seconds("nan")
    (2.0, 0.0, 0.0)
    """
    try:
        wait = float(retry_after)
    except ValueError:
        try:
            wait = email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time()
        except (ValueError, OverflowError):
            return 0.0
    return wait if wait > 0.0 else 0.0
