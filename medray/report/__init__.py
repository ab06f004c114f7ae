"""A run as one HTML file that needs neither a server nor a network, and its pairs to look at.

    ledger, metrics, evals ──▶ tables, charts ──┐
    ledger rows ──choose──▶ rows ──collect──▶ PairPicture ──┴──▶ report.html

Everything a model or a dataset said is untrusted text here: it is escaped by the template
engine, never marked up by hand.
"""

from medray.report.page import build_pairs_page, build_report, write_pairs_page, write_report
from medray.report.pair_images import collect_pictures
from medray.report.pairs import PairPicture, choose_pairs
from medray.report.pairs_text import pairs_text

__all__ = [
    "PairPicture",
    "build_pairs_page",
    "build_report",
    "choose_pairs",
    "collect_pictures",
    "pairs_text",
    "write_pairs_page",
    "write_report",
]
