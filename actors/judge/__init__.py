"""A language model that edits or judges texts, as a vLLM engine of its own.

`actor` is the class, `engine` starts vLLM, `served` is what editors hold in their processes.
"""

from actors.judge.actor import LanguageModel
from actors.judge.served import Served

__all__ = ["LanguageModel", "Served"]
