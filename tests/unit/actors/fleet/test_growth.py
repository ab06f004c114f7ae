"""A cluster that is too small waits for nodes where they may come, on clusters made of numbers."""

from __future__ import annotations

import asyncio

import pytest

from actors.fleet import growth, placement
from medray.config import Config
from medray.errors import ResourceError

SMALL, LARGE = {"CPU": 4.0}, {"CPU": 16.0, "GPU": 4.0, "learner-node": 1.0}


def config(within):
    return Config.model_validate(
        {
            "data": {"kind": "phantom"},
            "learner": {"world_size": 2, "resources": {"learner-node": 0.5}},
            "faults": {"nodes_within": within},
        }
    )


@pytest.fixture
def cluster(monkeypatch):
    """Its resources, to be changed; the build for GPUs."""
    has = dict(SMALL)
    monkeypatch.setattr(placement, "is_cpu_build", lambda: False)
    monkeypatch.setattr(placement.ray, "cluster_resources", lambda: has)
    monkeypatch.setattr(placement.ray, "nodes", lambda: [{"Alive": True, "Resources": has}])
    return has


def test_nodes_are_requested_awaited_and_the_request_is_taken_back(cluster):
    announced, requests = [], []
    found = growth.placement_in_time(
        config(600.0),
        announced.append,
        generators=True,
        request=requests.append,
        wait=lambda seconds: cluster.update(LARGE),
    )
    assert found.gpus == 3
    assert announced == ["waiting up to 600 s for nodes: needs 3 GPUs, the cluster has 0"]
    rank = {"GPU": 1, "CPU": 1, "learner-node": 0.5}
    assert requests == [[rank, rank, {"CPU": 1, "GPU": 1}, {"CPU": 1}], []]


def test_nothing_is_requested_of_a_cluster_that_is_large_enough(cluster):
    cluster.update(LARGE)
    requests = []
    growth.placement_in_time(config(600.0), print, generators=True, request=requests.append)
    assert requests == []


def test_without_a_deadline_it_is_refused_at_once(cluster):
    cluster["GPU"] = 1.0
    with pytest.raises(ResourceError, match="needs 3 GPUs, the cluster has 1 —"):
        growth.placement_in_time(config(0.0), print, generators=True, request=print)


def test_nodes_that_do_not_come_in_time_are_named(cluster):
    with pytest.raises(ResourceError, match=r"after faults\.nodes_within = 0\.001 s"):
        growth.placement_in_time(
            config(0.001), print, generators=True, request=print, wait=lambda seconds: None
        )


def room(within, looks):
    """Whether there is room for two CPUs, and what was requested; `looks`: what is free."""
    requests = []
    found = growth.room_in_time(
        config(within), [{"CPU": 2}], lambda: looks.pop(0), generators=True, request=requests.append
    )
    return asyncio.run(found), requests


@pytest.mark.usefixtures("cluster")
def test_actors_of_a_node_that_leaves_wait_for_another_one(monkeypatch):
    monkeypatch.setattr(growth, "LOOK", 0.01)
    found, requests = room(60.0, [[{"CPU": 1.0}], [], [{"CPU": 2.0}]])
    assert found
    assert len(requests) == 2
    assert requests[0]
    assert requests[1] == []  # taken back


@pytest.mark.usefixtures("cluster")
def test_no_node_comes_for_them():
    found, _ = room(0.001, [[{"CPU": 1.0}]] * 9)
    assert not found


def test_nothing_is_requested_where_there_is_room():
    assert room(60.0, [[{"CPU": 2.0}]]) == (True, [])
