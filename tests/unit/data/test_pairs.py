"""Preference pairs of other projects: what is read, what is refused, and round trips."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medray.data.exchange import PAIRS, export_pairs, import_data, import_pairs
from medray.data.pairs.base import Origin, question_words
from medray.data.pairs.fire_mpo import unmask
from medray.data.rows import FieldError
from medray.data.tables import read_pairs
from medray.errors import DataError
from medray.imaging.load import file_sha256
from tests.support.datasets.miniatures import fire_row, mmedpo_row, write_image, write_json

TRL = {"prompt": "Is there a mass?", "chosen": "Yes", "rejected": "No.", "images": ["a.png"]}
FACTORY = {
    "conversations": [{"from": "human", "value": "<image>Is there a mass?"}],
    "chosen": {"from": "gpt", "value": "Yes"},
    "rejected": {"from": "gpt", "value": "No."},
    "images": ["a.png"],
}


def read(tmp_path, kind, *rows, **options):
    write_image(tmp_path / "a.png", 1)
    return list(import_pairs(kind, write_json(tmp_path / "p.json", list(rows)), **options))


# --- MMedPO -------------------------------------------------------------------------------


def test_mmedpo(tmp_path):
    (pair,) = read(tmp_path, "mmedpo", mmedpo_row(7))
    assert (pair.pair_id, pair.question) == ("7", "Is there a mass?")
    assert (pair.chosen, pair.rejected, pair.score) == ("Yes", "No, there is none.", 0.75)
    assert pair.image == str(tmp_path / "a.png")
    assert pair.image_sha256 == file_sha256(tmp_path / "a.png")
    assert (pair.source, pair.licence, pair.rejected_image) == ("mmedpo", "", "")


def test_med_vlm_dpo_has_the_marker_at_the_end_a_rejected_image_and_no_score(tmp_path):
    ask = {"from": "human", "value": "Is there a mass?\n<image>"}
    row = mmedpo_row(
        conversations=[ask, {"from": "gpt", "value": "Yes"}],
        rejected_conversations=[ask, {"from": "gpt", "value": "No"}],
        rejected_image="b.png",
    )
    del row["weighted_score"], row["id"]
    (pair,) = read(tmp_path, "mmedpo", row, images=tmp_path, licence="CC0-1.0")
    assert (pair.pair_id, pair.question, pair.score) == ("0", "Is there a mass?", None)
    assert (pair.rejected_image, pair.licence) == (str(tmp_path / "b.png"), "CC0-1.0")


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "count", "same"), [("vqa-rad_dpo_weighted", 1797, 0), ("slake_dpo_weighted", 4919, 5)]
)
def test_all_of_mmedpo(shared_data, tmp_path, name, count, same):
    file = shared_data / "mmedpo" / f"{name}.json"
    images = shared_data / "vqa_rad" / "VQA_RAD Image Folder"
    out = tmp_path / "p.parquet"
    assert import_data("mmedpo", str(file), out, images=images) == f"{count} pairs"
    pairs = list(read_pairs(out))
    assert len(pairs) == len({pair.pair_id for pair in pairs}) == count
    for pair, row in zip(pairs, json.loads(file.read_text()), strict=True):
        assert pair.chosen == row["conversations"][1]["value"].strip()
        assert pair.rejected == row["rejected_conversations"][1]["value"].strip()
        assert pair.score == row["weighted_score"]
    assert sum(pair.chosen == pair.rejected for pair in pairs) == same
    assert all(pair.image_sha256 for pair in pairs) == (name.startswith("vqa-rad"))


# --- FiRe-MPO -----------------------------------------------------------------------------


def test_fire_mpo(tmp_path):
    (pair,) = read(tmp_path, "fire-mpo", fire_row(rejected_image_path="b.png"))
    assert (pair.pair_id, pair.question) == ("r-1", "Where is the mass?")
    assert pair.chosen == "In the left lung, 2 cm."
    assert [pair.chosen[a:b] for a, b in pair.chosen_spans] == ["left", "2 cm"]
    assert [pair.rejected[a:b] for a, b in pair.rejected_spans] == ["right", "4 cm"]
    assert pair.response_was_correct is False
    assert pair.rejected_image == str(tmp_path / "b.png")


@pytest.mark.parametrize(
    ("text", "plain", "spans"),
    [
        ("no marks", "no marks", ()),
        ("<mask>all</mask>", "all", ((0, 3),)),
        ("a<mask></mask>b", "ab", ((1, 1),)),
        ("<mask>a</mask><mask>b</mask>", "ab", ((0, 1), (1, 2))),
    ],
)
def test_mask_tags_become_spans(text, plain, spans):
    assert unmask(text, "chosen") == (plain, spans)


# --- TRL and LLaMA-Factory ----------------------------------------------------------------


def user(content):
    return {"role": "user", "content": content}


def assistant(content):
    return {"role": "assistant", "content": content}


PARTS = [{"type": "image", "text": None}, {"type": "text", "text": "Is there a mass?"}]


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"prompt": "<image>\nIs there a mass?"},
        {"prompt": [user("Is there a mass?")], "chosen": [assistant("Yes")]},
        {
            "prompt": [user(PARTS)],
            "chosen": [assistant([{"type": "text", "text": "Yes"}])],
            "rejected": [assistant([{"type": "text", "text": "No."}])],
        },
        {
            "prompt": None,
            "chosen": [user(PARTS), assistant("Yes")],
            "rejected": [user(PARTS), assistant("No.")],
        },
        {"images": None, "image": "a.png"},
        {"images": [{"bytes": None, "path": "a.png"}]},
    ],
)
def test_trl_plain_and_conversational(tmp_path, change):
    (pair,) = read(tmp_path, "trl", TRL | change)
    assert (pair.question, pair.chosen, pair.rejected) == ("Is there a mass?", "Yes", "No.")
    assert pair.image == str(tmp_path / "a.png")
    assert pair.image_sha256


def test_trl_as_lines_and_as_parquet(tmp_path):
    (tmp_path / "p.jsonl").write_text(f"{json.dumps(TRL)}\n\n{json.dumps(TRL)}\n")
    assert len(list(import_pairs("trl", tmp_path / "p.jsonl"))) == 2
    pq.write_table(pa.Table.from_pylist([TRL] * 3), tmp_path / "p.parquet")
    assert len(list(import_pairs("trl", tmp_path / "p.parquet"))) == 3


def test_llama_factory(tmp_path):
    (pair,) = read(tmp_path, "llama-factory", FACTORY)
    assert (pair.question, pair.chosen, pair.rejected) == ("Is there a mass?", "Yes", "No.")


@pytest.mark.parametrize("layout", ["trl", "llama-factory"])
@pytest.mark.parametrize("name", ["out.json", "out.jsonl"])
def test_pairs_survive_an_export_and_import(tmp_path, layout, name):
    rows = [fire_row(id=str(i), prompt=f"<image>\nWhere? {i} “here” <b>") for i in range(5)]
    before = read(tmp_path, "fire-mpo", *rows)
    pairs = tmp_path / "pairs.parquet"
    assert import_data("fire-mpo", str(tmp_path / "p.json"), pairs) == "5 pairs"
    (tmp_path / "sub").mkdir()
    assert export_pairs(pairs, layout, tmp_path / "sub" / name) == "5 pairs"
    back = list(import_pairs(layout, tmp_path / "sub" / name))
    lost = {"chosen_spans": (), "rejected_spans": (), "response_was_correct": None}
    assert back == [replace(pair, **lost, source=layout) for pair in before]


# --- what is refused ----------------------------------------------------------------------


TURNS = [{"from": "human", "value": "Q?"}, {"from": "gpt", "value": "a"}]


@pytest.mark.parametrize(
    ("kind", "row", "message"),
    [
        ("mmedpo", mmedpo_row(image=None), "image: is missing"),
        ("mmedpo", mmedpo_row(conversations=None), "conversations: is missing"),
        ("mmedpo", mmedpo_row(conversations=TURNS[:1]), "conversations: is not one turn of human"),
        ("mmedpo", mmedpo_row(conversations=TURNS), "asks another question"),
        ("mmedpo", mmedpo_row(weighted_score="high"), "weighted_score: is not a finite number"),
        ("mmedpo", mmedpo_row(weighted_score=float("nan")), "weighted_score: is not a finite"),
        ("fire-mpo", fire_row(chosen="<mask>a"), "chosen: has a <mask> that is not closed"),
        ("fire-mpo", fire_row(chosen="a</mask>"), "chosen: has <mask> and </mask> out of order"),
        ("fire-mpo", fire_row(rejected="<mask><mask>a</mask>"), "rejected: has <mask> and </mask>"),
        ("fire-mpo", fire_row(prompt="<image>"), "prompt: is empty"),
        ("fire-mpo", fire_row(was_correct="no"), "was_correct: is not true or false"),
        ("trl", TRL | {"images": []}, "images: holds no image"),
        (
            "trl",
            TRL | {"images": ["a.png", "b.png"], "prompt": "<image>Is there a mass?"},
            "prompt: has <image> 1 times for 2 images",
        ),
        (
            "trl",
            TRL | {"prompt": [{"role": "user", "content": [{"type": "image"}] * 2}]},
            "prompt: has <image> inside the text, or more than once",
        ),
        ("trl", TRL | {"images": [{"bytes": "AA", "path": None}]}, "holds the bytes of an image"),
        ("trl", TRL | {"prompt": None}, "prompt: is missing"),
        ("trl", TRL | {"prompt": [user("a"), assistant("b")]}, "prompt: is not one turn of user"),
        ("trl", TRL | {"prompt": "a <image> b <image>"}, "prompt: has <image> inside"),
        ("trl", TRL | {"chosen": None}, "chosen: is missing"),
        ("trl", TRL | {"chosen": [{"role": "assistant"}]}, "chosen: has a turn without content"),
        ("llama-factory", FACTORY | {"chosen": "Yes"}, "chosen: is not a turn of gpt"),
        ("llama-factory", FACTORY | {"conversations": TURNS}, "conversations: is not one turn"),
        ("llama-factory", ["a"], "is not a mapping"),
    ],
)
def test_bad_rows_are_named_with_row_and_field(tmp_path, kind, row, message):
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        read(tmp_path, kind, row)
    assert str(caught.value).startswith(f"{tmp_path / 'p.json'}: row 1")
    assert "\n" not in str(caught.value)


def test_the_number_of_a_bad_row(tmp_path):
    write_json(tmp_path / "p.json", [TRL, TRL | {"chosen": None}], indent=1)
    with pytest.raises(DataError, match=r"p\.json: row 2: chosen: is missing"):
        list(import_pairs("trl", tmp_path / "p.json"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["a", "<image>", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["from", "value", "role", "content", "text"]), inner)
    ),
    max_leaves=8,
)
GOOD = {"mmedpo": mmedpo_row(), "fire-mpo": fire_row(), "trl": TRL, "llama-factory": FACTORY}


@given(st.sampled_from(sorted(GOOD)), st.data())
def test_no_value_of_a_field_breaks_a_reader(kind, data):
    row = dict(GOOD[kind])
    row[data.draw(st.sampled_from([*row, "prompt", "image", "rejected_image"]))] = data.draw(JSON)
    try:
        pair = PAIRS[kind](row, 0, Origin(Path("images"), lambda path: ""))
    except FieldError:
        return
    texts = (pair.pair_id, pair.image, pair.question, pair.chosen, pair.rejected, pair.licence)
    assert all(isinstance(text, str) for text in texts)


@pytest.mark.parametrize("text", ["<image>", " ", "a <image> b"])
def test_texts_that_are_not_a_question(text):
    with pytest.raises(FieldError, match="prompt"):
        question_words(text, "prompt")


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        list(import_pairs("trl", tmp_path / "none.json"))
    with pytest.raises(DataError, match="--images"):
        read(tmp_path, "trl", TRL, images=Path(tmp_path / "none"))
