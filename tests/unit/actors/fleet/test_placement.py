"""What a run asks of a cluster, on clusters made of numbers."""

from __future__ import annotations

import pickle
import re

import pytest

from actors.fleet import placement
from actors.fleet.placement import plan_placement
from medray.config import Config, DataConfig, ModelConfig
from medray.errors import ResourceError


def config(learners=1, replicas=1, editors=1, tensor_parallel=1):
    return Config.model_validate(
        {
            "data": DataConfig(kind="phantom"),
            "learner": {"world_size": learners},
            "generator": {"replicas": replicas, "tensor_parallel": tensor_parallel},
            "editor": {"replicas": editors},
        }
    )


@pytest.fixture(autouse=True)
def _build_for_gpus(monkeypatch):
    monkeypatch.setattr(placement, "is_cpu_build", lambda: False)


def shares(options):
    return options.get("num_gpus", 0), options["num_cpus"]


def test_without_a_gpu_only_learners_take_cpus():
    found = plan_placement(config(learners=2, replicas=3, editors=4), {"CPU": 2.0})
    assert [shares(o) for o in (found.learner, found.generator, found.editor)] == [
        (0, 1),
        (0, 0),
        (0, 0),
    ]
    assert (found.gpus, found.cpus) == (0, 2)


@pytest.mark.parametrize(
    ("learners", "cpus", "threads"),
    [(2, 8.0, ["4", "8", "8"]), (2, 2.0, ["1", "2", "2"]), (3, 4.0, ["1", "4", "4"])],
)
def test_waiting_threads_sleep_on_a_cpu_node(learners, cpus, threads):
    """Learners work at the same time and share the CPUs; the others take turns."""
    found = plan_placement(config(learners=learners), {"CPU": cpus})
    variables = [
        o["runtime_env"]["env_vars"] for o in (found.learner, found.generator, found.editor)
    ]
    assert [v["OMP_WAIT_POLICY"] for v in variables] == ["PASSIVE"] * 3
    assert [v["OMP_NUM_THREADS"] for v in variables] == threads


def test_with_gpus_each_kind_takes_its_own():
    settings = config(learners=2, replicas=3, editors=4, tensor_parallel=2)
    found = plan_placement(settings, {"CPU": 64.0, "GPU": 8.0})
    assert [shares(o) for o in (found.learner, found.generator, found.editor)] == [
        (1, 1),
        (2, 1),
        (0, 1),
    ]
    assert (found.gpus, found.cpus) == (2 + 3 * 2, 2 + 3 + 4)


def test_actors_on_a_node_with_gpus_share_its_cpus():
    """Ray would give each of them one thread."""
    found = plan_placement(config(learners=2, replicas=2), {"CPU": 40.0, "GPU": 4.0})
    for options in (found.learner, found.generator, found.editor):
        assert options["runtime_env"]["env_vars"]["OMP_NUM_THREADS"] == "8"


def test_the_build_for_cpus_leaves_gpus_alone_and_says_so(monkeypatch):
    monkeypatch.setattr(placement, "is_cpu_build", lambda: True)
    found = plan_placement(config(), {"CPU": 8.0, "GPU": 2.0})
    assert (found.gpus, shares(found.learner)) == (0, (0, 1))
    assert "2 GPUs are not used" in found.note


def test_one_gpu_can_be_shared_and_the_message_says_how():
    with pytest.raises(ResourceError, match=r"generator\.colocated=true generator\.replicas=1"):
        plan_placement(config(), {"CPU": 16.0, "GPU": 1.0})


def test_an_evaluation_needs_no_gpu_for_learners():
    found = plan_placement(config(learners=4), {"CPU": 16.0, "GPU": 1.0}, learners=False)
    assert (found.gpus, shares(found.generator)) == (1, (1, 1))


@pytest.mark.parametrize("has", [{"CPU": 8.0}, {"CPU": 8.0, "GPU": 8.0}])
def test_nothing_restarts_or_retries_blindly(has):
    found = plan_placement(config(), has)
    for options in (found.learner, found.generator, found.editor):
        assert (options["max_restarts"], options["max_task_retries"]) == (0, 0)


