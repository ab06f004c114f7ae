"""Fixtures for all tests."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.paths import shared_data as find_shared_data

# Threads of OpenMP that wait must sleep, as in the actors: beside other work, spinning makes the
# tests of torch several times slower. OpenMP reads this once, when torch loads it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
assert "torch" not in sys.modules, "OMP_WAIT_POLICY comes too late"

# The same examples everywhere: CI fails for what a commit changed. HYPOTHESIS_PROFILE=default
# searches anew.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


SHARED_RUNS = ("quickstart",)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Which tests `--dist loadgroup` keeps together: those that share a run, else those of a file,
    which share its fixtures."""
    for item in items:
        runs = [name for name in SHARED_RUNS if name in getattr(item, "fixturenames", ())]
        item.add_marker(pytest.mark.xdist_group(runs[0] if runs else item.nodeid.split("::")[0]))


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
