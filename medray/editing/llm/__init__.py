"""The model-backed editor: a chat model names the replacements, we apply and check them.

The order is prompts → chat (cache, client) → replies → check → editor; `judges` scores how much a
pair matters. The model never returns a complete text, so what it does not name stays unchanged.
"""

from medray.editing.llm.task import BatchEditor, EditTask, JudgedEdit

__all__ = ["BatchEditor", "EditTask", "JudgedEdit"]
