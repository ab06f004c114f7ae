"""The LLM editor against a real vLLM server, whose model talks nonsense."""

from __future__ import annotations

import subprocess
import sys
import time

import httpx
import pytest

from medray.config import EditorConfig
from medray.editing import EDITORS
from medray.editing.llm.task import EditTask
from medray.errors import ItemError
from tests.support.models.tiny_chat_model import build_tiny_chat_model
from tests.support.paths import ROOT
from tests.support.processes.running import environment, free_port

pytestmark = [pytest.mark.vllm, pytest.mark.chaos]

TASKS = [
    EditTask("Is there a nodule?", "Yes, on the left.", f"There is a nodule {where}.")
    for where in ("on the right", "on the left", "in the right lung", "in the left lung")
]


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    """`vllm serve` on a model of its own; its base URL."""
    model = build_tiny_chat_model(tmp_path_factory.mktemp("chat") / "model")
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "vllm.entrypoints.openai.api_server",
        f"--model={model}",
        "--served-model-name=chat",
        "--host=127.0.0.1",
        f"--port={port}",
        "--enforce-eager",
        "--dtype=bfloat16",
        "--max-num-seqs=4",
    ]
    env = environment(VLLM_CPU_KVCACHE_SPACE="1", VLLM_NO_USAGE_STATS="1", NO_PROXY="127.0.0.1")
    log = (model / "server.log").open("w")
    server = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 300
    try:
        while not _answers(f"http://127.0.0.1:{port}/health"):
            assert server.poll() is None, (model / "server.log").read_text()[-3000:]
            assert time.monotonic() < deadline, (model / "server.log").read_text()[-3000:]
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(timeout=60)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def ask(url: str, model: str) -> list[str]:
    """What becomes of each task: its verdict, or the reason there is none."""
    config = EditorConfig(kind="llm", url=url, model=model, retries=0, timeout=120)
    results = EDITORS["llm"](config).edit_many(TASKS)
    return [one.reason if isinstance(one, ItemError) else one.edit.verdict for one in results]


def test_nonsense_is_never_taken_for_an_edit(endpoint):
    """The server understands the requests; every answer has the reason it was left alone."""
    outcomes = ask(endpoint, "chat")
    print(outcomes)
    assert len(outcomes) == len(TASKS)
    assert set(outcomes) <= {"llm-malformed", "llm-cannot-tell"}


def test_a_model_that_the_server_does_not_have_is_refused(endpoint):
    assert ask(endpoint, "another") == ["llm-refused"] * len(TASKS)
