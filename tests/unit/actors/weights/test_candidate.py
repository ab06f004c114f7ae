"""Every form of one policy is found, checked, and has the same weights."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
import yaml

from actors.export import export_model
from actors.weights import checkpoint
from actors.weights.candidate import find_candidate, load_candidate
from actors.weights.manifest import pack, plan_shards, tensors
from medray.config import Config, DataConfig, LoraConfig, ModelConfig, RunConfig
from medray.errors import MedrayError
from medray.policy.export.weight_update import export_items
from medray.policy.model.loading import load_model
from medray.policy.model.tuning import prepare_policy

LORA = LoraConfig(rank=4, alpha=24.0)


def a_run(folder, base, mode):
    """A run's directory with one checkpoint of an adapter that has moved."""
    model = ModelConfig(path=str(base), dtype="bfloat16", lora=LORA)
    config = Config(
        run=RunConfig(name=mode, output=str(folder)), model=model, data=DataConfig(kind="phantom")
    )
    policy = prepare_policy(load_model(base, model.dtype), model)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, p in policy.named_parameters():
            if ".lora_B." in name:
                p += 0.05 * torch.randn(p.shape, generator=generator)
    items = plan_shards(export_items(policy, mode), torch.bfloat16)
    manifest, *shards = pack(items, 3, mode, lambda _: torch.no_grad())
    state = checkpoint.State(step=3, policy_version=3, position=0)
    draft = checkpoint.begin(config.run_dir / "checkpoints", state)
    checkpoint.publish(draft, state, manifest, shards)
    (config.run_dir / "config.yaml").write_text(config.to_yaml())
    return config


@pytest.fixture(scope="module")
def forms(tmp_path_factory, tiny_llava):
    """One policy as a run, a checkpoint, a merged model and an adapter; and its configuration."""
    folder = tmp_path_factory.mktemp("forms")
    config = a_run(folder, tiny_llava, "adapter")
    export_model(config.run_dir, folder / "merged")
    export_model(config.run_dir, folder / "adapter-of-it", adapter=True)
    return folder, config


def weights(config, path):
    """All weights that a generator would have."""
    policy = load_candidate(config, find_candidate(path))
    model = load_model(type(path)(policy.config.model.path), policy.config.model.dtype)
    parameters = dict(model.named_parameters())
    if policy.manifest is not None:
        assert policy.config.loop.sync == policy.manifest.mode == "full"
        with torch.no_grad():
            for name, tensor in tensors(policy.manifest, policy.shards):
                parameters[name].copy_(tensor)
    assert policy.config.model.lora is None
    return parameters, policy.version


def test_every_form_has_the_same_weights(forms, tiny_llava):
    folder, config = forms
    paths = [
        folder / "merged",
        folder / "adapter-of-it",
        folder / "adapter",  # the run
        folder / "adapter" / "checkpoints",
        folder / "adapter" / "checkpoints" / "step-000003",
    ]
    kinds = [find_candidate(path).kind for path in paths]
    assert kinds == ["model", "adapter", *["checkpoint"] * 3]
    first, version = weights(config, paths[0])
    assert version == 3
    base = dict(load_model(tiny_llava, "bfloat16").named_parameters())
    assert any(not torch.equal(first[name], base[name]) for name in base)
    for path in paths[1:]:
        found, version = weights(config, path)
        assert version == 3
        assert all(torch.equal(first[name], found[name]) for name in first), path.name


def test_the_settings_of_the_run_count_not_those_of_the_command(forms):
    """Another alpha would scale the adapter differently, in silence."""
    folder, config = forms
    other = config.model_copy(
        update={"model": config.model.model_copy(update={"lora": LoraConfig(rank=8, alpha=1.0)})}
    )
    expected, _ = weights(config, folder / "adapter")
    for path in (folder / "adapter", folder / "adapter-of-it"):
        found, _ = weights(other, path)
        assert all(torch.equal(expected[name], found[name]) for name in expected)


