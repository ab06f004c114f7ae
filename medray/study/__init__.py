"""A study: many runs that differ in a few keys, and one table of what they reached.

`design` says which runs, `results` reads what they left, `comparison` compares, `tables` writes.
"""

from medray.study.comparison import Comparison, Group, compare_tables
from medray.study.design import Cell, Study, Table, read_study
from medray.study.results import CellResult, read_results
from medray.study.tables import write_tables

__all__ = [
    "Cell",
    "CellResult",
    "Comparison",
    "Group",
    "Study",
    "Table",
    "compare_tables",
    "read_results",
    "read_study",
    "write_tables",
]
