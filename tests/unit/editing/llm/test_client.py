"""Requests to the endpoint: deadlines, retries, budget, cache, and the key."""

from __future__ import annotations

import email.utils
import json
import logging
import socket
import subprocess
import sys
import threading
import time

import pytest

from medray.config import EditorConfig
from medray.editing import EDITORS
from medray.editing.llm import client
from medray.editing.llm.cache import Cache, digest
from medray.editing.llm.client import Client
from medray.errors import ConfigError, ItemError
from tests.support.paths import ROOT
from tests.support.processes.chat_server import Say, serve
from tests.unit.editing.llm.test_llm_editor import QUESTION, REFERENCE, WRONG, change, reply

OK = reply("wrong", change())
KEY = "sk-VerySecret0123"


@pytest.fixture(autouse=True)
def _this_machine(monkeypatch):
    monkeypatch.setattr(client, "_FIRST_WAIT", 0.02)
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.02)


def configured(url: str, **keys) -> EditorConfig:
    return EditorConfig(**{"kind": "llm", "url": url, "model": "m", **keys})


def ask(script, **keys):
    """(text or reason, requests, seconds)."""
    with serve(script) as server:
        started = time.monotonic()
        try:
            edited = EDITORS["llm"](configured(server.url, **keys)).edit(
                QUESTION, REFERENCE, WRONG, seed=0
            )
            result = edited.text
        except ItemError as error:
            result = error.reason
        return result, server.requests, time.monotonic() - started


# --- retries ----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408, 429])
def test_a_temporary_failure_is_retried(status):
    result, requests, _ = ask([Say(status=status), OK])
    assert result == REFERENCE
    assert len(requests) == 2
    assert requests[0].raw == requests[1].raw


@pytest.mark.parametrize("date", [False, True])
def test_retry_after_is_respected(date):
    after = email.utils.formatdate(time.time() + 2.5, usegmt=True) if date else "1"
    result, _, seconds = ask([Say(status=429, headers={"Retry-After": after}), OK])
    assert result == REFERENCE
    assert 1.0 <= seconds < 30.0


def test_a_wait_beyond_the_deadline_is_not_started():
    result, requests, seconds = ask(
        [Say(status=429, headers={"Retry-After": "3600"})], timeout=60.0
    )
    assert (result, len(requests)) == ("llm-unreachable", 1)
    assert seconds < 30.0


def test_retries_are_limited():
    result, requests, _ = ask([Say(status=500)] * 3, retries=2)
    assert (result, len(requests)) == ("llm-unreachable", 3)


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 422])
def test_a_refusal_is_not_retried(status):
    result, requests, _ = ask([Say(status=status, headers={"Location": "/elsewhere"})])
    assert (result, len(requests)) == ("llm-refused", 1)


def test_waits_are_those_of_openai():
    """Our bound on its backoff, which decides whether there is time for another attempt."""
    from openai import _constants as constants

    assert constants.INITIAL_RETRY_DELAY == 0.5
    assert constants.MAX_RETRY_DELAY == client._LONGEST_WAIT


def test_proxies_of_the_environment_get_nothing(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    result, requests, _ = ask([OK])
    assert (result, len(requests)) == (REFERENCE, 1)


def test_nothing_about_this_machine_is_sent(monkeypatch):
    monkeypatch.setenv("OPENAI_ORG_ID", "our-hospital")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "our-study")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    _, requests, _ = ask([OK])
    names = {name.lower() for name in requests[0].headers}
    assert names <= {
        "host",
        "accept",
        "accept-encoding",
        "connection",
        "content-type",
        "content-length",
    }
    assert KEY not in str(requests[0].headers)


# --- deadline ---------------------------------------------------------------------------------


@pytest.mark.parametrize("say", [Say(OK.text, delay=8.0), Say(OK.text, drip=8.0)])
def test_a_reply_after_the_deadline_is_not_waited_for(say):
    result, requests, seconds = ask([say], timeout=1.0)
    assert (result, len(requests)) == ("llm-unreachable", 1)
    assert seconds < 7.0


def test_an_endpoint_that_does_not_listen_is_unreachable():
    with socket.socket() as taken:  # bound and not listening
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        endpoint = Client(configured(url, retries=2))
        with pytest.raises(ItemError) as caught:
            endpoint.reply({"x": 1})
    assert caught.value.reason == "llm-unreachable"
    assert endpoint.sent == 3


