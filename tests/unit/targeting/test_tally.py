"""Counting errors: observations, decay of counts, and weights. Values worked out by hand."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from medray.config import CorruptionConfig, TargetingConfig
from medray.editing import FindingsEditor
from medray.records import Case, Edit, Pair, PairScore, Span
from medray.targeting import (
    Counts,
    ErrorObservation,
    ErrorTargets,
    Tally,
    case_types,
    classify_errors,
    targeted_editor,
)

REPORT = "Describe the chest radiograph."
LESION = "There is a small nodule in the left upper zone. The heart size is normal."


def case(question: str, reference: str) -> Case:
    return Case("c", "c.png", "00", question, reference, "open")


def observe(
    observed_case: Case,
    answer: str,
    *,
    contrast: float = math.nan,
    corruption: str = "gaussian sigma=45",
    region: str = "phantom",
) -> ErrorObservation:
    """The observation from the findings editor's pair of this answer."""
    edit = FindingsEditor().edit(observed_case.question, observed_case.reference, answer, seed=0)
    right = edit.verdict == "right"
    pair = Pair(
        "p",
        "p",
        "c",
        0,
        *((answer, edit.text) if right else (edit.text, answer)),
        edit.answer_spans if right else edit.text_spans,
        edit.text_spans if right else edit.answer_spans,
        right,
        1.0,
        "findings/2",
        region_source=region,
        corruption=corruption,
    )
    score = PairScore("p", 0.0, 0.0, 0.0, 0.0, 0.0, contrast)
    return classify_errors(observed_case, pair, score, 0.25)


def test_each_type_counts_once_per_answer() -> None:
    observation = observe(case(REPORT, LESION), "There is a large nodule in the right upper zone.")
    assert observation == ErrorObservation(
        wrong=("side", "size"), right=("kind", "presence", "zone")
    )


def test_a_right_answer_shows_the_types_it_is_right_in() -> None:
    observation = observe(case(REPORT, LESION), "Left nodule. Normal heart size.")
    assert observation == ErrorObservation(right=("attribute", "kind", "presence", "side"))


def test_a_missed_lesion_is_an_error_of_presence() -> None:
    assert observe(case(REPORT, LESION), "The lungs are clear.") == ErrorObservation(
        wrong=("presence",)
    )


def test_a_yes_or_no_is_about_the_question() -> None:
    yes_no = case("Is the lesion on the left side?", "Yes")
    assert observe(yes_no, "No").wrong == ("side",)
    assert observe(yes_no, "Yes").right == ("side",)


def test_errors_that_only_the_editor_finds_count() -> None:
    pair = Pair(
        "p", "p", "c", 0, "a b", "a c", (), (Span(2, 3, "count", 0.4, ""),), False, 1.0, "llm/1"
    )
    score = PairScore("p", 0.0, 0.0, 0.0, 0.0, 0.0)
    assert classify_errors(case("?", "b"), pair, score, 0.25) == ErrorObservation(wrong=("count",))


@pytest.mark.parametrize(
    ("contrast", "corruption", "region", "misread", "prior"),
    [
        (1.0, "gaussian sigma=45", "phantom", True, False),  # it changed with the lesion
        (-1.0, "gaussian sigma=45", "phantom", True, False),  # the lesion suggested otherwise
        (0.1, "gaussian sigma=45", "phantom", False, False),  # the noise may not hide it
        (0.1, "black feather=4", "phantom", False, False),  # the hole reveals where it was
        (0.1, "gaussian sigma=12", "whole-image", False, False),
        (0.1, "black", "whole-image", False, True),
        (-0.24, "replacement sigma=10", "whole-image", False, True),
        (0.25, "black", "whole-image", True, False),
        (math.nan, "", "", False, False),
        (math.inf, "black", "whole-image", False, False),
    ],
)
def test_when_an_error_is_a_misreading_and_when_a_prior(
    contrast: float, corruption: str, region: str, misread: bool, prior: bool
) -> None:
    side = case("Which side is the lesion on?", "Left")
    options = {"contrast": contrast, "corruption": corruption, "region": region}
    wrong = observe(side, "Right", **options)
    assert (wrong.misread, wrong.prior) == (("side",) * misread, ("side",) * prior)
    right = observe(side, "Left", **options)
    assert (right.misread, right.prior) == ((), ())


