"""Word overlap: the packages that papers cite, on the same texts."""

from __future__ import annotations

import subprocess
import sys

import pytest

from medray.evaluation.figures import texts
from medray.evaluation.metrics import evaluate
from medray.records import Case
from tests.support.paths import ROOT

REFERENCES = [
    "There is a small nodule in the left upper zone. The heart size is normal.",
    "right pleural effusion",
    "Both lungs are clear.",
]
ANSWERS = [
    "There is a large nodule in the left upper zone. The heart is enlarged.",
    "left pleural effusion",
    "The lungs are clear, and nothing else is seen.",
]
KINDS = ("report", "open", "report")


def result():
    cases = [
        Case(str(i), f"{i}.png", str(i), "Describe.", reference, kind)
        for i, (reference, kind) in enumerate(zip(REFERENCES, KINDS, strict=True))
    ]
    cases.append(Case("yes", "y.png", "y", "Is there a nodule?", "Yes", "closed"))
    return evaluate(cases, {**{str(i): answer for i, answer in enumerate(ANSWERS)}, "yes": "No"})


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_bleu_is_sacrebleus(order):
    sacrebleu = pytest.importorskip("sacrebleu")
    bleu = sacrebleu.BLEU(max_ngram_order=order)
    known = bleu.corpus_score(ANSWERS, [REFERENCES]).score / 100
    assert result()[f"bleu_{order}"] == pytest.approx(known)
    if order == 4:
        assert known == pytest.approx(sacrebleu.corpus_bleu(ANSWERS, [REFERENCES]).score / 100)


def test_bleu_1_by_hand():
    pytest.importorskip("sacrebleu")
    case = Case("1", "i.png", "i", "Where?", "left upper lobe", "open")
    # two of three words; as long as the reference
    assert evaluate([case], {"1": "left lower lobe"})["bleu_1"] == pytest.approx(2 / 3)
    # one of one word; one against three: brevity exp(1 − 3)
    assert evaluate([case], {"1": "left"})["bleu_1"] == pytest.approx(0.1353353)


def test_rouge_is_rouge_scores():
    scorers = pytest.importorskip("rouge_score.rouge_scorer")
    scorer = scorers.RougeScorer(["rougeL"])
    pairs = zip(REFERENCES, ANSWERS, strict=True)
    values = [scorer.score(reference, answer)["rougeL"].fmeasure for reference, answer in pairs]
    assert result()["rouge_l"] == pytest.approx(sum(values) / 3)


def test_rouge_by_hand():
    pytest.importorskip("rouge_score")
    case = Case("1", "i.png", "i", "Where?", "left upper lung lobe", "open")
    # common subsequence "left lung": 2 of 3 and 2 of 4 words
    found = evaluate([case], {"1": "left lower lung"})["rouge_l"]
    assert found == pytest.approx(2 * (2 / 3) * (2 / 4) / (2 / 3 + 2 / 4))


def test_an_empty_answer_overlaps_nothing():
    case = Case("1", "i.png", "i", "Where?", "left", "open")
    found = evaluate([case], {"1": ""})
    for name in ("bleu_1", "bleu_4", "rouge_l"):
        assert found[name] in (0.0, None)


def test_a_missing_package_is_one_line_and_no_error(monkeypatch):
    for name in list(sys.modules):
        if name.split(".")[0] in ("sacrebleu", "rouge_score", "nltk"):
            monkeypatch.delitem(sys.modules, name)
    for name in ("sacrebleu", "rouge_score", "nltk"):
        monkeypatch.setitem(sys.modules, name, None)
    texts.word_overlap.cache_clear()
    try:
        found = result()
    finally:
        texts.word_overlap.cache_clear()
    assert {found[name] for name in texts.OVERLAP_FIGURES} == {None}
    assert found["notes"] == [
        "bleu_1 to bleu_4: the package sacrebleu is not installed — install it",
        "rouge_l: the package rouge-score is not installed — install it",
        "meteor: the package nltk is not installed — install it",
    ]
    assert found["closed_accuracy"] == 0


@pytest.mark.parametrize(("folder", "why"), [("corpora", "not there"), ("corpora/wordnet", "inc")])
def test_meteor_needs_its_word_list(folder, why, tmp_path):
    """In a process of its own: nltk keeps what it has loaded."""
    pytest.importorskip("nltk")
    (tmp_path / folder).mkdir(parents=True)
    code = (
        "from medray.evaluation.figures.texts import word_overlap\n"
        "overlap = word_overlap()\n"
        "print(len(overlap.figures), *overlap.notes, sep='\\n')"
    )
    environment = {"NLTK_DATA": str(tmp_path), "PYTHONPATH": ":".join([str(ROOT), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    count, *notes = done.stdout.splitlines()
    assert int(count) == 5  # BLEU and ROUGE
    assert len(notes) == 1
    assert notes[0].startswith(f"meteor: WordNet is {why}")
