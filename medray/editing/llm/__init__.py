"""The model-backed editor: a chat model names the replacements, we make and check them.

prompts → chat (cache, client) → replies → check → editor is its way; `judges` says how much a
pair matters. The model never returns a whole text, so what it does not name stays as it is.
"""

from medray.editing.llm.task import BatchEditor, Judged, Task

__all__ = ["BatchEditor", "Judged", "Task"]
