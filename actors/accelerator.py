"""The GPU of an actor's process, if Ray gave it one."""

from __future__ import annotations

import ray

from medray.errors import ResourceError


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
