"""The language models that a run serves, beside the actors of the loop."""

from actors.fleet.served.language_models import LanguageModels

__all__ = ["LanguageModels"]
