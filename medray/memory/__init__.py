"""How much memory a run needs, before it starts: what each actor takes, and what to change."""

from medray.memory.disk import disk_line
from medray.memory.pods import pod_needs
from medray.memory.report import found_gpu, longest_answer, longest_prompt, memory_lines

__all__ = [
    "disk_line",
    "found_gpu",
    "longest_answer",
    "longest_prompt",
    "memory_lines",
    "pod_needs",
]
