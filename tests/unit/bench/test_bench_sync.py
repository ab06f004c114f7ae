"""The benchmark of weight updates: its model, its arithmetic, its table."""

import numpy as np
import pytest

from medray.bench.sync import (
    TRANSFER,
    PlainCopies,
    SyncSettings,
    adapter_bytes,
    layers_for,
    show_sync,
    summarise,
    write_lookalike,
)
from medray.config import ModelConfig
from medray.errors import UserError
from medray.policy.export.weight_update import export_items, numel_bytes
from medray.policy.model.loading import load_model, model_facts
from medray.policy.model.tuning import prepare_policy


@pytest.fixture(scope="module")
def lookalike(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sync")
    return folder, write_lookalike(folder, 0.004)


def test_the_model_loads_and_has_the_requested_size(lookalike):
    folder, shape = lookalike
    config = ModelConfig(path=str(folder), lora=None)
    assert model_facts(config).context == 512
    policy = prepare_policy(load_model(folder, "bfloat16"), config)
    items = export_items(policy, "full")
    size = sum(numel_bytes(items, policy.dtype))
    assert size >= 4e6
    assert shape == {"width": 256, "layers": 3}
    assert len({item.name.split(".layers.")[1][0] for item in items if ".layers." in item.name}) > 1


@pytest.mark.parametrize(("gigabytes", "width", "layers"), [(1.0, 2048, 9), (0.001, 256, 1)])
def test_layers_hold_the_bytes(gigabytes, width, layers):
    assert layers_for(gigabytes, width) == layers
    heads, half = width, width // 4
    per_layer = 2 * (2 * heads * width + 2 * half * width + 3 * 4 * width * width)
    assert (layers - 1) * per_layer < gigabytes * 1e9 <= layers * per_layer


def test_the_bytes_of_an_adapter_agree_with_a_count_by_hand(lookalike):
    folder, shape = lookalike
    w, rank = 256, 16
    pairs = [(w, w), (w, w // 4), (w, w // 4), (w, w), (w, 4 * w), (w, 4 * w), (4 * w, w)]
    per_layer = sum(rank * (inputs + outputs) for inputs, outputs in pairs)
    assert adapter_bytes(folder) == 2 * shape["layers"] * per_layer


@pytest.mark.parametrize("wrong", [{"gigabytes": 0.0}, {"generators": 0}, {"repeats": 0}])
def test_sizes_are_checked(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        SyncSettings(**wrong)


def updates(*seconds):
    parts = dict.fromkeys((*TRANSFER, "load"), 0.1)
    return [parts | {"seconds": s, "memcpy_fresh": 0.5, "memcpy_warm": 0.25} for s in seconds]


def test_ratios_are_those_of_medians(capsys):
    facts = {
        "device": "d",
        "threads": 2,
        "shape": {"width": 256},
        "full_bytes": 2 * 10**9,
        "adapter_bytes": 10**6,
        "shards": 3,
        "first_seconds": 3.0,
        "logp_gap": 0.0,
    }
    result = summarise(SyncSettings(repeats=3), facts, {1: updates(1.0, 2.0, 4.0), 2: updates(5.0)})
    assert result["seconds"] == 2.0
    assert result["gigabytes_per_second"] == 1.0
    assert result["full_rate_vs_memcpy"] == 0.25
    assert result["full_rate_vs_warm_memcpy"] == 0.125
    assert result["transfer_rate_vs_memcpy"] == pytest.approx(1.0)  # five parts of 0.1
    assert result["generators"]["2"]["full_rate_vs_memcpy"] == 0.1
    assert (result["full_bytes"], result["adapter_bytes"]) == (2 * 10**9, 10**6)
    show_sync(result)
    out = capsys.readouterr().out
    assert "25% of a plain copy" in out
    assert "medray bench sync --gigabytes 1 --generators 2 --repeats 3" in out


def test_plain_copies_leave_the_arrays_alone():
    arrays = [np.arange(5), np.ones((2, 2))]
    copies = PlainCopies()
    for _ in range(2):
        assert set(copies.times(arrays)) == {"memcpy_fresh", "memcpy_warm"}
    assert [a.tolist() for a in copies.memory] == [a.tolist() for a in arrays]
    assert arrays[0].tolist() == [0, 1, 2, 3, 4]
