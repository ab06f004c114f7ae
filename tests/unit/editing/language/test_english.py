"""Which texts rules that are written for English may read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from medray.editing.language.english import is_english
from tests.support.paths import ROOT, shared_data

FOREIGN = yaml.safe_load(
    (ROOT / "tests/support/datasets/foreign_texts.yaml").read_text(encoding="utf-8")
)
READABLE = [
    *("", "12", "3.4 x 2.1 cm", "Right", "CT", "T2", "No", "Yes", "MRI", "Left", "PA", "Normal"),
    *("Non-contrast CT.", "Noncontrast", "Axial", "AP", "SE", "LES", "Na 140", "CES"),
    # medical Latin and Greek
    *("Cauda equina", "Situs inversus", "Cor pulmonale", "Os frontale", "Arteria cerebri media"),
    *(
        "Cavum septum pellucidum et Vergae",
        "Corpus callosum",
        "Ductus arteriosus",
        "Placenta previa",
    ),
    *("Pneumonia", "Hernia", "Edema", "Trachea", "Massa intermedia", "Spina bifida occulta"),
    # names, with accents and particles
    *("Ménière", "Ménière's disease", "Röntgen", "Sjögren syndrome", "Guillain-Barré", "Behçet"),
    *("Kümmell deformity", "Hürthle cell tumor", "Müller's muscle", "Von Hippel-Lindau"),
    *(
        "De Quervain tenosynovitis",
        "Le Fort II fracture",
        "Chédiak–Higashi",
        "Baastrup",
        "DiGeorge",
    ),
    *("Brown-Séquard syndrome", "Legg-Calvé-Perthes disease", "Waldenström", "Cornelia de Lange"),
    # borrowed words, units, symbols
    *("café-au-lait", "Café-au-lait spots", "en bloc", "De novo", "Peau d'orange", "Cul-de-sac"),
    *("5 µm", "α-fetoprotein", "β2 agonist", "45°", "37 ºC", "10 Ω", "TNF-α", "Øst. 2 cm"),
    *("naïve", "fœtus", "Hæmatoma", "hæmorrhage of the œsophagus", "façade", "débridement"),
    # telegram style, lists, questions
    "Small left effusion, no pneumothorax",
    "Mild cardiomegaly. Bibasilar atelectasis. Degenerative changes.",
    "ET tube 4 cm above carina. NG tube in situ. OG tube in ER.",
    "Where in the lung is the mass located?",
    "Smith et al. described the sign.",
    "The patient links arms.",
    "Fat, water, mucous and tumor",
    "Canada, Mexico",
    "Nausea, vomiting, diarrhea, fever, fatigue, headache, dizziness, insomnia, jaundice",
    "The CT was done per protocol, with PO and IV contrast.",
]


@pytest.mark.parametrize("language", FOREIGN)
def test_other_languages_are_not_read(language: str) -> None:
    texts = [text.replace(" // ", "\n") for text in FOREIGN[language].splitlines()]
    assert len(texts) >= 10
    assert [text for text in texts if is_english(text)] == []


@pytest.mark.parametrize("text", READABLE)
def test_english_and_medical_terms_are_read(text: str) -> None:
    assert is_english(text)


def test_accents_may_be_written_apart() -> None:
    assert is_english("Me\u0301nie\u0300re's disease")
    assert not is_english("Le\u0301sion du foie")


@pytest.mark.data
def test_no_real_english_text_is_refused() -> None:
    texts = set(_texts(shared_data()))
    assert len(texts) > 10_000
    assert sorted(text for text in texts if not is_english(text)) == []


def _texts(data: Path) -> Iterator[str]:
    """Every question, reference and answer of the real data, all of which is English."""
    for name in ("model_answers/qwen2vl2b_vqa_rad.jsonl", "editor_cases.jsonl"):
        for line in (data / name).read_text(encoding="utf-8").splitlines():
            yield from _strings(json.loads(line))
    for name in ("mmedpo/vqa-rad_dpo_weighted.json", "mmedpo/slake_dpo_weighted.json"):
        for row in json.loads((data / name).read_text(encoding="utf-8")):
            yield from _strings([row["conversations"], row["rejected_conversations"]])
    for row in json.loads((data / "vqa_rad/VQA_RAD Dataset Public.json").read_text("utf-8")):
        yield from _strings([row["question"], row["answer"]])
    for line in (data / "slake_text/slake_boxes_qa_noimages.jsonl").read_text("utf-8").splitlines():
        yield from _strings(json.loads(line))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)
