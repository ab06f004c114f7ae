"""A dataset with more images a case than the model takes: one line, before anything starts."""

from __future__ import annotations

import json
import shutil

import pytest

from actors.generator.engine import engine_options
from medray.config import load_config
from medray.errors import UserError
from medray.plan import make_plan
from tests.support.datasets.miniatures import write_image
from tests.support.paths import ROOT

REPORT = {"question": "Describe.", "answer": "There is a small nodule.", "answer_type": "report"}


@pytest.fixture
def plan_of(tmp_path):
    """A function from a model, the numbers of images of the cases, and overrides to the plan."""

    def plan(model, counts, *overrides):
        rows = []
        for number, count in enumerate(counts):
            names = [f"{number}-{k}.png" for k in range(count)]
            for k, name in enumerate(names):
                write_image(tmp_path / name, 10 * number + k)
            split = "heldout" if number % 2 else "train"
            rows.append(REPORT | {"id": str(number), "images": names, "split": split})
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / "records.jsonl").write_text(lines)
        settings = [
            f"model.path={model}",
            f"data={{kind: jsonl, path: {tmp_path}}}",
            "corruption.region=lesion-or-whole",
            "generator.max_new_tokens=16",
            f"run.output={tmp_path}",
        ]
        return make_plan(load_config(ROOT / "configs/quickstart.yaml", [*settings, *overrides]))

    return plan


def test_the_engine_is_allowed_what_the_dataset_needs(plan_of, tiny_llava):
    plan = plan_of(tiny_llava, [1, 3])
    limits = engine_options(plan.config, plan.model, gpu=False)["limit_mm_per_prompt"]
    assert limits == {"image": 3, "video": 0}
    assert ("", "1 of 2 cases have several images, 3 at most") in plan.lines()
    alone = plan_of(tiny_llava, [1, 1])
    assert alone.config.model.max_images is None
    first = plan_of(tiny_llava, [1, 3], "data.max_images=1")
    assert first.config.model.max_images is None


def test_more_than_the_configured_limit_is_refused(plan_of, tiny_llava):
    with pytest.raises(UserError, match=r"model\.max_images = 2: a case of .* 3 images — raise"):
        plan_of(tiny_llava, [3, 1], "model.max_images=2")
    assert plan_of(tiny_llava, [2, 1], "model.max_images=8").config.model.max_images == 2


def test_more_than_the_context_holds_is_refused(plan_of, tiny_llava):
    """Four tokens an image, a context of 160."""
    with pytest.raises(UserError, match=r"a case has 35 images of 4 — set data\.max_images"):
        plan_of(tiny_llava, [35, 1])


def test_more_than_the_template_shows_is_refused(plan_of, tiny_llava, tmp_path):
    model = shutil.copytree(tiny_llava, tmp_path / "model")
    template = model / "chat_template.jinja"
    parts = (
        "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>\n{% else %}"
    )
    alone = "<image>\n{% for part in message['content'] %}{% if part['type'] == 'text' %}"
    text = template.read_text()
    assert parts in text
    template.write_text(text.replace(parts, alone))
    assert plan_of(model, [1, 1]).config.model.max_images is None
    with pytest.raises(UserError, match=r"writes 1 images for 2 — set data\.max_images=1"):
        plan_of(model, [2, 1])
