"""An endpoint that does to its clients what no server should: one behaviour per name."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

Connection = socket.socket
OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


@dataclass
class Hostile:
    """`requests`: bytes received, by connection; `elsewhere`: connections to where it redirects."""

    port: int
    requests: list[bytes] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)


def chat(content: object, finish: object = "stop") -> bytes:
    choice = {"message": {"role": "assistant", "content": content}, "finish_reason": finish}
    return json.dumps({"choices": [choice]}).encode()


def plain(body: bytes, extra: bytes = b"", status: bytes = b"200 OK") -> bytes:
    length = f"content-length: {len(body)}\r\n".encode()
    return b"HTTP/1.1 " + status + b"\r\n" + extra + length + b"\r\n" + body


def drip(data: bytes, pause: float = 0.05) -> Callable[[Connection, threading.Event], None]:
    """`data` again and again, byte by byte."""

    def serve(connection: Connection, ended: threading.Event) -> None:
        while not ended.is_set():
            for i in range(len(data)):
                connection.sendall(data[i : i + 1])
                if ended.wait(pause):
                    return

    return serve


def after(first: bytes, then: Callable[[Connection, threading.Event], None]):
    def serve(connection: Connection, ended: threading.Event) -> None:
        connection.sendall(first)
        then(connection, ended)

    return serve


def flood(data: bytes) -> Callable[[Connection, threading.Event], None]:
    """`data` as fast as it is taken."""

    def serve(connection: Connection, ended: threading.Event) -> None:
        while not ended.is_set():
            connection.sendall(data)

    return serve


def say(data: bytes) -> Callable[[Connection, threading.Event], None]:
    return lambda connection, ended: connection.sendall(data)


def reset(connection: Connection, ended: threading.Event) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")


def silent(connection: Connection, ended: threading.Event) -> None:
    ended.wait(60)


def deep() -> bytes:
    return b'{"choices":' + b"[" * 500_000


BOMB = gzip.compress(b" " * 20_000_000)
BEHAVIOURS: dict[str, Callable[[Connection, threading.Event], None]] = {
    "silent": silent,
    "reset": reset,
    "hangs up": lambda connection, ended: None,
    "drips the status": drip(b"HTTP/1.1 200 OK" + b" " * 10_000),
    "drips a header": after(OK + b"x: ", drip(b"a")),
    "drips headers": after(OK, drip(b"x: a\r\n")),
    "drips the body": after(OK + b"content-length: 100000\r\n\r\n", drip(b" ")),
    "drips chunks": after(OK + b"transfer-encoding: chunked\r\n\r\n", drip(b"1\r\n \r\n")),
    "drips informational replies": drip(b"HTTP/1.1 103 Early Hints\r\n\r\n", 0.01),
    "floods headers": after(OK, flood(b"x: a\r\n" * 100)),
    "floods one header": after(OK + b"x: ", flood(b"a" * 4096)),
    "floods the body": after(OK + b"\r\n", flood(b" " * 65536)),
    "floods chunks": after(
        OK + b"transfer-encoding: chunked\r\n\r\n", flood(b"1000\r\n" + b" " * 4096 + b"\r\n")
    ),
    "floods informational replies": flood(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 50),
    "a length of 6 GB": after(OK + b"content-length: 6000000000\r\n\r\n", flood(b" " * 65536)),
    "a body cut short": say(OK + b"content-length: 1000\r\n\r\n{"),
    "a negative length": say(OK + b"content-length: -1\r\n\r\n{}"),
    "two lengths": say(OK + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}}"),
    "a broken chunk": say(OK + b"transfer-encoding: chunked\r\n\r\nzz\r\n"),
    "a gzip bomb": say(plain(BOMB, b"content-encoding: gzip\r\n")),
    "gzip that is none": say(plain(chat("x"), b"content-encoding: gzip\r\n")),
    "brotli": say(plain(chat("x"), b"content-encoding: br\r\n")),
    "no HTTP": say(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "binary": say(bytes(range(256)) * 64),
    "no UTF-8": say(plain(b'{"choices": "\xff\xfe"}')),
    "500,000 brackets": say(plain(deep())),
    "a number of 900,000 digits": say(plain(b'{"choices": ' + b"9" * 900_000 + b"}")),
    "no choice": say(plain(b'{"choices": []}')),
    "no text": say(plain(chat(None))),
    "a list as text": say(plain(chat([{"text": "x"}]))),
    "a reply that was cut off": say(plain(chat("{", "length"))),
    "a page of HTML": say(plain(b"<html>Sign in to the network</html>")),
    "an empty body": say(plain(b"")),
    "no authorisation": say(plain(b"{}", status=b"401 Unauthorized")),
    "errors for ever": say(plain(b"{}", status=b"503 Unavailable")),
    "a wait of years": say(plain(b"{}", b"retry-after: 1000000000\r\n", b"429 Too Many")),
    "a redirect": say(plain(b"", b"location: http://127.0.0.2:9/\r\n", b"307 Temporary")),
    "a redirect to itself": say(plain(b"", b"location: /v1/chat/completions\r\n", b"308 Moved")),
}


@contextmanager
def hostile(behaviour: str) -> Iterator[Hostile]:
    """A server on this machine that behaves so to every connection."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    server = Hostile(listener.getsockname()[1])

    def handle(connection: Connection) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(20)
            server.requests.append(connection.recv(1 << 20))
            BEHAVIOURS[behaviour](connection, server.ended)
            time.sleep(0.02)  # what is unread would turn the end into a reset

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=handle, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield server
    finally:
        server.ended.set()
        listener.close()
