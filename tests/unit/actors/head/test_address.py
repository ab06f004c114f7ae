"""Which cluster a command works on: every form of an address, answered in seconds."""

from __future__ import annotations

import re
import socket
import threading
import time
from concurrent import futures

import grpc
import pytest
import ray

from actors.head import address as module
from actors.head import find_address
from medray.errors import ResourceError
from tests.support.processes.running import free_port

TOKEN = "ab" * 32


class Head:
    """What a cluster's head answers to the question whether it is alive."""

    def __init__(self, version: str = ray.__version__, token: str | None = None) -> None:
        self.server = grpc.server(futures.ThreadPoolExecutor(2))

        def alive(request: bytes, context: grpc.ServicerContext) -> bytes:
            given = dict(context.invocation_metadata()).get("authorization")
            if token is not None and given != f"Bearer {token}":
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "InvalidAuthToken")
            return b"\n\x00\x12\x06" + version.encode()

        service, method = module._CHECK_ALIVE.strip("/").split("/")
        handlers = {method: grpc.unary_unary_rpc_method_handler(alive)}
        self.server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, handlers),)
        )
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"

    def __enter__(self) -> str:
        self.server.start()
        return self.address

    def __exit__(self, *_) -> None:
        self.server.stop(None).wait()


@pytest.fixture(autouse=True)
def _environment(monkeypatch, tmp_path):
    for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    (tmp_path / "ray").mkdir()


@pytest.fixture
def current(tmp_path):
    """Names the cluster that anybody started last on this machine."""
    return lambda address: (tmp_path / "ray/ray_current_cluster").write_text(address)


def test_a_cluster_that_was_not_asked_for_is_not_joined(current, monkeypatch):
    with Head() as address:
        current(address)
        assert find_address(None).own
        for empty in ("", "  ", "local"):
            monkeypatch.setenv("RAY_ADDRESS", empty)
            assert find_address(None).own
        assert find_address(None).describe() == "its own, until it ends"


def test_a_cluster_that_is_named_is_joined(current, monkeypatch):
    with Head() as address:
        assert find_address(address).value == address
        monkeypatch.setenv("RAY_ADDRESS", address)
        found = find_address(None)
        assert found.describe() == f"the one at {address} (RAY_ADDRESS={address})"
        assert find_address("local").own  # the option counts more than the variable
        current(address)
        monkeypatch.setenv("RAY_ADDRESS", "auto")
        assert find_address(None).value == address


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("http://127.0.0.1:8265", "is the address of a dashboard"),
        ("https://ray.hospital.org", "is the address of a dashboard"),
        ("ray://127.0.0.1:10001", "is the address of a Ray Client server"),
        ("auto", "no Ray cluster was started on this machine"),
        ("garbage", "is not the address of a Ray cluster"),
        ("host:99999", "is not the address of a Ray cluster"),
        ("host:0", "is not the address of a Ray cluster"),
        ("a b:6379", "is not the address of a Ray cluster"),
        ("user:secret@host:6379", "is not the address of a Ray cluster"),
        ("127.0.0.1:6379;ls", "is not the address of a Ray cluster"),
        ("no-such-host.invalid:6379", "no Ray cluster there|no answer of a Ray cluster"),
        ("127.0.0.1:FREE", "no Ray cluster there"),
    ],
)
@pytest.mark.parametrize("variable", [False, True])
def test_what_cannot_be_joined_is_one_line_that_names_its_source(
    address, why, variable, monkeypatch
):
    address = address.replace("FREE", str(free_port()))
    if variable:
        monkeypatch.setenv("RAY_ADDRESS", address)
    start = time.monotonic()
    with pytest.raises(ResourceError, match=why) as caught:
        find_address(None if variable else address)
    assert time.monotonic() - start < 20.0
    source = f"RAY_ADDRESS={address}" if variable else f"--address {address}"
    assert str(caught.value).startswith(source)
    assert caught.value.exit_code == 2


def test_a_dead_cluster_that_was_started_last_is_one_line(current):
    current(f"127.0.0.1:{free_port()}")
    with pytest.raises(ResourceError, match="--address auto: no Ray cluster there"):
        find_address("auto")


def test_what_never_answers_is_one_line(monkeypatch):
    monkeypatch.setattr(module, "PROBE", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(ResourceError, match="no answer of a Ray cluster within 1 s"):
            find_address(address)


def test_another_server_is_one_line():
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=serve, daemon=True).start()
        with pytest.raises(ResourceError, match=r"no Ray cluster there|not the head"):
            find_address(f"127.0.0.1:{listener.getsockname()[1]}")


def test_a_token_is_sent_as_ray_would(monkeypatch, tmp_path):
    with Head(token=TOKEN) as address:
        with pytest.raises(ResourceError, match="requires a token — set RAY_AUTH_MODE=token"):
            find_address(address)
        monkeypatch.setenv("RAY_AUTH_MODE", "token")
        monkeypatch.setenv("RAY_AUTH_TOKEN", "cd" * 32)
        with pytest.raises(ResourceError, match="does not accept this token") as caught:
            find_address(address)
        assert "cdcd" not in str(caught.value)
        monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
        assert find_address(address).value == address
        monkeypatch.delenv("RAY_AUTH_TOKEN")
        (tmp_path / "token").write_text(TOKEN + "\n")
        monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
        assert find_address(address).value == address


def test_another_version_of_ray_is_one_line():
    with Head(version="2.9.0") as address:
        why = re.escape(f"does not run Ray {ray.__version__}")
        with pytest.raises(ResourceError, match=why):
            find_address(address)
