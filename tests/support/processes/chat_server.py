"""A real OpenAI-compatible endpoint on this machine, with replies scripted by the test."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Say:
    """One reply. `text` is the model's text; `raw` replaces the entire body."""

    text: Any = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    drip: float = 0.0  # seconds between the halves of the body
    raw: bytes | None = None
    finish: str = "stop"

    def body(self) -> bytes:
        if self.raw is not None:
            return self.raw
        text = self.text if isinstance(self.text, str) else json.dumps(self.text)
        choice = {"message": {"role": "assistant", "content": text}, "finish_reason": self.finish}
        return json.dumps({"choices": [choice]}).encode()


@dataclass
class ChatRequest:
    """One request as it arrived."""

    path: str
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> dict[str, Any]:
        return json.loads(self.raw)

    @property
    def prompt(self) -> str:
        """Which of our prompts it is."""
        system = self.body["messages"][0]["content"]
        if "how much a mistake" in system:
            return "relevance"
        return "edit" if '"replacements"' in system else "verify"

    @property
    def inputs(self) -> dict[str, Any]:
        content = self.body["messages"][1]["content"]
        return json.loads(content if isinstance(content, str) else content[0]["text"])


class ChatServer:
    """`script` is a list of replies, sent in order, or a function of the request."""

    def __init__(self, script: list[Say] | Callable[[ChatRequest], Say]) -> None:
        self.script, self.requests = script, []
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["content-length"]))
                outer.reply(self, ChatRequest(self.path, dict(self.headers), raw))

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"

    def reply(self, handler: BaseHTTPRequestHandler, request: ChatRequest) -> None:
        with self.lock:
            self.requests.append(request)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            script = self.script if callable(self.script) else self.script.pop(0)
        say = script(request) if callable(script) else script
        time.sleep(say.delay)
        body = say.body()
        with self.lock:
            self.at_once -= 1
        try:
            handler.send_response(say.status)
            for name, value in {**say.headers, "Content-Length": str(len(body))}.items():
                handler.send_header(name, value)
            handler.end_headers()
            handler.wfile.write(body[: len(body) // 2])
            handler.wfile.flush()
            time.sleep(say.drip)
            handler.wfile.write(body[len(body) // 2 :])
        except OSError:
            pass  # the client has disconnected


@contextmanager
def serve(script: list[Say] | Callable[[ChatRequest], Say]) -> Iterator[ChatServer]:
    server = ChatServer(script)
    thread = threading.Thread(target=server.http.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.http.shutdown()
        server.http.server_close()
