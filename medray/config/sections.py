"""The sections of a configuration, their keys, defaults and rules, as one frozen tree."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pydantic
import yaml
from pydantic import BaseModel, ConfigDict, Field

from medray.config.language_model import JudgeConfig, LanguageModelConfig
from medray.config.section import Fraction, PositiveInt, Section

LocaliserKind = Literal["clipseg", "grounding-dino", "sam3"]
MOST_SEQUENCES = 256  # that are decoded together if generator.max_num_seqs does not say
FOUND_REGIONS = ("found", "found-or-whole")  # values of corruption.region that need a localiser
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]


class Amounts(dict[str, float]):
    """Amounts by name. Hashable, as the tree is: nothing changes them."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))


# Ray's custom resources of one actor: it is on a node that has them.
ResourceName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")]
NodeResources = Annotated[
    dict[ResourceName, Annotated[float, Field(gt=0.0)]], pydantic.AfterValidator(Amounts)
]
RAYS_OWN = ("CPU", "GPU", "memory", "object_store_memory")  # resources with settings of their own

PhantomStyle = Literal["short", "paragraphs"]


class RunConfig(Section):
    name: Name = "run"
    output: str = "runs"  # the run directory is output/name
    seed: int = 0
    # Where figures and settings go, beside the run directory and TensorBoard; none by default.
    trackers: tuple[Literal["wandb", "mlflow"], ...] = ()
    project: Name = "medray"  # at W&B; at MLflow the experiment


class LoraConfig(Section):
    rank: PositiveInt = 16
    alpha: float = Field(32.0, gt=0)
    dropout: float = Field(0.0, ge=0.0, lt=1.0)
    rank_stabilised: bool = False
    targets: tuple[Literal["language", "projector", "vision"], ...] = ("language",)


class ModelConfig(Section):
    path: str = "phantom/base"  # a Hugging Face directory; "phantom/base" ships with medray
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    lora: LoraConfig | None = LoraConfig()  # null: full fine-tuning of `trainable`
    trainable: tuple[Literal["language", "projector", "vision"], ...] = ("language",)
    adapter: str | None = None  # a PEFT LoRA directory to train further; null: a new adapter
    reference: str | None = None  # a model directory; null: the initial weights of the policy
    max_length: PositiveInt | None = None  # tokens of image + prompt + answer; null: the model's
    max_images: PositiveInt | None = None  # of one case; null: what its template and context take
    # Fewest and most pixels of an image as a model of dynamic resolution sees it; null: its own.
    min_pixels: PositiveInt | None = None
    max_pixels: PositiveInt | None = None

    @pydantic.model_validator(mode="after")
    def _pixels_are_ordered(self) -> ModelConfig:
        if self.min_pixels and self.max_pixels and self.min_pixels > self.max_pixels:
            raise ValueError("min_pixels is above max_pixels; lower it")
        return self

    @pydantic.model_validator(mode="after")
    def _adapter_needs_lora(self) -> ModelConfig:
        if self.adapter is not None and self.lora is None:
            raise ValueError("adapter needs lora; describe the adapter's rank and alpha there")
        return self


class DataConfig(Section):
    kind: Literal[
        "phantom",
        "vqa-rad",
        "slake",
        "slake-zh",
        "pathvqa",
        "iu-xray",
        "mimic-cxr",
        "mimic-cxr-jpg",
        "vgmed",
        "medheval",
        "dicom",
        "jsonl",
        "parquet",
        "pairs",
    ]
    path: str | None = None  # phantom: written there first if it does not exist
    seed: int = 0  # of the split, the order and the phantoms: runs of other seeds share them
    style: PhantomStyle = "short"  # of phantoms: how much their reports say
    split: Literal["official", "image", "patient", "study"] = "image"
    heldout: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2  # share of groups, if split by group
    limit: PositiveInt | None = None  # training cases; null: all
    max_images: PositiveInt | None = None  # of each case, its first ones; null: all
    roots: tuple[str, ...] | None = None  # where else images may be; null: anywhere


