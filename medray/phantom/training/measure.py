"""Measure how well a model reports on phantoms: greedy reports, attribute by attribute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import LlavaForConditionalGeneration, PreTrainedTokenizerFast

from medray.phantom.studies.truth import Truth
from medray.phantom.styles import Style
from medray.phantom.training.batches import Pool, pixels
from medray.phantom.training.tokenizer import expanded_prompt


@dataclass(frozen=True, slots=True)
class ReportScores:
    """exact: share of reports with every attribute right; wrong: share of asserted attributes that
    the truth contradicts; accuracy: per attribute, the share of its assertions that are right."""

    exact: float
    wrong: float
    accuracy: dict[str, float]


@torch.no_grad()
def greedy_answers(
    model: LlavaForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    style: Style,
    pool: Pool,
    questions: Sequence[str] = (),
    batch: int = 128,
) -> list[str]:
    """The model's greedy answers: one question per study, or the same report question for all."""
    questions = questions or [style.report_question] * len(pool)
    prompts = [expanded_prompt(tokenizer, question) for question in questions]
    dtype, answers = next(model.parameters()).dtype, []
    model.eval()
    for start in range(0, len(pool), batch):
        part = slice(start, start + batch)
        encoded = tokenizer(
            prompts[part],
            add_special_tokens=False,
            padding=True,
            padding_side="left",
            return_tensors="pt",
        )
        out = model.generate(
            input_ids=encoded.input_ids,
            attention_mask=encoded.attention_mask,
            pixel_values=pixels(pool.images[part]).to(dtype),
            max_new_tokens=style.max_new_tokens,
            do_sample=False,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        generated = out[:, encoded.input_ids.shape[1] :]
        answers += tokenizer.batch_decode(generated, skip_special_tokens=True)
    return answers


def closed_accuracy(answers: list[str], references: list[str]) -> float:
    """Share of yes/no answers that begin with the reference's yes or no."""
    first_parts = [[text.split(",")[0] for text in texts] for texts in (answers, references)]
    return sum(a == r for a, r in zip(*first_parts, strict=True)) / max(1, len(references))


def read_reports(style: Style, reports: list[str], truths: tuple[Truth, ...]) -> ReportScores:
    """Compare what the reports assert with the truth."""
    exact = asserted = wrong = 0
    hits, totals = dict.fromkeys(style.values, 0), dict.fromkeys(style.values, 0)
    for text, truth in zip(reports, truths, strict=True):
        stated, true = style.read(text), truth.attributes()
        missing = true.keys() - stated.keys() - style.optional
        exact += not missing and stated.items() <= true.items()
        asserted += len(stated)
        wrong += sum(true.get(name) != value for name, value in stated.items())
        for name, value in stated.items():
            totals[name] += 1
            hits[name] += true.get(name) == value
    accuracy = {name: hits[name] / max(1, totals[name]) for name in style.values}
    return ReportScores(exact / max(1, len(truths)), wrong / max(1, asserted), accuracy)
