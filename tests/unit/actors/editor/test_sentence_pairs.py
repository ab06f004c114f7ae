"""The edit actor on answers of several sentences: one pair per sentence, and going on."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from actors.editor.actor import Editor
from actors.editor.pair_maker import EditCall
from medray.editing.alignment import decode
from medray.editing.llm import JudgedEdit
from medray.errors import ItemError
from medray.imaging.load import load_image
from medray.records import Continuation, Dropped, Edit, Pair, Response
from medray.targeting import EditContext
from tests.support.datasets.phantoms import lesion_report, small_phantoms

CONTEXT = EditContext(3)
REFERENCE = "There is a small nodule in the left upper zone. The heart is enlarged."
BOTH_WRONG = "There is a small nodule in the right upper zone. The heart is normal. Nothing else."
FIRST, SECOND = "There is a small nodule in the right upper zone.", "The heart is normal."


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return small_phantoms(tmp_path_factory.mktemp("data") / "phantoms")


@pytest.fixture(scope="module")
def case(config):
    return lesion_report(config, REFERENCE)


def editor_of(config, **keys) -> Editor:
    section = config.editor.model_copy(update=keys)
    return Editor(config.model_copy(update={"editor": section}), 0)


@pytest.fixture(scope="module")
def editor(config) -> Editor:
    return editor_of(config)


def respond(editor: Editor, case, text: str, given: str = "", finished: bool = True) -> Response:
    """`text`, of which `given` was not sampled."""
    encode = editor.codec.tokenizer.encode
    before = encode(given, add_special_tokens=False)
    ids = [*before, *encode(text[len(given) :], add_special_tokens=False)]
    ids += [editor.codec.eos_id] if finished else []
    logps = [0.0] * len(before) + [-0.5] * (len(ids) - len(before))
    return Response("item", case.case_id, 3, text, tuple(ids), tuple(logps), finished, len(before))


def edited(editor: Editor, case, response: Response):
    made, batch = editor.edit(CONTEXT, [case], [response], load_image(case.image))
    return made.results, batch


def test_every_wrong_sentence_is_a_pair_behind_the_sampled_answer(editor, case):
    response = respond(editor, case, BOTH_WRONG)
    results, batch = edited(editor, case, response)
    by_sentence = {pair.sentence: pair for pair in results}
    assert {pair.pair_id for pair in results} == {"item.0", "item.1"}
    assert {(pair.item_id, pair.scope) for pair in results} == {("item", "sentence")}
    assert [by_sentence[n].rejected for n in (0, 1)] == [FIRST, SECOND]
    assert by_sentence[0].chosen == FIRST.replace("right", "left")
    assert by_sentence[1].chosen == SECOND.replace("normal", "enlarged")
    assert [by_sentence[n].prefix for n in (0, 1)] == ["", FIRST + " "]
    assert [pair.relevance for pair in results] == sorted(
        (pair.relevance for pair in results), reverse=True
    )
    for packed, pair in zip(batch.pairs, results, strict=True):
        prefix = packed.prefix_ids.tolist()
        assert prefix == list(response.token_ids[: len(prefix)])
        for side, text in ((packed.chosen, pair.chosen), (packed.rejected, pair.rejected)):
            joined = decode(editor.codec.tokenizer, [*prefix, *side.ids])
            assert joined == pair.prefix + text
            assert editor.codec.eos_id not in side.ids
    assert len({packed.image_keys for packed in batch.pairs}) == 1


def test_relevance_may_be_clinical_significance(config, case):
    editor = editor_of(config, relevance="significance")
    results, _ = edited(editor, case, respond(editor, case, BOTH_WRONG))
    # a nodule on the wrong side: half of actionable; a heart called normal: actionable
    assert {pair.sentence: pair.relevance for pair in results} == {0: 0.25, 1: 0.5}
    assert all(pair.editor.endswith(" relevance=significance/1") for pair in results)


def test_thoughts_are_context_of_the_pair(editor, case):
    thought = "<think>\nLook at it.\n</think>\n\n"
    results, _ = edited(editor, case, respond(editor, case, thought + FIRST))
    (pair,) = results
    assert (pair.scope, pair.prefix) == ("sentence", thought)
    assert (pair.rejected, pair.chosen) == (FIRST, FIRST.replace("right", "left"))


def test_a_right_answer_gives_its_sentences_wrong_variants(editor, case):
    results, batch = edited(editor, case, respond(editor, case, REFERENCE))
    assert len(results) == len(batch.pairs) >= 1
    for pair in results:
        assert isinstance(pair, Pair)
        assert pair.response_was_correct
        assert REFERENCE[len(pair.prefix) :].startswith(pair.chosen)
        assert REFERENCE.startswith(pair.prefix)
        assert pair.rejected != pair.chosen


def test_pairs_of_one_answer_are_limited(config, case):
    editor = editor_of(config, pairs_per_answer=1)
    (pair,), _ = edited(editor, case, respond(editor, case, BOTH_WRONG))
    assert pair.rejected == FIRST  # a wrong side is worse than a wrong heart


def test_an_answer_of_one_sentence_is_a_pair_by_itself(editor, case):
    response = respond(editor, case, FIRST)
    (pair,), batch = edited(editor, case, response)
    assert (pair.scope, pair.pair_id, pair.prefix) == ("answer", "item", "")
    assert batch.pairs[0].rejected.ids.tolist() == list(response.token_ids)
    assert batch.pairs[0].chosen.ids[-1] == editor.codec.eos_id


def test_with_continue_the_first_wrong_sentence_is_corrected_and_gone_on_from(config, case):
    editor = editor_of(config, continue_=True)
    (pair, going_on), batch = edited(editor, case, respond(editor, case, BOTH_WRONG))
    assert (pair.sentence, pair.rejected) == (0, FIRST)
    assert isinstance(going_on, Continuation)
    assert going_on.item_id == "item"
    assert decode(editor.codec.tokenizer, going_on.prefix_ids) == pair.chosen
    assert len(batch.pairs) == 1


def test_an_answer_that_ends_in_its_wrong_sentence_does_not_go_on(config, case):
    editor = editor_of(config, continue_=True)
    text = f"The heart is enlarged. {FIRST}"
    results, _ = edited(editor, case, respond(editor, case, text))
    assert [type(result) for result in results] == [Pair]


def test_what_was_given_is_never_a_side(config, case):
    """The given beginning is wrong here: only what was sampled behind it may become a pair."""
    editor = editor_of(config, continue_=True)
    response = respond(editor, case, BOTH_WRONG, given=FIRST)
    results, batch = edited(editor, case, response)
    pairs = [result for result in results if isinstance(result, Pair)]
    assert [(pair.rejected, pair.prefix) for pair in pairs] == [(SECOND, FIRST + " ")]
    assert pairs[0].pair_id == f"item.1-{response.given}"  # the first round may have an item.1
    assert batch.pairs[0].rejected.behaviour.tolist() == [-0.5] * len(batch.pairs[0].rejected.ids)


def test_a_complete_edit_of_a_continued_answer_is_no_pair(config, case):
    """An editor that knows no sentences: both sides would begin with what was given."""
    editor = editor_of(config, continue_=True)
    response = respond(editor, case, BOTH_WRONG, given=FIRST)
    edit = Edit("wrong", BOTH_WRONG.replace("normal", "enlarged"))
    call = EditCall(CONTEXT, editor.editor)
    image = load_image(case.image)
    with pytest.raises(ItemError) as raised:
        editor.pair_maker.make(call, case, response, image, JudgedEdit(edit))
    assert raised.value.reason == "abstained:no-sentence"


def test_a_continued_answer_without_a_pair_is_not_dropped(config, case):
    editor = editor_of(config, continue_=True)
    corrected = FIRST.replace("right", "left")
    response = respond(editor, case, f"{corrected} Xyzzy plugh.", given=corrected)
    results, batch = edited(editor, case, response)
    assert not [result for result in results if isinstance(result, Dropped)]
    assert len(batch.pairs) == len([r for r in results if isinstance(r, Pair)])


def test_of_an_answer_that_was_cut_short_only_finished_sentences_count(editor, case):
    text = f"{FIRST} The heart is nor"
    (pair,), _ = edited(editor, case, respond(editor, case, text, finished=False))
    assert (pair.scope, pair.rejected, pair.sentence) == ("sentence", FIRST, 0)
    for short in (FIRST, "There is a small nod", "5. 6"):
        (dropped,), _ = edited(editor, case, respond(editor, case, short, finished=False))
        assert dropped.reason == "unfinished-answer"


def test_a_refused_edit_makes_no_pair(editor, case):
    thought = "<think>It is in the right upper zone.</think> "
    (dropped,), _ = edited(editor, case, respond(editor, case, thought + FIRST))
    assert dropped.reason == "abstained:thought-contradicts"


def test_sentences_and_answers_mix_in_one_call(editor, case):
    texts = [BOTH_WRONG, FIRST, "Xyzzy plugh frobnicate.", REFERENCE]
    responses = [respond(editor, case, text) for text in texts]
    image = load_image(case.image)
    made, batch = editor.edit(CONTEXT, [case] * 4, responses, *[image] * 4)
    results = list(made.results)
    kinds = Counter(type(result).__name__ for result in results)
    assert kinds["Dropped"] == 1
    assert kinds["Pair"] == len(batch.pairs) >= 4
    assert np.array_equal(batch.pairs[0].prompt_ids, batch.pairs[-1].prompt_ids)
