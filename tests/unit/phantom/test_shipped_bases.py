"""The shipped base models see, speak in their style, and report their prior."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

from medray.config import load_config
from medray.phantom import BASES, QWEN_BASE_PATH
from medray.phantom.paragraphs.grammar import is_worded
from medray.phantom.paragraphs.reading import sentences
from medray.phantom.styles import STYLES
from medray.phantom.training.batches import make_pool
from medray.phantom.training.measure import greedy_answers, read_reports
from medray.policy.model.loading import resolve_model_path
from tests.support.paths import ROOT

SHIPPED = {
    **{name: (name, path) for name, path in BASES.items()},
    "qwen": ("short", QWEN_BASE_PATH),
}


@pytest.fixture(scope="module", params=SHIPPED)
def spoken(request):
    """A style, 48 of its held-out studies, and the greedy reports of its base model."""
    name, path = SHIPPED[request.param]
    style = STYLES[name]
    model = AutoModelForImageTextToText.from_pretrained(path, dtype=torch.bfloat16)
    pool = make_pool(style, 0, "heldout", 0, 48)
    tokenizer = AutoProcessor.from_pretrained(path).tokenizer
    return style, pool, greedy_answers(model, tokenizer, style, pool)


def test_a_base_reports_its_prior_and_is_right_about_the_rest(spoken):
    style, pool, reports = spoken
    accuracy = read_reports(style, reports, pool.truths).accuracy
    for name, value in accuracy.items():
        assert (value < 0.8) == (name in style.prior), (name, value)


def test_a_base_ends_its_reports_and_speaks_in_wordings(spoken):
    style, _, reports = spoken
    assert all(report.endswith(".") for report in reports)
    if style.name == "paragraphs":
        spoken_sentences = [sentence for report in reports for sentence in sentences(report)]
        assert sum(map(is_worded, spoken_sentences)) / len(spoken_sentences) > 0.95
        assert 4 <= len(spoken_sentences) / len(reports) <= 7


def test_a_base_is_the_model_of_its_configuration():
    for file, style in (("quickstart", "short"), ("paragraphs", "paragraphs")):
        config = load_config(ROOT / f"configs/{file}.yaml")
        assert config.data.style == style
        assert resolve_model_path(config.model.path) == BASES[style].resolve()


def test_the_second_family_is_small_and_another_one():
    one, other = (AutoConfig.from_pretrained(path) for path in (BASES["short"], QWEN_BASE_PATH))
    assert (one.text_config.model_type, other.text_config.model_type) == ("mistral", "qwen2")
    assert sum(file.stat().st_size for file in QWEN_BASE_PATH.iterdir()) < 8e6
    turns = [
        AutoProcessor.from_pretrained(path).apply_chat_template(
            [{"role": "user", "content": "Q"}], add_generation_prompt=True
        )
        for path in (BASES["short"], QWEN_BASE_PATH)
    ]
    assert turns == [
        "<s>[INST] Q [/INST]",
        "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n",
    ]
