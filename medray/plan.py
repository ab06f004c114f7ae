"""Check everything that can be checked before an actor starts, and describe the run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from medray.config import FOUND_REGIONS, Config, DataConfig
from medray.data.dataset import Dataset, evaluated_on, open_dataset
from medray.data.readability import readability
from medray.editing import EDITORS
from medray.errors import ConfigError, DataError, ModelError
from medray.files import folder_digest
from medray.imaging.digests import Digests
from medray.imaging.regions import labelled
from medray.localising import check_localiser
from medray.objectives import Needs, answers_needed, find_objective, needs_of
from medray.policy.model.chat import ChatCodec
from medray.policy.model.loading import (
    ModelFacts,
    answer_context,
    model_facts,
    reference_facts,
    resolve_model_path,
)
from medray.policy.model.passed import inspect_unless_passed
from medray.rundir import RunDirectory

SHORTEST_PROMPT = 16  # tokens of the chat template and a few words
PHANTOM_TRAIN = 320  # studies, if data.limit is not set


@dataclass(frozen=True, slots=True)
class Plan:
    """A checked configuration and what it refers to."""

    config: Config
    dataset: Dataset
    model: ModelFacts

    @property
    def digests(self) -> dict[str, str]:
        """What the run starts from: sha256 of the cases, of each model's files and the adapter's.

        Of weights only samples are read, see `folder_digest`.
        """
        model, found = self.config.model, {"cases": self.dataset.digest}
        folders = {
            "model": self.model.path,
            "adapter": model.adapter and Path(model.adapter),
            "reference model": model.reference and resolve_model_path(model.reference),
        }
        return found | {name: folder_digest(path) for name, path in folders.items() if path}

    @property
    def generates(self) -> bool:
        """Whether the policy is to answer anything: to be trained on, or to be evaluated."""
        return answers_needed(self.config) or bool(self.dataset.heldout)

    def lines(self) -> list[tuple[str, str]]:
        """Rows of (topic, sentence) for the console."""
        c = self.config
        objective = find_objective(c.objective.name)
        hyperparameters = objective.resolve(c.objective.hyperparameters)
        settings = " ".join(
            f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in hyperparameters.items()
        )
        tuning = (
            f"LoRA rank {c.model.lora.rank} on {', '.join(c.model.lora.targets)}"
            if c.model.lora
            else f"full fine-tuning of {', '.join(c.model.trainable)}"
        )
        return [
            (
                "model",
                f"{self.model.path.name} ({self.model.architecture.name}), "
                f"{c.model.dtype}, {tuning}",
            ),
            (
                "data",
                f"{self.dataset.name}: {len(self.dataset.train)} training and "
                f"{len(self.dataset.heldout)} held-out cases",
            ),
            *[("", note) for note in self.dataset.notes],
            *_images(self.dataset),
            (
                "actors",
                f"{_generators(self)}{_editors(c)} · {_localisers(c)}"
                f"{c.learner.world_size} Learner (DeepSpeed ZeRO-{c.learner.zero_stage})",
            ),
            *_reading(c, self.dataset),
            (
                "objective",
                f"{objective.name} {settings}; v' {c.corruption.kind} ({c.corruption.region})",
            ),
            ("scoring", _scoring(self.model)),
            (
                "loop",
                f"{c.loop.steps} steps of {c.loop.batch} {_times(c)}, "
                f"lr {c.learner.lr:g} ({c.learner.schedule}), sync {c.loop.sync}, {_answers(c)}",
            ),
            ("output", f"{c.run_dir}{_trackers(c)}"),
        ]


def make_plan(config: Config, *, resume: bool = False) -> Plan:
    """Check the configuration; raises a UserError. Writes a phantom dataset if it is missing."""
    model, reference = model_facts(config.model), reference_facts(config.model)
    needs = needs_of(config.objective)
    EDITORS[config.editor.kind](config.editor)  # raises for settings it cannot work with
    check_localiser(config.localiser)
    run = RunDirectory(config.run_dir)
    if run.holds_run and not resume:
        raise ConfigError(
            f"run.name = {config.run.name}",
            f"{run.path} already holds a run",
            "give another run.name, or --resume to continue that one",
        )
    _require_writable(run.path, config)
    context = answer_context(config.generator, model)
    if context - model.image_tokens - config.generator.max_new_tokens < SHORTEST_PROMPT:
        raise ModelError(
            f"generator.max_new_tokens = {config.generator.max_new_tokens}",
            f"a generator's context is {context} tokens; an image takes {model.image_tokens}",
            "lower it",
        )
    inspect_unless_passed(model, config.model, reference)
    digests = Digests.kept_in(Path(config.run.output))
    config, dataset = open_data(config, digests)
    _require_inputs_of_objective(config, needs, dataset)
    _require_answers(config)
    config = _with_sync(config, model)
    config = _with_images_of(dataset, config, model)
    digests.keep()
    return Plan(config, dataset, model)


def _with_images_of(dataset: Dataset, config: Config, model: ModelFacts) -> Config:
    """The configuration with `model.max_images` as the dataset needs it, if a case has several.

    Raises ConfigError or ModelError if the model does not take so many.
    """
    most = most_images(dataset)
    limit, todo = config.model.max_images, "set data.max_images to use fewer of each case"
    if limit is not None and most > limit:
        why = f"a case of the dataset has {most} images"
        raise ConfigError(f"model.max_images = {limit}", why, f"raise it, or {todo}")
    if most == 1 and limit is None:
        return config
    if most > 1:
        ChatCodec(model.path, model.limits).require_images(most)
        context = answer_context(config.generator, model)
        rest = context - config.generator.max_new_tokens
        if rest - most * model.image_tokens < SHORTEST_PROMPT:
            why = (
                f"its context is {context} tokens, and a case has {most} images of "
                f"{model.image_tokens}"
            )
            raise ModelError(f"model.path = {config.model.path}", why, todo)
    update = {"max_images": most}
    return config.model_copy(update={"model": config.model.model_copy(update=update)})


def _images(dataset: Dataset) -> list[tuple[str, str]]:
    """How many cases show more than one image."""
    cases = (*dataset.train, *dataset.heldout)
    several = sum(len(case.images) > 1 for case in cases)
    most = f"{most_images(dataset)} at most"
    return [("", f"{several} of {len(cases)} cases have several images, {most}")] if several else []


def most_images(dataset: Dataset) -> int:
    """How many images the case that has most of them has."""
    cases = (*dataset.train, *dataset.heldout)
    return max((len(case.images) for case in cases), default=1)


def _reading(config: Config, dataset: Dataset) -> list[tuple[str, str]]:
    """How much of the training cases the editor can read."""
    kind = config.editor.kind
    if needs_of(config.objective).chosen == "reference":
        return [("editor", "not needed: the objective imitates the references")]
    if not answers_needed(config):
        return [("editor", f"not needed: {_weighted(dataset)}")]
    if "findings" not in kind:
        model = config.editor.model or Path(config.editor.path or "").name
        return [("editor", f"{kind}: what it can read depends on its model, {model}")]
    reading = readability(dataset.train, same_slot=config.editor.same_slot)
    rest = "; the language model gets the rest" if "llm" in kind else ""
    return [("editor", f"{kind}: {reading.line()}{rest}")]


def _weighted(dataset: Dataset) -> str:
    """What pairs that were made elsewhere bring with them."""
    given = [case.given for case in dataset.train if case.given is not None]
    scores = sum(side.score is not None for side in given)
    images = sum(bool(side.rejected_image) for side in given)
    return f"{len(given)} pairs as given, {scores} with a score, {images} with an image for v'"


def _generators(plan: Plan) -> str:
    """The generators among the actors."""
    if not plan.generates:
        return ""
    purpose = "" if answers_needed(plan.config) else ", to evaluate"
    return f"{plan.config.generator.replicas} Generator (vLLM{purpose}) · "


def _localisers(config: Config) -> str:
    """The localisers among the actors, if v' is made from what they find."""
    if config.corruption.region not in FOUND_REGIONS or not answers_needed(config):
        return ""
    return f"{config.localiser.replicas} Localiser ({config.localiser.kind}) · "


