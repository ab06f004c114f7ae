"""One OpenAI-compatible chat endpoint: deadline, retries, budget, and no secrets.

The `openai` package sends requests and repeats them. What it lacks is added in its transport: one
deadline for all attempts, a budget, a bound on replies. No message and no log line contains the
key, the texts sent or the body of a reply: an endpoint may repeat them in its error messages.
"""

from __future__ import annotations

import email.utils
import ipaddress
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import httpcore2 as httpcore
import httpx2 as httpx
import openai

from medray.config import LanguageModelConfig
from medray.editing.llm.completion import Body, Budget
from medray.editing.llm.deadline import DeadlineBackend
from medray.errors import ConfigError, ItemError

_log = logging.getLogger(__name__)
_MAX_BYTES = 1 << 20  # of a reply
_MAX_FAILURES, _PAUSE = 8, 30.0  # after so many failures in a row, no request for so many seconds
_MARGIN = 0.01  # seconds; no attempt starts with less time left
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 8.0  # seconds between two attempts, of openai's own backoff
_TEMPORARY = {408, 409, 429}  # openai repeats the request, as after 5xx
_NOT_SENT = ("x-stainless", "user-agent", "openai-", "idempotency")  # headers of no use there


class Client:
    """A thread-safe client. `sent` counts the requests, including retries."""

    constrained = False  # few endpoints know JSON schemas: replies are checked here

    def __init__(self, config: LanguageModelConfig) -> None:
        assert config.url is not None
        _require_private(config)
        for name in ("openai", "httpx2", "httpcore2"):  # at level DEBUG they log what is sent
            logging.getLogger(name).setLevel(logging.WARNING)
        self.threads = config.concurrency
        self._timeout, self._section = config.timeout, config.section
        key = _api_key(config)
        budget = Budget(config.requests, config.section)
        self._transport = _Transport(
            budget, config.concurrency, with_key=bool(key), proxy=config.proxy
        )
        self._lock = threading.Lock()
        self._failures, self._paused_until = 0, 0.0
        self._reported: set[str] = set()
        self._openai = openai.OpenAI(
            base_url=config.url,
            api_key=key or "none",  # without one, openai takes that of its own variable
            max_retries=config.retries,
            # Neither proxies of the environment nor redirects: nothing is sent anywhere else.
            http_client=httpx.Client(transport=self._transport, trust_env=False),
        )

    @property
    def sent(self) -> int:
        return self._transport.sent

    def identity(self, model: str) -> str:
        """Its name at the endpoint: nothing more is known of it."""
        return model

    def complete(self, bodies: Sequence[Body], until: float) -> list[str | ItemError]:
        """The replies, one after the other."""
        return [self._reply_or_reason(body, until) for body in bodies]

    def _reply_or_reason(self, body: Body, until: float) -> str | ItemError:
        try:
            return self.reply(body, until)
        except ItemError as error:
            return error

    def reply(self, body: Body, until: float = float("inf")) -> str:
        """The text of the first choice. `until` is the deadline, as a time.monotonic().

        Raises ItemError: llm-unreachable, llm-refused, llm-budget, llm-malformed.
        """
        if time.monotonic() < self._paused_until:
            raise ItemError("llm-unreachable", "the endpoint has failed too often recently")
        self._transport.begin(min(until, time.monotonic() + self._timeout))
        try:
            response = self._openai.post(
                "/chat/completions",
                content=json.dumps(body).encode("ascii"),  # openai's own JSON refuses surrogates
                options={"headers": {"content-type": "application/json"}},
                cast_to=httpx.Response,
            )
        except ItemError as error:
            if error.reason == "llm-unreachable":
                self._count_failure(error.what)
            raise
        except openai.APIStatusError as error:
            status = error.status_code
            if status in _TEMPORARY or status >= 500:
                self._count_failure(f"status {status}")
                raise ItemError("llm-unreachable", f"status {status}") from None
            self._report(f"rejects requests with status {status}")
            raise ItemError("llm-refused", f"status {status}") from None
        except openai.APIConnectionError as error:
            why = type(error.__cause__ or error).__name__
            self._count_failure(why)
            raise ItemError("llm-unreachable", why) from None
        with self._lock:
            self._failures = 0
        return _content(response.content)

    def _count_failure(self, why: str) -> None:
        self._report(f"cannot be reached ({why})")
        with self._lock:
            self._failures += 1
            if self._failures >= _MAX_FAILURES:
                self._failures, self._paused_until = 0, time.monotonic() + _PAUSE

    def _report(self, problem: str) -> None:
        """Log each kind of problem once: the ledger counts the rest."""
        with self._lock:
            new = problem not in self._reported
            self._reported.add(problem)
        if new:
            _log.warning("%s.url %s", self._section, problem)


