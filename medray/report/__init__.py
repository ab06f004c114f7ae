"""The report of a run: one HTML file that needs neither a server nor a network, and its pairs.

    metrics, evals, log ──▶ tables, charts, wall time ───────────┐
    ledger ──find, read──▶ rows ──with images──▶ cards ──────────┴──▶ report.html

All text from a model or a dataset is untrusted: the template engine escapes it and spells out
characters that do something, and the one script of a page gets none of it but from its attributes.
"""

from medray.report.page import write_report
from medray.report.pairs.page import write_pairs_page
from medray.report.pairs.selection import PairFilter, Places, find_rows, read_rows, within_step
from medray.report.pairs.terminal import pair_text

__all__ = [
    "PairFilter",
    "Places",
    "find_rows",
    "pair_text",
    "read_rows",
    "within_step",
    "write_pairs_page",
    "write_report",
]
