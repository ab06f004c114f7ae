"""What completes chat prompts: `completer` is the interface and the dialogues with it,
`model_directory` what a model that is served here has to be."""

from medray.editing.llm.completion.completer import (
    Body,
    Budget,
    Completer,
    Dialogue,
    Unserved,
    converse,
)

__all__ = ["Body", "Budget", "Completer", "Dialogue", "Unserved", "converse"]
