"""A generator that shares its GPU wakes by itself for whatever is called after a sleep.

The class is the real one. Only the engine is a stand-in, for vLLM's sleep needs a GPU; it
refuses, as a sleeping engine would, whatever needs the memory that it gave back.
"""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from actors.generator import actor as module
from actors.generator.actor import Generator
from actors.weights.manifest import Manifest
from medray.config import load_config
from medray.errors import RunFailed
from medray.records import Request
from tests.support.paths import ROOT

REQUEST = Request("i", "c", "Is there a nodule?", (0,), 0)
IMAGE = np.zeros((8, 8, 3), np.uint8)


class Engine:
    """vLLM's `LLM`, as far as a generator uses it, without a model."""

    def __init__(self, *, enabled: bool = True) -> None:
        self.asleep, self.log = False, []
        self.request_counter = SimpleNamespace(counter=0)
        self.llm_engine = SimpleNamespace(
            model_config=SimpleNamespace(enable_sleep_mode=enabled),
            reset_mm_cache=lambda: None,
            reset_encoder_cache=lambda: None,
            has_unfinished_requests=lambda: False,
            step=list,  # nothing is finished, and nothing is left
        )

    def sleep(self, level: int) -> None:
        assert not self.asleep
        self.asleep = True
        self.log.append("sleep")

    def wake_up(self) -> None:
        assert self.asleep
        self.asleep = False
        self.log.append("wake")

    def _work(self, name: str) -> None:
        assert not self.asleep, f"{name} on an engine that has given its memory back"
        self.log.append(name)

    def _preprocess_cmpl_one(self, prompt):
        return prompt

    def _add_request(self, prepared, sampling, **options) -> str:
        self._work("generate")
        return "0"

    def generate(self, prompts, sampling, **options) -> list:
        self._work("score")
        return [SimpleNamespace(prompt_logprobs=[{5: SimpleNamespace(logprob=-0.5)}])]

    def reset_prefix_cache(self) -> bool:
        self._work("reset")
        return True

    def start_weight_update(self) -> None:
        self._work("update")

    def finish_weight_update(self, weight_version: str) -> None:
        self._work(f"version {weight_version}")


def start(monkeypatch, engine: Engine) -> Generator:
    monkeypatch.setattr(module, "start_engine", lambda config, facts, limits: engine)
    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(SamplingParams=dict))
    return Generator(load_config(ROOT / "configs/quickstart.yaml"), 0)


CALLS = {
    "generate": lambda g: list(g.generate(0, [REQUEST], True, IMAGE)),
    "score": lambda g: g.score(0, [REQUEST], [[5]], IMAGE),
    "update": lambda g: g.update(Manifest(1, "full", (), 0), []),
}


@pytest.mark.parametrize("name", CALLS)
def test_every_call_wakes_a_sleeping_engine(monkeypatch, name):
    engine = Engine()
    generator = start(monkeypatch, engine)
    generator.sleep()
    CALLS[name](generator)
    assert engine.log[:4] == ["sleep", "wake", "reset", name]
    CALLS[name](generator) if name != "update" else None
    assert engine.log.count("wake") == 1, "it is awake already"


def test_a_second_sleep_is_harmless(monkeypatch):
    engine = Engine()
    generator = start(monkeypatch, engine)
    generator.sleep()
    generator.sleep()
    assert engine.log == ["sleep"]
    CALLS["score"](generator)
    generator.sleep()
    assert engine.log == ["sleep", "wake", "reset", "score", "sleep"]


def test_an_engine_that_holds_a_mixture_neither_sleeps_nor_answers(monkeypatch):
    engine = Engine()
    generator = start(monkeypatch, engine)
    engine.start_weight_update = lambda: 1 / 0
    with pytest.raises(RunFailed, match="weight update"):
        CALLS["update"](generator)
    for call in (*CALLS.values(), Generator.sleep):
        with pytest.raises(RunFailed, match="holds a mixture of versions 0 and 1"):
            call(generator)
    assert engine.log == []


def test_an_engine_without_a_shared_gpu_does_not_sleep(monkeypatch):
    generator = start(monkeypatch, Engine(enabled=False))
    with pytest.raises(RunFailed, match=r"generator\.colocated"):
        generator.sleep()
