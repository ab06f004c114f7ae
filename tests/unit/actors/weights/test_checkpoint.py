"""Checkpoints on disk: complete and proven, or not there; the previous one outlives any crash."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest
import torch

from actors.weights import checkpoint
from actors.weights.checkpoint import (
    State,
    find_damage,
    list_checkpoints,
    newest,
    read_state,
    read_weights,
)
from actors.weights.manifest import Manifest, describe, to_array
from medray.errors import RunFailed, UserError
from medray.files import sha256_of
from tests.support.processes.disks import flip_a_bit


def update(version):
    """A small update in two shards, bfloat16 and float32."""
    shards, specs = [], []
    for i, dtype in enumerate((torch.bfloat16, torch.float32)):
        tensor = torch.randn(4, 3, generator=torch.Generator().manual_seed(version)).to(dtype)
        shard = {f"layer.{i}.weight": to_array(tensor)}
        shards.append(shard)
        specs.append(describe(shard, {f"layer.{i}.weight": dtype}))
    size = sum(a.nbytes for shard in shards for a in shard.values())
    return Manifest(version, "full", tuple(specs), size), shards


def save_learner(directory):
    """A folder of files, one per rank."""
    folder = Path(directory) / "state"
    folder.mkdir(parents=True)
    for rank in range(2):
        torch.save({"rank": rank, "m": torch.ones(5)}, folder / f"rank_{rank}.pt")


def write(folder, step, save=save_learner, version=None, weights=None):
    version = step if version is None else version
    state = State(step, version, 32 * step)
    draft = checkpoint.begin(folder, state)
    save(str(draft / "learner"))
    return checkpoint.publish(draft, state, *(weights or update(version)))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "checkpoints"


def test_written_as_documented(folder):
    path = write(folder, 20, version=19)
    assert path == folder / "step-000020"
    assert sorted(str(p.relative_to(path)) for p in path.rglob("*") if p.is_file()) == [
        "learner/state/rank_0.pt",
        "learner/state/rank_1.pt",
        "manifest.json",
        "state.json",
        "weights.safetensors",
    ]
    assert (folder / "latest").read_text() == "step-000020\n"
    assert sorted(p.name for p in folder.iterdir()) == ["latest", "step-000020"]
    manifest = json.loads((path / "manifest.json").read_text())
    assert manifest["state.json"]["size"] == (path / "state.json").stat().st_size
    assert all(re.fullmatch(r"[0-9a-f]{32}", entry["xxh3"]) for entry in manifest.values())


def test_read_back(folder):
    path = write(folder, 20, version=19)
    assert newest(folder) == (path, State(20, 19, 640), [])
    assert read_state(path) == State(20, 19, 640)
    sent, shards = update(19)
    manifest_read, again = read_weights(path)
    assert (manifest_read.version, manifest_read.mode, manifest_read.bytes) == (
        19,
        "full",
        sent.bytes,
    )
    values = {name: array for shard in shards for name, array in shard.items()}
    assert {s.name: (s.dtype, s.checksum) for specs in manifest_read.shards for s in specs} == {
        s.name: (s.dtype, s.checksum) for specs in sent.shards for s in specs
    }
    assert {n: a.tolist() for n, a in again[0].items()} == {
        n: a.tolist() for n, a in values.items()
    }


def test_digests_of_an_earlier_medray_are_checked(folder):
    path = write(folder, 20)
    files = {
        str(p.relative_to(path)): {"size": p.stat().st_size, "sha256": sha256_of(p)}
        for p in path.rglob("*")
        if p.is_file() and p.name != "manifest.json"
    }
    (path / "manifest.json").write_text(json.dumps(files))
    assert find_damage(path) is None
    flip_a_bit(path / "weights.safetensors", -1)
    assert find_damage(path) == "weights.safetensors differs from the manifest"


def test_no_folder_and_no_checkpoint(folder):
    assert newest(folder) is None
    folder.mkdir()
    assert newest(folder) is None
    assert list_checkpoints(folder) == []


def test_old_ones_are_deleted_and_files_left_alone(folder):
    write(folder, 10)
    (folder / "notes.txt").write_text("mine")
    write(folder, 20)
    assert sorted(p.name for p in folder.iterdir()) == ["latest", "notes.txt", "step-000020"]


def test_more_than_one_and_the_best_can_be_kept(folder):
    for step in (10, 20, 30, 40, 50):
        state = State(step, step, 0)
        draft = checkpoint.begin(folder, state)
        (draft / "learner").mkdir()
        checkpoint.publish(draft, state, *update(step), keep=2, best=20)
    kept = [path.name for path in list_checkpoints(folder)]
    assert kept == ["step-000020", "step-000040", "step-000050"]


def test_order_is_that_of_steps(folder):
    for name in ("step-000100", "step-000020", ".step-000200.draft"):
        (folder / name).mkdir(parents=True)
    (folder / "step-000300").write_text("a file, not a checkpoint")
    assert [p.name for p in list_checkpoints(folder)] == ["step-000020", "step-000100"]


def damaged_files(path):
    return [p for p in sorted(path.rglob("*")) if p.is_file()]


def test_a_flipped_bit_anywhere_is_found(folder):
    path = write(folder, 1)
    files = damaged_files(path)
    assert len(files) == 5
    for file in files:
        good = file.read_bytes()
        for place in {0, len(good) // 2, len(good) - 1}:
            file.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
            assert find_damage(path), (file.name, place)
        for bad in (b"", good[:-1], good + b"\n\0"):
            file.write_bytes(bad)
            assert find_damage(path), file.name
        file.write_bytes(good)
        assert find_damage(path) is None


def test_a_missing_file_is_found(folder):
    path = write(folder, 1)
    for file in damaged_files(path):
        good = file.read_bytes()
        file.unlink()
        assert file.name in str(find_damage(path))
        file.write_bytes(good)


@pytest.mark.parametrize(
    "name", [".DS_Store", "learner/._state", "learner/state/rank_2.pt", "a b/é"]
)
def test_a_file_that_is_not_its_own_does_not_matter(folder, name):
    """A file manager's, an editor's, those of a copy."""
    path = write(folder, 1)
    (path / name).parent.mkdir(exist_ok=True)
    (path / name).write_bytes(b"x")
    assert find_damage(path) is None
    assert newest(folder)[0] == path


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"optimiser": 1}, "was written by a newer medray (it has optimiser)"),
        ({"step": None}, "is not the state of a run"),
        ({"step": -1}, "is not the state of a run"),
        ({"position": 1.5}, "is not the state of a run"),
        ({"policy_version": 99}, "is not the state of a run"),
        ({"tally": []}, "is not the state of a run"),
        ({"step": 7}, "is of step 7, not of the checkpoint's"),
    ],
)
def test_a_state_of_another_version_or_without_sense_is_one_line(folder, change, why):
    path = write(folder, 1)
    state = json.loads((path / "state.json").read_text()) | change
    (path / "state.json").write_text(json.dumps(state))
    with pytest.raises(UserError, match=re.escape(why)):
        read_state(path)


def test_a_state_of_an_older_version_is_one_line(folder):
    path = write(folder, 1)
    (path / "state.json").write_text('{"step": 1}')
    with pytest.raises(UserError, match=r"older medray \(it lacks policy_version, position\)"):
        read_state(path)


def test_a_manifest_must_list_what_a_checkpoint_needs(folder):
    path = write(folder, 1)
    (path / "manifest.json").write_text("{}")
    assert find_damage(path) == "manifest.json: does not list state.json"


def test_steps_beyond_six_digits_are_in_order(folder):
    for name in ("step-999999", "step-1000000", "step-000002-replaced", "step-000002", "step-x"):
        (folder / name).mkdir(parents=True)
    assert [path.name for path in list_checkpoints(folder)] == [
        *("step-000002-replaced", "step-000002", "step-999999", "step-1000000")
    ]


@pytest.mark.parametrize("text", ["[]", "null", "1", '"a"', '{"state.json": 1}'])
def test_a_manifest_of_another_kind_is_damage(folder, text):
    path = write(folder, 1)
    (path / "manifest.json").write_text(text)
    assert find_damage(path)


def two(folder, tmp_path):
    """Two checkpoints side by side, as a crash before deleting leaves them."""
    write(folder, 10)
    shutil.copytree(folder / "step-000010", tmp_path / "kept")
    write(folder, 20)
    shutil.copytree(tmp_path / "kept", folder / "step-000010")


def test_the_newest_valid_one_is_taken(folder, tmp_path):
    two(folder, tmp_path)
    assert newest(folder)[0].name == "step-000020"
    (folder / "step-000020" / "state.json").write_text("{}")
    path, state, skipped = newest(folder)
    assert (path.name, state.step) == ("step-000010", 10)
    assert skipped == ["step-000020: state.json differs from the manifest"]


def test_what_latest_says_does_not_decide(folder, tmp_path):
    two(folder, tmp_path)
    (folder / "latest").write_text("step-000010\n")
    assert newest(folder)[1].step == 20
    (folder / "latest").unlink()
    assert newest(folder)[1].step == 20


def test_none_valid_is_an_error_that_names_them(folder, tmp_path):
    two(folder, tmp_path)
    for step in ("10", "20"):
        (folder / f"step-0000{step}" / "manifest.json").unlink()
    with pytest.raises(UserError) as caught:
        newest(folder)
    assert "step-000010" in str(caught.value)
    assert "step-000020" in str(caught.value)
    assert "\n" not in str(caught.value)


# --- crashes ------------------------------------------------------------------------------


class Crash(BaseException):
    """The process ends here."""


def crash(*args, **kwargs):
    raise Crash


def half_written(directory):
    save_learner(directory)
    raise Crash


def crash_at(monkeypatch, stage):
    """Make writing end at a stage; returns the save_learner to give it."""
    if stage == "save_learner":
        return half_written
    if stage == "latest" or stage.endswith(".json"):
        real = checkpoint.write_text

        def write_text(path, text):
            if path.name == stage:
                path.write_text(text[: len(text) // 2])  # worse than what replacing() can leave
                raise Crash
            real(path, text)

        monkeypatch.setattr(checkpoint, "write_text", write_text)
    elif stage == "weights":
        monkeypatch.setattr(checkpoint, "save_file", crash)
    elif stage == "sync":
        monkeypatch.setattr(os, "fsync", crash)
    elif stage == "publish":
        real_rename = os.rename

        def rename(source, target):
            if str(source).endswith(".draft"):
                raise Crash
            real_rename(source, target)

        monkeypatch.setattr(os, "rename", rename)
    else:
        assert stage == "delete"
        real_rmtree = shutil.rmtree

        def rmtree(path, **kwargs):
            if Path(path).name.endswith(".gone"):
                raise Crash
            real_rmtree(path, **kwargs)

        monkeypatch.setattr(shutil, "rmtree", rmtree)
    return save_learner


BEFORE = ["save_learner", "weights", "state.json", "manifest.json", "sync", "publish"]
AFTER = ["latest", "delete"]


@pytest.mark.parametrize("stage", BEFORE + AFTER)
def test_a_crash_leaves_a_valid_checkpoint(folder, monkeypatch, stage):
    write(folder, 10)
    with monkeypatch.context() as patch:
        save = crash_at(patch, stage)
        with pytest.raises(Crash):
            write(folder, 20, save)
    path, state, skipped = newest(folder)
    assert state.step == (10 if stage in BEFORE else 20)
    assert find_damage(path) is None
    assert skipped == []
    assert all(".draft" not in p.name for p in list_checkpoints(folder))
    write(folder, 30)  # and the next life of the run goes on
    assert newest(folder)[1].step == 30
    assert sorted(p.name for p in folder.glob("*step*")) == ["step-000030"]


@pytest.mark.parametrize("stage", BEFORE)
def test_a_crash_while_writing_the_same_step_again(folder, monkeypatch, stage):
    """A finished run that is resumed writes its last step once more."""
    write(folder, 10)
    with monkeypatch.context() as patch:
        save = crash_at(patch, stage)
        with pytest.raises(Crash):
            write(folder, 10, save)
    path, state, _ = newest(folder)
    assert state.step == 10
    assert find_damage(path) is None
    write(folder, 10)
    assert [p.name for p in list_checkpoints(folder)] == ["step-000010"]


def test_the_same_step_again_replaces_it(folder):
    write(folder, 10, version=9)
    path = write(folder, 10, version=10)
    assert newest(folder) == (path, State(10, 10, 320), [])
    assert sorted(p.name for p in folder.iterdir()) == ["latest", "step-000010"]


def test_damaged_weights_are_not_written(folder):
    write(folder, 10)
    manifest, shards = update(20)
    shards[0]["layer.0.weight"] = shards[0]["layer.0.weight"] + 1
    with pytest.raises(RunFailed, match="checksum"):
        write(folder, 20, weights=(manifest, shards))
    assert newest(folder)[1].step == 10


def test_everything_is_on_the_disk_before_it_is_published(folder, monkeypatch):
    synced, published = set(), []
    real_sync, real_rename = os.fsync, os.rename

    def fsync(handle):
        synced.add(os.readlink(f"/proc/self/fd/{handle}"))
        real_sync(handle)

    def rename(source, target):
        published.append({str(source), *map(str, Path(source).rglob("*"))})
        assert published[-1] <= synced, published[-1] - synced
        real_rename(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", rename)
    write(folder, 10)
    assert len(published) == 1
    assert str(folder) in synced
