"""The pairs of a run: found, read, with the images that the policy saw, for pages and terminals."""

from medray.report.pairs.pair_images import ImageSource, collect_images
from medray.report.pairs.rows import PairImages, TextPart, choose_pairs, error_types, text_parts
from medray.report.pairs.selection import PairFilter, Places, find_rows, read_rows, within_step

__all__ = [
    "ImageSource",
    "PairFilter",
    "PairImages",
    "Places",
    "TextPart",
    "choose_pairs",
    "collect_images",
    "error_types",
    "find_rows",
    "read_rows",
    "text_parts",
    "within_step",
]