def test_the_contrast_of_two_errors_is_attributed_to_neither() -> None:
    observation = observe(case(REPORT, LESION), "Large right nodule.", contrast=5.0)
    assert observation.wrong == ("side", "size")
    assert (observation.misread, observation.prior) == ((), ())


@pytest.mark.parametrize(
    ("question", "reference", "types"),
    [
        (REPORT, LESION, {"kind", "presence", "side", "zone", "size", "attribute"}),
        (REPORT, "The lungs are clear.", {"presence"}),
        ("Is the lesion on the left side?", "No", {"side"}),
        ("What modality is used?", "CT", {"modality"}),
        ("Why did the patient fall?", "Ice on the road", set()),
    ],
)
def test_the_error_types_that_answers_to_a_case_can_contain(
    question: str, reference: str, types: set[str]
) -> None:
    assert case_types(case(question, reference)) == types


def test_counts_decay_with_each_step() -> None:
    wrong, right = ErrorObservation(wrong=("side",)), ErrorObservation(right=("side", "zone"))
    tally = Tally().after([wrong, wrong, right], 0.5)
    assert tally.counts == {"side": Counts(2.0, 1.0), "zone": Counts(0.0, 1.0)}
    tally = tally.after([ErrorObservation(wrong=("count",), prior=("count",))], 0.5)
    assert tally.counts == {
        "count": Counts(1.0, 0.0, prior=1.0),
        "side": Counts(1.0, 0.5),
        "zone": Counts(0.0, 0.5),
    }
    assert list(tally.counts) == ["count", "side", "zone"]


def test_rates_and_weights_by_hand() -> None:
    """3 errors in 8: 3/8 in all. side (3 + 4·3/8) / 8 = 9/16, kind (0 + 4·3/8) / 8 = 3/16."""
    tally = Tally({"kind": Counts(0.0, 4.0), "side": Counts(3.0, 1.0)})
    assert tally.rate("side") == pytest.approx(9 / 16)
    assert tally.rate("kind") == pytest.approx(3 / 16)
    assert tally.rate("plane") == pytest.approx(3 / 8)  # never seen: the rate of all types
    weights = tally.targets(0.8).weights
    assert weights == pytest.approx({"kind": 0.2 + 0.8 * 0.5, "side": 0.2 + 0.8 * 1.5})
    assert tally.metrics() == pytest.approx({"targeting_kind": 3 / 16, "targeting_side": 9 / 16})


def test_the_share_of_a_language_prior_by_hand() -> None:
    tally = Tally({"side": Counts(9.0, 0.0, misread=1.0, prior=7.0), "zone": Counts(1.0, 0.0)})
    assert tally.targets(0.5).prior == pytest.approx({"side": 8 / 12, "zone": 1 / 4})
    assert tally.metrics()["targeting_prior"] == pytest.approx(7 / 8)


def test_no_targets_without_strength_or_without_errors() -> None:
    assert Tally({"side": Counts(3.0, 1.0)}).targets(0.0) == ErrorTargets()
    assert Tally().targets(0.9) == ErrorTargets()
    assert Tally({"side": Counts(0.0, 5.0)}).targets(0.9) == ErrorTargets()
    assert Tally().metrics() == {}


@pytest.mark.parametrize(
    ("key", "value"),
    [("strength", 1.0), ("strength", -0.1), ("decay", 1.1), ("candidates", 0), ("prior_below", 0)],
)
def test_settings_out_of_range_are_refused(key: str, value: float) -> None:
    with pytest.raises(ValidationError):
        TargetingConfig(**{key: value})


