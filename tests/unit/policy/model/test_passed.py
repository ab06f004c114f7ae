"""A model directory is inspected once, until it, the settings or the packages change."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from medray.config import LoraConfig, ModelConfig
from medray.errors import ModelError
from medray.policy.model import inspection, passed
from medray.policy.model.loading import model_facts, reference_facts
from medray.policy.model.passed import KEPT, PACKAGES, inspect_unless_passed


@pytest.fixture
def model(tiny_llava, tmp_path) -> Path:
    return Path(shutil.copytree(tiny_llava, tmp_path / "model"))


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/medray/passed-inspections.txt"


@pytest.fixture
def inspected(monkeypatch) -> list[Path]:
    """The directories that were inspected, in order."""
    paths: list[Path] = []
    plain = inspection.inspect_weights

    def counted(facts):
        paths.append(facts.path)
        return plain(facts)

    monkeypatch.setattr(inspection, "inspect_weights", counted)
    return paths


def check(path: Path, **settings) -> None:
    config = ModelConfig(path=str(path), **settings)
    inspect_unless_passed(model_facts(config), config, reference_facts(config))


def test_an_unchanged_directory_is_inspected_once(model, cache, inspected):
    check(model)
    check(model)
    assert inspected == [model]
    assert len(cache.read_text().split()) == 1
    assert str(model) not in cache.read_text()


def touched(path: Path) -> None:
    os.utime(path / "config.json", ns=(1, 1))


def rewritten(path: Path) -> None:
    """Other bytes, the same size, and the times put back as they were."""
    before = (path / "config.json").stat()
    data = (path / "config.json").read_bytes()
    (path / "config.json").write_bytes(data.replace(b"{\n", b"{ ", 1))
    os.utime(path / "config.json", ns=(before.st_atime_ns, before.st_mtime_ns))


def replaced(path: Path) -> None:
    shutil.copy2(path / "model.safetensors", path / "new")
    os.replace(path / "new", path / "model.safetensors")


def added(path: Path) -> None:
    (path / "notes.txt").write_text("new")


@pytest.mark.parametrize("change", [touched, rewritten, replaced, added])
def test_a_change_of_its_files_is_seen(change, model, cache, inspected):
    check(model)
    change(model)
    check(model)
    assert inspected == [model] * 2


@pytest.mark.parametrize("package", PACKAGES)
def test_another_version_of_a_package_inspects_again(package, model, cache, inspected, monkeypatch):
    check(model)
    plain = passed.metadata.version
    monkeypatch.setattr(
        passed.metadata, "version", lambda name: "99" if name == package else plain(name)
    )
    check(model)
    assert inspected == [model] * 2


def test_other_settings_and_another_reference_inspect_again(model, cache, inspected, tmp_path):
    other = Path(shutil.copytree(model, tmp_path / "other"))
    check(model, lora=LoraConfig(rank=4))
    check(model, lora=LoraConfig(rank=8))
    check(model, lora=LoraConfig(rank=8), reference=str(other))
    assert inspected == [model, model, model, other]
    tensors = load_file(other / "model.safetensors")
    save_file(dict(list(tensors.items())[1:]), other / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=str(other)):
        check(model, lora=LoraConfig(rank=8), reference=str(other))


@pytest.mark.parametrize("name", ["base", "paragraphs_base", "qwen_base"])
def test_shipped_models_are_inspected_here_and_not_at_a_start(name, cache, inspected):
    config = ModelConfig(path=f"phantom/{name}")
    check(Path(config.path))
    assert inspected == []
    assert not cache.exists()
    inspection.inspect_model(model_facts(config), config)


def test_a_shipped_model_with_an_adapter_is_inspected(cache, inspected, tmp_path):
    with pytest.raises(ModelError, match="adapter"):
        check(Path("phantom/base"), adapter=str(tmp_path), lora=LoraConfig())


def test_what_failed_is_not_remembered(model, cache, inspected):
    tensors = load_file(model / "model.safetensors")
    save_file(dict(list(tensors.items())[1:]), model / "model.safetensors", {"format": "pt"})
    for _ in range(2):
        with pytest.raises(ModelError):
            check(model)
    assert not cache.exists()


def test_a_missing_adapter_is_refused_as_ever(model, cache):
    with pytest.raises(ModelError, match="adapter"):
        check(model, adapter=str(model / "none"), lora=LoraConfig())


@pytest.mark.parametrize("content", ["", "{}", "\x00\n\ud800"])
def test_a_broken_list_is_written_anew(content, model, cache, inspected):
    cache.parent.mkdir(parents=True)
    cache.write_bytes(content.encode("utf-8", "surrogatepass"))
    check(model)
    check(model)
    assert inspected == [model]


def test_the_list_stays_short(model, cache):
    cache.parent.mkdir(parents=True)
    cache.write_text("\n".join(str(n) for n in range(3 * KEPT)))
    check(model)
    keys = cache.read_text().split()
    assert len(keys) == KEPT
    assert keys[-2] == str(3 * KEPT - 1)


def test_without_a_place_to_remember_it_inspects_every_time(model, inspected, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    check(model)
    check(model)
    assert inspected == [model] * 2
