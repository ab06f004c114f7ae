"""Each dataset in its authors' layout: rows, splits, patients, regions; and what is refused."""

from __future__ import annotations

import pickle
from collections import Counter

import numpy as np
import pytest

from medray.config import DataConfig
from medray.data.dataset import open_dataset, read_rows
from medray.data.exchange import import_data
from medray.data.readers.mimic_cxr_jpg import findings
from medray.data.readers.slake import mask_labels, read_slake, read_slake_zh
from medray.errors import DataError
from medray.imaging.regions import region_mask
from medray.records import Region
from tests.support.datasets.miniatures import (
    JPG_ROWS,
    iu_xray,
    mimic_cxr,
    mimic_cxr_jpg,
    pathvqa,
    slake,
    table,
    vgmed,
    write_image,
    write_json,
)

MAKERS = {
    "slake": slake,
    "pathvqa": pathvqa,
    "iu-xray": iu_xray,
    "mimic-cxr": mimic_cxr,
    "mimic-cxr-jpg": mimic_cxr_jpg,
    "vgmed": vgmed,
}


def rows(kind, folder):
    return list(read_rows(kind, str(folder)))


# --- SLAKE --------------------------------------------------------------------------------


def test_slake_in_english(tmp_path):
    found = rows("slake", slake(tmp_path))
    assert [row.case.case_id for row in found] == [
        "slake-train-0",
        "slake-train-1",
        "slake-train-3",
        "slake-validation-0",
        "slake-test-0",
    ]
    assert [row.split for row in found] == ["train"] * 3 + ["validation", "heldout"]
    assert [row.case.answer_type for row in found][:3] == ["closed", "open", "open"]
    assert found[0].case.image == str(tmp_path / "imgs/xmlab1/source.jpg")
    assert all(row.case.image_sha256 for row in found)
    assert {(row.case.source, row.case.licence) for row in found} == {("slake", "CC-BY-4.0")}


def test_slake_in_chinese(tmp_path):
    (row,) = read_slake_zh(str(slake(tmp_path)))
    assert (row.case.question, row.case.reference) == ("图中有肺吗?", "有")


def test_slake_regions_are_those_that_question_or_answer_name_or_else_all(tmp_path):
    folder = slake(tmp_path)
    cases = [row.case for row in read_slake(str(folder))]
    assert cases[0].regions == (Region("Left Lung", box=(6, 6, 10, 8)),)  # "lung", its last word
    assert cases[1].regions == (Region("Liver", box=(1, 2, 5, 7)),)  # in the answer
    mask = folder / "imgs/xmlab2/mask.png"
    assert cases[2].regions == (
        Region("Liver", mask=f"{mask}#1", source="mask"),
        Region("Left Lung", mask=f"{mask}#5", source="mask"),
    )
    assert cases[3].regions == ()


def test_slake_masks_are_exact_and_survive_the_import(tmp_path):
    folder = slake(tmp_path)
    import_data("slake", str(folder), tmp_path / "s.parquet")
    for kind, path in (("slake", folder), ("parquet", tmp_path / "s.parquet")):
        liver, lung = rows(kind, path)[2].case.regions
        assert np.argwhere(region_mask([lung], 16, 16)).tolist() == [[9, 9]]
        expected = np.zeros((16, 16), bool)
        expected[2:4, 3:7] = True
        assert (region_mask([liver], 16, 16) == expected).all()


def test_slake_masks_take_precedence_over_boxes_of_the_same_structure(tmp_path):
    folder = slake(tmp_path)
    boxes = [{"Lung_Left": [6, 6, 3, 2]}, {"Heart": [0, 0, 3, 3]}]
    write_json(folder / "imgs/xmlab2/detection.json", boxes)
    regions = rows("slake", folder)[2].case.regions  # "Left Lung" is in the mask
    assert [(r.label, r.box, r.source) for r in regions] == [
        ("Liver", None, "mask"),
        ("Left Lung", None, "mask"),
        ("Heart", (0, 0, 3, 3), "dataset"),
    ]


def test_slake_colour_masks_are_ignored(tmp_path):
    folder = slake(tmp_path)
    write_image(folder / "imgs/xmlab2/mask.png", 1)
    assert rows("slake", folder)[2].case.regions == ()


@pytest.mark.parametrize("line", ["5 Left Lung", "5:Left Lung", "Left Lung: 5", "Left Lung\t5"])
def test_slake_names_of_mask_values(tmp_path, line):
    (tmp_path / "mask.txt").write_text(f"background 0\n{line}\n")
    assert mask_labels(tmp_path / "mask.txt") == {5: "Left Lung"}


@pytest.mark.data
def test_all_of_slake_text(shared_data):
    import json

    file = shared_data / "slake_text" / "slake_boxes_qa_noimages.jsonl"
    found = rows("slake", file)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(found) == sum(len(line["qa_en"]) for line in lines) == 7033
    assert len({row.case.image for row in found}) == len(lines) == 642
    assert sum(not row.case.reference for row in found) == 1


# --- the others ---------------------------------------------------------------------------


