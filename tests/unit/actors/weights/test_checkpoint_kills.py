"""SIGKILL at every point of saving: what is listed afterwards is whole, always."""

import json
import os
import subprocess
import sys

from tests.support.paths import ROOT

SAVER = '''
import builtins, json, os, shutil, signal, sys
from pathlib import Path
from actors.weights import checkpoint
from actors.weights.checkpoint import State
from tests.unit.actors.weights.test_checkpoint import save_learner, update

folder, left = Path(sys.argv[1]), 0

def counted(function, name):
    """Die in front of the call number `left` of all that touch the disk."""
    def call(*args, **kwargs):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)
    return call

def opened(real):
    write = counted(real, "open")
    def open(file, mode="r", *args, **kwargs):
        return (write if set(mode) & set("wax") else real)(file, mode, *args, **kwargs)
    return open

def save(step):
    state = State(step, step, 32 * step)
    draft = checkpoint.begin(folder, state)
    save_learner(str(draft / "learner"))
    checkpoint.publish(draft, state, *update(step))

save(10)
points = 0
while True:
    points += 1
    child = os.fork()
    if child == 0:
        left = points
        for module, names in ((os, ("fsync", "rename", "replace", "unlink", "mkdir", "rmdir")),):
            for name in names:
                setattr(module, name, counted(getattr(module, name), name))
        builtins.open = opened(builtins.open)
        checkpoint.save_file = counted(checkpoint.save_file, "save_file")
        save(10 + points)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    path, state, skipped = checkpoint.newest(folder)
    listed = checkpoint.list_checkpoints(folder)
    print(json.dumps({
        "killed": os.WIFSIGNALED(status), "step": state.step, "skipped": skipped,
        "latest": (folder / "latest").read_text().strip(), "name": path.name,
        "damaged": [p.name for p in listed if checkpoint.find_damage(p)],
    }), flush=True)
    if not os.WIFSIGNALED(status):
        break
'''


def test_a_kill_at_any_point_leaves_a_valid_checkpoint(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SAVER, str(tmp_path / "checkpoints")],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    *killed, last = rows
    assert len(killed) > 20  # many points were tried, each by a real SIGKILL
    assert all(row["killed"] for row in killed)
    assert not last["killed"]
    published = 10
    for point, row in enumerate(rows, 1):
        assert row["damaged"] == [] == row["skipped"], (point, row)
        assert row["step"] in (published, 10 + point), (point, row)  # the last one, or this one
        published = row["step"]
    assert last["step"] == 10 + len(rows)
    assert last["latest"] == last["name"]
    assert len({row["step"] for row in killed}) > 1  # some kills came after publication
