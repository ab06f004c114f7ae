"""A GPU that Ray gave and torch cannot use ends the run with torch's reason."""

from __future__ import annotations

import pytest
import ray
import torch

from actors.accelerator import has_gpu
from medray.errors import ResourceError


class Context:
    def __init__(self, *ids):
        self.ids = {"GPU": list(ids)}

    def get_accelerator_ids(self):
        return self.ids


def given(monkeypatch, *ids):
    monkeypatch.setattr(ray, "get_runtime_context", lambda: Context(*ids))


def test_without_one_cpus_are_meant(monkeypatch):
    given(monkeypatch)
    assert has_gpu() is False


def test_a_build_for_cpus_is_named(monkeypatch):
    given(monkeypatch, "0")
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(ResourceError, match=r"is a build for CPUs — .*STACK=gpu"):
        has_gpu()


def test_the_reason_of_torch_is_passed_on(monkeypatch):
    given(monkeypatch, "0")
    monkeypatch.setattr(torch.version, "cuda", "13.0")

    def init():
        raise RuntimeError("The NVIDIA driver on your system\nis too old (found version 12040).")

    monkeypatch.setattr(torch.cuda, "init", init)
    with pytest.raises(ResourceError) as caught:
        has_gpu()
    assert "is too old (found version 12040)." in str(caught.value)
    assert str(caught.value).endswith("install a driver for CUDA 13.0")
    assert "\n" not in str(caught.value)
