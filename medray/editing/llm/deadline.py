"""Connections on which nothing outlasts the deadline of its request, however it is dripped.

A timeout of HTTP libraries counts from the last byte. Here each read and write gets what is left of
the whole request.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterable
from typing import Any

import httpcore2 as httpcore

_PIECE = 1 << 14  # bytes of one write


class DeadlineBackend(httpcore.NetworkBackend):
    """Opens connections. `until`: the deadline of this thread's request, as a time.monotonic()."""

    def __init__(self, until: Callable[[], float]) -> None:
        self._until, self._plain = until, httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        left = _left(self._until, httpcore.ConnectTimeout)
        stream = self._plain.connect_tcp(host, port, left, local_address, socket_options)
        return _DeadlineStream(stream, self._until)


class _DeadlineStream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, until: Callable[[], float]) -> None:
        self._stream, self._until = stream, until

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(self._until, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _PIECE):
            left = _left(self._until, httpcore.WriteTimeout)
            self._stream.write(buffer[start : start + _PIECE], left)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        left = _left(self._until, httpcore.ConnectTimeout)
        return _DeadlineStream(
            self._stream.start_tls(ssl_context, server_hostname, left), self._until
        )

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left(until: Callable[[], float], error: type[Exception]) -> float:
    """Seconds; raises `error` if there are none."""
    left = until() - time.monotonic()
    if left <= 0.0:
        raise error("the deadline of the request is over")
    return left