@pytest.mark.parametrize("path", ["adapter", "adapter/checkpoints/step-000003", "adapter-of-it"])
def test_an_adapter_on_the_merged_model_is_refused(forms, path):
    folder, config = forms
    model = config.model.model_copy(update={"path": str(folder / "merged")})
    merged = config.model_copy(update={"model": model})
    with pytest.raises(MedrayError, match="is a merged export, not the base of") as caught:
        load_candidate(merged, find_candidate(folder / path))
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


def test_a_merged_model_is_refused_if_the_base_is_gone(forms, tmp_path):
    """A copy of a checkpoint, and an adapter made elsewhere, whose base is on another machine."""
    folder, config = forms
    run = tmp_path / "run"
    shutil.copytree(folder / "adapter", run)
    tree = yaml.safe_load((run / "config.yaml").read_text())
    tree["model"]["path"] = "on-another-machine"
    (run / "config.yaml").write_text(yaml.safe_dump(tree))
    foreign = tmp_path / "foreign"
    shutil.copytree(folder / "adapter-of-it", foreign)
    (foreign / "medray.json").unlink()
    settings = json.loads((foreign / "adapter_config.json").read_text())
    settings["base_model_name_or_path"] = "hub/name"
    (foreign / "adapter_config.json").write_text(json.dumps(settings))
    model = config.model.model_copy(update={"path": str(folder / "merged")})
    merged = config.model_copy(update={"model": model})
    for path in (run, foreign):
        load_candidate(config, find_candidate(path))  # on the right base
        with pytest.raises(MedrayError, match="is a merged export of run adapter"):
            load_candidate(merged, find_candidate(path))


def test_a_base_may_be_moved_but_not_changed(forms, tmp_path, tiny_llava):
    folder, config = forms
    moved = tmp_path / "moved"
    shutil.copytree(tiny_llava, moved)
    elsewhere = config.model_copy(
        update={"model": config.model.model_copy(update={"path": str(moved)})}
    )
    for path in (folder / "adapter", folder / "adapter-of-it"):
        load_candidate(elsewhere, find_candidate(path))
    weights_file = next(moved.glob("*.safetensors"))
    data = bytearray(weights_file.read_bytes())
    data[-1] ^= 1
    weights_file.write_bytes(data)
    for path in (folder / "adapter", folder / "adapter-of-it"):
        with pytest.raises(MedrayError, match="is another model, not the base of"):
            load_candidate(elsewhere, find_candidate(path))


def test_a_run_of_full_weights_is_sent_as_it_is(tmp_path, tiny_llava):
    config = a_run(tmp_path, tiny_llava, "full")
    export_model(config.run_dir, tmp_path / "merged")
    expected, _ = weights(config, tmp_path / "merged")
    found, version = weights(config, config.run_dir)
    assert version == 3
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_the_configurations_own_model_is_version_zero(forms):
    _, config = forms
    policy = load_candidate(config, find_candidate(None))
    assert (policy.version, policy.manifest, policy.config.model.lora) == (0, None, None)


def test_what_is_no_candidate_is_refused(forms, tmp_path):
    folder, config = forms
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.yaml").write_text("")
    (tmp_path / "empty").mkdir()
    dora = tmp_path / "dora"
    shutil.copytree(folder / "adapter-of-it", dora)
    settings = json.loads((dora / "adapter_config.json").read_text())
    (dora / "adapter_config.json").write_text(json.dumps(settings | {"use_dora": True}))
    for path, why in (
        (tmp_path / "nowhere", "no such directory"),
        (tmp_path / "empty", "holds no config.json, adapter_config.json, checkpoint or run"),
        (run, "contains no checkpoint"),
        (dora, "has use_dora true"),
    ):
        with pytest.raises(MedrayError, match=why) as caught:
            load_candidate(config, find_candidate(path))
        assert caught.value.exit_code == 2
    damaged = tmp_path / "step-000003"
    shutil.copytree(folder / "adapter/checkpoints/step-000003", damaged)
    (damaged / "state.json").write_text("{}")
    with pytest.raises(MedrayError, match=r"state\.json differs from the manifest"):
        find_candidate(damaged)
