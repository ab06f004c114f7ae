"""The YAML as one frozen tree: what is accepted, what is refused, and with which message."""

from __future__ import annotations

import subprocess
import sys

import pydantic
import pytest
import yaml

from medray.config import Config, UniqueKeyLoader, load_config
from medray.errors import ConfigError
from medray.objectives import find_objective
from tests.support.paths import ROOT

SHIPPED = sorted({*(ROOT / "configs").glob("*.yaml")} - {ROOT / "configs/study.yaml"})
MINIMAL = "data: {kind: phantom}\n"


@pytest.fixture
def load(tmp_path):
    """Load a configuration from a text, with overrides."""

    def run(text, *overrides):
        file = tmp_path / "c.yaml"
        file.write_text(text, encoding="utf-8")
        return load_config(file, overrides)

    return run


@pytest.fixture
def refuse(load):
    """The one-line message with which a text is refused."""

    def run(text, *overrides):
        with pytest.raises(ConfigError) as caught:
            load(text, *overrides)
        line = str(caught.value)
        assert "\n" not in line
        assert caught.value.exit_code == 2
        return line

    return run


# --- shipped configurations ---------------------------------------------------------------


def test_there_are_shipped_configurations():
    assert {"quickstart.yaml", "vqa_rad.yaml"} <= {path.name for path in SHIPPED}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.name)
def test_shipped_configurations_load_and_round_trip(path, load):
    config = load_config(path)
    assert load(config.to_yaml()) == config
    find_objective(config.objective.name).resolve(config.objective.hyperparameters)
    lines = [line for line in path.read_text().splitlines() if line.strip() and line[0] != "#"]
    assert len(lines) <= 40


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.name)
def test_keys_of_shipped_configurations_have_the_values_written_there(path):
    """The values in the file are those of the loaded configuration."""
    written, used = (
        yaml.safe_load(path.read_text()),
        load_config(path).model_dump(mode="json", by_alias=True),
    )
    for section, values in written.items():
        for key, value in values.items():
            loaded = used[section][key]
            if isinstance(value, dict):
                loaded, value = {k: loaded[k] for k in value}, value
            assert loaded == value, f"{section}.{key}"


def test_defaults_round_trip_and_are_in_range(load):
    config = load(MINIMAL)
    assert load(config.to_yaml()) == config
    assert Config.model_validate(config.model_dump(by_alias=True)) == config


def test_values_that_yaml_could_misread_round_trip(load):
    config = load(
        MINIMAL,
        "learner.lr=1e-6",
        "run.name=null-1",
        "run.output='2024'",
        "data.path='yes'",
        "model.max_length=8",
        "objective.visual=none",
    )
    assert (config.run.output, config.data.path) == ("2024", "yes")
    assert load(config.to_yaml()) == config


def test_the_tree_is_frozen(load):
    config = load(MINIMAL)
    with pytest.raises(pydantic.ValidationError):
        config.loop.steps = 3
    assert isinstance(hash(config.learner), int)


# --- refused ------------------------------------------------------------------------------

SECTIONS = [name for name in Config.model_fields if name != "objective"]


@pytest.mark.parametrize("section", SECTIONS)
def test_an_unknown_key_in_any_section_is_refused(refuse, section):
    line = refuse(MINIMAL, f"{section}.stepz=1")
    assert f"{section}.stepz: unknown key" in line


def test_unknown_keys_at_the_top_and_at_the_lowest_level(refuse):
    assert "modle: unknown key — did you mean model?" in refuse(MINIMAL + "modle: {}\n")
    assert "model.lora.rnk: unknown key — did you mean rank?" in refuse(
        MINIMAL + "model: {lora: {rnk: 8}}\n"
    )
    assert "loop.zzz: unknown key — known keys here: steps, batch" in refuse(MINIMAL, "loop.zzz=1")
    assert "1: unknown key" in refuse(MINIMAL + "1: 2\n")


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("loop.steps='5'", "loop.steps = '5'"),
        ("loop.steps=2.0", "loop.steps = 2.0"),
        ("loop.steps=2.5", "loop.steps"),
        ("loop.steps=true", "loop.steps = True"),
        ("loop.steps=", "loop.steps = None"),
        ("loop.steps=[1, 2]", "loop.steps"),
        ("loop.steps={a: 1}", "loop.steps"),
        ("learner.lr=fast", "learner.lr = 'fast'"),
        ("learner.lr=true", "learner.lr = True"),
        ("run.name=7", "run.name = 7"),
        ("run.name=2024-01-31", "run.name"),
        ("data.path=[a]", "data.path"),
        ("model.lora=true", "model.lora = True"),
        ("model.lora.rank_stabilised=1", "model.lora.rank_stabilised = 1"),
        ("model.lora.targets=language", "model.lora.targets"),
        ("model.trainable={language: 1}", "model.trainable"),
        ("objective.name=3", "objective.name = 3"),
        ("objective=dpo", "objective = 'dpo'"),
        ("loop=3", "loop = 3"),
        ("data=null", "data = None"),
    ],
)
def test_wrong_types_are_refused(refuse, override, key):
    assert f"c.yaml: {key}" in refuse(MINIMAL, override)


