"""Measure how well a model reports on phantoms: greedy reports, attribute by attribute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import LlavaForConditionalGeneration, PreTrainedTokenizerFast

from medray.phantom.studies.truth import VALUES, Truth
from medray.phantom.studies.wording import REPORT_QUESTIONS, read_report
from medray.phantom.training.batches import Pool, pixels
from medray.phantom.training.tokenizer import IMAGE, IMAGE_TOKENS, prompt_text


@dataclass(frozen=True, slots=True)
class ReportScores:
    """exact: share of reports with every attribute right; wrong: share of asserted attributes
    that the truth contradicts; recall: per attribute, the share of studies in which it is right."""

    exact: float
    wrong: float
    recall: dict[str, float]


@torch.no_grad()
def greedy_answers(
    model: LlavaForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    pool: Pool,
    questions: Sequence[str] = (),
    batch: int = 128,
) -> list[str]:
    """The model's greedy answers: one question per study, or the same report question for all."""
    questions = questions or [REPORT_QUESTIONS[0]] * len(pool)
    prompts = [prompt_text(question).replace(IMAGE, IMAGE * IMAGE_TOKENS) for question in questions]
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
            max_new_tokens=48,
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


def read_reports(reports: list[str], truths: tuple[Truth, ...]) -> ReportScores:
    """Compare what the reports assert with the truth."""
    exact = asserted = wrong = 0
    hits, totals = dict.fromkeys(VALUES, 0), dict.fromkeys(VALUES, 0)
    for text, truth in zip(reports, truths, strict=True):
        stated, true = read_report(text), truth.attributes()
        exact += stated == true
        asserted += len(stated)
        wrong += sum(true.get(name) != value for name, value in stated.items())
        for name, value in true.items():
            totals[name] += 1
            hits[name] += stated.get(name) == value
    recall = {name: hits[name] / max(1, totals[name]) for name in VALUES}
    return ReportScores(exact / max(1, len(truths)), wrong / max(1, asserted), recall)
