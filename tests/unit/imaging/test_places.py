"""Where images may be, and how files that leave name them."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from medray.config import DataConfig
from medray.data.dataset import open_dataset, read_rows
from medray.data.exchange import export_pairs, import_data
from medray.errors import DataError, UserError
from medray.imaging.load import load_image
from medray.imaging.places import Places, named

ROW = {"question": "Is there a nodule?", "answer": "No"}


@pytest.fixture
def folders(tmp_path):
    """A dataset of two inner images, and a picture outside of it."""
    data, other = tmp_path / "JANE^DOE", tmp_path / "other"
    data.mkdir()
    other.mkdir()
    for name, shade in (("a.png", 10), ("b.png", 20)):
        Image.new("RGB", (16, 16), (shade, 0, 0)).save(data / name)
    Image.new("RGB", (16, 16), "red").save(other / "secret.png")
    (data / "link.png").symlink_to(other / "secret.png")
    (data / "linked").symlink_to(other)
    return data, other


def write(data: Path, **changed) -> DataConfig:
    """Two rows, the second changed."""
    rows = [ROW | {"image": "a.png", "split": "train"}, ROW | {"image": "b.png", "split": "test"}]
    rows[1] |= changed
    (data / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return DataConfig(kind="jsonl", path=str(data))


OUTSIDE = {
    "absolute": {"image": "{other}/secret.png"},
    "climbing": {"image": "../other/secret.png"},
    "climbing from within": {"image": "linked/../other/secret.png"},
    "link": {"image": "link.png"},
    "folder that is a link": {"image": "linked/secret.png"},
    "another file of the system": {"image": "/etc/passwd"},
    "mask": {"regions": [{"label": "x", "mask": "{other}/secret.png"}]},
    "value of a mask": {"regions": [{"label": "x", "mask": "../other/secret.png#255"}]},
    "frame": {"image": "../other/secret.png#1"},
    "gone": {"image": "../other/gone.png"},
    "row of a table": {"image": "../other/t.parquet#image:1"},
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_what_is_outside_is_counted_or_refused(folders, name):
    data, other = folders
    changed = json.loads(json.dumps(OUTSIDE[name]).replace("{other}", str(other)))
    config = write(data, **changed)
    note = " images and masks are outside the dataset's folder"
    assert sum(note in line for line in open_dataset(config).notes) == 1
    with pytest.raises(DataError, match=r"case row-2: .* nor in data.roots") as caught:
        open_dataset(config.model_copy(update={"roots": ()}))
    assert "secret" not in str(caught.value)
    roots = (str(other), "/etc")
    bounded = open_dataset(config.model_copy(update={"roots": roots}))
    assert not any(note in line for line in bounded.notes)
    assert len(bounded.heldout) == 1


def test_what_is_inside_is_neither(folders):
    data, _ = folders
    for path in (str(data), str(data / "records.jsonl"), str(data.parent / "other/../JANE^DOE")):
        config = write(data, image="../JANE^DOE/b.png", regions=[{"label": "x", "mask": "a.png"}])
        for roots in (None, ()):
            opened = open_dataset(config.model_copy(update={"path": path, "roots": roots}))
            assert not any("outside" in note for note in opened.notes)
    assert not Places([data]).hold(f"{data}-more/a.png")
    assert Places(["/"]).hold("/etc/passwd")


def paths_of(file: Path) -> list[str]:
    rows = pq.read_table(file).to_pylist()
    return [row["image"] for row in rows] + [r["mask"] for row in rows for r in row["regions"]]


def test_files_that_leave_name_no_folder_if_wished(folders, tmp_path):
    data, _ = folders
    write(data, regions=[{"label": "x", "mask": "a.png"}])
    out = data / "cases.parquet"
    for style in ("absolute", "relative", "hashed"):
        import_data("jsonl", str(data), out, paths=style)
        text = json.dumps(pq.read_table(out).to_pylist())
        assert ("JANE" in text) == (style == "absolute")
        if style == "relative":  # file and images can be moved together
            assert paths_of(out) == ["a.png", "b.png", "a.png"]
            shutil.copytree(data, tmp_path / "moved", symlinks=True)
            for row in read_rows("parquet", str(tmp_path / "moved/cases.parquet")):
                assert load_image(row.case.image).shape == (16, 16, 3)
                assert "moved" in row.case.image
    for name in "ab":
        digest = hashlib.sha256((data / f"{name}.png").read_bytes()).hexdigest()
        assert f"{digest}.png" in paths_of(out)
        shutil.copy(data / f"{name}.png", tmp_path / f"{digest}.png")
    shutil.copy(out, tmp_path / "cases.parquet")
    found = list(read_rows("parquet", str(tmp_path / "cases.parquet")))
    assert all(load_image(row.case.image).any() for row in found)
    with pytest.raises(UserError, match="--paths odd: is not known"):
        import_data("jsonl", str(data), out, paths="odd")


@pytest.mark.parametrize("layout", ["trl", "llama-factory", "pairs"])
def test_exported_pairs_too(folders, tmp_path, layout):
    data, _ = folders
    pair = {"prompt": "Is it?", "chosen": "No", "rejected": "Yes", "images": ["a.png"]}
    (data / "p.json").write_text(json.dumps([pair]))
    import_data("trl", str(data / "p.json"), tmp_path / "p.parquet")
    out = data / "out.parquet" if layout == "pairs" else data / "out.json"
    for style, named_as in (("absolute", str(data / "a.png")), ("relative", "a.png")):
        export_pairs(tmp_path / "p.parquet", layout, out, paths=style)
        rows = pq.read_table(out).to_pylist() if layout == "pairs" else json.loads(out.read_text())
        assert (rows[0].get("images") or [rows[0].get("image")]) == [named_as]
    export_pairs(tmp_path / "p.parquet", layout, out, paths="hashed")
    assert b"a.png" not in out.read_bytes()


def test_parts_of_files_keep_what_they_mean(folders):
    data, _ = folders
    name = named("hashed", data)
    digest = hashlib.sha256((data / "a.png").read_bytes()).hexdigest()
    assert name(f"{data}/a.png#3") == f"{digest}.png#3"
    assert name(f"{data}/gone.png") == "unreadable"
    assert name("") == ""
    assert named("relative", data)(f"{data}/a.png#3") == "a.png#3"
