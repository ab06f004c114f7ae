"""The receiving end of a weight update: order, one shard ahead, and what is refused."""

import threading

import numpy as np
import pytest
import torch
import xxhash

from actors.generator import receive as transfer
from actors.generator.receive import arriving
from actors.weights.manifest import THREADED_BYTES, Manifest, describe, named, verify
from medray.errors import RunFailed


def update(count=3):
    shards = [{f"w{i}": np.full((2, 3), i, dtype=np.float32)} for i in range(count)]
    specs = tuple(describe(shard, dict.fromkeys(shard, torch.float32)) for shard in shards)
    return Manifest(1, "full", specs, 0), shards


def test_shards_come_in_order_and_read_only_ones_without_a_copy():
    manifest, shards = update()
    for shard in shards:
        for array in shard.values():
            array.flags.writeable = False
    pairs = [pair for part in arriving(manifest, shards) for pair in named(*part)]
    assert [name for name, _ in pairs] == ["w0", "w1", "w2"]
    for i, (_, tensor) in enumerate(pairs):
        assert torch.equal(tensor, torch.full((2, 3), float(i)))
        assert tensor.data_ptr() == shards[i][f"w{i}"].ctypes.data


def test_the_next_shard_is_pulled_while_one_is_in_use_and_no_more(monkeypatch):
    manifest, shards = update(4)
    pulled = [threading.Event() for _ in shards]
    real = transfer.pull

    def pull(part, what):
        pulled[int(what.split()[1]) - 1].set()
        return real(part, what)

    monkeypatch.setattr(transfer, "pull", pull)
    coming = arriving(manifest, shards)
    next(coming)
    assert pulled[1].wait(5)
    assert not pulled[2].wait(0.2)
    next(coming)
    assert pulled[2].wait(5)
    assert not pulled[3].wait(0.2)
    coming.close()


def test_damage_is_reported_after_the_shards_before_it():
    manifest, shards = update()
    shards[1]["w1"] = shards[1]["w1"] + 1
    coming = arriving(manifest, shards)
    next(coming)
    with pytest.raises(RunFailed, match="w1: checksum differs"):
        next(coming)


def test_a_large_shard_is_summed_by_several_threads_tensor_by_tensor():
    """Each tensor its own sum, whoever was first; one flipped bit is found and named."""
    rng = np.random.default_rng(0)
    sizes = (2**23, 3, 2**20, 2**23, 1)  # int16: more than THREADED_BYTES together
    shard = {f"w{i}": rng.integers(0, 999, n, dtype=np.int16) for i, n in enumerate(sizes)}
    assert sum(array.nbytes for array in shard.values()) > THREADED_BYTES
    specs = describe(shard, dict.fromkeys(shard, torch.bfloat16))
    sums = [xxhash.xxh3_64_intdigest(array.tobytes()) for array in shard.values()]
    assert [(spec.name, spec.checksum) for spec in specs] == list(zip(shard, sums, strict=True))
    verify(specs, shard)
    shard["w3"][4_000_000] ^= 1
    with pytest.raises(RunFailed, match="w3: checksum differs"):
        verify(specs, shard)


@pytest.mark.parametrize("wrong", [[], [0, 1], [0, 1, 2, 2]])
def test_too_few_or_too_many_shards_are_refused_before_the_first(wrong):
    manifest, shards = update()
    with pytest.raises(RunFailed, match=f"{len(wrong)} of 3 shards"):
        next(arriving(manifest, [shards[i] for i in wrong]))


def test_tensors_that_changed_places_are_noticed():
    manifest, shards = update(2)
    shards[0]["w0"], shards[1]["w1"] = shards[1]["w1"], shards[0]["w0"]
    with pytest.raises(RunFailed, match="w0: checksum differs"):
        next(arriving(manifest, shards))
