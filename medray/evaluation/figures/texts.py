"""Overlap of an answer's words with the reference's, by the packages that papers cite.

A package or word list that is missing leaves its figures out, with a line that says so.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from medray.evaluation.sums import Figure, Floats, ratio

ORDERS = (1, 2, 3, 4)  # of the n-grams of BLEU
COUNTS = tuple(f"bleu/{part}_{n}" for part in ("matched", "total") for n in ORDERS)
LENGTHS = ("bleu/answer_words", "bleu/reference_words")
OVERLAP_FIGURES = ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "meteor")


@dataclass(frozen=True, slots=True)
class WordOverlap:
    """What can be computed here: functions (reference, answer) → statistics, figures, notes."""

    measures: tuple[Callable[[str, str], dict[str, float]], ...]
    figures: tuple[Figure, ...]
    notes: tuple[str, ...]

    def statistics(self, reference: str, answer: str) -> dict[str, float]:
        result: dict[str, float] = {}
        for measure in self.measures:
            result |= measure(reference, answer)
        return result


@functools.cache
def word_overlap() -> WordOverlap:
    """BLEU by sacrebleu, ROUGE-L by rouge-score, METEOR by nltk with WordNet, as far as installed.

    bleu_n   corpus BLEU of order n (sacrebleu's defaults: 13a tokens, exponential smoothing), 0–1
    rouge_l  mean F1 of the longest common subsequence (rouge-score's rougeL, no stemming)
    meteor   mean METEOR of lower-case words (nltk's meteor_score)
    """
    measures: list[Callable[[str, str], dict[str, float]]] = []
    figures: list[Figure] = []
    notes: list[str] = []
    for add in (_bleu, _rouge, _meteor):
        try:
            measure, own = add()
        except (ImportError, LookupError, OSError) as error:
            notes.append(_why_missing(add, error))
            continue
        measures.append(measure)
        figures += own
    return WordOverlap(tuple(measures), tuple(figures), tuple(notes))


Measure = tuple[Callable[[str, str], dict[str, float]], tuple[Figure, ...]]


def _bleu() -> Measure:
    from sacrebleu.metrics.bleu import BLEU

    sentences = BLEU(effective_order=True)

    def measure(reference: str, answer: str) -> dict[str, float]:
        score = sentences.sentence_score(answer, [reference])
        counts = (*score.counts, *score.totals, score.sys_len, score.ref_len)
        return {name: float(n) for name, n in zip((*COUNTS, *LENGTHS), counts, strict=True)}

    return measure, tuple(_bleu_figure(BLEU, order) for order in ORDERS)


def _bleu_figure(bleu: Any, order: int) -> Figure:
    """sacrebleu's own formula, on the sums of its counts."""

    def of(sums: Floats) -> Floats:
        flat = sums.reshape(-1, sums.shape[-1])
        values = [_bleu_value(bleu, order, row) for row in flat]
        return np.array(values, dtype=np.float64).reshape(sums.shape[:-1])

    return Figure(f"bleu_{order}", (*COUNTS, *LENGTHS), of)


def _bleu_value(bleu: Any, order: int, sums: Floats) -> float:
    counts = sums.round().astype(int)
    matched, total, (answer, reference) = counts[:4], counts[4:8], counts[8:].tolist()
    if reference == 0:
        return float("nan")
    score = bleu.compute_bleu(
        matched[:order].tolist(),
        total[:order].tolist(),
        answer,
        reference,
        smooth_method="exp",
        max_ngram_order=order,
    )
    return min(float(score.score) / 100, 1.0)


def _rouge() -> Measure:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], use_stemmer=False)

    def measure(reference: str, answer: str) -> dict[str, float]:
        f1 = scorer.score(reference, answer)["rougeL"].fmeasure
        return {"rouge_l/sum": float(f1), "rouge_l/answers": 1.0}

    return measure, (ratio("rouge_l", "rouge_l/sum", "rouge_l/answers"),)


def _meteor() -> Measure:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        score = import_module("nltk.translate.meteor_score").meteor_score
        import_module("nltk.corpus").wordnet.ensure_loaded()  # LookupError without its files

    def measure(reference: str, answer: str) -> dict[str, float]:
        value = score([reference.lower().split()], answer.lower().split())
        return {"meteor/sum": float(value), "meteor/answers": 1.0}

    return measure, (ratio("meteor", "meteor/sum", "meteor/answers"),)


def _why_missing(add: Callable[[], Measure], error: Exception) -> str:
    """One line: which figures are missing, why, and what to do."""
    names = {_bleu: "bleu_1 to bleu_4", _rouge: "rouge_l", _meteor: "meteor"}[add]
    if isinstance(error, LookupError | OSError):
        missing = "not there" if isinstance(error, LookupError) else "incomplete"
        return f"{names}: WordNet is {missing} — put nltk's wordnet into a folder of NLTK_DATA"
    package = {_bleu: "sacrebleu", _rouge: "rouge-score", _meteor: "nltk"}[add]
    return f"{names}: the package {package} is not installed — install it"
