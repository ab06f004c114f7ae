"""The policy as a vLLM engine: `actor` is the class, `engine` starts vLLM.

`receive` pulls new weights from the object store; `vllm_patches` holds every private API of vLLM
that is used.
"""

from actors.generator.actor import PART, Generator

__all__ = ["PART", "Generator"]
