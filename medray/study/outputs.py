"""Everything that a study ends with, written from what its cells left on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medray.study.comparison import compare_tables
from medray.study.design import Study
from medray.study.methods import write_methods
from medray.study.page import write_page
from medray.study.results import FAILURES, STARTS, CellResult, read_notes, read_results
from medray.study.tables import write_tables


def write_outputs(study: Study) -> tuple[Path, Sequence[CellResult]]:
    """Tables, page and methods; returns the path of table.md, and the results."""
    failures, starts = (read_notes(study.path, name) for name in (FAILURES, STARTS))
    results = read_results(study, failures)
    comparisons = compare_tables(study, results)
    write_page(study, results, comparisons, starts)
    write_methods(study, results)
    return write_tables(study, results, comparisons), results
