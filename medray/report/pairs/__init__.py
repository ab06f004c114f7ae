"""The pairs of a run: chosen, with the images that the policy saw, for pages and the terminal."""

from medray.report.pairs.pair_images import collect_images
from medray.report.pairs.rows import PairImages, TextPart, choose_pairs, error_types, text_parts
from medray.report.pairs.terminal import pairs_text

__all__ = [
    "PairImages",
    "TextPart",
    "choose_pairs",
    "collect_images",
    "error_types",
    "pairs_text",
    "text_parts",
]
