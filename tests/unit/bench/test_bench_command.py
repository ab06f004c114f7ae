"""What a command takes is its own, not that of the process that starts it."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from medray.bench.scale.command import measure
from medray.errors import UserError

LARGE, SMALL = 300, 100  # MiB


def test_memory_of_a_large_command():
    work = f"import time; block = bytearray(b'1') * ({LARGE} << 20); time.sleep(0.3)"
    found = measure([sys.executable, "-S", "-c", work])
    assert LARGE < found["peak_mib"] < LARGE + SMALL
    assert found["seconds"] > 0.3
    assert found["cpu_seconds"] > 0


def test_memory_of_a_small_command_of_a_large_process():
    block = np.ones(LARGE << 20, dtype=np.uint8)
    found = measure([sys.executable, "-S", "-c", "import time; time.sleep(0.3)"])
    assert 1 < found["peak_mib"] < SMALL
    assert block[-1] == 1


def test_a_command_that_fails():
    with pytest.raises(UserError, match="failed"):
        measure([sys.executable, "-c", "raise SystemExit(1)"])
