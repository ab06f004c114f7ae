"""A limit for code that a model directory brings with it: its chat template."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any


class TookTooLong(Exception):
    """The time is up."""


@contextlib.contextmanager
def time_limit(seconds: float, file: str) -> Iterator[None]:
    """Raise TookTooLong once `seconds` have passed, inside a function call or a line of `file`.

    By tracing this thread, because nothing else ends a loop in any thread: an alarm needs the
    main one, and a thread cannot be stopped. `file` is the name that the code was compiled under.
    """
    end = time.monotonic() + seconds

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if time.monotonic() > end:
            raise TookTooLong
        return trace if frame.f_code.co_filename == file else None

    previous = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(previous)