class GeneratorConfig(Section):
    replicas: PositiveInt = 1
    tensor_parallel: PositiveInt = 1
    temperature: float = Field(0.7, ge=0.0)
    max_new_tokens: PositiveInt = 64
    responses: PositiveInt = 1  # per case and step
    memory: Annotated[float, Field(gt=0.0, le=1.0)] = 0.85  # share of the GPU's memory
    colocated: bool = False  # on the learners' GPUs, asleep while those work
    max_num_seqs: PositiveInt | None = None  # decoded together; null: 256 on a GPU, 64 on CPUs
    max_num_batched_tokens: PositiveInt | None = None  # computed at a time; null: vLLM's own
    max_model_len: PositiveInt | None = None  # tokens of prompt and answer; null: model.max_length
    resources: NodeResources = Amounts()  # of each replica, and of each engine of editor.path

    @pydantic.model_validator(mode="after")
    def _a_token_for_each_sequence(self) -> GeneratorConfig:
        sequences = self.max_num_seqs or MOST_SEQUENCES
        if self.max_num_batched_tokens is not None and self.max_num_batched_tokens < sequences:
            raise ValueError(
                f"max_num_batched_tokens is below max_num_seqs ({sequences}), which take a token "
                "each: raise it, or lower max_num_seqs"
            )
        return self


class EditorConfig(LanguageModelConfig):
    section: ClassVar[str] = "editor"

    kind: Literal["findings", "llm", "findings+llm"] = "findings"
    replicas: PositiveInt = 1
    scope: Literal["sentence", "answer"] = "sentence"  # what one pair is about
    pairs_per_answer: PositiveInt = 4  # of the sentences of an answer, the most severe first
    # Correct the first wrong sentence, and let the policy go on behind it.
    continue_: bool = Field(False, alias="continue")
    same_slot: bool = True  # findings: also the weaker rule "same slot, other value"
    max_edit_fraction: Fraction = 0.5  # texts of fewer than four words are exempt
    # What makes a pair relevant: its type of error, or how much its finding matters clinically.
    relevance: Literal["severity", "significance"] = "severity"
    judges: tuple[str, ...] = ()  # models that score relevance in turn; empty: by `relevance`
    send_image: bool = False  # whether the image is sent to the endpoint
    resources: NodeResources = Amounts()  # of each replica

    @pydantic.model_validator(mode="after")
    def _one_language_model(self) -> EditorConfig:
        if self.kind != "findings" and not (self.path or (self.url and self.model)):
            raise ValueError(f"kind '{self.kind}' needs path, or url and model: name the model")
        if self.path and (self.url or self.model or self.send_image):
            raise ValueError("path is served here, as text: remove url, model and send_image")
        if self.continue_ and self.scope != "sentence":
            raise ValueError("continue needs scope 'sentence': it corrects one sentence at a time")
        if self.budget is not None and self.budget < self.replicas:
            raise ValueError("budget is below one request per editor; raise it")
        return self

    @property
    def requests(self) -> int | None:
        """Of one editor: the budget is divided among them."""
        return None if self.budget is None else self.budget // self.replicas

    @property
    def served(self) -> tuple[str, ...]:
        """The model directories to serve: the editor's, then those of other judges."""
        if self.kind == "findings" or not self.path:
            return ()
        return tuple(dict.fromkeys((self.path, *self.judges)))


class LocaliserConfig(Section):
    kind: LocaliserKind | None = None  # null: none is started
    path: str | None = None  # a model directory; "phantom/localiser" ships with medray
    threshold: float = Field(0.5, gt=0.0, lt=1.0)  # least confidence of what counts as found
    max_area: float = Field(0.5, gt=0.0, le=1.0)  # share of the picture; more points nowhere
    replicas: PositiveInt = 1
    gpus: Fraction = 0.0  # of each replica; 0: works on CPUs
    resources: NodeResources = Amounts()  # of each replica

    @pydantic.model_validator(mode="after")
    def _kind_needs_path(self) -> LocaliserConfig:
        if self.kind is not None and self.path is None:
            raise ValueError(f"kind '{self.kind}' needs path; name the model's directory")
        return self


