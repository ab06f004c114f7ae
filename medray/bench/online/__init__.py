"""`medray bench loop --against trl`: the loop beside TRL's online DPO, which `trl` runs."""

from medray.bench.online.result import (
    OnlineSettings,
    Side,
    make_online_settings,
    show_online,
    summarise,
)
from medray.bench.online.worker import require_trl, run_trl

__all__ = [
    "OnlineSettings",
    "Side",
    "make_online_settings",
    "require_trl",
    "run_trl",
    "show_online",
    "summarise",
]
