"""The files of a learner's state: who writes which, and what is refused. Plain AdamW, no engine."""

import json
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from actors.learner import saved_state
from actors.learner.optimizer_state import OptimizerState
from actors.learner.saved_state import RankInfo, load, plan_files, save
from medray.errors import RunFailed

HERE = RankInfo(rank=0, ranks=1, seed=5)


def learner(width: int = 3) -> tuple[torch.nn.Module, OptimizerState]:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(2, width), torch.nn.Linear(width, 1))
    model[0].bias.requires_grad_(False)
    trained = [p for p in model.parameters() if p.requires_grad]
    engine = SimpleNamespace(optimizer=torch.optim.AdamW(trained, lr=0.1))
    return model, OptimizerState(engine, model, 0, None)


def train(model: torch.nn.Module, state: OptimizerState, steps: int) -> None:
    for _ in range(steps):
        model(torch.randn(4, 2)).square().sum().backward()  # reads the random state
        state.adamw.step()
        state.adamw.zero_grad()


@pytest.fixture
def saved(tmp_path):
    """A folder with the state after two steps, and its model three steps later."""
    model, state = learner()
    train(model, state, 2)
    save(tmp_path, state, 2, HERE)
    train(model, state, 3)
    return tmp_path, model


def test_plain_adamw_goes_on_bit_by_bit(saved):
    folder, expected = saved
    model, state = learner()
    assert state.steps == 0
    assert load(folder, state, HERE) == state.steps == 2
    train(model, state, 3)
    for one, other in zip(model.parameters(), expected.parameters(), strict=True):
        assert torch.equal(one, other)


def test_what_does_not_train_is_not_written(saved):
    names = json.loads((saved[0] / "state.json").read_text())["parameters"]
    assert list(names) == ["0.weight", "1.weight", "1.bias"]


def test_files_hold_what_fits(monkeypatch):
    """12 bytes per value. Two ranks, 100 bytes: a, c | e of one, b (too large) | d of the other."""
    monkeypatch.setattr(saved_state, "FILE_BYTES", 100)
    shapes = {"a": (2, 2), "b": (3, 5), "c": (4,), "d": (1,), "e": (1,)}
    assert plan_files(shapes, 2) == {
        "a": "rank-000-00.safetensors",
        "c": "rank-000-00.safetensors",
        "e": "rank-000-01.safetensors",
        "b": "rank-001-00.safetensors",
        "d": "rank-001-01.safetensors",
    }


def test_a_state_in_several_files_is_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr(saved_state, "FILE_BYTES", 50)
    model, state = learner()
    train(model, state, 1)
    save(tmp_path, state, 1, HERE)
    assert len(list(tmp_path.glob("rank-*"))) == 2  # 6 values; 3 + 1
    other, again = learner()
    load(tmp_path, again, HERE)
    assert torch.equal(other[0].weight, model[0].weight)


def test_another_number_of_ranks_draws_anew_from_seed_version_and_rank(saved):
    folder, _ = saved
    drawn = {}
    for seed, rank in ((5, 0), (5, 0), (5, 1), (6, 0)):
        _, state = learner()
        load(folder, state, RankInfo(rank, 2, seed))
        drawn.setdefault((seed, rank), []).append(torch.rand(3).tolist())
    assert drawn[5, 0][0] == drawn[5, 0][1]
    assert len({tuple(values[0]) for values in drawn.values()}) == 3


def test_another_model_is_refused_before_anything_changes(saved):
    model, state = learner(width=4)
    before = model[0].weight.clone()
    with pytest.raises(RunFailed, match=r"0.weight is of shape \[3, 2\] there .* \[4, 2\] here"):
        load(saved[0], state, HERE)
    assert torch.equal(model[0].weight, before)


def test_unreadable_state_is_reported(saved):
    folder, _ = saved
    _, state = learner()
    path = folder / "rank-000-00.safetensors"
    tensors, text = load_file(path), (folder / "state.json").read_text()
    save_file(tensors | {"1.bias/exp_avg": torch.zeros(2)}, path)
    with pytest.raises(RunFailed, match=r"1.bias/exp_avg is torch.float32 \[2\], not"):
        load(folder, state, HERE)
    path.write_bytes(b"cut")
    with pytest.raises(RunFailed, match="unreadable"):
        load(folder, state, HERE)
    path.unlink()
    with pytest.raises(RunFailed, match=r"rank-000-00.safetensors: unreadable"):
        load(folder, state, HERE)
    for damaged in ("{", "[]", "{}", text.replace('"format": 1', '"format": 9')):
        (folder / "state.json").write_text(damaged)
        with pytest.raises(RunFailed, match=r"state\.json"):
            load(folder, state, HERE)
