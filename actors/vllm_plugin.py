"""What vLLM calls in every process of every engine of this environment (an entry point of the
group `vllm.general_plugins`): nothing happens but in engines that medray started.

It imports nothing until then, so that other engines of the environment do not pay for it.
"""

import os

from actors import ENGINE_MARK


def load() -> None:
    """Patch vLLM if this process belongs to an engine of medray."""
    if os.environ.get(ENGINE_MARK) == "1":
        from actors.generator.vllm_patches import patch_vllm

        patch_vllm()
