"""What vLLM calls in every process of every engine of this environment (an entry point of the
group `vllm.general_plugins`): nothing happens but in engines that medray started.

It imports nothing until then, so that other engines of the environment do not pay for it.
"""

import os

ENGINE = "MEDRAY_ENGINE"  # set by `start_engine`; vLLM's worker processes inherit it


def load() -> None:
    """Patch vLLM if this process belongs to an engine of medray."""
    if os.environ.get(ENGINE) == "1":
        from actors.vllm_patches import mend_vllm

        mend_vllm()