@pytest.mark.parametrize(
    ("settings", "has", "message"),
    [
        ({"learners": 3}, {"CPU": 2.0}, "needs 3 CPUs, the cluster has 2"),
        ({}, {}, "needs 1 CPUs, the cluster has 0"),
        ({}, {"CPU": 16.0, "GPU": 1.0}, "needs 2 GPUs, the cluster has 1"),
        ({"tensor_parallel": 4}, {"CPU": 16.0, "GPU": 4.0}, "needs 5 GPUs, the cluster has 4"),
        ({"editors": 8}, {"CPU": 9.0, "GPU": 2.0}, "needs 10 CPUs, the cluster has 9"),
        ({"tensor_parallel": 2}, {"CPU": 16.0}, "the cluster has no GPU"),
        ({"tensor_parallel": 2}, {"CPU": 16.0, "GPU": 0.0}, "the cluster has no GPU"),
    ],
)
def test_too_small_a_cluster_is_refused_in_one_line(settings, has, message):
    with pytest.raises(ResourceError, match=re.escape(message)) as caught:
        plan_placement(config(**settings), has)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "has"),
    [
        ({"learners": 2}, {"CPU": 2.0}),
        ({}, {"CPU": 3.0, "GPU": 2.0}),
        ({"tensor_parallel": 4}, {"CPU": 3.0, "GPU": 5.0}),
    ],
)
def test_just_enough_is_enough(settings, has):
    found = plan_placement(config(**settings), has)
    assert (found.cpus, found.gpus) == (has["CPU"], has.get("GPU", 0))


def test_a_model_whose_image_tokens_see_each_other_generates_on_gpus_only(tiny_gemma3):
    """vLLM's backend for CPUs attends causally: answers would be of another policy."""
    settings = config().model_copy(update={"model": ModelConfig(path=str(tiny_gemma3))})
    with pytest.raises(ResourceError, match="image tokens see only those before them"):
        plan_placement(settings, {"CPU": 8.0})
    plan_placement(settings, {"CPU": 8.0}, generators=False)
    plan_placement(settings, {"CPU": 8.0, "GPU": 2.0})


def bound(**keys):
    """A configuration whose actors are bound to nodes."""
    return config().model_copy(
        update={
            section: getattr(config(), section).model_copy(update={"resources": resources})
            for section, resources in keys.items()
        }
    )


@pytest.mark.parametrize("gpus", [0.0, 4.0])
def test_each_kind_of_actor_can_be_bound_to_nodes(gpus):
    settings = bound(
        learner={"learner-node": 0.5}, generator={"generator-node": 0.25}, editor={"any": 1.0}
    )
    has = {"CPU": 16.0, "GPU": gpus, "learner-node": 1.0, "generator-node": 1.0, "any": 1.0}
    found = plan_placement(settings, has)
    assert found.learner["resources"] == {"learner-node": 0.5}
    assert found.generator["resources"] == {"generator-node": 0.25}
    assert found.language_model["resources"] == {"generator-node": 0.25}
    assert found.editor["resources"] == {"any": 1.0}
    assert "resources" not in found.localiser
    assert found.bundle["learner-node"] == 0.5


def test_a_resource_that_no_node_has_is_refused():
    with pytest.raises(ResourceError, match=r"takes 1 of it, the cluster has 0\.5"):
        plan_placement(bound(learner={"x": 1.0}), {"CPU": 8.0, "x": 0.5})


def test_resources_of_ray_itself_are_not_custom_ones():
    with pytest.raises(ValueError, match="GPU is not a custom resource"):
        Config.model_validate({"data": {"kind": "phantom"}, "learner": {"resources": {"GPU": 1}}})


def test_a_configuration_with_resources_is_hashable_and_crosses_processes():
    settings = bound(learner={"l": 0.5})
    again = Config.model_validate(settings.model_dump(by_alias=True))
    assert again == pickle.loads(pickle.dumps(again))
    assert hash(again.learner) == hash(pickle.loads(pickle.dumps(again)).learner)