def open_data(config: Config, digests: Digests | None = None) -> tuple[Config, Dataset]:
    """The dataset, and the configuration with its path; writes phantoms if they are missing.

    `digests`: of images, those remembered in `run.output` if None. With `eval.data` its held-out
    cases are those of that dataset. Raises DataError.
    """
    config = with_phantoms(config)
    digests = digests or Digests.kept_in(Path(config.run.output))
    dataset = open_dataset(config.data, digests)
    if config.eval.data is None:
        return config, dataset
    return config, evaluated_on(dataset, config.eval.data, digests)


def _trackers(config: Config) -> str:
    """Where figures and settings are sent."""
    names = " and ".join({"wandb": "W&B", "mlflow": "MLflow"}[n] for n in config.run.trackers)
    return f"; figures and settings also to {names}, {config.run.project}" if names else ""


def _times(config: Config) -> str:
    """What a step is made of."""
    if answers_needed(config):
        return f"cases × {config.generator.responses}"
    return "pairs" if config.data.kind == "pairs" else "cases"


def _answers(config: Config) -> str:
    """Whose answers are learnt from, and how far they may lag behind the policy that learns."""
    if not answers_needed(config):
        return "offline"
    if config.loop.resample_every == 0:
        return "offline, on answers of the policy as it starts"
    if config.loop.resample_every > 1:
        return f"semi-online, new answers every {config.loop.resample_every} steps"
    lag = config.loop.max_lag
    return f"overlapped, answers at most {lag} version(s) old" if lag else "on-policy"


