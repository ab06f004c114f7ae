"""Nodes that leave: what is on them, what is decided, how the loop is interrupted."""

from __future__ import annotations

import asyncio
import time
from math import inf
from types import SimpleNamespace

import pytest

from actors.fleet.growth import has_room
from actors.fleet.learner_group import LearnersStart
from actors.loop.departures import departures
from actors.loop.departures.affected import Affected, find_affected
from actors.loop.departures.decision import Notice, decide, describe
from actors.loop.stop import Stop
from medray.config import Config
from medray.errors import RunFailed, StoppedOnRequest

GPU = {"GPU": 1, "CPU": 1}
EDITOR = Affected(replicas={"Editor": (0,)})
RANK = Affected(ranks=(0,))


def fleet(ranks, generators, editors, models=()):
    """A fleet whose handles are the names of the nodes that they are on."""

    def pool(name, nodes):
        return SimpleNamespace(name=name, kind=name.lower(), handles=dict(enumerate(nodes)))

    placement = SimpleNamespace(
        bundle=GPU,
        generator={"num_gpus": 1, "num_cpus": 1},
        editor={"num_cpus": 1},
        language_model={"num_gpus": 1, "num_cpus": 1},
    )
    return SimpleNamespace(
        learners=SimpleNamespace(handles=list(ranks)),
        learners_start=SimpleNamespace(pending=False),
        placement_group=SimpleNamespace(shared=False, nodes=list),
        pools=(pool("Generator", generators), pool("Editor", editors)),
        models=SimpleNamespace(engines={f"dir-{node}": node for node in models}),
        placement=placement,
    )


def affected(*args, nodes=("a",), **more):
    return find_affected(fleet(*args, **more), nodes, lambda node: node)


def test_nothing_of_the_run_is_on_the_node():
    found = affected(["b"], ["b", "c"], ["b"])
    assert found.actors == []
    assert found.needs == []


def test_replicas_that_others_can_stand_in_for_need_nothing():
    found = affected(["b"], ["a", "b"], ["a", "a", "c"])
    assert found.actors == ["Generator(replica=0)", "Editor(replica=0)", "Editor(replica=1)"]
    assert found.needs == []


def test_the_last_replica_of_a_kind_needs_another_place():
    found = affected(["b"], ["a", "a"], ["b"])
    assert found.needs == [{"CPU": 1, "GPU": 1}]


def test_a_replica_that_waits_for_a_node_stands_in_for_nobody():
    assert affected(["b"], ["a", ""], ["b"]).needs == [{"CPU": 1, "GPU": 1}]


def test_learners_are_replaced_together():
    """The rank on the other node gives back what it has."""
    found = affected(["a", "b"], ["b"], ["b"], models=("a",))
    assert found.actors == ["Learner(rank=0)", "LanguageModel"]
    assert found.needs == [GPU, GPU, {"CPU": 1, "GPU": 1}]
    assert found.staying == (("b", GPU),)


@pytest.mark.parametrize(
    ("found", "facts", "decision"),
    [
        (Affected(), {"fits": True}, "nothing"),
        (Affected(), {"vital": True}, "stop"),  # the driver, though no actor is there
        (EDITOR, {"vital": True, "fits": True}, "stop"),
        (EDITOR, {"fits": True}, "move"),
        (EDITOR, {"fits": True, "colocated": True}, "move"),
        (EDITOR, {}, "stop"),
        (EDITOR, {"may_grow": True}, "wait"),
        (RANK, {"fits": True}, "move"),
        (RANK, {"fits": True, "may_grow": True}, "move"),
        (RANK, {"fits": True, "colocated": True}, "stop"),
        (RANK, {"may_grow": True}, "wait"),
        (RANK, {}, "stop"),
    ],
)
def test_decision(found, facts, decision):
    none = {"vital": False, "colocated": False, "fits": False, "may_grow": False}
    assert decide(found, **none | facts) == decision


def test_the_line_says_which_node_when_and_what_is_done():
    notice = Notice({"07136b114437a502a1d1": inf})
    assert describe(notice, EDITOR, "move", "", saved=True) == (
        "node 07136b114437 is drained, without a deadline: Editor(replica=0) starts again elsewhere"
    )
    assert describe(notice, RANK, "wait", "", saved=True).endswith(
        "Learner(rank=0) starts again elsewhere after a checkpoint once there is a node"
    )
    assert describe(notice, RANK, "move", "", saved=False).endswith(
        ": Learner(rank=0) starts again elsewhere"
    )
    assert describe(notice, RANK, "stop", "it is the head", saved=False).endswith(
        ": the run stops, as it is the head"
    )
    assert describe(notice, RANK, "stop", "the run's driver is on it", saved=True).endswith(
        ": the run stops after a checkpoint, as the run's driver is on it"
    )


