"""What can be evaluated: a model directory, a LoRA adapter, a checkpoint, or a run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from actors.weights import checkpoint
from actors.weights.manifest import Manifest, Shard, pack, plan_shards, tensors
from medray.config import Config, LoraConfig, ModelConfig, load_config
from medray.errors import ConfigError, ModelError, UserError
from medray.policy.export.model_folder import merged_items
from medray.policy.export.provenance import read_metadata, require_base
from medray.policy.export.weight_update import ExportItem, export_items
from medray.policy.model.adapter import check_adapter, read_adapter_config
from medray.policy.model.loading import DTYPES, load_model, model_facts, resolve_model_path
from medray.policy.model.tuning import prepare_policy


@dataclass(frozen=True, slots=True)
class Candidate:
    """A directory whose policy is to answer. `own`: the configuration's own model, as it starts."""

    kind: Literal["own", "model", "adapter", "checkpoint"]
    path: Path = Path()


@dataclass(frozen=True, slots=True)
class LoadedPolicy:
    """The configuration to generate with, and weights to send, if the model's own are not all.

    `version`: the policy version, None if it is not known.
    """

    config: Config
    version: int | None
    manifest: Manifest | None = None
    shards: Sequence[Shard] = field(default=(), repr=False)


def find_candidate(path: Path | None) -> Candidate:
    """By what the directory holds; of a run the newest valid checkpoint. None: `own`.

    Raises UserError.
    """
    if path is None:
        return Candidate("own")
    if not path.is_dir():
        raise UserError(str(path), "no such directory", "give a model, adapter, checkpoint or run")
    if (path / "adapter_config.json").is_file():
        return Candidate("adapter", path)
    if (path / "config.json").is_file():
        return Candidate("model", path)
    for folder in (path / "checkpoints", path):
        if checkpoint.list_checkpoints(folder):
            found = checkpoint.newest(folder)
            assert found is not None
            return Candidate("checkpoint", found[0])
    if path.name.startswith("step-"):
        if problem := checkpoint.find_damage(path):
            raise UserError(str(path), problem, "give an intact step-NNNNNN directory")
        return Candidate("checkpoint", path)
    if (path / "config.yaml").is_file():
        raise UserError(str(path), "contains no checkpoint", "let the run reach its first one")
    raise UserError(
        str(path),
        "holds no config.json, adapter_config.json, checkpoint or run",
        "give a model, adapter, checkpoint or run",
    )


def load_candidate(config: Config, candidate: Candidate) -> LoadedPolicy:
    """Check a candidate against `config` and read its weights. Raises UserError.

    Adapters are merged as in an exported model, so that all forms of one policy answer alike.
    """
    if candidate.kind == "model":
        model = ModelConfig(
            path=str(candidate.path), dtype=config.model.dtype, max_length=config.model.max_length
        )
        model_facts(model)
        version = read_metadata(candidate.path).get("policy_version")
        return LoadedPolicy(_serving(config, model), version)
    if candidate.kind == "adapter":
        return _load_adapter(config, candidate.path)
    if candidate.kind == "checkpoint":
        return _load_checkpoint(config, candidate.path)
    if config.model.adapter is not None:
        return _load_adapter(config, Path(config.model.adapter))
    return LoadedPolicy(_serving(config, config.model), 0)


def _load_adapter(config: Config, path: Path) -> LoadedPolicy:
    base = resolve_model_path(config.model.path)
    lora, saved_base = _lora_of(path)
    metadata = read_metadata(path)
    require_base(path, base, known=saved_base, digest=metadata.get("base_digest"))
    tuning = {"lora": lora, "adapter": str(path), "reference": None}
    model = config.model.model_copy(update=tuning)
    policy = prepare_policy(load_model(base, model.dtype), model)
    version = metadata.get("policy_version")
    return _sending(config, export_items(policy, "full"), version)


def _load_checkpoint(config: Config, path: Path) -> LoadedPolicy:
    base = resolve_model_path(config.model.path)
    trained = _run_model(path)
    known = trained.path if trained is not None else None
    require_base(path, base, known=known, digest=None)
    manifest, shards = checkpoint.read_weights(path)
    if manifest.mode == "full":
        return LoadedPolicy(_serving(config, config.model), manifest.version, manifest, shards)
    tuned = trained if trained is not None else config.model
    if tuned.lora is None:
        raise ModelError(
            "model.lora = null", f"{path} holds an adapter", "set model.lora as it was trained"
        )
    model = load_model(base, config.model.dtype)
    items = merged_items(model, tuned, dict(tensors(manifest, shards)))
    return _sending(config, items, manifest.version)


def _sending(config: Config, items: list[ExportItem], version: int | None) -> LoadedPolicy:
    """The items as a weight update. A policy of unknown version is sent as version 0."""
    shards = plan_shards(items, DTYPES[config.model.dtype])
    manifest, *packed = pack(shards, version or 0, "full", lambda _: nullcontext())
    return LoadedPolicy(_serving(config, config.model), version, manifest, packed)


def _serving(config: Config, model: ModelConfig) -> Config:
    """What a generator starts with: no adapter slots, because everything sent is merged."""
    plain = model.model_copy(update={"lora": None, "adapter": None, "reference": None})
    loop = config.loop.model_copy(update={"sync": "full"})
    return config.model_copy(update={"model": plain, "loop": loop})


def _run_model(path: Path) -> ModelConfig | None:
    """The model section of the run that a checkpoint lies in, None if it lies elsewhere."""
    file = path.resolve().parent.parent / "config.yaml"
    try:
        return load_config(file).model if file.is_file() else None
    except ConfigError:
        return None


def _lora_of(path: Path) -> tuple[LoraConfig, str | None]:
    """How an adapter in PEFT's format is to be read, and the base that it names."""
    check_adapter(path)
    saved = read_adapter_config(path)
    lora = LoraConfig(
        rank=int(saved["r"]),
        alpha=float(saved["lora_alpha"]),
        rank_stabilised=bool(saved.get("use_rslora", False)),
    )
    return lora, saved.get("base_model_name_or_path")