def test_after_many_failures_in_a_row_it_pauses(monkeypatch):
    monkeypatch.setattr(client, "_PAUSE", 2.0)
    with serve(lambda _: Say(status=500)) as server:
        endpoint = Client(configured(server.url, retries=0))

        def reason() -> str:
            with pytest.raises(ItemError) as caught:
                endpoint.reply({})
            return caught.value.reason

        assert {reason() for _ in range(12)} == {"llm-unreachable"}
        assert endpoint.sent == 8
        time.sleep(2.1)
        server.script = lambda _: OK
        assert json.loads(endpoint.reply({}))["verdict"] == "wrong"


def test_nothing_is_sent_after_the_deadline():
    with serve([]) as server:
        endpoint = Client(configured(server.url))
        with pytest.raises(ItemError) as caught:
            endpoint.reply({}, until=time.monotonic() - 1)
    assert (caught.value.reason, endpoint.sent) == ("llm-unreachable", 0)


# --- budget -----------------------------------------------------------------------------------


def test_the_budget_counts_every_request_of_every_thread():
    with serve(lambda _: OK) as server:
        endpoint = Client(configured(server.url, budget=15, replicas=2))  # 7 for each editor
        reasons: list[str] = []

        def work() -> None:
            for _ in range(5):
                try:
                    endpoint.reply({})
                except ItemError as error:
                    reasons.append(error.reason)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(server.requests) == endpoint.sent == 7
    assert reasons == ["llm-budget"] * 13


def test_retries_count_as_requests():
    result, requests, _ = ask([Say(status=500), Say(status=500)], budget=2)
    assert (result, len(requests)) == ("llm-budget", 2)


# --- cache ------------------------------------------------------------------------------------


def test_a_cached_reply_is_not_requested_again(tmp_path):
    keys = {"cache": str(tmp_path / "replies"), "budget": 1}
    first, requests, _ = ask([OK], **keys)
    again, no_requests, _ = ask([], **keys)
    assert first == again == REFERENCE
    assert (len(requests), len(no_requests)) == (1, 0)
    other, requests, _ = ask([OK], **{**keys, "model": "another"})
    assert (other, len(requests)) == (REFERENCE, 1)


