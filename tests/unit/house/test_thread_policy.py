"""Waiting OpenMP threads sleep, in the test process as in the actors."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.support.paths import ROOT

PROBE = """
import pytest, sys
loads_torch = "tests/unit/objectives/objectives_oracle.py"
sys.exit(pytest.main(["-sq", "--collect-only", loads_torch]) not in (0, 5))
"""


def test_openmp_uses_the_policy_of_the_tests():
    """If conftest set the policy too late, or not at all, OpenMP would report its default."""
    env = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        cwd=ROOT,
        env=env | {"OMP_DISPLAY_ENV": "VERBOSE"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "GOMP_SPINCOUNT = '0'" in done.stderr