def test_pathvqa(tmp_path):
    found = rows("pathvqa", pathvqa(tmp_path))
    assert Counter(row.split for row in found) == {"train": 2, "validation": 2, "heldout": 2}
    first = found[0].case
    assert first.case_id == "pathvqa-train-0"
    assert first.image == str(tmp_path / "images/train/train_0001.jpg")
    assert (first.reference, first.answer_type) == ("an acinus", "open")
    assert found[1].case.answer_type == "closed"


def test_pathvqa_as_json(tmp_path):
    write_image(tmp_path / "images/train_0001.jpg")
    item = {"image": "train_0001.jpg", "question": "what?", "answer": "a cell"}
    write_json(tmp_path / "train.json", [item])
    (row,) = rows("pathvqa", tmp_path)
    assert row.case.image_sha256


class Evil:
    def __reduce__(self):
        return print, ("this ran",)


@pytest.mark.parametrize("content", [pickle.dumps([Evil()]), b"", b"text", pickle.dumps({"a": 1})])
def test_pathvqa_refuses_other_pickles_without_running_code(tmp_path, capsys, content):
    pathvqa(tmp_path)
    (tmp_path / "qas/train/train_qa.pkl").write_bytes(content)
    with pytest.raises(DataError, match=r"train_qa\.pkl: is not a (pickle|list)"):
        rows("pathvqa", tmp_path)
    assert "this ran" not in capsys.readouterr().out


def test_iu_xray_has_a_case_per_study(tmp_path):
    found = rows("iu-xray", iu_xray(tmp_path))
    assert [row.split for row in found] == ["train", "validation", "heldout"]
    case = found[0].case
    assert case.case_id == "iu-xray-CXR0_IM-0001-1001"
    assert case.image == str(tmp_path / "images/CXR0_IM-0001-1001/0.png")
    assert (case.reference, case.answer_type) == ("The lungs are clear .", "report")
    assert (case.patient_id, found[0].study_id) == ("CXR0", "CXR0")


def test_mimic_cxr_has_patients_and_studies_but_not_in_case_ids(tmp_path):
    found = rows("mimic-cxr", mimic_cxr(tmp_path))
    assert [(row.case.patient_id, row.study_id, row.split) for row in found] == [
        ("10000001", "50000001", "train"),
        ("10000001", "50000002", "train"),
        ("10000002", "50000003", "heldout"),
    ]
    assert all(row.case.image_sha256 for row in found)
    assert not any(row.case.patient_id in row.case.case_id for row in found)


@pytest.mark.parametrize("reports", ["folder", "zip"])
def test_mimic_cxr_jpg_with_reports_reads_findings_of_frontal_images(tmp_path, reports):
    found = rows("mimic-cxr-jpg", mimic_cxr_jpg(tmp_path, reports=reports))
    assert [(row.case.case_id, row.case.reference, row.split) for row in found] == [
        ("mimic-cxr-d-1", "The lungs are clear.", "train"),
        ("mimic-cxr-d-4", "A small pneumothorax: on the left.", "heldout"),
    ]
    assert {row.case.answer_type for row in found} == {"report"}
    assert [row.case.patient_id for row in found] == ["10000001", "11000003"]
    assert all(row.case.image_sha256 for row in found)


@pytest.mark.parametrize("tables", ["chexpert", "negbio"])
def test_mimic_cxr_jpg_without_reports_asks_for_labels(tmp_path, tables):
    found = rows("mimic-cxr-jpg", mimic_cxr_jpg(tmp_path, tables=tables))
    assert [(row.case.case_id, row.case.question, row.case.reference) for row in found] == [
        ("mimic-cxr-d-1-edema", "Is there edema?", "no"),
        ("mimic-cxr-d-1-pneumothorax", "Is there a pneumothorax?", "yes"),
        ("mimic-cxr-d-4-no-finding", "Is this chest X-ray normal?", "yes"),
    ]
    assert {row.case.answer_type for row in found} == {"closed"}
    assert not any(row.case.truth for row in found)


@pytest.mark.parametrize(
    ("report", "section"),
    [
        ("FINDINGS: Clear.", "Clear."),
        (" HISTORY: Cough.\n FINDINGS:\n\n A\n b.\n\n CONCLUSION: x", "A b."),
        ("IMPRESSION: Clear.", ""),
        ("The findings: are clear", ""),
        ("", ""),
    ],
)
def test_findings_sections(report, section):
    assert findings(report) == section


def test_vgmed(tmp_path):
    first, second = (row.case for row in rows("vgmed", vgmed(tmp_path)))
    assert first.image == str(tmp_path / "images/a.png")
    assert (first.reference, first.answer_type) == ("cyst", "open")
    assert first.regions == (Region("cyst", (1, 2, 4, 6)), Region("cyst", (8, 8, 10, 10)))
    assert (second.reference, second.answer_type) == ("Yes", "closed")
    assert second.regions == (Region("mass", (0, 0, 5, 5)),)


