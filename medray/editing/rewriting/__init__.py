"""From contradictions to the smallest change of the answer, and from a right answer to its
smallest wrong variant."""

from medray.editing.rewriting.rewrite import candidates
from medray.editing.rewriting.variants import counterfactuals

__all__ = ["candidates", "counterfactuals"]
