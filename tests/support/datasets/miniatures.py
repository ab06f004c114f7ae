"""Datasets in the layouts of their authors, with a few invented rows and tiny images."""

from __future__ import annotations

import csv
import gzip
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def write_image(path: Path, value: int = 0) -> Path:
    """A 16 × 16 px image, a different one for each value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 16), (value % 256, value // 256, 40)).save(path)
    return path


def write_json(path: Path, value: Any, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False, **options), encoding="utf-8")
    return path


def slake(folder: Path) -> Path:
    """Two images in train, one in validation, one in test; one question in Chinese."""

    def item(img: int, qid: int, **values: Any) -> dict[str, Any]:
        return {
            "img_id": img,
            "img_name": f"xmlab{img}/source.jpg",
            "question": "Is there a lung?",
            "answer": "Yes",
            "q_lang": "en",
            "location": "Lung",
            "modality": "CT",
            "answer_type": "CLOSED",
            "base_type": "vqa",
            "content_type": "Organ",
            "triple": ["vhead", "_", "_"],
            "qid": qid,
        } | values

    train = [
        item(1, 0),
        item(1, 1, question="Which organ is the largest?", answer="Liver", answer_type="OPEN"),
        item(1, 2, question="图中有肺吗?", answer="有", q_lang="zh"),
        item(2, 3, question="Which side is brighter?", answer="Left", answer_type="OPEN"),
    ]
    write_json(folder / "train.json", train, indent=2)
    write_json(folder / "validation.json", [item(3, 4)])
    write_json(folder / "test.json", [item(4, 5)])
    (folder / "mask.txt").write_text("0 background\n1 Liver\n5: Left Lung\n\n")
    for number in (1, 2, 3, 4):
        write_image(folder / f"imgs/xmlab{number}/source.jpg", 10 * number)
    boxes = [{"Liver": [1, 2, 4, 5]}, {"Left Lung": [6.0, 6.0, 3.5, 2.0]}, {"Heart": [0, 0, 3, 3]}]
    write_json(folder / "imgs/xmlab1/detection.json", boxes)
    write_json(folder / "imgs/xmlab2/detection.json", [])
    mask = np.zeros((16, 16), dtype=np.uint8)
    mask[2:4, 3:7], mask[9, 9], mask[12, 12] = 1, 5, 200  # 200 is not in mask.txt
    indexed = Image.fromarray(mask, mode="P")
    indexed.putpalette([0, 0, 0] * 256)
    indexed.save(folder / "imgs/xmlab2/mask.png")
    return folder


def pathvqa(folder: Path) -> Path:
    """As unpacked from pvqa.zip: pickles and a folder of images for each split."""
    for value, split in enumerate(("train", "val", "test")):
        name = f"{split}_0001"
        write_image(folder / f"images/{split}/{name}.jpg", value)
        items = [
            {"image": name, "question": "what is shown?", "answer": "an acinus"},
            {"image": name, "question": "is a nucleus shown?", "answer": "yes"},
        ]
        file = folder / f"qas/{split}/{split}_qa.pkl"
        file.parent.mkdir(parents=True)
        file.write_bytes(pickle.dumps(items))
    return folder


def iu_xray(folder: Path) -> Path:
    """R2Gen's annotation.json: one study in each split, two views of each."""
    annotation = {}
    for value, split in enumerate(("train", "val", "test")):
        name = f"CXR{value}_IM-0001-1001"
        views = [f"{name}/{view}.png" for view in (0, 1)]
        for view, path in enumerate(views):
            write_image(folder / "images" / path, 10 * value + view)
        annotation[split] = [
            {"id": name, "report": "The lungs are clear .\n", "image_path": views, "split": split}
        ]
    write_json(folder / "annotation.json", annotation)
    return folder


def mimic_cxr(folder: Path) -> Path:
    """R2Gen's annotation.json: a patient with two studies in train, another patient in test."""
    annotation: dict[str, list[dict[str, Any]]] = {"train": [], "val": [], "test": []}
    studies = [("train", 10000001, 50000001), ("train", 10000001, 50000002)]
    for split, subject, study in [*studies, ("test", 10000002, 50000003)]:
        path = f"p10/p{subject}/s{study}/{study}-a.jpg"
        write_image(folder / "images" / path, study - 50000000)
        annotation[split].append(
            {
                "id": f"{study}-a",
                "study_id": study,
                "subject_id": subject,
                "image_path": [path],
                "report": "The heart is normal .",
                "split": split,
            }
        )
    write_json(folder / "annotation.json", annotation)
    return folder


