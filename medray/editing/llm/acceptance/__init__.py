"""What a language model's edit must fulfil beside the guard, which every editor passes."""

from medray.editing.llm.acceptance.wording import odd_wording

__all__ = ["odd_wording"]
