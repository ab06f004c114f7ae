"""Cases and pairs with several images: read, kept, split, checked and exported with all of them."""

from __future__ import annotations

import json
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from medray.config import DataConfig
from medray.data.check import check_file
from medray.data.dataset import open_dataset, read_rows
from medray.data.exchange import export_pairs, import_data, import_pairs
from medray.data.quality import with_usability
from medray.data.splits import Row, leaks, split_by_group
from medray.data.tables import read_cases, read_pairs
from medray.errors import DataError
from medray.imaging.load import file_sha256, load_image
from medray.records import Case, ImageFile
from tests.support.datasets.miniatures import iu_xray, write_image, write_json
from tests.unit.data.readers.test_parquet import STRUCT, png
from tests.unit.data.test_pairs import FACTORY, TRL

BASE = {"question": "Q?", "answer": "yes"}
REGION = {"label": "nodule", "box": [1, 2, 3, 4], "image": 1}


def rows_of(folder, *rows):
    for value, name in enumerate("abc"):
        write_image(folder / f"{name}.png", value)
    file = folder / "records.jsonl"
    file.write_text("".join(json.dumps(BASE | row) + "\n" for row in rows))
    return list(read_rows("jsonl", str(folder)))


def paths(case: Case) -> list[str]:
    return [image.path.rpartition("/")[2] for image in case.images]


def test_a_row_lists_its_images_and_regions_name_theirs(tmp_path):
    one, two, same = rows_of(
        tmp_path,
        {"image": "a.png"},
        {"images": ["b.png", "a.png"], "regions": [REGION, REGION | {"image": 0}]},
        {"image": "b.png", "images": ["b.png"]},
    )
    assert paths(one.case) == ["a.png"]
    assert one.case.other_images == ()
    assert paths(two.case) == ["b.png", "a.png"]
    assert [image.sha256 for image in two.case.images] == [
        file_sha256(tmp_path / name) for name in ("b.png", "a.png")
    ]
    assert [region.image for region in two.case.regions] == [1, 0]
    assert same.case.images == two.case.images[:1]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({}, "image: is missing"),
        ({"images": []}, "images: is an empty list"),
        ({"images": ["a.png", 3]}, r"images\[1\]: is not a text"),
        ({"images": ["a.png"], "image": "b.png"}, "image: is not the first of images"),
        ({"images": ["a.png", "b.png"], "regions": [REGION | {"image": 2}]}, "has 2 images"),
        ({"image": "a.png", "regions": [REGION]}, r"regions\[0\].image: is 1"),
        ({"image": "a.png", "regions": [REGION | {"image": -1}]}, "is not the number of an image"),
        (
            {"image": "a.png", "regions": [REGION | {"image": True}]},
            "is not the number of an image",
        ),
    ],
)
def test_rows_that_name_images_wrongly(tmp_path, row, message):
    with pytest.raises(DataError, match=message):
        rows_of(tmp_path, row)


def test_r2gens_studies_have_all_their_views_or_the_first_ones(tmp_path):
    folder = str(iu_xray(tmp_path))
    (study, *_) = read_rows("iu-xray", folder)
    assert paths(study.case) == ["0.png", "1.png"]
    (first, *_) = read_rows("iu-xray", folder, max_images=1)
    assert first.case == replace(study.case, other_images=())
    config = DataConfig(kind="iu-xray", path=folder, split="official", max_images=1)
    assert {len(case.images) for case in open_dataset(config).train} == {1}


def test_regions_of_images_that_are_not_used_are_left_out(tmp_path):
    rows_of(tmp_path, {"images": ["a.png", "b.png"], "regions": [REGION, REGION | {"image": 0}]})
    (row,) = read_rows("jsonl", str(tmp_path), max_images=1)
    assert [region.image for region in row.case.regions] == [0]


def test_the_digest_of_a_dataset_is_that_of_all_images(tmp_path):
    def digest(*names: str) -> str:
        split = [{"split": "train"}, {"split": "heldout"}]
        rows_of(tmp_path, *({"images": list(names)} | each for each in split))
        return open_dataset(DataConfig(kind="jsonl", path=str(tmp_path))).digest

    digests = [digest("a.png"), digest("a.png", "b.png"), digest("a.png", "c.png")]
    assert len(set(digests)) == 3
    assert digest("a.png", "b.png") == digests[1]