# dicom, subject, study, split, view, CheXpert labels of the study
JPG_ROWS = [
    ("d-1", "10000001", "50000001", "train", "PA", {"Pneumothorax": "1.0", "Edema": "0.0"}),
    ("d-2", "10000001", "50000001", "train", "LATERAL", {}),
    ("d-3", "10000002", "50000002", "validate", "AP", {"Cardiomegaly": "-1.0"}),
    ("d-4", "11000003", "50000003", "test", "AP", {"No Finding": "1.0"}),
]
JPG_REPORTS = {
    "50000001": " FINAL REPORT\n EXAMINATION: CHEST\n\n FINDINGS: \n\n The lungs are\n clear.\n\n"
    " IMPRESSION: \n\n Normal.\n",
    "50000002": " IMPRESSION: Nothing was found.\n",
    "50000003": " FINDINGS AND IMPRESSION: A small pneumothorax: on the left.\n",
}


def mimic_cxr_jpg(folder: Path, *, reports: str = "", tables: str = "chexpert") -> Path:
    """PhysioNet's layout; `reports`: "", "folder" or "zip"."""
    for number, (dicom, subject, study, *_) in enumerate(JPG_ROWS):
        write_image(folder / f"files/p{subject[:2]}/p{subject}/s{study}/{dicom}.jpg", number)
    table(
        folder,
        "split",
        ["dicom_id", "study_id", "subject_id", "split"],
        [[d, study, subject, split] for d, subject, study, split, *_ in JPG_ROWS],
    )
    table(
        folder,
        "metadata",
        ["dicom_id", "subject_id", "study_id", "ViewPosition", "StudyDate"],
        [[d, p, s, view, "21800101"] for d, p, s, _, view, _ in JPG_ROWS],
    )
    names = ["Cardiomegaly", "Edema", "No Finding", "Pneumothorax"]
    labels = [
        [p, s, *(study_labels.get(n, "") for n in names)]
        for _, p, s, _, v, study_labels in JPG_ROWS
        if v != "LATERAL"
    ]
    if tables:
        table(folder, tables, ["subject_id", "study_id", *names], labels)
    texts = {f"files/p{p[:2]}/p{p}/s{s}.txt": JPG_REPORTS[s] for _, p, s, *_ in JPG_ROWS}
    if reports == "folder":
        for name, text in texts.items():
            (folder / name).write_text(text)
    elif reports == "zip":
        with zipfile.ZipFile(folder / "mimic-cxr-reports.zip", "w") as archive:
            for name, text in texts.items():
                archive.writestr(name, text)
    return folder


def table(folder: Path, name: str, header: list[str], rows: list[list[str]]) -> None:
    with gzip.open(folder / f"mimic-cxr-2.0.0-{name}.csv.gz", "wt", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def vgmed(folder: Path) -> Path:
    rows = [
        {
            "image": "a.png",
            "question": "Where is the cyst?",
            "label": "cyst",
            "bbox": [[1, 2, 3, 4], [8, 8, 2, 2]],
        },
        {
            "image": "b.png",
            "question": "Is there a mass?",
            "label": "mass",
            "answer": "Yes",
            "bbox": [0, 0, 5, 5],
        },
    ]
    write_image(folder / "images/a.png", 1)
    write_image(folder / "b.png", 2)
    write_json(folder / "vgmed.json", rows)
    return folder


def mmedpo_row(number: int = 0, **values: Any) -> dict[str, Any]:
    """A row of MMedPO; med-vlm-dpo puts the image marker at the end."""
    ask = {"from": "human", "value": "<image>\nIs there a mass?"}
    return {
        "id": number,
        "image": "a.png",
        "conversations": [ask, {"from": "gpt", "value": " Yes"}],
        "rejected_conversations": [ask, {"from": "gpt", "value": " No, there is none."}],
        "weighted_score": 0.75,
    } | values


def fire_row(**values: Any) -> dict[str, Any]:
    return {
        "id": "r-1",
        "qid": "q-1",
        "prompt": "<image>\nWhere is the mass?",
        "chosen": "In the <mask>left</mask> lung, <mask>2 cm</mask>.",
        "rejected": "In the <mask>right</mask> lung, <mask>4 cm</mask>.",
        "was_correct": False,
        "image_path": "a.png",
    } | values
