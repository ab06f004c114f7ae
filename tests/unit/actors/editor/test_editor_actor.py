"""The edit actor as a plain class: which responses become pairs, and why the others do not."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from actors.editor import pair_maker
from actors.editor.actor import Editor
from medray.imaging.corruption import corrupt
from medray.imaging.load import encode_png, load_image
from medray.imaging.regions import read_mask
from medray.records import Case, Dropped, Pair, Region, Response
from medray.seeds import item_seed
from medray.targeting import EditContext
from tests.support.datasets.phantoms import lesion_report, small_phantoms

VERSION = 3
CONTEXT = EditContext(VERSION)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """Pairs of complete answers; those of sentences are in test_sentence_pairs.py."""
    config = small_phantoms(tmp_path_factory.mktemp("data") / "phantoms")
    section = config.editor.model_copy(update={"scope": "answer"})
    return config.model_copy(update={"editor": section})


@pytest.fixture(scope="module")
def editor(config) -> Editor:
    return Editor(config, 0)


@pytest.fixture(scope="module")
def case(config) -> Case:
    return lesion_report(
        config, "There is a small nodule in the left upper zone. The heart is enlarged."
    )


def respond(editor: Editor, case: Case, text: str, **fields) -> Response:
    ids = (*editor.codec.tokenizer.encode(text, add_special_tokens=False), editor.codec.eos_id)
    given = Response("item", case.case_id, VERSION, text, ids, (0.0,) * len(ids), finished=True)
    return replace(given, **fields)


def outcome(editor: Editor, case: Case, response: Response):
    image = load_image(case.image)
    made, batch = editor.edit(CONTEXT, [case], [response], image)
    results = list(made.results)
    return results[0], batch, image


def test_a_view_is_the_prompt_the_picture_and_the_size(editor, case):
    image = load_image(case.image)
    wide = np.zeros((48, 80, 3), np.uint8)
    count, (one, two) = editor.encode_questions(
        [case, replace(case, question="Where?")], image, wide
    )
    assert count == 2
    for view, question, shown in ((one, case.question, image), (two, "Where?", wide)):
        prompt, (picture,) = editor.codec.encode(question, shown)
        assert np.array_equal(view.prompt_ids, prompt)
        assert np.array_equal(view.pictures[0], picture)
        assert view.sizes == (shown.shape[:2],)
        assert view.fit == "crop"


WRONG = "There is a small nodule in the right upper zone. The heart is enlarged."


def test_a_wrong_response_is_rejected_and_its_correction_chosen(editor, case, config):
    pair, batch, image = outcome(editor, case, respond(editor, case, WRONG))
    assert isinstance(pair, Pair)
    assert pair.rejected == WRONG
    assert pair.chosen == WRONG.replace("right", "left")
    assert not pair.response_was_correct
    assert [pair.chosen[s.start : s.end] for s in pair.chosen_spans] == ["left"]
    assert [pair.rejected[s.start : s.end] for s in pair.rejected_spans] == ["right"]
    packed = batch.pairs[0]
    tokens = packed.rejected.ids[packed.rejected.edited]
    assert editor.codec.tokenizer.decode(tokens).strip() == "right"
    expected = corrupt(image, case.regions, config.corruption, seed=item_seed(0, case.case_id))
    assert pair.corrupted_sha256 == expected.sha256 == packed.corrupted_keys[0]
    assert np.array_equal(
        batch.pixels[packed.corrupted_keys[0]], editor.codec.pixels(expected.image)
    )
    assert not np.array_equal(
        batch.pixels[packed.corrupted_keys[0]], batch.pixels[packed.image_keys[0]]
    )


def test_a_right_response_is_chosen_over_its_smallest_wrong_variant(editor, case):
    pair, *_ = outcome(editor, case, respond(editor, case, case.reference))
    assert isinstance(pair, Pair)
    assert pair.response_was_correct
    assert pair.chosen == case.reference
    assert pair.rejected != case.reference


@pytest.mark.parametrize(
    ("text", "fields", "reason"),
    [
        (WRONG, {"policy_version": VERSION - 1}, "stale"),
        ("", {}, "empty-answer"),
        ("  \n", {}, "empty-answer"),
        (WRONG, {"finished": False}, "unfinished-answer"),
        ("No focal lesion is seen. Nothing else.", {}, "edit-too-large"),
        ("Xyzzy plugh \U0001fac1 frobnicate.", {}, "abstained:not-comparable"),
    ],
)
def test_what_cannot_be_trained_on_is_dropped_with_its_reason(editor, case, text, fields, reason):
    dropped, batch, _ = outcome(editor, case, respond(editor, case, text, **fields))
    assert isinstance(dropped, Dropped)
    assert dropped.reason == reason
    assert not batch.pairs


def test_tokens_that_do_not_spell_the_text_are_dropped(editor, case):
    ids = tuple(editor.codec.tokenizer.encode("Something else."))
    response = respond(editor, case, WRONG, token_ids=ids, token_logps=(0.0,) * len(ids))
    dropped, *_ = outcome(editor, case, response)
    assert isinstance(dropped, Dropped)
    assert dropped.reason == "alignment-failed"


def test_an_image_shared_by_several_pairs_travels_once(editor, case):
    responses = [respond(editor, case, WRONG, item_id=f"i{i}") for i in range(3)]
    image = load_image(case.image)
    made, batch = editor.edit(CONTEXT, [case] * 3, responses, image, image, image)
    results = list(made.results)
    assert len(batch.pairs) == len(results) == 3
    assert len(batch.pixels) == 2  # clean and corrupted


def test_what_answers_to_a_case_share_is_made_once(editor, case, monkeypatch):
    """And the pairs are those that each answer gives alone."""
    texts = [WRONG, case.reference, WRONG.replace("small", "large"), ""]
    responses = [respond(editor, case, text, item_id=f"i{i}") for i, text in enumerate(texts)]
    other = replace(case, case_id="other", question="Is there a nodule?")
    responses.append(respond(editor, other, WRONG, item_id="other"))
    cases, image = [*[case] * 4, other], load_image(case.image)
    alone = [editor.edit(CONTEXT, [c], [r], image) for c, r in zip(cases, responses, strict=True)]
    calls = []
    encode, disturb = editor.codec.encode, pair_maker.corrupt_views
    monkeypatch.setattr(editor.codec, "encode", lambda *a: calls.append("encode") or encode(*a))
    monkeypatch.setattr(
        pair_maker, "corrupt_views", lambda *a, **k: calls.append("corrupt") or disturb(*a, **k)
    )
    made, batch = editor.edit(CONTEXT, cases, responses, *[image] * 5)
    assert made.results == tuple(outcome for one, _ in alone for outcome in one.results)
    assert Counter(calls) == {"encode": 2, "corrupt": 2}  # of both cases
    parts = [pair for _, one in alone for pair in one.pairs]
    assert len(batch.pairs) == len(parts) == 4
    for one, other_way in zip(batch.pairs, parts, strict=True):
        assert one.pair_id == other_way.pair_id
        assert np.array_equal(one.prompt_ids, other_way.prompt_ids)
        assert (one.image_keys, one.corrupted_keys) == (
            other_way.image_keys,
            other_way.corrupted_keys,
        )
    pixels = {key: array for _, one in alone for key, array in one.pixels.items()}
    assert batch.pixels.keys() == pixels.keys()
    assert all(np.array_equal(array, pixels[key]) for key, array in batch.pixels.items())


def test_relevance_is_that_of_the_edit_however_calls_are_split(editor, case):
    """The window it is normalised over is the step, which an editor does not see."""
    smaller = case.reference.replace("small", "large")
    responses = [
        respond(editor, case, text, item_id=f"i{i}") for i, text in enumerate((WRONG, smaller))
    ]
    image = load_image(case.image)
    made, batch = editor.edit(CONTEXT, [case] * 2, responses, image, image)
    together = list(made.results)
    apart = [editor.edit(CONTEXT, [case], [response], image) for response in responses]
    worst = [max(s.severity for s in pair.rejected_spans) for pair in together]
    assert worst[0] != worst[1]
    assert [pair.relevance for pair in together] == worst
    assert [packed.relevance for packed in batch.pairs] == worst
    assert [one.results[0].relevance for one, _ in apart] == worst
    assert [one.pairs[0].relevance for _, one in apart] == worst


def test_unusable_cases_are_named_before_anyone_works_on_them(editor, case, tmp_path):
    (tmp_path / "zero.png").write_bytes(b"")
    cases = [
        case,
        replace(case, image=str(tmp_path / "none.png")),
        replace(case, image=str(tmp_path / "zero.png")),
        replace(case, reference=" "),
        replace(case, question="Why? " * 2000),
    ]
    found, *images = editor.load(cases)
    assert [reason for reason, _ in found] == [
        *("", "image-missing", "image-empty", "empty-reference", "prompt-too-long")
    ]
    assert [image is None for image in images] == [False, True, True]  # three cases share the first


def test_an_image_is_read_once_at_the_size_that_the_model_sees(editor, case, tmp_path, monkeypatch):
    """However many cases are about it; their regions come at that size."""
    large = np.kron(load_image(case.image), np.ones((8, 8, 1), np.uint8))
    (tmp_path / "large.png").write_bytes(encode_png(large))
    (tmp_path / "mask.png").write_bytes(encode_png(np.eye(len(large), dtype=bool)))
    regions = Region("nodule", box=(9, 0, 17, 8)), Region("a", mask=str(tmp_path / "mask.png"))
    cases = [
        replace(case, case_id=name, image=str(tmp_path / "large.png"), regions=regions)
        for name in "abc"
    ]
    read: list[str] = []
    plain = editor.codec.load_view
    monkeypatch.setattr(editor.codec, "load_view", lambda path: read.append(path) or plain(path))
    found, image = editor.load(cases)
    assert len(read) == 1
    assert image.shape == load_image(case.image).shape
    assert np.abs(image.astype(int) - load_image(case.image)).mean() < 3
    for reason, (box, mask) in found:
        assert (reason, box.box) == ("", (1, 0, 3, 1))
        assert np.array_equal(read_mask(mask.mask, *image.shape[:2]), np.eye(len(image)))


def test_the_pair_says_at_what_scale_it_was_corrupted(editor, case):
    pair, *_ = outcome(editor, case, respond(editor, case, WRONG))
    assert pair.corruption.endswith(" at=48x48/bicubic")


def test_a_region_that_was_found_is_hidden_and_weighs_the_pair(config, case):
    """v' hides what the edited sentence is about; the score is half of the pair's relevance."""
    found = config.model_copy(
        update={"corruption": config.corruption.model_copy(update={"region": "found"})}
    )
    editor = Editor(found, 0)
    nodule = Region("nodule", box=(4, 4, 12, 12), source="clipseg", score=0.75)
    heart = Region("heart", box=(20, 20, 30, 30), source="clipseg", score=0.5)
    located = replace(case, regions=(*case.regions, nodule, heart))
    pair, _, image = outcome(editor, located, respond(editor, located, WRONG))
    assert isinstance(pair, Pair)
    assert pair.region_source == "clipseg"
    assert pair.corruption.endswith("found=nodule:0.75 at=48x48/bicubic")
    seed = item_seed(0, case.case_id)
    assert pair.corrupted_sha256 == corrupt(image, (nodule,), found.corruption, seed=seed).sha256
    assert pair.relevance == pytest.approx((1.0 + 0.75) / 2)
    bare, *_ = outcome(editor, case, respond(editor, case, WRONG))
    assert isinstance(bare, Pair)
    assert (bare.region_source, bare.corrupted_sha256, bare.relevance) == ("", "", 1.0)
