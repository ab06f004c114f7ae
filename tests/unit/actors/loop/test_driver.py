"""The loop on a fleet that is simulated: in which order it answers, learns, evaluates and sends."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from actors.fleet import LearnersLost, RestartBudget, WeightUpdate
from actors.fleet.calls import ActorLost
from actors.fleet.items import EditedBatch
from actors.loop import departures, driver
from actors.loop.stop import Stop
from actors.weights import checkpoint
from actors.weights.manifest import Manifest
from medray.config import Config
from medray.errors import RunFailed, StoppedOnRequest
from medray.records import Case, Pair, PairScore, Response, StepReport
from medray.rundir import RunDirectory

CASES = tuple(Case(f"c{i}", f"c{i}.png", f"p{i}", "Is it?", "No", "closed") for i in range(4))
LEARNING, EVALUATION = 0.02, 0.1  # seconds


class SimulatedFleet:
    """Does nothing but keep versions and say what it did, with the version of its generators."""

    def __init__(self, config: Config, *, shared: bool = False) -> None:
        self.config, self.canaries, self.generators = config, None, SimpleNamespace(version=0)
        self.turns = SimpleNamespace(shared=shared)
        self.budget = RestartBudget(config.faults, lambda text: None)
        self.room, self.pools = asyncio.Event(), ()
        self.events: list[str] = []
        self.learner, self.lost_at = 0, -1  # versions

    def say(self, event: str) -> None:
        self.events.append(f"{event} v{self.generators.version}")

    async def learners_ready(self) -> None:
        pass

    async def restart_learners(self) -> None:
        self.learner = 0

    async def learn(self, edits, version):
        assert version == self.learner
        self.events.append(f"learn v{version}")
        await asyncio.sleep(LEARNING)
        if version == self.lost_at:
            self.lost_at = -1
            raise LearnersLost(ActorLost("Learner(rank=0)", "died", "killed"))
        self.learner += 1
        scores = tuple(
            PairScore(pair.pair_id, 0.5, -1.0, -2.0, -1.0, -2.0)
            for edit in edits
            for pair in edit.results
        )
        return StepReport(version, (("loss", 0.5),), scores), LEARNING

    async def export(self) -> WeightUpdate:
        return WeightUpdate(Manifest(self.learner, "full", (), 0), [])

    def offer(self, update: WeightUpdate) -> None:
        self.generators.version = update.manifest.version
        self.say("offer")

    async def wait_adopted(self, update: WeightUpdate) -> None:
        pass


class SimulatedRollouts:
    """Answers by the version that the generators have."""

    def __init__(self, fleet: SimulatedFleet, broken: object) -> None:
        self.fleet, self.config = fleet, fleet.config

    async def load(self, items):
        return list(items), []

    async def generate(self, items, *, greedy):
        assert greedy
        self.fleet.say("evaluate")
        answers = []
        for item in items:
            await asyncio.sleep(EVALUATION / len(items))
            answers.append(self._answer(item))
        self.fleet.say("evaluated")
        return answers

    async def extend(self, rollout, items, context, answers=None):
        self.fleet.say("answer")
        rollout.items += items
        rollout.responses += [self._answer(item) for item in items]
        rollout.edits.append(EditedBatch([self._pair(item) for item in items], None))

    def _answer(self, item) -> Response:
        version = self.fleet.generators.version
        return Response(item.item_id, item.case.case_id, version, "No", (1, 2), (-0.1, -0.1), True)

    def _pair(self, item) -> Pair:
        names = item.item_id, item.item_id, item.case.case_id, self.fleet.generators.version
        return Pair(*names, "No", "Yes", (), (), True, 1.0, "findings/1")


@pytest.fixture
def nothing_but_the_loop(monkeypatch):
    async def no_canaries(rollouts, heldout):
        return None

    async def save(recovery):
        recovery.fleet.say(f"checkpoint {recovery.state.step}")
        recovery.last_saved_step = recovery.state.step

    def newest(folder):
        return None

    monkeypatch.setattr(driver, "Rollouts", SimulatedRollouts)
    monkeypatch.setattr(driver, "pick_canaries", no_canaries)
    monkeypatch.setattr(driver.Recovery, "checkpoint", save)
    monkeypatch.setattr(checkpoint, "newest", newest)
    monkeypatch.setattr(departures.departures, "draining_nodes", dict)


def config_of(folder, **loop) -> Config:
    return Config.model_validate(
        {
            "run": {"name": "run", "output": str(folder)},
            "data": {"kind": "phantom"},
            "objective": {"name": "dpo"},
            "loop": {"steps": 3, "batch": 2, "checkpoint_every": 2} | loop,
            "eval": {"every": 2, "n": 4},
        }
    )


def drive(config, meanwhile=None, **fleet):
    """(what was done in its order, the run's directory, how it ended)."""

    async def main():
        simulated = SimulatedFleet(config, **fleet)
        dataset = SimpleNamespace(train=CASES, heldout=CASES)
        plan = SimpleNamespace(config=config, dataset=dataset, generates=True)
        run = RunDirectory(config.run_dir)
        run.create(config)
        nobody = SimpleNamespace(
            step=lambda *row: simulated.events.append(f"row {row[0]}") if len(row) > 1 else None,
            evaluation=lambda *result: None,
            evaluated=lambda step, result: simulated.events.append(f"result {step}"),
            say=lambda text: None,
            status=lambda text: None,
        )
        stop = Stop(30.0)
        loop = driver.Driver(plan, simulated, run, nobody, nobody, stop)
        if meanwhile is not None:
            meanwhile(simulated, stop)
        try:
            await loop.run(resume=False)
        except (StoppedOnRequest, RunFailed) as error:
            return simulated.events, run, error
        return simulated.events, run, None

    return asyncio.run(main())


pytestmark = pytest.mark.usefixtures("nothing_but_the_loop")


def test_generators_evaluate_while_the_next_step_is_learnt(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "EVALUATION", 1.0)  # longer than any step of a busy machine
    events, run, _ = drive(config_of(tmp_path))
    first = ["answer v0", "evaluate v0", "learn v0", "evaluated v0", "result 0", "offer v1"]
    second = ["answer v1", "row 1", "learn v1", "offer v2", "answer v2", "row 2", "checkpoint 2 v2"]
    third = ["evaluate v2", "learn v2", "evaluated v2", "result 2", "offer v3", "row 3"]
    last = ["checkpoint 3 v3", "evaluate v3", "evaluated v3", "result 3"]
    assert events == [*first, *second, *third, *last]
    assert {n: e["policy_version"] for n, e in run.read_evals().items()} == {0: 0, 2: 2, 3: 3}
    steps = [row["t_step"] for row in run.read_metrics()]
    assert max(steps) < EVALUATION  # an evaluation is no part of a step


def test_no_later_step_has_a_checkpoint_before_the_evaluation_is_complete(tmp_path):
    def meanwhile(fleet, stop):
        asyncio.get_running_loop().call_later(2 * LEARNING, lambda: stop.request(within=0.04))

    events, run, error = drive(config_of(tmp_path), meanwhile)
    assert isinstance(error, StoppedOnRequest)
    assert "stopped after step 0" in str(error)
    assert "learn v0" in events
    assert not [e for e in events if e.startswith(("checkpoint", "offer", "row"))]
    assert run.read_evals() == {}


def test_an_evaluation_that_cannot_be_made_again_comes_before_the_next_step(tmp_path):
    events, _, _ = drive(config_of(tmp_path, checkpoint_every=0))
    assert events.index("result 2") < events.index("learn v2")


def test_generators_that_sleep_while_learners_work_evaluate_before(tmp_path):
    events, _, _ = drive(config_of(tmp_path), shared=True)
    assert events.index("result 0") < events.index("answer v0")
    assert events.index("result 2") < events.index("learn v2")


def test_learners_lost_beside_an_evaluation_are_replaced_and_it_is_made_again(tmp_path):
    def meanwhile(fleet, stop):
        fleet.lost_at = 0

    events, run, error = drive(config_of(tmp_path), meanwhile)
    assert error is None
    assert events.count("evaluate v0") == 2
    assert events.count("result 0") == 1
    assert [row["step"] for row in run.read_metrics()] == [1, 2, 3]
    assert list(run.read_evals()) == [0, 2, 3]
