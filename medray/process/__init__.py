"""What a command holds as a process: the signals that stop it, the lock on its run, its scratch
folder. All of them end with it, whatever ends it."""

from medray.process.garbage import collect_rarely, without_looking
from medray.process.lock import RunLock, held_lock
from medray.process.scratch import Scratch
from medray.process.signals import Signals, current_signals, stop_on_signals
from medray.process.supervisor import cause_was_given, children, closing, supervise

__all__ = [
    "RunLock",
    "Scratch",
    "Signals",
    "cause_was_given",
    "children",
    "closing",
    "collect_rarely",
    "current_signals",
    "held_lock",
    "stop_on_signals",
    "supervise",
    "without_looking",
]