def test_parquet_rows_may_hold_lists_of_images(tmp_path):
    """Bytes of two images, one by its path, and the digest of each."""
    write_image(tmp_path / "c.png", 9)
    values = [{"bytes": png(1), "path": "1.png"}, {"bytes": png(2), "path": None}]
    values += [{"bytes": None, "path": str(tmp_path / "c.png")}]
    table = {"images": pa.array([values], pa.list_(STRUCT)), "question": ["Q?"], "answer": ["a"]}
    pq.write_table(pa.table(table), tmp_path / "t.parquet")
    (row,) = read_rows("parquet", str(tmp_path / "t.parquet"))
    first, second, third = row.case.images
    assert first.path.endswith("t.parquet#images:1:1")
    assert [load_image(image.path)[0, 0, 0] for image in (first, second)] == [1, 2]
    assert third.path == str(tmp_path / "c.png")
    assert len({image.sha256 for image in row.case.images} - {""}) == 3


def test_cases_and_pairs_keep_all_images_in_parquet(tmp_path):
    rows_of(tmp_path, {"images": ["a.png", "b.png"], "regions": [REGION]})
    import_data("jsonl", str(tmp_path), tmp_path / "c.parquet")
    (row,) = read_cases(str(tmp_path / "c.parquet"))
    assert paths(row.case) == ["a.png", "b.png"]
    assert row.case.other_images[0].sha256 == file_sha256(tmp_path / "b.png")
    assert row.case.regions[0].image == 1
    assert check_file(tmp_path / "c.parquet").images == 2


TWO = {"images": ["a.png", "b.png"]}
PARTS = [{"type": "image"}, {"type": "image"}, {"type": "text", "text": "Is there a mass?"}]


@pytest.mark.parametrize(
    ("kind", "row"),
    [
        ("trl", TRL | TWO),
        ("trl", TRL | TWO | {"prompt": "<image>\n<image>Is there a mass?"}),
        ("trl", TRL | TWO | {"prompt": [{"role": "user", "content": PARTS}]}),
        (
            "llama-factory",
            FACTORY
            | TWO
            | {"conversations": [{"from": "human", "value": "<image><image>Is there a mass?"}]},
        ),
    ],
)
def test_pairs_with_two_images_survive_every_layout(tmp_path, kind, row):
    for value, name in enumerate("ab"):
        write_image(tmp_path / f"{name}.png", value)
    (pair,) = import_pairs(kind, write_json(tmp_path / "p.json", [row]))
    assert pair.question == "Is there a mass?"
    assert [i.path for i in pair.other_images] == [str(tmp_path / "b.png")]
    import_data(kind, str(tmp_path / "p.json"), tmp_path / "p.parquet")
    assert list(read_pairs(tmp_path / "p.parquet")) == [pair]
    assert check_file(tmp_path / "p.parquet").images == 2
    (case,) = (row.case for row in read_rows("pairs", str(tmp_path / "p.parquet")))
    assert paths(case) == ["a.png", "b.png"]
    for layout in ("trl", "llama-factory"):
        export_pairs(tmp_path / "p.parquet", layout, tmp_path / f"{layout}.json")
        (written,) = json.loads((tmp_path / f"{layout}.json").read_text())
        assert written["images"] == [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
        (back,) = import_pairs(layout, tmp_path / f"{layout}.json")
        assert (back.question, back.other_images) == (pair.question, pair.other_images)


def test_studies_that_share_any_image_stay_on_one_side():
    def row(index: int, *images: str) -> Row:
        first, *others = (ImageFile(f"{name}.png", name) for name in images)
        case = Case(f"c{index}", first.path, first.sha256, "Q?", "yes", "closed")
        return Row(replace(case, other_images=tuple(others)))

    rows = [row(0, "a", "b"), row(1, "c", "b"), row(2, "d"), row(3, "e", "c"), row(4, "f")]
    for seed in range(8):
        train, heldout = split_by_group(rows, "image", 0.5, seed)
        assert leaks(train, heldout) == []
        sides = [{case.case_id for case in side} & {"c0", "c1", "c3"} for side in (train, heldout)]
        assert sorted(map(len, sides)) == [0, 3]
    assert leaks([rows[0].case], [rows[1].case]) == ["b"]


def test_a_case_with_one_missing_image_is_counted_as_unusable(tmp_path):
    cases = [{"images": ["a.png", "none.png"]}, {"images": ["a.png", "b.png"]}]
    split = [{"split": "train"}, {"split": "train"}, {"split": "heldout"}]
    rows_of(tmp_path, *(a | b for a, b in zip([*cases, cases[1]], split, strict=True)))
    dataset = open_dataset(DataConfig(kind="jsonl", path=str(tmp_path)))
    notes = with_usability(dataset, "d", references=True).notes
    assert any("1 of 2 training cases cannot be used" in note for note in notes)
