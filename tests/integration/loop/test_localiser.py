"""A run that hides what a localiser finds, while its localiser is killed."""

import random
import re

import pytest

from tests.support.processes.killing import Disturbed, fates, require_whole
from tests.support.processes.running import medray

# The tools and the shipped model have unit tests: in the loop for a minute and a half.
pytestmark = [pytest.mark.chaos, pytest.mark.ray, pytest.mark.vllm, pytest.mark.deepspeed]

STEPS = 4
ARGUMENTS = (
    "configs/quickstart.yaml",
    "corruption.region=found",
    "localiser={kind: clipseg, path: phantom/localiser}",
    f"loop.steps={STEPS}",
    "loop.batch=12",
    "loop.checkpoint_every=0",
    "eval={every: 0, n: 4}",
)


def test_v_is_made_from_what_is_found_even_if_the_localiser_dies(tmp_path):
    disturbed = Disturbed(tmp_path, ARGUMENTS, random.Random(0))
    disturbed.launch()
    assert disturbed.wait_for_progress()
    assert disturbed.kill_one("Localiser")
    done = disturbed.finish()
    assert done.code == 0, done.out
    assert "Localiser(replica=0) died" in done.out
    assert "1 Localiser (clipseg)" in done.out
    require_whole(done, STEPS, lag=0)
    assert len(fates(done)) == 12 * STEPS
    trained = [row for row in done.ledger() if row["status"] == "trained"]
    found = [row for row in trained if row["region_source"]]
    assert {row["region_source"] for row in found} == {"clipseg"}
    assert len(found) > len(trained) / 3
    for row in trained:
        assert bool(row["corrupted_sha256"]) == bool(row["region_source"])
        scores = re.findall(r"[:](0\.\d\d|1\.00)", row["corruption"] or "")
        assert bool(scores) == bool(row["region_source"])
        assert all(float(score) >= 0.5 for score in scores)
    pages = medray("pairs", str(done.path), "--html", str(tmp_path / "pairs.html"))
    assert pages.returncode == 0, pages.stderr
    assert "could not be reproduced" not in (tmp_path / "pairs.html").read_text()