def test_another_process_finds_a_cached_reply(tmp_path):
    ask([OK], cache=str(tmp_path))
    code = (
        "import sys\n"
        "from medray.config import EditorConfig\n"
        "from medray.editing import EDITORS\n"
        "c = EditorConfig(kind='llm', url='http://127.0.0.1:9/v1', model='m', retries=0,\n"
        "                 cache=sys.argv[1])\n"
        "print(EDITORS['llm'](c).edit(*sys.argv[2:5], seed=1).text)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), QUESTION, REFERENCE, WRONG],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    assert done.stdout.strip() == REFERENCE


def test_a_malformed_reply_is_not_cached(tmp_path):
    keys = {"cache": str(tmp_path)}
    assert ask([Say("nonsense")], **keys)[0] == "llm-malformed"
    assert ask([OK], **keys)[0] == REFERENCE


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", '{"key": "other", "reply": "{}"}', "[" * 9999, "\ud800", None]
)
def test_a_damaged_entry_is_requested_again(tmp_path, damage):
    keys = {"cache": str(tmp_path)}
    ask([OK], **keys)
    (entry,) = tmp_path.glob("*/*.json")
    if damage is None:  # complete, but of another schema
        damage = json.dumps({"key": entry.stem, "reply": '{"verdict": 1}'})
    entry.write_bytes(damage.encode("utf-8", "surrogatepass"))
    assert ask([OK], **keys)[0] == REFERENCE
    assert ask([], **keys)[0] == REFERENCE


def test_concurrent_writers_leave_only_complete_files(tmp_path):
    key = digest("m", "v", {"x": 1})
    replies = [str(n) * 20_000 for n in range(8)]
    store = Cache(str(tmp_path))
    seen = set()
    threads = [
        threading.Thread(target=lambda r=r: [store.put(key, r) for _ in range(10)]) for r in replies
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        seen.add(store.get(key))
    assert seen <= {None, *replies}
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == [f"{key}.json"]


def test_the_cache_contains_no_question(tmp_path):
    ask([OK], cache=str(tmp_path))
    (entry,) = tmp_path.glob("*/*.json")
    text = entry.read_text()
    assert QUESTION not in text
    assert REFERENCE not in text
    assert WRONG not in text


def test_the_digest_is_of_model_prompts_and_input():
    key = digest("m", "v", {"a": 1, "b": "é"})
    assert key == digest("m", "v", {"b": "é", "a": 1})
    others = {digest("n", "v", {"a": 1, "b": "é"}), digest("m", "w", {"a": 1, "b": "é"})}
    assert key not in others | {digest("m", "v", {"a": 2, "b": "é"})}


def test_a_cache_that_cannot_be_created_is_reported_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"editor\.cache"):
        EDITORS["llm"](configured("http://127.0.0.1:9/v1", cache=str(tmp_path / "file" / "x")))


# --- the key ----------------------------------------------------------------------------------


def test_the_key_appears_only_in_its_header(monkeypatch, caplog, tmp_path):
    monkeypatch.setenv("LLM_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    echo = Say(raw=f'{{"error": "bad key {KEY}"}}'.encode(), status=401)
    noisy = Say(raw=KEY.encode(), status=503)
    script = [OK, noisy, echo, Say(KEY)]
    exposed = []
    with serve(script) as server:
        config = configured(server.url, api_key_env="LLM_KEY", cache=str(tmp_path), retries=1)
        editor = EDITORS["llm"](config)
        editor.edit(QUESTION, REFERENCE, WRONG, seed=0)
        for answer in ("one", "two"):
            with pytest.raises(ItemError) as caught:
                editor.edit(QUESTION, REFERENCE, answer, seed=0)
            exposed += [str(caught.value), repr(caught.value)]
    assert {a.headers["authorization"] for a in server.requests} == {f"Bearer {KEY}"}
    assert len(server.requests) == 4
    exposed += [r.getMessage() for r in caplog.records]
    exposed += [
        repr(editor.chat.completer),
        repr(vars(editor.chat.completer)),
        repr(editor.chat.completer._openai),
    ]
    exposed += [config.model_dump_json(), *(p.read_text() for p in tmp_path.rglob("*.json"))]
    exposed += [a.raw.decode() for a in server.requests]
    assert [text for text in exposed if KEY in text] == []
    assert any("401" in r.getMessage() for r in caplog.records), "a refusal is logged"


def test_without_a_variable_no_key_is_sent():
    _, requests, _ = ask([OK])
    assert "authorization" not in {name.lower() for name in requests[0].headers}


@pytest.mark.parametrize("value", [None, "", "  ", "a\nb", "schlüssel"])
def test_an_invalid_key_is_reported_without_its_value(monkeypatch, value):
    monkeypatch.delenv("LLM_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("LLM_KEY", value)
    with pytest.raises(ConfigError, match=r"editor\.api_key_env = LLM_KEY") as caught:
        EDITORS["llm"](configured("http://127.0.0.1:9/v1", api_key_env="LLM_KEY"))
    assert not value or not value.strip() or value not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("api_key_env", KEY),
        ("url", f"http://user:{KEY}@host/v1"),
        ("url", f"http://host/v1?key={KEY}"),
        ("url", f"ftp://host/{KEY}"),
    ],
)
def test_a_key_written_into_the_configuration_is_refused_and_not_repeated(tmp_path, key, value):
    from medray.config import load_config

    file = tmp_path / "c.yaml"
    file.write_text("data: {kind: phantom}\neditor: {kind: llm, url: 'http://h/v1', model: m}\n")
    with pytest.raises(ConfigError, match=f"editor.{key}") as caught:
        load_config(file, [f"editor.{key}={value}"])
    assert KEY not in str(caught.value)
    assert KEY not in repr(caught.value)


@pytest.mark.parametrize("override", ["url=null", "model=null", "budget=2"])
def test_the_configuration_that_the_kind_needs_is_required(tmp_path, override):
    from medray.config import load_config

    file = tmp_path / "c.yaml"
    file.write_text(
        "data: {kind: phantom}\n"
        "editor: {kind: llm, url: 'http://h/v1', model: m, judges: [a, b], replicas: 3}\n"
    )
    assert load_config(file).editor.judges == ("a", "b")
    with pytest.raises(ConfigError, match="editor"):
        load_config(file, [f"editor.{override}"])
