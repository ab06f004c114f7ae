"""Full, read-only and vanished disks: one cause, whatever library met it."""

from __future__ import annotations

import errno
import os
import pickle

import pytest
from safetensors import SafetensorError

from actors.fleet.calls import ActorLost
from medray.errors import DiskFault, RunFailed
from medray.files import disk_fault


@pytest.mark.parametrize(
    ("number", "why"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "the disk quota is used up"),
        (errno.EROFS, "the file system is read-only"),
        (errno.EIO, "the disk failed"),
        (errno.ESTALE, "the network mount is gone"),
    ],
)
def test_the_cause_is_named(number, why):
    fault = disk_fault(OSError(number, os.strerror(number), "runs/a/metrics.jsonl"))
    assert fault is not None
    assert str(fault).startswith(f"runs/a/metrics.jsonl: {why}")
    assert fault.exit_code == 3
    in_rust = SafetensorError(f"I/O error: {os.strerror(number)} (os error {number})")
    assert why in str(disk_fault(in_rust))


def test_the_cause_behind_another_error_is_found():
    def fail() -> None:
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise ActorLost("Learner(rank=0)", "broken", "save failed") from error

    with pytest.raises(ActorLost) as caught:
        fail()
    assert isinstance(disk_fault(caught.value), DiskFault)


@pytest.mark.parametrize(
    "error", [FileNotFoundError(2, "x"), ValueError("disk"), RunFailed("a", "b"), OSError("odd")]
)
def test_other_errors_are_none(error):
    assert disk_fault(error) is None


def test_it_travels_between_processes():
    fault = disk_fault(OSError(errno.ENOSPC, "x", "a"))
    assert str(pickle.loads(pickle.dumps(fault))) == str(fault)
