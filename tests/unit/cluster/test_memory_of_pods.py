"""The memory of pods against what a run keeps in them, with the model that ships with medray."""

from __future__ import annotations

import pytest

from medray.config import ModelConfig
from medray.policy.model.loading import ModelFacts, model_facts
from tests.unit.cluster.manifests import change, check, objects, write

WORKER = "spec.rayClusterSpec.workerGroupSpecs.0.template.spec"


@pytest.fixture(scope="module")
def facts() -> ModelFacts:
    return model_facts(ModelConfig())


def memory_lines(tmp_path, facts: ModelFacts, use: str, place: str = "", value: object = None):
    trees = objects(use)
    if place:
        change(trees["RayJob"], place, value)
    checked = check(write(tmp_path / "x.yaml", list(trees.values())), use)
    assert checked.mistakes == []
    found = checked.memory_mistakes(facts, 300, generates=True)
    return [str(mistake).partition("RayJob medray: ")[2] for mistake in found]


@pytest.mark.parametrize("use", ["smoke", "one-gpu"])
def test_the_pods_of_the_manifests_have_enough(tmp_path, facts, use):
    assert memory_lines(tmp_path, facts, use) == []


def test_too_little_memory_names_what_takes_it(tmp_path, facts):
    small = {"cpu": "4", "memory": "2Gi"}
    resources = {"requests": small, "limits": small}
    (line,) = memory_lines(tmp_path, facts, "smoke", f"{WORKER}.containers.0.resources", resources)
    assert "workerGroupSpecs[workers]: memory of 2 GiB: its actors take " in line
    assert "generators 2.0" in line
    assert "libraries 2.0" in line


def test_shared_memory_must_hold_two_updates(tmp_path, facts):
    (line,) = memory_lines(
        tmp_path, facts, "smoke", f"{WORKER}.volumes.1.emptyDir.sizeLimit", "1Mi"
    )
    assert "/dev/shm of 0.0 GiB: two updates of the weights take" in line