@pytest.mark.parametrize(
    "override",
    [
        "loop.steps=0",
        "loop.steps=-1",
        "loop.batch=0",
        "loop.max_lag=-1",
        "loop.max_lag=17",
        "loop.sync=half",
        "loop.max_logp_gap=0",
        "loop.checkpoint_every=-1",
        "generator.replicas=0",
        "generator.tensor_parallel=0",
        "generator.temperature=-0.1",
        "generator.max_new_tokens=0",
        "generator.responses=0",
        "generator.memory=0",
        "generator.memory=1.1",
        "editor.replicas=0",
        "editor.kind=oracle",
        "editor.max_edit_fraction=1.01",
        "editor.max_edit_fraction=-0.1",
        "corruption.kind=pink",
        "corruption.sigma=0",
        "corruption.region=elsewhere",
        "corruption.whole_sigma=0",
        "corruption.saliency_share=0",
        "corruption.saliency_share=1",
        "localiser.kind=oracle",
        "localiser.threshold=0",
        "localiser.threshold=1",
        "localiser.max_area=0",
        "localiser.replicas=0",
        "localiser.gpus=-0.1",
        "faults.localiser=-1",
        "learner.world_size=0",
        "learner.zero_stage=4",
        "learner.lr=-1e-6",
        "learner.lr=.nan",
        "learner.lr=.inf",
        "learner.lr=1e999",
        "learner.schedule=linear",
        "learner.warmup_steps=-1",
        "learner.weight_decay=-1",
        "learner.clip=0",
        "learner.clip=.inf",
        "learner.micro_batch=0",
        "model.dtype=float16",
        "model.max_length=0",
        "model.lora.rank=0",
        "model.lora.alpha=0",
        "model.lora.dropout=1",
        "model.lora.dropout=-0.1",
        "model.lora.targets=[adapter]",
        "model.trainable=[head]",
        "data.kind=imagenet",
        "data.split=random",
        "data.heldout=0",
        "data.heldout=1",
        "data.limit=0",
        "eval.every=-1",
        "eval.n=0",
        "run.name=a/b",
        "run.name=''",
        "run.name=..",
        "run.name=-x",
        f"run.name={'a' * 101}",
    ],
)
def test_values_out_of_range_are_refused(refuse, override):
    key = override.partition("=")[0]
    assert f"c.yaml: {key}" in refuse(MINIMAL, override)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n# only a comment\n",
        "- a\n- b\n",
        "just words",
        "data: [",
        "data: {kind: phantom",
        "data:\n\tkind: phantom",
        "a: b: c",
        "data: {kind: phantom}\nrun: *nobody",
        "!!python/object:os.system {}",
        "? [a]\n: b\n",
        "run: {name: 2024-13-45}",
        "run: {seed: " + "9" * 5000 + "}",
        "[" * 2000,
        "run: &r {name: *r}",
        "\x00",
        "run: &r\n  name: {a: *r}\ndata: {kind: phantom}",
    ],
)
def test_malformed_yaml_is_refused(refuse, text):
    assert "c.yaml" in refuse(text)


def test_missing_sections_and_keys_are_named(refuse):
    assert "data: is missing" in refuse("run: {name: a}\n")
    assert "data.kind: is missing" in refuse("data: {path: a}\n")
    assert "run = None" in refuse(MINIMAL + "run:\n")


def test_unreadable_files_are_refused(tmp_path):
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    for path, why in [
        (tmp_path / "none.yaml", "no such file"),
        (tmp_path, "cannot be read"),
        (binary, "cannot be read"),
        (binary / "below.yaml", "cannot be read"),
    ]:
        with pytest.raises(ConfigError, match=why) as caught:
            load_config(path)
        assert "\n" not in str(caught.value)


