"""Images inside Parquet: named by row, read on demand, and what happens to bad ones."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from medray.config import DataConfig
from medray.data.check import check_file
from medray.data.dataset import open_dataset, read_rows
from medray.data.exchange import export_pairs, import_data
from medray.data.tables import read_cases, read_pairs
from medray.errors import DataError, ItemError
from medray.imaging import stored
from medray.imaging.load import encode_png, file_sha256, load_image

STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def read_parquet(path):
    return list(read_rows("parquet", path))


def png(value: int) -> bytes:
    return encode_png(np.full((8, 8, 3), value, np.uint8))


def hugging_face(path: Path, values: list[int], *, group: int = 100, **columns: list) -> Path:
    """A shard as `datasets` writes it: images of one colour each, a question, an answer."""
    rows = {
        "image": pa.array([{"bytes": png(v), "path": f"{v}.png"} for v in values], STRUCT),
        "question": [f"Is this {v}?" for v in values],
        "answer": ["yes"] * len(values),
    } | columns
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(rows), path, row_group_size=group)
    return path


def test_rows_of_shards_have_the_split_of_the_file_name(tmp_path):
    hugging_face(tmp_path / "d/train-00000-of-00002.parquet", [1, 2])
    hugging_face(tmp_path / "d/train-00001-of-00002.parquet", [3])
    hugging_face(tmp_path / "d/test-00000-of-00001.parquet", [4])
    hugging_face(tmp_path / "d/validation/0.parquet", [5])
    rows = list(read_parquet(str(tmp_path / "d")))
    assert [row.case.case_id for row in rows] == [f"row-{i}" for i in range(1, 6)]
    assert [row.split for row in rows] == ["heldout", "train", "train", "train", "validation"]
    assert [load_image(row.case.image)[0, 0, 0] for row in rows] == [4, 1, 2, 3, 5]
    assert rows[2].case.image == f"{tmp_path}/d/train-00000-of-00002.parquet#image:2"
    assert rows[2].case.image_sha256 == hashlib.sha256(png(2)).hexdigest()
    config = DataConfig(kind="parquet", path=str(tmp_path / "d"), split="official")
    data = open_dataset(config)
    assert (len(data.train), len(data.heldout)) == (3, 1)


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.list_(STRUCT)])
def test_other_column_types_for_bytes(tmp_path, kind):
    wrapped = [
        [{"bytes": png(v), "path": None}] if pa.types.is_list(kind) else png(v) for v in (7, 9)
    ]
    file = hugging_face(tmp_path / "a.parquet", [7, 9], image=pa.array(wrapped, kind))
    cases = [row.case for row in read_parquet(str(file))]
    assert [load_image(case.image)[0, 0, 0] for case in cases] == [7, 9]


def test_paths_instead_of_bytes(tmp_path):
    (tmp_path / "b.png").write_bytes(png(3))
    values = [{"bytes": png(1), "path": "gone.png"}, {"bytes": None, "path": "b.png"}]
    file = hugging_face(tmp_path / "a.parquet", [1, 3], image=pa.array(values, STRUCT))
    cases = [row.case for row in read_parquet(str(file))]
    assert cases[1].image == str(tmp_path / "b.png")
    assert [load_image(case.image)[0, 0, 0] for case in cases] == [1, 3]


def test_reports(tmp_path):
    table = {"image": pa.array([{"bytes": png(1), "path": None}], STRUCT), "findings": ["Clear."]}
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    (row,) = read_parquet(str(tmp_path / "a.parquet"))
    assert (row.case.reference, row.case.answer_type) == ("Clear.", "report")
    assert row.case.question


def test_the_import_keeps_digests_and_names(tmp_path):
    hugging_face(tmp_path / "d/train.parquet", [1, 2, 3], split=["train", "valid", "test"])
    out = tmp_path / "c.parquet"
    assert import_data("parquet", str(tmp_path / "d"), out) == "3 cases"
    rows = list(read_cases(str(out)))
    assert [row.split for row in rows] == ["train", "validation", "heldout"]
    assert [file_sha256(row.case.image) for row in rows] == [r.case.image_sha256 for r in rows]
    assert [row.case for row in read_parquet(str(out))] == [row.case for row in rows]
    assert check_file(out).findings["images that cannot be read"].count == 0
    assert check_file(out, images=False).findings["images that cannot be read"].count == 0


def test_images_that_cannot_be_read_are_kept_with_a_reason(tmp_path):
    jpeg = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(jpeg, "JPEG")
    cut = encode_png(noise)[:9000]
    contents = [cut, jpeg.getvalue()[:900], b"", b"not an image", png(1)]
    file = hugging_face(tmp_path / "a.parquet", [1] * 5, image=pa.array(contents, pa.binary()))
    cases = [row.case for row in read_parquet(str(file))]
    assert len(cases) == 5
    reasons = []
    for case in cases[:4]:
        with pytest.raises(ItemError, match=r"^a\.parquet#image:") as caught:
            load_image(case.image)
        reasons.append(caught.value.reason)
    assert reasons == ["image-truncated", "image-truncated", "image-empty", "image-unreadable"]
    assert load_image(cases[4].image)[0, 0, 0] == 1
    assert [bool(case.image_sha256) for case in cases] == [True, True, False, True, True]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a.parquet#image:0", "image-missing"),
        ("a.parquet#image:3", "image-missing"),
        ("a.parquet#picture:1", "image-missing"),
        ("gone.parquet#image:1", "image-missing"),
        ("a.parquet#question:1", "image-unreadable"),
        ("cut.parquet#image:1", "image-unreadable"),
    ],
)
def test_names_without_an_image(tmp_path, name, reason):
    file = hugging_face(tmp_path / "a.parquet", [1, 2])
    (tmp_path / "cut.parquet").write_bytes(file.read_bytes()[:-9])
    with pytest.raises(ItemError) as caught:
        load_image(tmp_path / name)
    assert caught.value.reason == reason
    assert file_sha256(tmp_path / name) == ""


def test_a_file_that_is_damaged_inside(tmp_path):
    file = hugging_face(tmp_path / "a.parquet", list(range(40)))
    content = bytearray(file.read_bytes())
    content[4:60] = bytes(56)
    file.write_bytes(content)
    with pytest.raises(ItemError) as caught:
        load_image(f"{file}#image:1")
    assert caught.value.reason == "image-unreadable"


def test_rows_without_an_image_are_refused(tmp_path):
    file = hugging_face(tmp_path / "a.parquet", [1, 2], image=pa.array([None, None], STRUCT))
    with pytest.raises(DataError, match=r"a\.parquet: row 1: image: is missing"):
        list(read_parquet(str(file)))


def test_duplicate_ids_are_refused(tmp_path):
    hugging_face(tmp_path / "d/a.parquet", [1], id=["x"])
    hugging_face(tmp_path / "d/b.parquet", [1], id=["x"])
    with pytest.raises(DataError, match=r"b\.parquet: row 1: id: 'x' occurs twice"):
        list(read_parquet(str(tmp_path / "d")))


def test_a_changed_file_is_read_again(tmp_path):
    file = hugging_face(tmp_path / "a.parquet", [1])
    assert load_image(f"{file}#image:1")[0, 0, 0] == 1
    hugging_face(tmp_path / "b.parquet", [2, 3]).replace(file)
    assert load_image(f"{file}#image:1")[0, 0, 0] == 2


def test_any_order_within_bounded_memory(tmp_path, monkeypatch):
    values = list(range(200))
    file = hugging_face(tmp_path / "a.parquet", values, group=70)
    monkeypatch.setattr(stored, "CACHE_BYTES", 20 * len(png(0)))
    for row in np.random.default_rng(0).permutation(200).tolist() + values:
        assert load_image(f"{file}#image:{row + 1}")[0, 0, 0] == row
        sizes = [batch.nbytes for batch in stored._CACHE.batches.values()]
        assert stored._CACHE.size == sum(sizes) < 60 * len(png(0))


def test_reading_in_order_decodes_each_row_once(tmp_path, monkeypatch):
    file = hugging_face(tmp_path / "a.parquet", list(range(200)), group=70)
    decoded: list[int] = []
    add = stored._BatchCache.add

    def counted(self: stored._BatchCache, key: tuple, values: pa.Array) -> None:
        decoded.append(len(values))
        add(self, key, values)

    monkeypatch.setattr(stored, "CACHE_BYTES", 1)
    monkeypatch.setattr(stored._BatchCache, "add", counted)
    assert len(list(read_parquet(str(file)))) == 200
    assert sum(decoded) == 200


def test_pairs_whose_images_are_inside(tmp_path):
    rows = {
        "prompt": ["<image>Is it?"] * 2,
        "chosen": ["Yes."] * 2,
        "rejected": ["No."] * 2,
        "images": pa.array([[{"bytes": png(v), "path": None}] for v in (4, 5)], pa.list_(STRUCT)),
    }
    pq.write_table(pa.table(rows), tmp_path / "t.parquet")
    out = tmp_path / "p.parquet"
    assert import_data("trl", str(tmp_path / "t.parquet"), out) == "2 pairs"
    pairs = list(read_pairs(out))
    assert [load_image(pair.image)[0, 0, 0] for pair in pairs] == [4, 5]
    assert pairs[0].image_sha256 == hashlib.sha256(png(4)).hexdigest()
    with pytest.raises(DataError, match="is a part of a file"):
        export_pairs(out, "trl", tmp_path / "o.jsonl")


def test_several_images_in_a_pair_have_a_name_each(tmp_path):
    two = [[{"bytes": png(1), "path": None}, {"bytes": png(2), "path": None}]]
    rows = {
        "prompt": ["Is it?"],
        "chosen": ["a"],
        "rejected": ["b"],
        "images": pa.array(two, pa.list_(STRUCT)),
    }
    pq.write_table(pa.table(rows), tmp_path / "t.parquet")
    import_data("trl", str(tmp_path / "t.parquet"), tmp_path / "p.parquet")
    (pair,) = read_pairs(tmp_path / "p.parquet")
    (other,) = pair.other_images
    assert [load_image(name)[0, 0, 0] for name in (pair.image, other.path)] == [1, 2]
    assert len({pair.image_sha256, other.sha256} - {""}) == 2
    with pytest.raises(ItemError, match="holds 2 images"):
        load_image(f"{tmp_path}/t.parquet#images:1")
    with pytest.raises(ItemError, match="no such image in the row"):
        load_image(f"{tmp_path}/t.parquet#images:1:3")