def test_the_first_of_several_nodes_counts():
    notice = Notice({"a" * 56: 130.0, "b" * 56: 160.0})
    assert notice.seconds_left(100.0) == 30.0
    assert notice.seconds_left(140.0) == 0.0
    assert str(notice).startswith(f"nodes {'a' * 12}, {'b' * 12} are drained, until ")


@pytest.mark.parametrize(
    ("needs", "free", "room"),
    [
        ([], [], True),
        ([{}], [{"CPU": 1.0}], True),  # an editor without GPUs takes nothing
        ([{}], [], False),  # but there has to be a node
        ([GPU], [{"GPU": 1.0}], False),
        ([GPU, GPU], [{"GPU": 1.0, "CPU": 4.0}] * 2, True),
        ([{"CPU": 1}, {"CPU": 3}], [{"CPU": 3.0}, {"CPU": 1.0}], True),
        ([{"CPU": 2}, {"CPU": 2}], [{"CPU": 3.0}, {"CPU": 1.0}], False),
        ([{"x": 0.1}] * 10, [{"x": 1.0}], True),  # shares that add up inexactly
    ],
)
def test_room(needs, free, room):
    assert has_room(needs, free) is room


def run(scenario):
    async def main():
        async with asyncio.timeout(20):
            return await scenario(Stop(60.0).of_run())

    return asyncio.run(main())


def test_a_wait_is_interrupted_and_work_on_weights_is_not():
    async def scenario(stop):
        error = RunFailed("learners leave")
        asyncio.get_running_loop().call_later(0.05, stop.interrupt, error)
        with pytest.raises(RunFailed, match="learners leave"):
            await stop.interruptible(asyncio.sleep(10))
        assert await stop.until_deadline(asyncio.sleep(0.05, "learnt")) == "learnt"
        assert await stop.cancel_on_stop(asyncio.sleep(0.05, "restored")) == "restored"
        with pytest.raises(RunFailed):
            stop.check()
        stop.resume()
        stop.check()
        assert await stop.interruptible(asyncio.sleep(0.05, "answered")) == "answered"

    run(scenario)


def test_what_ends_in_a_moment_may_still_end():
    async def scenario(stop):
        stop.interrupt(RunFailed("learners leave"))
        assert await stop.briefly(asyncio.sleep(0.1, "arrived")) == "arrived"

    run(scenario)


def test_a_request_comes_before_an_interruption_and_says_why():
    async def scenario(stop):
        stop.interrupt(RunFailed("learners leave"))
        stop.request("node 07136b114437 is drained", 25.0)
        with pytest.raises(StoppedOnRequest, match="node 07136b114437 is drained"):
            await stop.interruptible(asyncio.sleep(10))
        assert 20.0 < stop.seconds_left <= 25.0
        stop.request()  # a signal, later: it changes nothing
        assert stop.why == "node 07136b114437 is drained"

    run(scenario)


def test_an_interruption_is_of_one_run_and_a_request_of_all():
    async def scenario(stop):
        other = stop.of_run()
        stop.interrupt(RunFailed("learners leave"))
        other.check()
        stop.request()
        with pytest.raises(StoppedOnRequest):
            other.check()

    run(scenario)


@pytest.fixture
def ray(monkeypatch):
    """What Ray would answer: to be changed."""
    answers = SimpleNamespace(draining={}, vital={}, free={"b": {"CPU": 4.0}})

    def draining():
        if answers.draining is None:
            raise ConnectionError("no answer")
        return answers.draining

    monkeypatch.setattr(departures, "LOOK", 0.01)
    monkeypatch.setattr(departures, "draining_nodes", draining)
    monkeypatch.setattr(departures, "vital_nodes", lambda: answers.vital)
    monkeypatch.setattr(departures, "node_of", lambda handle: handle)
    monkeypatch.setattr(departures, "free_resources", lambda without: dict(answers.free))
    return answers


def watch(found, ray, seconds=0.3, **later):
    """(the run's stop, what was said) after `later` has become true of Ray."""
    lines = []
    found.room = asyncio.Event()
    found.room.set()
    found.config = Config.model_validate({"data": {"kind": "phantom"}})
    found.left = []
    for pool in found.pools:
        pool.leave = found.left.extend
    found.models.leave = found.left.extend

    async def scenario(stop):
        async with departures.Departures(found, None, stop, lines.append).watched():
            await asyncio.sleep(0.1)
            vars(ray).update(later)
            await asyncio.sleep(seconds)
            return stop

    return run(scenario), lines