def _editors(config: Config) -> str:
    if not answers_needed(config):
        return f"{config.editor.replicas} Packer"
    models = len(config.editor.served)
    editors = f"{config.editor.replicas} Editor"
    return f"{editors} · {models} LanguageModel (vLLM)" if models else editors


def _scoring(model: ModelFacts) -> str:
    """How pairs are laid out for the learner."""
    if model.forest_obstacle:
        return f"every branch as a separate sequence: {model.forest_obstacle}"
    return "one tree per image: prompt and common text once, both answers after it"


def _require_inputs_of_objective(config: Config, needs: Needs, dataset: Dataset) -> None:
    """Check that the objective has what it reads: v', or other pairs in the batch."""
    key = f"objective.name = {config.objective.name}"
    region = config.corruption.region
    labels = config.corruption.labels
    has_region = region != "lesion" or any(
        labelled(case.regions, labels) or (case.given and case.given.rejected_image)
        for case in dataset.train
    )
    if needs.corrupt and not needs.clean_fallback and (region == "none" or not has_region):
        why = "corruption.region is none" if region == "none" else "no training case has a region"
        raise ConfigError(
            key,
            f"reads a corrupted image of every pair, and {why}",
            "set corruption.region=lesion-or-saliency, lesion-or-whole or whole, or choose an "
            "objective without v' (for fire: objective.gamma=0)",
        )
    if needs.kto_baseline and config.loop.batch * config.generator.responses < 2:
        raise ConfigError(key, "needs more than one pair per step", "raise loop.batch")


def _with_sync(config: Config, model: ModelFacts) -> Config:
    """What is sent to generators: the adapter alone, where there is one that they can apply.

    Raises ConfigError if that was asked for and they cannot.
    """
    lora, sync = config.model.lora, config.loop.sync
    served = model.architecture.adapters_in_vllm
    missing = [group for group in lora.targets if group not in served] if lora else []
    if sync == "auto":
        sync = "adapter" if lora and not missing else "full"
        return config.model_copy(update={"loop": config.loop.model_copy(update={"sync": sync})})
    if sync == "adapter" and missing:
        why = f"vLLM cannot apply an adapter on {missing[0]} of {model.architecture.name}"
        raise ConfigError("loop.sync = adapter", why, "set loop.sync=full")
    return config


def _require_answers(config: Config) -> None:
    """Refuse what works on answers of the policy where there are none."""
    if answers_needed(config):
        return
    why = "works on answers of the policy, and none are needed to train"
    if config.targeting.strength:
        value = config.targeting.strength
        raise ConfigError(f"targeting.strength = {value:g}", why, "set it to 0")
    region = config.corruption.region
    if needs_of(config.objective).corrupt and region in (*FOUND_REGIONS, "lesion-or-saliency"):
        raise ConfigError(f"corruption.region = {region}", why, "set lesion, whole or none")


def _require_writable(path: Path, config: Config) -> None:
    """Check that the nearest existing folder of the path is writable."""
    existing = next(p for p in (path, *path.absolute().parents) if os.path.exists(p))
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise ConfigError(
            f"run.output = {config.run.output}",
            f"{existing} is not a directory you may write to",
            "choose another directory",
        )


def with_phantoms(config: Config) -> Config:
    """Fill in the directory of a phantom dataset, and write the dataset if it is missing."""
    data = config.data
    if data.kind != "phantom":
        return config
    from medray.phantom.dataset import style_of, write_dataset

    studies = -(-data.limit // 3) if data.limit else PHANTOM_TRAIN
    style = "" if data.style == "short" else f"{data.style}-"
    name = f"phantoms-{style}{data.seed}-{studies}-{config.eval.n}"
    path = Path(data.path) if data.path else Path(config.run.output) / name
    try:
        if not path.exists():
            write_dataset(
                path, seed=data.seed, n_train=studies, n_heldout=config.eval.n, style=data.style
            )
    except (OSError, DataError) as error:
        if (path / "dataset.json").exists():  # another command has just written the same
            return with_phantoms(config)
        if isinstance(error, DataError):
            raise
        why = f"cannot be written ({error.strerror or error})"
        raise DataError(str(path), why, "give a data.path you may write to") from None
    written = style_of(path)
    if data.style not in ("short", written):
        why = f"{path} holds phantoms of the style '{written}'"
        raise ConfigError(f"data.style = {data.style}", why, "give another data.path")
    filled = DataConfig(**{**data.model_dump(), "path": str(path)})
    return config.model_copy(update={"data": filled})