# --- splits -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["slake", "pathvqa", "iu-xray", "mimic-cxr", "mimic-cxr-jpg"])
def test_official_splits(tmp_path, kind):
    MAKERS[kind](tmp_path)
    data = open_dataset(DataConfig(kind=kind, path=str(tmp_path), split="official"))
    assert data.train
    assert data.heldout
    assert "leak" not in " ".join(data.notes)
    assert ("set aside" in " ".join(data.notes)) == (kind in ("slake", "pathvqa", "iu-xray"))


def test_patients_stay_together(tmp_path):
    config = DataConfig(kind="mimic-cxr", path=str(mimic_cxr(tmp_path)), split="patient")
    data = open_dataset(config)
    assert sorted([len(data.train), len(data.heldout)]) == [1, 2]


# --- what is refused ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*MAKERS, "slake-zh", "dicom", "parquet"])
def test_other_folders_are_refused(tmp_path, kind):
    for path in (None, str(tmp_path / "gone"), str(tmp_path)):
        with pytest.raises(DataError) as caught:
            list(read_rows(kind, path))
        assert "\n" not in str(caught.value)
        assert "—" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"question": None}, "train.json: row 1: question: is empty"),
        ({"answer_type": "BOTH"}, "train.json: row 1: answer_type: 'BOTH' is not CLOSED or OPEN"),
        ({"img_name": 3}, "train.json: row 1: img_name: is not a text"),
        ({"answer": ["a"]}, "train.json: row 1: answer: is not a text or number"),
        ({"q_lang": ""}, "train.json: row 1: q_lang: is empty"),
    ],
)
def test_bad_rows_of_slake(tmp_path, change, message):
    slake(tmp_path)
    item = {"img_name": "xmlab1/source.jpg", "question": "Q?", "answer": "a", "q_lang": "en"}
    write_json(tmp_path / "train.json", [item | {"answer_type": "OPEN"} | change])
    with pytest.raises(DataError) as caught:
        rows("slake", tmp_path)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"Liver": [0, 0, 1, 1]}, "detection.json: the file: is not a list"),
        ([{"Liver": [0, 0, 1]}], "entry 0: Liver: is not [x, y, width, height]"),
        ([{"Liver": [0, 0, 0, 1]}], "entry 0: Liver: is empty"),
    ],
)
def test_bad_boxes_of_slake(tmp_path, content, message):
    slake(tmp_path)
    write_json(tmp_path / "imgs/xmlab1/detection.json", content)
    with pytest.raises(DataError) as caught:
        rows("slake", tmp_path)
    assert message in str(caught.value)


def test_bad_rows_of_r2gen_and_vgmed(tmp_path):
    study = {"id": "a", "report": "r", "image_path": ["a.png"]}
    for annotation, message in [
        ({"train": [study, study]}, "annotation.json: row 2: id: occurs twice"),
        ({"train": [study | {"image_path": []}]}, "image_path: is not a list of paths"),
        ({"dev": [study]}, "'dev': is not train, val or test"),
        ({"train": {"a": study}}, "is not a list"),
        ({"train": ["a"]}, "is not a mapping"),
    ]:
        write_json(tmp_path / "annotation.json", annotation)
        with pytest.raises(DataError, match=message.replace("'", "'")):
            rows("iu-xray", tmp_path)
    write_json(tmp_path / "v/v.json", [{"image": "a", "question": "q", "bbox": [[1, 2, 3]]}])
    with pytest.raises(DataError, match=r"bbox\[0\]: is not \[x, y, width, height\]"):
        rows("vgmed", tmp_path / "v")


def test_bad_tables_of_mimic_cxr_jpg(tmp_path):
    mimic_cxr_jpg(tmp_path, tables="")
    with pytest.raises(DataError, match="neither reports nor labels"):
        rows("mimic-cxr-jpg", tmp_path)
    mimic_cxr_jpg(tmp_path)
    header = ["dicom_id", "study_id", "subject_id", "split"]
    table(tmp_path, "split", header, [["d", "1", "1", "train"], ["d", "1", "1", "dev"]])
    with pytest.raises(DataError, match=r"split\.csv\.gz:3: split: 'dev' is not one of"):
        rows("mimic-cxr-jpg", tmp_path)
    table(tmp_path, "split", header, [["d", "1"]])
    with pytest.raises(DataError, match=r"split\.csv\.gz:2: has a different number of fields"):
        rows("mimic-cxr-jpg", tmp_path)
    table(tmp_path, "split", header[1:], [])
    with pytest.raises(DataError, match="has no column dicom_id"):
        rows("mimic-cxr-jpg", tmp_path)
    content = (tmp_path / "mimic-cxr-2.0.0-metadata.csv.gz").read_bytes()
    table(tmp_path, "split", header, [[*row[:1], row[2], row[1], row[3]] for row in JPG_ROWS])
    (tmp_path / "mimic-cxr-2.0.0-metadata.csv.gz").write_bytes(content[:-12])
    with pytest.raises(DataError, match=r"metadata\.csv\.gz: is cut short"):
        rows("mimic-cxr-jpg", tmp_path)
