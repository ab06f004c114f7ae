"""The figures of a run for Ray's metrics (dashboard, Prometheus, Grafana) and for its boards.

`series.py` declares every series; boards, alert rules and docs use no others.
"""

from actors.loop.telemetry.exported import Telemetry
from actors.loop.telemetry.series import SERIES, Series

__all__ = ["SERIES", "Series", "Telemetry"]