class _Transport(httpx.BaseTransport):
    """Sends attempts within the budget and the deadline of their request, one per thread."""

    def __init__(
        self, budget: Budget, connections: int, *, with_key: bool, proxy: str | None = None
    ) -> None:
        self._with_key = with_key
        self._budget, self._lock, self.sent = budget, threading.Lock(), 0
        self._request = threading.local()
        backend = DeadlineBackend(lambda: float(self._request.until))
        self._pool = httpcore.ConnectionPool(
            ssl_context=httpx.create_ssl_context(),  # with the authorities of SSL_CERT_FILE
            proxy=httpcore.Proxy(proxy) if proxy else None,
            max_connections=connections,
            network_backend=backend,
        )

    def begin(self, until: float) -> None:
        """The next attempts of this thread belong to one request, with this deadline."""
        self._request.until, self._request.attempts = until, 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        until = self._request.until
        if until - time.monotonic() < _MARGIN:
            raise ItemError("llm-unreachable", "no time is left")
        self._budget.spend()
        with self._lock:
            self.sent += 1
        wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2.0**self._request.attempts)
        self._request.attempts += 1
        self._clean(request.headers)
        try:
            response = self._exchange(request)
        except httpx.TransportError as error:
            if time.monotonic() + wait >= until:  # openai would wait, then find no time left
                raise ItemError("llm-unreachable", type(error).__name__) from None
            raise
        if time.monotonic() + max(wait, _retry_after(response.headers)) >= until:
            response.headers["x-should-retry"] = "false"
        return response

    def _exchange(self, request: httpx.Request) -> httpx.Response:
        """One request over the pool, whose errors become those that openai knows."""
        until = self._request.until
        assert isinstance(request.stream, httpx.SyncByteStream)
        left = until - time.monotonic()
        try:
            response = self._pool.handle_request(
                httpcore.Request(
                    request.method,
                    str(request.url),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions={"timeout": httpx.Timeout(left).as_dict()},
                )
            )
        except httpcore.TimeoutException as error:
            raise httpx.ReadTimeout(type(error).__name__) from None
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError) as error:
            raise httpx.ConnectError(type(error).__name__) from None
        encoding = {name.lower(): value for name, value in response.headers}
        if encoding.get(b"content-encoding", b"identity").strip().lower() not in (b"identity", b""):
            response.close()
            raise ItemError("llm-malformed", "the reply is compressed, which was not accepted")
        stream = _Bounded(response.stream, until, response.close)
        return httpx.Response(response.status, headers=response.headers, stream=stream)

    def close(self) -> None:
        self._pool.close()

    def _clean(self, headers: httpx.Headers) -> None:
        """Remove what describes this machine or its accounts, and the key if there is none."""
        for name in list(headers):
            if name.startswith(_NOT_SENT) or (name == "authorization" and not self._with_key):
                del headers[name]
        headers["accept-encoding"] = "identity"  # a small body could be an immense text


class _Bounded(httpx.SyncByteStream):
    """The body of a reply, unless it is too large or too late."""

    def __init__(self, stream: Any, until: float, close: Callable[[], None]) -> None:
        self._stream, self._until, self._close = stream, until, close

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        try:
            for chunk in self._stream:
                size += len(chunk)
                if size > _MAX_BYTES:
                    raise ItemError("llm-malformed", "the reply is larger than 1 MiB")
                if time.monotonic() > self._until:
                    raise ItemError("llm-unreachable", "the reply arrived too slowly")
                yield chunk
        except httpcore.TimeoutException:
            raise ItemError("llm-unreachable", "the reply arrived too slowly") from None
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise ItemError("llm-unreachable", type(error).__name__) from None

    def close(self) -> None:
        self._close()


def _require_private(config: LanguageModelConfig) -> None:
    """Refuse to send texts of patients unencrypted to another machine, unless that is confirmed."""
    url = httpx.URL(config.url or "")
    if url.scheme == "https" or config.plain_http or _is_this_machine(url.host):
        return
    raise ConfigError(
        f"{config.section}.url = {config.url}",
        "sends texts, and the key, unencrypted to another machine",
        f"use https, or confirm it with {config.section}.plain_http=true",
    )


def _is_this_machine(host: str) -> bool:
    """Whether a host's name can only mean this machine.

    >>> _is_this_machine("localhost"), _is_this_machine("127.0.0.1"), _is_this_machine("gpu-7")
    (True, True, False)
    """
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _api_key(config: LanguageModelConfig) -> str:
    """The key from an environment variable; "" if none is named."""
    variable, name = config.api_key_env, f"{config.section}.api_key_env"
    if variable is None:
        return ""
    key = os.environ.get(variable, "").strip()
    if not key or not key.isascii() or not key.isprintable():
        why = "is not set where it is used" if not key else "does not contain a valid key"
        raise ConfigError(
            f"{name} = {variable}", f"the variable {why}", f"set it on every node, or remove {name}"
        )
    return key


def _content(body: bytes) -> str:
    """The text of the first choice of a chat completion."""
    try:
        choice = json.loads(body)["choices"][0]
        text, finish = choice["message"]["content"], choice.get("finish_reason")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise ItemError("llm-malformed", "not a chat completion") from None
    if not isinstance(text, str) or finish == "length":
        why = "the reply was cut off" if finish == "length" else "the reply has no text"
        raise ItemError("llm-malformed", why)
    return text


def _retry_after(headers: httpx.Headers) -> float:
    """The seconds of a Retry-After header, a number or a date; 0.0 if it is neither.

    >>> _retry_after(httpx.Headers({"retry-after": "2"})), _retry_after(httpx.Headers())
    (2.0, 0.0)
    """
    value = headers.get("retry-after", "")
    try:
        wait = float(value)
    except ValueError:
        try:
            wait = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, OverflowError):
            return 0.0
    return wait if wait > 0.0 else 0.0
