"""What became of every answer: one row per pair or dropped item, in a few Parquet files.

Ledger ──rows of a step──▶ files ──step by step──▶ report, pairs, review, export
"""

from medray.ledger.columns import SCHEMA
from medray.ledger.files import LedgerError, read_steps
from medray.ledger.ledger import Ledger, StepCounts, read_ledger

__all__ = ["SCHEMA", "Ledger", "LedgerError", "StepCounts", "read_ledger", "read_steps"]
