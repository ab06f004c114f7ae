"""How well a model reports on phantoms: greedy reports, attribute by attribute."""

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
class Reading:
    """exact: share of reports with every attribute right; wrong: share of asserted attributes
    that the truth contradicts; recall: per attribute, the share of studies it is right for."""

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
        fresh = out[:, encoded.input_ids.shape[1] :]
        answers += tokenizer.batch_decode(fresh, skip_special_tokens=True)
    return answers


def closed_accuracy(answers: list[str], references: list[str]) -> float:
    """Share of yes/no answers that begin with the reference's yes or no."""
    first = [[text.split(",")[0] for text in texts] for texts in (answers, references)]
    return sum(a == r for a, r in zip(*first, strict=True)) / max(1, len(references))


def read_reports(reports: list[str], truths: tuple[Truth, ...]) -> Reading:
    """Compare what the reports assert with what is true."""
    exact = asserted = wrong = 0
    hits, cases = dict.fromkeys(VALUES, 0), dict.fromkeys(VALUES, 0)
    for text, truth in zip(reports, truths, strict=True):
        said, true = read_report(text), truth.attributes()
        exact += said == true
        asserted += len(said)
        wrong += sum(true.get(name) != value for name, value in said.items())
        for name, value in true.items():
            cases[name] += 1
            hits[name] += said.get(name) == value
    recall = {name: hits[name] / max(1, cases[name]) for name in VALUES}
    return Reading(exact / max(1, len(truths)), wrong / max(1, asserted), recall)