def test_adapter_sync_needs_an_adapter(refuse, load):
    line = refuse(MINIMAL, "loop.sync=adapter", "model.lora=null")
    assert "loop.sync 'adapter' needs model.lora; set loop.sync=full" in line
    assert load(MINIMAL, "loop.sync=adapter").loop.sync == "adapter"


# --- overrides ----------------------------------------------------------------------------


def test_found_regions_need_a_localiser(refuse, load):
    assert "needs localiser.kind" in refuse(MINIMAL, "corruption.region=found")
    assert "needs path" in refuse(MINIMAL, "localiser.kind=sam3")
    keys = ["localiser.kind=clipseg", "localiser.path=x", "corruption.region=found-or-whole"]
    assert load(MINIMAL, *keys).localiser.threshold == 0.5


def test_overrides_are_read_as_yaml(load):
    config = load(
        MINIMAL,
        "learner.lr=3e-4",
        "objective.alpha=1E-2",
        "model.lora=null",
        "data.limit=7",
        "model.trainable=[language, projector]",
        "objective.visual=none",
        "run.name=b.2",
        "objective={name: dpo}",
        "objective.beta=2",
        "data.path=a=b",
    )
    assert config.learner.lr == 3e-4
    assert config.model.lora is None
    assert config.model.trainable == ("language", "projector")
    assert (config.data.limit, config.run.name, config.data.path) == (7, "b.2", "a=b")
    assert (config.objective.name, config.objective.hyperparameters) == ("dpo", {"beta": 2})


def test_scientific_notation_is_a_number_in_the_file_too(load):
    config = load(MINIMAL + "learner: {lr: 3e-4, clip: 1}\nobjective: {alpha: 1e-2}\n")
    assert (config.learner.lr, config.learner.clip) == (3e-4, 1.0)
    assert config.objective.hyperparameters == {"alpha": 0.01}


def test_overrides_create_sections_and_take_precedence_over_the_file(load):
    text = MINIMAL + "loop: {steps: 3, batch: 4}\n"
    config = load(text, "loop.steps=5", "model.lora.rank=2", "loop.steps=6")
    assert (config.loop.steps, config.loop.batch, config.model.lora.rank) == (6, 4, 2)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("loop.steps", "not of the form key=value"),
        ("=5", "not of the form key=value"),
        ("", "not of the form key=value"),
        ("data.kind.x=5", "kind is not a section"),
        ("loop.steps=[", "not valid YAML"),
        ("run.name=2024-13-45", "not valid YAML"),
        ("run.seed=" + "9" * 5000, "not valid YAML"),
        ("loop.steps=" + "[" * 2000, "not valid YAML"),
        (".=5", "unknown key"),
        ("loop..steps=5", "loop."),
    ],
)
def test_invalid_overrides_are_refused(refuse, override, message):
    assert message in refuse(MINIMAL, override)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (MINIMAL + "loop: {steps: 3}\nloop: {batch: 4}\n", "loop is given twice"),
        (MINIMAL + "loop:\n  steps: 3\n  steps: 4\n", "steps is given twice"),
        (MINIMAL + "loop: {steps: 3, 'steps': 4}\n", "steps is given twice"),
    ],
)
def test_a_key_that_is_written_twice_is_refused(refuse, text, why):
    assert why in refuse(text)


def test_keys_of_an_alias_may_be_written_anew():
    """The second merge adds keys to a mapping that has not been read yet."""
    text = "x: &x {a: 1, b: 1}\ny: &y {<<: *x, a: 2}\nz: {<<: *y, a: 3}\n"
    assert yaml.load(text, UniqueKeyLoader) == {
        "x": {"a": 1, "b": 1},
        "y": {"a": 2, "b": 1},
        "z": {"a": 3, "b": 1},
    }


def test_hyperparameters_are_validated_by_the_objective(load):
    config = load(MINIMAL, "objective.lambda=1", "objective.nonsense=[1]")
    assert config.objective.hyperparameters == {"lambda": 1, "nonsense": (1,)}
    with pytest.raises(ConfigError, match=r"objective\.nonsense"):
        find_objective("fire").resolve(config.objective.hyperparameters)


def test_nothing_heavy_is_imported():
    heavy = ["torch", "transformers", "ray", "vllm", "deepspeed", "numpy", "pyarrow"]
    code = f"import sys, medray.config; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.strip() == "[]"