class CorruptionConfig(Section):
    kind: Literal["gaussian", "diffusion", "replacement", "black", "blur", "inpaint", "crop"] = (
        "gaussian"
    )
    sigma: float = Field(45.0, gt=0.0)  # gaussian: on the 0–255 scale; blur: in pixels
    region: Literal[
        "lesion",
        "lesion-or-saliency",
        "lesion-or-whole",
        "found",
        "found-or-whole",
        "whole",
        "none",
    ] = "lesion"
    labels: tuple[str, ...] | None = Field(None, min_length=1)  # of regions to corrupt; null: all
    feather: int = Field(0, ge=0, le=1000)  # pixels outside the region over which it fades out
    whole_sigma: float = Field(12.0, gt=0.0)  # if the whole image is corrupted instead
    step: int = Field(500, ge=1, le=1000)  # of diffusion
    replacement_sigma: float = Field(10.0, gt=0.0)  # on the 0–255 scale
    crop_scale: tuple[Fraction, Fraction] = (0.01, 0.2)  # least and largest share of the area
    saliency_share: float = Field(0.1, gt=0.0, lt=1.0)  # of the image's area that counts as salient

    @pydantic.model_validator(mode="after")
    def _corruption_is_possible(self) -> CorruptionConfig:
        if self.kind == "inpaint" and self.region == "whole":
            raise ValueError("inpaint needs surroundings: choose another region")
        if self.kind == "crop" and self.region in ("lesion-or-saliency", *FOUND_REGIONS):
            raise ValueError(
                "crop takes the whole image, not a region of it: choose another region"
            )
        if self.kind == "blur" and self.sigma > 1000.0:
            raise ValueError("sigma of a blur is in pixels: at most 1000")
        if not 0.0 < self.crop_scale[0] <= self.crop_scale[1]:
            raise ValueError("crop_scale is (least, most), both above 0")
        return self


class ObjectiveConfig(BaseModel):
    """`name` and the hyper-parameters of that objective, which the objective validates."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    name: str = "fire"

    @property
    def hyperparameters(self) -> dict[str, Any]:
        return dict(self.__pydantic_extra__ or {})


class LearnerConfig(Section):
    world_size: PositiveInt = 1
    zero_stage: Literal[0, 1, 2, 3] = 2
    lr: float = Field(1.0e-6, ge=0.0)
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_steps: int = Field(0, ge=0)
    weight_decay: float = Field(0.0, ge=0.0)
    weighting: Literal["relevance", "none"] = "relevance"  # what a pair's loss is multiplied by
    micro_batch: PositiveInt = 8  # pairs per rank and forward pass, on average
    row_tokens: PositiveInt | None = None  # per packed row; null: the cheapest length
    gradient_checkpointing: bool = False
    offload: Literal["none", "optimizer", "all"] = "none"  # all: also the parameters, ZeRO-3 only
    clip: float = Field(1.0, gt=0.0)
    resources: NodeResources = Amounts()  # of each rank

    @pydantic.model_validator(mode="after")
    def _offload_needs_sharding(self) -> LearnerConfig:
        if self.offload != "none" and self.zero_stage < (3 if self.offload == "all" else 1):
            least = 3 if self.offload == "all" else 1
            raise ValueError(f"offload '{self.offload}' needs zero_stage {least} or more")
        return self


class LoopConfig(Section):
    steps: PositiveInt = 20
    batch: PositiveInt = 32  # cases per step
    # image: questions about one image in the same step, where its tokens are computed once.
    group_by: Literal["case", "image"] = "case"
    max_lag: int = Field(0, ge=0, le=16)  # versions by which an answer may lag; 0: on-policy
    # Steps that learn from answers of one policy. 1: online; 0: all of them, by the policy as it
    # starts.
    resample_every: int = Field(1, ge=0)
    importance_clip: float | None = Field(None, gt=1.0)  # null: lagging answers are not corrected
    sync: Literal["auto", "full", "adapter"] = "auto"  # a plan decides what auto is
    max_logp_gap: float = Field(0.5, gt=0.0)  # nats; above it generator weights are wrong: stop
    checkpoint_every: int = Field(10, ge=0)  # in steps; 0: only after the last
    keep_checkpoints: PositiveInt = 2  # the newest ones: one to fall back on
    # Also the one with the best value of this figure of its evaluation; null: none.
    keep_best: (
        Literal[
            "report_exact", "closed_accuracy", "open_recall", "hallucination_rate", "finding_f1"
        ]
        | None
    ) = None


class FaultsConfig(Section):
    """Fault tolerance: restarts per run, for each kind of actor and cause, and deadlines."""

    generator: int = Field(8, ge=0)
    editor: int = Field(8, ge=0)
    localiser: int = Field(8, ge=0)
    learner: int = Field(3, ge=0)
    deadline: float = Field(1800.0, gt=0.0)  # seconds for one call of an actor
    stop_within: float = Field(60.0, gt=0.0)  # seconds from SIGTERM to a checkpoint
    nodes_within: float = Field(0.0, ge=0.0)  # seconds that a cluster may take to grow


class TargetingConfig(Section):
    """Draw cases, wrong variants and v' by the errors of the policy; off at strength 0."""

    strength: float = Field(0.0, ge=0.0, lt=1.0)  # 1 - strength: least weight of any error
    # What errors are counted by: their type, or what must be seen (MedHEval's four classes).
    by: Literal["error_type", "visual_class"] = "error_type"
    decay: Fraction = 0.9  # of the error counts, per step
    candidates: PositiveInt = 4  # cases considered for each one drawn
    prior_below: float = Field(0.25, gt=0.0)  # nats; an answer that changes less counts as a prior