TYPES = st.sampled_from(["kind", "presence", "side", "size", "zone"])
KINDS = st.lists(TYPES, max_size=3, unique=True).map(lambda kinds: tuple(sorted(kinds)))
OBSERVATIONS = st.lists(
    st.builds(ErrorObservation, wrong=KINDS, right=KINDS, prior=KINDS), max_size=9
)
STEPS = st.lists(OBSERVATIONS, min_size=1, max_size=6)


@given(steps=STEPS, decay=st.floats(0, 1), strength=st.floats(0, 0.99))
def test_no_weight_is_below_the_floor(
    steps: list[list[ErrorObservation]], decay: float, strength: float
) -> None:
    tally = Tally()
    for observations in steps:
        tally = tally.after(observations, decay)
    targets = tally.targets(strength)
    assert all(weight >= (1 - strength) * (1 - 1e-12) for weight in targets.weights.values())
    assert all(0.0 < share < 1.0 for share in targets.prior.values())
    assert targets.weight(()) == 1.0


@given(before=STEPS, after=STEPS, decay=st.floats(0, 1))
def test_a_restored_tally_continues_exactly(
    before: list[list[ErrorObservation]], after: list[list[ErrorObservation]], decay: float
) -> None:
    uninterrupted = Tally()
    for observations in before:
        uninterrupted = uninterrupted.after(observations, decay)
    resumed = Tally.from_dict(json.loads(json.dumps(uninterrupted.to_dict(), sort_keys=False)))
    shuffled = Tally.from_dict(dict(reversed(uninterrupted.to_dict().items())))
    for observations in after:
        uninterrupted, resumed, shuffled = (
            tally.after(observations, decay) for tally in (uninterrupted, resumed, shuffled)
        )
    for other in (resumed, shuffled):
        assert other == uninterrupted
        assert repr(other.targets(0.7)) == repr(uninterrupted.targets(0.7))


SPANS = (Span(0, 1, "zone", 1.0, ""), Span(2, 3, "side", 1.0, ""))
NOISE = CorruptionConfig(kind="diffusion", feather=4)


def test_the_corruption_is_the_configured_one_except_for_priors() -> None:
    targets = ErrorTargets({"side": 1.0}, {"side": 0.6, "zone": 0.1})
    configs = [targets.corruption(NOISE, SPANS, seed=seed) for seed in range(2000)]
    black = [config for config in configs if config is not NOISE]
    assert {(config.kind, config.region) for config in black} == {("black", "whole")}
    assert len(black) / len(configs) == pytest.approx(0.6, abs=0.03)
    assert configs == [targets.corruption(NOISE, SPANS, seed=seed) for seed in range(2000)]


def test_a_run_without_targets_or_corrupted_images_keeps_its_corruption() -> None:
    certain = ErrorTargets({"side": 1.0}, {"side": 0.999})
    none = CorruptionConfig(region="none")
    assert all(certain.corruption(none, SPANS, seed=seed) is none for seed in range(50))
    assert all(ErrorTargets().corruption(NOISE, SPANS, seed=seed) is NOISE for seed in range(50))
    assert all(certain.corruption(NOISE, (), seed=seed) is NOISE for seed in range(50))


def test_only_the_findings_editor_is_targeted() -> None:
    class Other:
        name, version = "other", "1"

        def edit(self, question: str, reference: str, answer: str, *, seed: int) -> Edit:
            raise NotImplementedError

    editor, other, targets = FindingsEditor(), Other(), ErrorTargets({"side": 2.0})
    assert targeted_editor(editor, ErrorTargets()) is editor
    assert targeted_editor(other, targets) is other
    targeted = targeted_editor(editor, targets)
    assert (targeted.name, targeted.version) == (editor.name, editor.version + " aimed")
