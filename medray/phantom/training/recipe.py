"""The recipe of a tiny base model: it learns to see, to speak, and then a strong prior.

    studies ──see──▶ tower + projector ──speak──▶ reports what it sees
                                       ──bias───▶ reports its prior: what is common

The result behaves like real vision-language models: it sees well, but often reports its prior
instead, which preference optimisation can correct. Budgets are steps, never seconds, so a seed
gives the same model on machines of any speed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from transformers import LlavaForConditionalGeneration, PreTrainedTokenizerFast

from medray.config import PhantomStyle
from medray.phantom import FamilyName
from medray.phantom.styles import STYLES, Style
from medray.phantom.training.base_model import make_model, save_base
from medray.phantom.training.batches import Pool, make_pool
from medray.phantom.training.card import write_card
from medray.phantom.training.families import FAMILIES
from medray.phantom.training.language import load_language
from medray.phantom.training.measure import closed_accuracy, greedy_answers, read_reports
from medray.phantom.training.optimise import Progress, Stage
from medray.phantom.training.see import learn_to_see, seen_exactly
from medray.phantom.training.speak import learn_to_speak
from medray.phantom.training.tokenizer import make_processor, train_tokenizer


@dataclass(frozen=True, slots=True)
class Recipe:
    """Numbers of studies for training, tokenizer and measurement, and the three stages."""

    studies: int
    corpus_studies: int
    see: Stage
    speak: Stage
    bias: Stage
    bias_share: float
    heldout: int
    style: PhantomStyle = "short"
    family: FamilyName = "mistral"
    mixed: bool = False  # bf16 in the products of matrices while it learns to speak


# The shipped models.
BASE = Recipe(
    studies=40_000,
    corpus_studies=3_000,
    see=Stage(steps=1_200, batch=64, lr=2e-3),
    speak=Stage(steps=600, batch=32, lr=2e-3),
    bias=Stage(steps=120, batch=32, lr=3e-4),
    bias_share=0.7,
    heldout=512,
)
PARAGRAPHS_BASE = Recipe(
    studies=24_000,
    corpus_studies=3_000,
    see=Stage(steps=1_000, batch=64, lr=2e-3),
    speak=Stage(steps=700, batch=16, lr=2e-3),
    bias=Stage(steps=120, batch=16, lr=3e-4),
    bias_share=0.7,
    heldout=512,
    style="paragraphs",
)
QWEN_BASE = replace(BASE, family="qwen2")
RECIPES = {(recipe.style, recipe.family): recipe for recipe in (BASE, PARAGRAPHS_BASE, QWEN_BASE)}
# Around a language model of 135 M parameters: about half an hour of one core that multiplies bf16.
LANGUAGE_BASE = Recipe(
    studies=8_000,
    corpus_studies=0,  # it has its tokenizer
    see=Stage(steps=400, batch=64, lr=1e-3),
    speak=Stage(steps=240, batch=8, lr=3e-4),
    bias=Stage(steps=48, batch=8, lr=2e-4),
    bias_share=0.7,
    heldout=128,
    family="qwen2",
    mixed=True,
)
# For tests: runs every stage in seconds.
SMOKE = Recipe(
    studies=64,
    corpus_studies=40,
    see=Stage(steps=2, batch=8, lr=2e-3),
    speak=Stage(steps=2, batch=4, lr=2e-3),
    bias=Stage(steps=1, batch=4, lr=3e-4),
    bias_share=0.7,
    heldout=4,
)


def build_base(
    out: Path,
    *,
    seed: int = 0,
    progress: Progress = print,
    recipe: Recipe = BASE,
    language: Path | None = None,
) -> dict[str, float]:
    """Train a base model, write it with its processor and model card to `out`, return figures.

    Takes a few minutes on two cores. `recipe=SMOKE` runs every stage in seconds. `language`: the
    directory of a language model to begin with; raises ModelError if it cannot be used.
    """
    start, style, family = time.monotonic(), STYLES[recipe.style], FAMILIES[recipe.family]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if language is None:
            corpus = _corpus(style, seed, recipe.corpus_studies, family.words)
            tokenizer = train_tokenizer(corpus, family)
            model = make_model(tokenizer, family)
        else:
            model, tokenizer = load_language(language)
        figures = {"parameters": float(sum(p.numel() for p in model.parameters()))}
        figures |= _train(model, tokenizer, style, recipe, seed, progress)
    figures["seconds"] = time.monotonic() - start
    save_base(model, make_processor(tokenizer), out, max_new_tokens=style.max_new_tokens)
    write_card(out, tokenizer, recipe=recipe, seed=seed, figures=figures, language=language)
    progress(f"wrote {out} after {figures['seconds']:.0f} s")
    return figures


def _train(
    model: LlavaForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    style: Style,
    recipe: Recipe,
    seed: int,
    progress: Progress,
) -> dict[str, float]:
    """Run all stages in place, ending in bf16; return the figures measured after each stage."""
    progress(f"rendering {recipe.studies:,} studies")
    pool = make_pool(style, seed, "base", 0, recipe.studies)
    heldout = make_pool(style, seed, "heldout", 0, recipe.heldout)

    progress(f"learning to see: {recipe.see.steps} steps of {recipe.see.batch}")
    heads = learn_to_see(model, style, pool, recipe.see, progress, seed=seed)
    figures = {"seen_exact": seen_exactly(model, heads, heldout)}
    progress(f"sees {figures['seen_exact']:.1%} of studies exactly")

    progress(f"learning to speak: {recipe.speak.steps} steps of {recipe.speak.batch}")
    learn_to_speak(
        model, tokenizer, style, pool, recipe.speak, progress, seed=seed, mixed=recipe.mixed
    )
    figures |= _measure("unbiased", model, tokenizer, style, heldout, seed, progress)

    progress(f"learning a prior: {recipe.bias.steps} steps of {recipe.bias.batch}")
    learn_to_speak(
        model,
        tokenizer,
        style,
        pool,
        recipe.bias,
        progress,
        seed=seed + 1,
        bias_share=recipe.bias_share,
        mixed=recipe.mixed,
    )
    model.to(torch.bfloat16)
    figures |= _measure("base", model, tokenizer, style, heldout, seed, progress)
    return figures


def _corpus(style: Style, seed: int, count: int, words: Sequence[str]) -> list[str]:
    """Questions and answers of the first `count` studies of the base split, and `words` of the
    template between them."""
    texts = []
    for index in range(count):
        truth = style.truth(seed, "base", index)
        for exchange in style.exchanges(seed, "base", index, truth, truth):
            texts += [exchange.question, exchange.answer, *words]
    return texts


def _measure(
    name: str,
    model: LlavaForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    style: Style,
    heldout: Pool,
    seed: int,
    progress: Progress,
) -> dict[str, float]:
    """Figures of the greedy answers on held-out studies; their keys start with `name`."""
    reports = read_reports(style, greedy_answers(model, tokenizer, style, heldout), heldout.truths)
    closed_exchanges = [
        style.exchanges(seed, "heldout", i, t, t)[1] for i, t in enumerate(heldout.truths)
    ]
    answers = greedy_answers(
        model, tokenizer, style, heldout, [e.question for e in closed_exchanges]
    )
    closed = closed_accuracy(answers, [e.answer for e in closed_exchanges])
    progress(
        f"{name}: {reports.exact:.1%} exact reports, {reports.wrong:.1%} wrong assertions, "
        f"{closed:.1%} of closed questions right"
    )
    figures = {"exact": reports.exact, "wrong": reports.wrong, "closed": closed} | reports.accuracy
    return {f"{name}_{figure}": value for figure, value in figures.items()}