def test_a_run_without_room_elsewhere_stops_in_time(ray):
    stop, lines = watch(fleet(["a"], ["b"], ["b"]), ray, draining={"a": time.time() + 40})
    (line,) = lines
    assert line.startswith("node a is drained, until ")
    assert line.endswith("the run stops after a checkpoint, as no other node has room for it")
    assert 30 < stop.seconds_left <= 40
    assert "no other node has room for it" in stop.why


def test_learners_are_interrupted_and_what_else_is_there_moves(ray):
    found = fleet(["a"], ["a", "b"], ["a"])
    stop, lines = watch(found, ray, draining={"a": inf}, free={"b": {"CPU": 4.0, "GPU": 1.0}})
    assert len(lines) == 1
    assert found.left == [0, 0]
    with pytest.raises(departures.LearnersLeave):
        stop.check()


def test_learners_that_load_begin_elsewhere_without_a_checkpoint(ray):
    """Nothing is interrupted: they hold nothing, and whoever waits for them waits for the new."""
    found, begun = fleet([], ["a", "b"], ["b"]), []
    found.placement_group.nodes = lambda: ["a"]  # where they are to load
    found.learners_start = SimpleNamespace(pending=True, begin_elsewhere=begun.append)
    stop, lines = watch(found, ray, draining={"a": inf}, free={"b": {"CPU": 4.0, "GPU": 1.0}})
    assert lines == [
        "node a is drained, without a deadline: "
        "Learner(rank=0), Generator(replica=0) start again elsewhere"
    ]
    assert len(begun) == 1
    assert found.left == [0]
    stop.check()


def test_the_node_of_somebody_else_is_nothing_to_speak_of(ray):
    stop, lines = watch(fleet(["b"], ["b"], ["b"]), ray, draining={"a": inf})
    assert lines == []
    stop.check()


def test_the_driver_and_the_head_stop_the_run(ray):
    _, lines = watch(
        fleet(["b"], ["b"], ["b"]), ray, draining={"a": inf}, vital={"a": "it is the head"}
    )
    assert lines == [
        "node a is drained, without a deadline: the run stops after a checkpoint, as it is the head"
    ]


def test_an_answer_that_does_not_come_is_said_once(ray):
    stop, lines = watch(fleet(["a"], ["b"], ["b"]), ray, draining=None)
    assert lines == ["nodes that leave are not seen for now: ConnectionError: no answer"]
    stop.check()


class Starting:
    """Starts that take until they are told to end, and a place that may be left."""

    def __init__(self):
        self.begun, self.left, self.may_end = 0, [], asyncio.Event()
        self.start = LearnersStart(self.load, lambda: self.left.append(self.begun))

    async def load(self):
        self.begun += 1
        await self.may_end.wait()

    async def room(self):
        await asyncio.sleep(0.01)


def test_a_start_goes_on_elsewhere_for_whoever_waits():
    async def scenario():
        starting = Starting()
        starting.start.begin()
        waiting = asyncio.create_task(starting.start.finished())
        await asyncio.sleep(0.01)
        starting.start.begin_elsewhere(starting.room)
        await asyncio.sleep(0.05)
        assert (starting.begun, starting.left) == (2, [1])
        assert starting.start.pending
        assert not waiting.done()
        starting.may_end.set()
        await waiting
        assert not starting.start.pending
        await starting.start.finished()  # at once

    asyncio.run(scenario())


def test_a_start_that_moved_before_its_turn_does_not_begin_again():
    async def scenario():
        starting = Starting()
        assert starting.start.pending
        starting.start.begin_elsewhere(starting.room)
        starting.start.begin()
        starting.may_end.set()
        await starting.start.finished()
        assert (starting.begun, starting.left) == (1, [0])

    asyncio.run(scenario())


def test_what_a_start_ended_with_is_raised_once():
    async def fails():
        raise RunFailed("Learner(rank=0)", "no memory")

    async def scenario():
        start = LearnersStart(fails, lambda: None)
        start.begin()
        with pytest.raises(RunFailed, match="no memory"):
            await start.finished()
        assert not start.pending
        await start.finished()

    asyncio.run(scenario())


def test_a_start_that_is_given_up_holds_nobody():
    async def scenario():
        starting = Starting()
        starting.start.begin()
        waiting = asyncio.create_task(starting.start.finished())
        await asyncio.sleep(0.01)
        starting.start.cancel()
        await waiting
        assert not starting.start.pending

    asyncio.run(scenario())
