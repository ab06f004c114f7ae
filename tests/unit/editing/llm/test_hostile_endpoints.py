"""Endpoints that drip, flood, lie and redirect: every batch ends, with reasons, within its time."""

from __future__ import annotations

import resource
import socket
import time

import pytest

from medray.config import EditorConfig
from medray.editing import EDITORS
from medray.editing.llm import EditTask
from medray.editing.llm.client import Client
from medray.editing.llm.completion import converse
from medray.errors import ConfigError, ItemError
from tests.support.processes.chat_server import serve
from tests.support.processes.hostile_server import BEHAVIOURS, hostile
from tests.unit.editing.llm.test_llm_editor import QUESTION, REFERENCE, WRONG, change, reply

pytestmark = pytest.mark.slow

REASONS = {"llm-unreachable", "llm-refused", "llm-malformed"}
PATIENCE = 20.0  # seconds; without a deadline of the request some would take for ever


def configured(url: str, **keys) -> EditorConfig:
    return EditorConfig(**{"kind": "llm", "url": url, "model": "m", "timeout": 0.6, **keys})


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_a_batch_ends_with_reasons(behaviour):
    tasks = [EditTask(QUESTION, REFERENCE, WRONG, seed) for seed in range(3)]
    with hostile(behaviour) as server:
        editor = EDITORS["llm"](configured(f"http://127.0.0.1:{server.port}/v1", retries=1))
        start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        results = editor.edit_many(tasks)
        seconds = time.monotonic() - start
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert len(results) == 3
    assert all(isinstance(result, ItemError) for result in results)
    assert {result.reason for result in results} <= REASONS
    assert seconds < PATIENCE
    assert grown < 200_000  # KiB
    assert all(b"accept-encoding: identity" in r.lower() for r in server.requests if r)


def test_a_handshake_that_is_dripped_ends():
    with hostile("drips the status") as server:
        editor = EDITORS["llm"](configured(f"https://127.0.0.1:{server.port}/v1", retries=0))
        start = time.monotonic()
        with pytest.raises(ItemError, match=r"llm-unreachable|Connect|Timeout"):
            editor.edit(QUESTION, REFERENCE, WRONG, seed=0)
        assert time.monotonic() - start < PATIENCE


def test_a_port_where_nobody_accepts_ends():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        client = Client(configured(url, retries=0))
        start = time.monotonic()
        results = client.complete([{"model": "m"}] * 4, start + 5.0)
        assert time.monotonic() - start < PATIENCE
    assert {result.reason for result in results} == {"llm-unreachable"}


def test_a_batch_does_not_wait_for_what_has_no_deadline():
    """Such as a name server that does not answer."""

    class Stuck:
        constrained, threads = False, 2

        def complete(self, bodies, until):
            if bodies[0]["n"] == 1:
                time.sleep(PATIENCE)
            return ["done"] * len(bodies)

    def dialogue(number):
        return (yield {"n": number})

    start = time.monotonic()
    results = converse([dialogue(n) for n in range(3)], Stuck(), start - 4.0)
    assert time.monotonic() - start < PATIENCE / 2
    assert [r if isinstance(r, str) else r.reason for r in results] == [
        *("done", "llm-unreachable", "done")
    ]


@pytest.mark.parametrize(
    "url", ["http://10.0.0.7:8000/v1", "http://gpu-7/v1", "http://llm.hospital.org:8000/v1"]
)
def test_nothing_is_sent_unencrypted_to_another_machine(url):
    with pytest.raises(ConfigError, match=r"unencrypted .* editor\.plain_http=true"):
        Client(configured(url))
    Client(configured(url, plain_http=True))
    Client(configured(url.replace("http:", "https:")))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "[::1]", "a.localhost"])
def test_this_machine_needs_no_encryption(host):
    Client(configured(f"http://{host}:8000/v1"))


def test_a_proxy_gets_requests_only_if_a_key_names_it(monkeypatch):
    with serve([reply("wrong", change())] * 3) as proxy:
        address = proxy.url.removesuffix("/v1")
        monkeypatch.setenv("http_proxy", address)
        monkeypatch.setenv("ALL_PROXY", address)
        url = "http://127.0.0.1:9/v1"
        with pytest.raises(ItemError):
            EDITORS["llm"](configured(url, retries=0)).edit(QUESTION, REFERENCE, WRONG, seed=0)
        assert proxy.requests == []
        edit = EDITORS["llm"](configured(url, proxy=address, timeout=30.0)).edit(
            QUESTION, REFERENCE, WRONG, seed=0
        )
        assert edit.text == REFERENCE
        assert proxy.requests[0].path.startswith("http://127.0.0.1:9/v1")