class EvalConfig(Section):
    every: int = Field(10, ge=0)  # steps; 0: only before and after training
    n: PositiveInt = 512  # held-out studies (images)
    data: DataConfig | None = None  # another dataset to evaluate on; null: the held-out part
    judge: JudgeConfig = JudgeConfig()  # of `medray eval --metric nli` and others like it


class Config(Section):
    run: RunConfig = RunConfig()
    model: ModelConfig = ModelConfig()
    data: DataConfig
    generator: GeneratorConfig = GeneratorConfig()
    editor: EditorConfig = EditorConfig()
    localiser: LocaliserConfig = LocaliserConfig()
    corruption: CorruptionConfig = CorruptionConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    learner: LearnerConfig = LearnerConfig()
    loop: LoopConfig = LoopConfig()
    faults: FaultsConfig = FaultsConfig()
    targeting: TargetingConfig = TargetingConfig()
    eval: EvalConfig = EvalConfig()

    @pydantic.model_validator(mode="after")
    def _resources_are_custom(self) -> Config:
        sections = (self.generator, self.editor, self.localiser, self.learner)
        for name in (name for section in sections for name in section.resources):
            if name in RAYS_OWN:
                raise ValueError(f"{name} is not a custom resource; remove it from resources")
        return self

    @pydantic.model_validator(mode="after")
    def _adapter_sync_needs_lora(self) -> Config:
        if self.loop.sync == "adapter" and self.model.lora is None:
            raise ValueError("loop.sync 'adapter' needs model.lora; set loop.sync=full")
        return self

    @pydantic.model_validator(mode="after")
    def _old_answers_are_possible(self) -> Config:
        if self.loop.resample_every == 1:
            return self
        if self.loop.max_lag:
            raise ValueError("loop.max_lag needs loop.resample_every=1: set one of them")
        if self.editor.continue_:
            raise ValueError(
                "editor.continue needs loop.resample_every=1: it answers on behind each edit"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _colocation_is_possible(self) -> Config:
        generator = self.generator
        if not generator.colocated:
            return self
        if self.loop.max_lag:
            raise ValueError(
                "generator.colocated needs loop.max_lag=0: only one of them can use the GPU"
            )
        if self.learner.zero_stage not in (1, 2) or self.learner.offload != "none":
            raise ValueError(
                "generator.colocated needs learner.zero_stage 1 or 2 and learner.offload=none: "
                "only then can the learner leave the GPU while generators work"
            )
        if generator.tensor_parallel > 1 or generator.replicas != self.learner.world_size:
            raise ValueError(
                "generator.colocated needs one generator per learner: set generator.replicas to "
                "learner.world_size and generator.tensor_parallel to 1"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _found_regions_need_a_localiser(self) -> Config:
        if self.corruption.region in FOUND_REGIONS and self.localiser.kind is None:
            why = "needs localiser.kind and localiser.path; set both"
            raise ValueError(f"corruption.region '{self.corruption.region}' {why}")
        return self

    @property
    def run_dir(self) -> Path:
        return Path(self.run.output) / self.run.name

    def to_yaml(self) -> str:
        """The resolved configuration as YAML, which `load_config` can read again."""
        return yaml.safe_dump(self.model_dump(mode="json", by_alias=True), sort_keys=False)
