"""What a node cannot compute with ends the run, with the reason of torch or of the system."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import ray
import torch

from actors import accelerator
from actors.accelerator import has_gpu, is_cpu_build, require_kernels
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


@pytest.mark.skipif(not is_cpu_build(), reason="the build for GPUs has none")
def test_the_library_that_kernels_need_is_here():
    require_kernels()


def test_a_build_for_gpus_has_none_for_cpus(monkeypatch):
    monkeypatch.setattr(accelerator, "is_cpu_build", lambda: False)
    with pytest.raises(ResourceError, match=r"is a build for GPUs.* — .*STACK=cpu"):
        require_kernels()


def test_a_library_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(accelerator, "is_cpu_build", lambda: True)
    monkeypatch.setattr(accelerator, "KERNELS_NEED", "libmissing.so.1")
    with pytest.raises(ResourceError, match=r"libmissing\.so\.1.* — install libnuma: apt-get"):
        require_kernels()


@pytest.mark.skipif(not is_cpu_build(), reason="the build for GPUs needs CUDA's")
@pytest.mark.skipif(not shutil.which("readelf"), reason="binutils are not installed")
def test_kernels_need_no_other_library_of_the_system():
    """Of what is not in every Debian: python:slim has the C++ runtime and zlib."""
    folder = Path(importlib.util.find_spec("vllm").origin).parent
    kernels = sorted(folder.glob("_C*.so"))
    assert kernels
    present = ("libc.", "libm.", "libdl.", "libpthread.", "libstdc++.", "libgcc_s.", "ld-linux")
    for kernel in kernels:
        needed = subprocess.run(["readelf", "-d", kernel], capture_output=True, text=True).stdout
        names = re.findall(r"NEEDED.*\[(.+)\]", needed)
        own = [name for name in names if not name.startswith(("libtorch", "libc10", *present))]
        assert own == [accelerator.KERNELS_NEED]
