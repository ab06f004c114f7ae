"""Answers of one or two evaluations, graded blind: drawn, and read back into accept rates.

`evaluations` reads them, `draw` chooses cases and sides, `summary` says how
many answers were right, `table` prints it.
"""

from medray.review.answers.draw import draw_answers
from medray.review.answers.evaluations import read_evaluations
from medray.review.answers.summary import summarise_answers
from medray.review.answers.table import answer_table

__all__ = ["answer_table", "draw_answers", "read_evaluations", "summarise_answers"]
