"""Pairs of a run graded blind by experts: one offline page out, rates and agreement back in.

ledger ──draw──▶ page (no reader sees which side is chosen) ──grades.json──▶ summarise
           └───▶ key (RUN/review/ID.json, stays with the run) ──────────────────┘
"""

from medray.review.draw import draw_pairs
from medray.review.grades import read_grades
from medray.review.key import Key, key_file, read_key
from medray.review.page import write_page
from medray.review.summary import summarise
from medray.review.table import summary_table

__all__ = [
    "Key",
    "draw_pairs",
    "key_file",
    "read_grades",
    "read_key",
    "summarise",
    "summary_table",
    "write_page",
]
