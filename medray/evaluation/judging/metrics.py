"""The judged metrics by name."""

from __future__ import annotations

from medray.evaluation.judging.crimson import CRIMSON
from medray.evaluation.judging.metric import JudgedMetric
from medray.evaluation.judging.nli import NLI
from medray.evaluation.judging.radmatch import RADMATCH

JUDGED: dict[str, JudgedMetric] = {metric.name: metric for metric in (NLI, CRIMSON, RADMATCH)}
