"""`medray bench sync` from end to end, on a model so small that its figures mean nothing."""

import json
import os
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

pytestmark = [pytest.mark.ray, pytest.mark.vllm]


@pytest.mark.chaos
def test_the_bench_runs_and_its_weights_arrive():
    options = ["--gigabytes", "0.004", "--generators", "1", "--repeats", "2", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "medray.cli", "bench", "sync", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
        env=os.environ | {"OMP_WAIT_POLICY": "PASSIVE"},
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["full_bytes"] > 4e6 > result["adapter_bytes"] > 0
    assert result["seconds"] >= result["generators"]["1"]["load"]["min"] > 0
    assert result["full_rate_vs_memcpy"] > 0
    assert result["logp_gap"] < 0.05  # the last update is what the generator computes with
