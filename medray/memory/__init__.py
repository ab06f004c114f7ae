"""How much memory a run needs, before it starts: what each actor takes, and what to change."""

from medray.memory.pods import pod_needs
from medray.memory.report import found_gpu, longest_prompt, memory_lines

__all__ = ["found_gpu", "longest_prompt", "memory_lines", "pod_needs"]
