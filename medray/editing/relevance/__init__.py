"""How much a pair matters clinically: the severity of its type of error, or the significance of the
finding that it is about (`score_relevance`), normalised over the pairs of a step (`normalise`).
"""

from medray.editing.relevance.scores import Scale, normalise, relevance, score_relevance

__all__ = ["Scale", "normalise", "relevance", "score_relevance"]
