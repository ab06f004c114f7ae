"""Pairs or answers graded blind by experts: one offline page out, rates and agreement back in.

ledger ──draw──▶ page (no reader sees which side is chosen) ──grades.json──▶ summarise
           └───▶ key (RUN/review/ID.json, stays with the run) ──────────────────┘
"""

from medray.review.answers import answer_table, draw_answers, read_evaluations, summarise_answers
from medray.review.draw import draw_pairs, ledger_digest
from medray.review.grades import read_grades
from medray.review.key import AnswerKey, Key, key_file, read_key
from medray.review.page import write_page
from medray.review.summary import summarise
from medray.review.table import summary_table

__all__ = [
    "AnswerKey",
    "Key",
    "answer_table",
    "draw_answers",
    "draw_pairs",
    "key_file",
    "ledger_digest",
    "read_evaluations",
    "read_grades",
    "read_key",
    "summarise",
    "summarise_answers",
    "summary_table",
    "write_page",
]
