"""The memory plan against real learners and a real engine. Minutes: a process for each of six."""

import json
import os
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

pytestmark = [pytest.mark.vllm, pytest.mark.deepspeed]


@pytest.mark.chaos
def test_the_plan_is_within_15_percent_of_what_is_taken():
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
        assert each["ratio"] == pytest.approx(1, abs=0.15), each
        assert each["ratio"] == 1 or each["part"] in ("step", "states"), each
