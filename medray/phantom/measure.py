"""How well a model reports on phantoms: greedy reports, attribute by attribute."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from transformers import LlavaForConditionalGeneration, PreTrainedTokenizerFast

from medray.phantom.batches import Pool, pixels
from medray.phantom.tokenizer import IMAGE, IMAGE_TOKENS, prompt_text
from medray.phantom.truth import VALUES, Truth
from medray.phantom.wording import REPORT_QUESTIONS, read_report


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
    question: str = REPORT_QUESTIONS[0],
    batch: int = 128,
) -> list[str]:
    """The model's greedy answer to one question about every study of the pool."""
    prompt = prompt_text(question).replace(IMAGE, IMAGE * IMAGE_TOKENS)
    ids = torch.tensor(tokenizer(prompt, add_special_tokens=False).input_ids)
    dtype, answers = next(model.parameters()).dtype, []
    model.eval()
    for start in range(0, len(pool), batch):
        images = pixels(pool.images[start : start + batch]).to(dtype)
        rows = ids.expand(len(images), -1)
        out = model.generate(
            input_ids=rows,
            attention_mask=torch.ones_like(rows),
            pixel_values=images,
            max_new_tokens=48,
            do_sample=False,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        answers += tokenizer.batch_decode(out[:, len(ids) :], skip_special_tokens=True)
    return answers


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
