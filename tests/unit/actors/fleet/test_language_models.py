"""Served language models on real Ray actors that repeat what is said: kills, breaks, budgets."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import time

import pytest

from actors.fleet.pool import RestartBudget
from actors.fleet.served import LanguageModels, language_models
from medray.config import Config, EditorConfig
from medray.errors import ItemError
from tests.support.processes.sleepers import Parrot

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("cluster")]


@pytest.fixture(autouse=True)
def _often(monkeypatch):
    monkeypatch.setattr(language_models, "WATCH", 0.2)


@pytest.fixture
def directories(tmp_path):
    for name in ("editor", "judge"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(name)
    return [str(tmp_path / name) for name in ("editor", "judge")]


def run(scenario, directories, restarts=8, **keys):
    """Run `scenario(served, failures)`; its result, and the announced lines."""
    lines: list[str] = []
    path, *judges = directories
    editor = EditorConfig(kind="llm", path=path, judges=tuple(judges), **keys)
    config = Config.model_validate(
        {"data": {"kind": "phantom"}, "editor": editor, "faults": {"editor": restarts}}
    )

    async def main():
        failures: list[Exception] = []
        budget = RestartBudget(config.faults, lines.append)
        models = LanguageModels(config, {"num_cpus": 0}, budget, failures.append, Parrot)
        await models.start()
        try:
            async with asyncio.timeout(120):
                await models.wait_ready()
                served = pickle.loads(pickle.dumps(models.served))
                return await scenario(served, failures)
        finally:
            await models.close()

    return asyncio.run(main()), lines


def body(model, text):
    return {"model": model, "messages": [{"role": "user", "content": text}]}


async def complete(served, *bodies, seconds=60.0):
    return await asyncio.to_thread(served.complete, bodies, time.monotonic() + seconds)


async def until(condition):
    while not condition():
        await asyncio.sleep(0.05)


def test_each_model_completes_what_is_for_it_and_equal_requests_once(directories):
    first, second = directories

    async def scenario(served, _):
        bodies = [body(second, "a"), body(first, "b"), body(second, "a"), body(first, "c")]
        return await complete(served, *bodies), served.identity(second)

    (replies, identity), lines = run(scenario, directories, budget=3)
    assert [reply.split()[1:] for reply in replies] == [
        [second, "a"],
        [first, "b"],
        [second, "a"],
        [first, "c"],
    ]
    assert identity.startswith("judge@")
    assert lines == []


def test_beyond_the_budget_nothing_is_sent(directories):
    async def scenario(served, _):
        return await complete(served, *[body(directories[0], text) for text in "abc"])

    replies, _ = run(scenario, directories, budget=2)
    assert [getattr(reply, "reason", "") for reply in replies] == ["", "", "llm-budget"]


def test_a_killed_engine_is_started_again_and_announced_once(directories):
    async def scenario(served, failures):
        (before,) = await complete(served, body(directories[0], "a"))
        os.kill(int(before.split()[0]), signal.SIGKILL)
        (after,) = await complete(served, body(directories[0], "b"))
        await asyncio.sleep(1.0)
        return before, after, failures

    (before, after, failures), lines = run(scenario, directories)
    assert before.split()[0] != after.split()[0]
    assert after.endswith(" b")
    assert failures == []
    assert lines == ["LanguageModel(editor) died: its process ended unexpectedly; restart 1 of 8"]


def test_an_engine_that_raises_is_replaced_and_its_requests_have_a_reason(directories):
    async def scenario(served, _):
        replies = await complete(served, body(directories[0], "break"), body(directories[0], "a"))
        while isinstance(
            (again := await complete(served, body(directories[0], "b")))[0], ItemError
        ):
            await asyncio.sleep(0.1)
        return replies, again

    (replies, again), lines = run(scenario, directories)
    assert [reply.reason for reply in replies] == ["llm-unavailable"] * 2
    assert again[0].endswith(" b")
    assert len(lines) == 1
    assert "LanguageModel(editor) broken" in lines[0]


def test_requests_that_kill_every_engine_have_a_reason_and_end_the_run(directories):
    async def scenario(served, failures):
        replies = await complete(served, body(directories[0], "die"))
        await until(lambda: failures)
        return replies, failures, await complete(served, body(directories[0], "a"))

    (replies, failures, later), lines = run(scenario, directories, restarts=0)
    assert [reply.reason for reply in (*replies, *later)] == ["llm-unavailable"] * 2
    assert "raise faults.editor" in str(failures[0])
    assert "not restarted, faults.editor = 0" in lines[0]


def test_a_reply_that_is_late_has_a_reason(directories):
    async def scenario(served, _):
        return await complete(served, body(directories[0], "wait"), seconds=0.1)

    (reply,), _ = run(scenario, directories)
    assert isinstance(reply, ItemError)
    assert reply.reason == "llm-unavailable"
