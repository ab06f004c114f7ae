"""The cells of a study on one cluster: run in lanes, each with actors that stay loaded.

`cells` runs what has no result yet, `warm_fleet` keeps actors from one cell to the next.
"""

from actors.study.cells import run_study

__all__ = ["run_study"]
