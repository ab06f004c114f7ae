"""The report of a run: one HTML file that needs neither a server nor a network, and its pairs.

    ledger, metrics, evals ──▶ tables, charts ──┐
    ledger rows ──choose──▶ rows ──collect──▶ PairImages ───┴──▶ report.html

All text from a model or a dataset is untrusted: the template engine escapes it, and nothing is
marked up by hand.
"""

from medray.report.page import build_pairs_page, build_report, write_pairs_page, write_report
from medray.report.pairs import PairImages, choose_pairs
from medray.report.pairs.pair_images import collect_images
from medray.report.pairs.terminal import pairs_text

__all__ = [
    "PairImages",
    "build_pairs_page",
    "build_report",
    "choose_pairs",
    "collect_images",
    "pairs_text",
    "write_pairs_page",
    "write_report",
]
