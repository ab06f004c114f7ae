"""The memory plan against real learners and a real engine. Minutes: a process for each of six."""

import json
import os
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

pytestmark = [pytest.mark.vllm, pytest.mark.deepspeed]


@pytest.mark.chaos
def test_the_plan_is_close_to_what_is_taken_and_hardly_below():
    done = subprocess.run(
        [sys.executable, "-m", "medray.cli", "bench", "memory", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
        env=os.environ | {"OMP_WAIT_POLICY": "PASSIVE"},
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert [each["part"] for each in rows].count("step") == 5
    for each in rows:
        assert 0.85 <= each["ratio"] <= 1.2, each
        assert each["ratio"] == 1 or each["part"] in ("step", "states"), each
