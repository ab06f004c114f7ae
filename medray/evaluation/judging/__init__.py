"""Figures that a language model's judgements give: `nli`, `crimson`, `radmatch`, by `--metric`.

metric ──requests──▶ judge (model of eval.judge) ──replies──▶ statistics of answers ──▶ figures
"""

from medray.evaluation.judging.answers import judge_answers, shared
from medray.evaluation.judging.judge import Judge, open_judge
from medray.evaluation.judging.metrics import JUDGED

__all__ = ["JUDGED", "Judge", "judge_answers", "open_judge", "shared"]
