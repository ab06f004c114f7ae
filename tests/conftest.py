"""Fixtures for all tests."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadFileScheduling

from tests.support.paths import shared_data as find_shared_data

# Threads of OpenMP that wait must sleep, as in the actors: beside other work, spinning makes the
# tests of torch several times slower. OpenMP reads this once, when torch loads it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
assert "torch" not in sys.modules, "OMP_WAIT_POLICY comes too late"

# The same examples everywhere: CI fails for what a commit changed. HYPOTHESIS_PROFILE=default
# searches anew.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

# `--dist loadfile` keeps the tests of a file together. Those of these files look at one run.
QUICKSTART = ("evaluation/test_forms.py", "loop/test_quickstart.py", "loop/test_faults.py")


class TogetherScheduling(LoadFileScheduling):
    """Files, and the files of the quickstart as one, each on one worker."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "quickstart" if file.endswith(QUICKSTART) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    if config.getoption("dist") != "loadfile":
        return None
    return TogetherScheduling(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Seed what a test draws without a generator of its own (PEFT's A, dropout)."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data."""
    return find_shared_data()


@pytest.fixture(scope="session")
def tiny_llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a random LLaVA look-alike with a Mistral decoder, as LLaVA-Med's."""
    from tests.support.models.tiny_llava import build_tiny_llava

    return build_tiny_llava(tmp_path_factory.mktemp("model") / "tiny-llava")


@pytest.fixture(scope="session")
def tiny_llava_qwen2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of one with a Qwen2 decoder, as HuatuoGPT-Vision's."""
    from tests.support.models.tiny_llava import build_tiny_llava_qwen2

    return build_tiny_llava_qwen2(tmp_path_factory.mktemp("model") / "tiny-llava-qwen2")


@pytest.fixture(scope="session")
def tiny_qwen2_5_vl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a random Qwen2.5-VL look-alike."""
    from tests.support.models.tiny_qwen2_5_vl import build_tiny_qwen2_5_vl

    return build_tiny_qwen2_5_vl(tmp_path_factory.mktemp("model") / "tiny-qwen2-5-vl")


@pytest.fixture(scope="session")
def tiny_qwen2_vl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a random Qwen2-VL look-alike."""
    from tests.support.models.tiny_qwen_vl import build_tiny_qwen2_vl

    return build_tiny_qwen2_vl(tmp_path_factory.mktemp("model") / "tiny-qwen2-vl")


@pytest.fixture(scope="session")
def tiny_qwen3_vl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a random Qwen3-VL look-alike."""
    from tests.support.models.tiny_qwen_vl import build_tiny_qwen3_vl

    return build_tiny_qwen3_vl(tmp_path_factory.mktemp("model") / "tiny-qwen3-vl")


@pytest.fixture(scope="session")
def tiny_internvl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a random InternVL look-alike."""
    from tests.support.models.tiny_internvl import build_tiny_internvl

    return build_tiny_internvl(tmp_path_factory.mktemp("model") / "tiny-internvl")


@pytest.fixture(scope="session")
def tiny_gemma3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a random Gemma 3 look-alike."""
    from tests.support.models.tiny_gemma3 import build_tiny_gemma3

    return build_tiny_gemma3(tmp_path_factory.mktemp("model") / "tiny-gemma3")
