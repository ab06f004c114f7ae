"""The model card of the base model."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from medray.phantom.styles import STYLES
from medray.phantom.training.families import FAMILIES
from medray.phantom.training.tokenizer import prompt_text

_CARD = """---
license: {license}
library_name: transformers
pipeline_tag: image-text-to-text
---

# medray phantom base

A {parameters:,.0f}-parameter LLaVA (CLIP tower, two-layer GELU projector, {decoder})
that reports on synthetic 48-pixel chest phantoms. {origin} It knows nothing of
real patients and is of no clinical use: it exists so that alignment can be run, measured and
tested.

It sees well but reports a prior: in its last stage {bias_share:.0%} of what is uncommon was
reported as what is common: {prior}.
On-policy preference optimisation is meant to correct that.

Prompt: `{prompt}`,
as the chat template renders it; the answer follows without a leading space and ends in `{end}`.

## Recipe (seed {seed})

| setting | value |
|---|---|
{settings}

Studies come from the stream "base"; the figures from {heldout} studies of the stream "heldout".

## Figures

| figure | value |
|---|---|
{figures}

`seen_exact`: all attributes predicted by probe heads on the image tokens, before the language
model is trained. `unbiased`: after learning to speak. `base`: the weights in this folder.
`exact`: greedy reports with every attribute right; `wrong`: asserted attributes that the truth
contradicts, of all asserted; `closed`: yes/no questions answered correctly; the others: assertions
of one attribute that are right.

Built with {versions}.
"""
_FROM_NOTHING = """It was trained on
phantoms only, from random weights, in fp32 on a CPU, and is stored in bf16."""
_FROM_LANGUAGE = """Its decoder,
embeddings and tokenizer began as those of {name}, whose licence holds for these weights, too, and
its tower is that of medray's `phantom/base`. It was trained on phantoms only, on a CPU, and is
stored in bf16."""


def write_card(
    out: Path,
    tokenizer: PreTrainedTokenizerFast,
    *,
    recipe: Any,
    seed: int,
    figures: dict[str, float],
    language: Path | None = None,
) -> None:
    """Write README.md: recipe, seed, figures, versions; `language`: where the decoder is from."""
    settings, style, decoder = asdict(recipe), STYLES[recipe.style], FAMILIES[recipe.family].title
    origin, licence = _FROM_NOTHING, "cc0-1.0"
    if language is not None:
        del settings["corpus_studies"], settings["family"]  # of a tokenizer and decoder made here
        decoder = f"decoder of {language.resolve().name}"
        origin, licence = _FROM_LANGUAGE.format(name=language.resolve().name), "other"
    packages = ("torch", "transformers", "tokenizers", "numpy")
    text = _CARD.format(
        parameters=figures["parameters"],
        bias_share=settings["bias_share"],
        decoder=decoder,
        license=licence,
        origin=origin,
        prompt=prompt_text(tokenizer, "QUESTION").replace("\n", "\\n"),
        end=tokenizer.eos_token,
        prior=", ".join(f"{name} {old} → {new}" for name, (old, new) in style.prior.items()),
        heldout=settings["heldout"],
        seed=seed,
        settings="\n".join(_row(name, value) for name, value in settings.items()),
        figures="\n".join(f"| {name} | {value:,.4g} |" for name, value in figures.items()),
        versions=", ".join(f"{name} {version(name)}" for name in packages),
    )
    (out / "README.md").write_text(text, encoding="utf-8")


def _row(name: str, value: Any) -> str:
    """One setting as a row of the table; a stage as its three numbers."""
    if isinstance(value, dict):
        value = f"{value['steps']} steps of {value['batch']} studies, peak lr {value['lr']}"
    return f"| {name} | {value} |"
