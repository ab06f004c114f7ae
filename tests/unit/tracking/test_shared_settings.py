"""Which settings of a run a tracker gets: none that a person wrote as text."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel

from medray.config import Config, load_config
from medray.tracking.shared_settings import shared_settings
from tests.support.paths import ROOT

SECRET = "smith-john-1950"


def with_text_everywhere(section: type[BaseModel], name: str = "") -> dict[str, Any]:
    """Every key that takes any text, with a name in it; as it would be validated."""
    tree: dict[str, Any] = {}
    for key, field in section.model_fields.items():
        kinds = [field.annotation, *get_args(field.annotation)]
        if field.is_required():
            tree[key] = next(iter(get_args(field.annotation)), None)
        inner = [k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)]
        if inner and inner[0].__name__ != "ObjectiveConfig":
            tree[key] = inner[0].model_construct(**with_text_everywhere(inner[0], key))
        elif str in kinds:
            tree[key] = SECRET
        elif "str" in str(field.annotation) and "tuple" in str(field.annotation):
            tree[key] = (SECRET,)
        elif "dict" in str(field.annotation):
            tree[key] = {SECRET: 1.0}
    return tree


def test_no_free_text_of_any_section_is_shared():
    config = Config.model_construct(**with_text_everywhere(Config))
    assert str(config).count(SECRET) > 15, "the test fills the tree no more"
    shared = shared_settings(config, "llava")
    assert SECRET not in str(shared)


def test_numbers_switches_and_choices_are_shared():
    config = load_config(
        ROOT / "configs/quickstart.yaml",
        ["model.path=/data/smith", "generator.resources={smith: 1}", "loop.keep_best=finding_f1"],
    )
    shared = shared_settings(config, "llava")
    assert "smith" not in str(shared)
    assert shared["model.architecture"] == "llava"
    assert shared["objective.name"] == config.objective.name
    assert shared["objective.beta"] == 0.1
    assert shared["loop.steps"] == config.loop.steps
    assert shared["loop.keep_best"] == "finding_f1"
    assert shared["model.lora.rank"] == config.model.lora.rank
    assert shared["model.lora.targets"] == "language"
    assert shared["generator.colocated"] is False
    assert shared["data.kind"] == "phantom"
    assert shared["model.max_length"] is None
    assert "model.path" not in shared
    assert "run.name" not in shared


def test_every_number_of_the_configuration_is_shared():
    config = load_config(ROOT / "configs/quickstart.yaml")
    shared = shared_settings(config)
    for name, section in config:
        for key, value in section if name != "objective" else ():
            if isinstance(value, bool | int | float):
                assert shared[f"{name}.{type(section).model_fields[key].alias or key}"] == value
