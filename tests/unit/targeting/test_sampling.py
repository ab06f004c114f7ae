"""Which cases are drawn, which variants are made, and that both follow the policy's errors."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medray.data.stream import take
from medray.editing import FindingsEditor
from medray.phantom.studies.study import exchanges, study_truth
from medray.records import Case, Edit, Pair, PairScore
from medray.targeting import ErrorTargets, Tally, case_types, classify_errors, draw, targeted_editor

EXCHANGES = {
    "side": ("Which side is the lesion on?", "Left"),
    "size": ("How large is the lesion?", "Small"),
    "none": ("Why did the patient fall?", "Ice"),
}


def case(i: int, kind: str) -> Case:
    return Case(f"c{i}", f"{i}.png", f"sha-{i}", *EXCHANGES[kind], "open")


CASES = st.lists(st.sampled_from(sorted(EXCHANGES)), min_size=1, max_size=12).map(
    lambda kinds: [case(i, kind) for i, kind in enumerate(kinds)]
)
WEIGHTS = st.dictionaries(st.sampled_from(["side", "size"]), st.floats(0.01, 20.0))


@settings(deadline=None)
@given(
    cases=CASES,
    position=st.integers(0, 40),
    count=st.integers(0, 15),
    k=st.integers(1, 5),
    seed=st.integers(0, 99),
    weights=WEIGHTS,
)
def test_drawn_cases_are_candidates_in_stream_order(
    cases: list[Case], position: int, count: int, k: int, seed: int, weights: dict[str, float]
) -> None:
    targets = ErrorTargets(weights)
    drawn, end = draw(
        cases, position=position, count=count, seed=seed, targets=targets, candidates=k
    )
    pool = take(cases, position=position, count=end - position, seed=seed)
    assert len(drawn) == count
    assert count <= len(pool) <= max(count, k * count)
    rest = iter(pool)
    assert all(any(case is other for other in rest) for case in drawn)  # a subsequence: no repeats
    again = draw(cases, position=position, count=count, seed=seed, targets=targets, candidates=k)
    assert again == (drawn, end)


@settings(deadline=None)
@given(cases=CASES, position=st.integers(0, 40), count=st.integers(0, 15), k=st.integers(1, 5))
def test_without_weights_the_draw_is_the_plain_stream(
    cases: list[Case], position: int, count: int, k: int
) -> None:
    drawn = draw(
        cases, position=position, count=count, seed=3, targets=ErrorTargets(), candidates=k
    )
    assert drawn == (take(cases, position=position, count=count, seed=3), position + count)


def test_candidates_do_not_repeat_a_small_dataset() -> None:
    """Twelve candidates out of five cases would contain each of them twice."""
    cases = [case(i, "side") for i in range(5)]
    targets = ErrorTargets({"side": 2.0})
    drawn, end = draw(cases, position=5, count=3, seed=0, targets=targets, candidates=4)
    assert end == 10
    assert len({c.case_id for c in drawn}) == 3


@pytest.mark.parametrize(("weight", "share"), [(3.0, 0.75), (1.0, 0.5), (0.25, 0.2)])
def test_the_probability_is_proportional_to_the_weight(weight: float, share: float) -> None:
    """One of two, weights w and 1: w / (w + 1); a case without a type has weight 1."""
    cases, targets = [case(0, "side"), case(1, "none")], ErrorTargets({"side": weight})
    drawn = Counter(
        draw(cases, position=2 * i, count=1, seed=0, targets=targets, candidates=2)[0][0].case_id
        for i in range(4000)
    )
    assert drawn["c0"] / 4000 == pytest.approx(share, abs=0.025)


REPORT = "Describe the chest radiograph."
LESION = "There is a small nodule in the left upper zone. The heart size is normal."


def variants(prefer: Mapping[str, float] | None) -> Counter[str]:
    """The error types of the wrong variants of a right report, over 200 seeds."""
    editor = FindingsEditor(prefer)
    edits = [editor.edit(REPORT, LESION, LESION, seed=seed) for seed in range(200)]
    assert all(edit.verdict == "right" for edit in edits)
    assert edits == [editor.edit(REPORT, LESION, LESION, seed=seed) for seed in range(200)]
    again = [FindingsEditor().edit(REPORT, LESION, edit.text, seed=0) for edit in edits]
    assert all(edit.verdict == "wrong" for edit in again)
    return Counter(kind for edit in edits for kind in _types(edit))


def test_variants_follow_the_weights() -> None:
    """Five small changes: kind, side, zone, size, heart. With weight 10 for side and 1 for the
    others, side is preferred in 10 of 14."""
    plain, targeted = variants(None), variants({"side": 10.0})
    assert set(plain) == {"kind", "side", "zone", "size", "attribute"}
    assert targeted["side"] / 200 == pytest.approx(10 / 14, abs=0.08)
    assert set(targeted) > {"kind", "zone", "size", "attribute"}  # no type is starved
    assert variants({}) == plain


def test_a_policy_that_misses_lesions_is_shown_missed_lesions() -> None:
    """Without weights a lesion is denied only if nothing else can be changed."""
    report = LESION + " The mediastinum is of normal width and the bones are unremarkable."

    def denials(prefer: Mapping[str, float] | None) -> int:
        editor = FindingsEditor(prefer)
        edits = [editor.edit(REPORT, report, report, seed=seed) for seed in range(60)]
        return sum("nodule" not in e.text and "presence" in _types(e) for e in edits)

    assert denials(None) == 0
    assert denials({"presence": 30.0}) > 40


def test_a_preferred_variant_is_still_small() -> None:
    """Denying the lesion of this report would change more than half of its words."""
    assert variants({"presence": 30.0})["presence"] == 0


def _types(edit: Edit) -> set[str]:
    return {span.error_type for span in edit.answer_spans}


def phantoms(studies: int) -> list[Case]:
    """Cases whose references state the truth of a study; the digest is the number of the study."""
    cases = []
    for i in range(studies):
        truth = study_truth(0, "train", i)
        for exchange in exchanges(0, "train", i, truth, truth):
            kind = exchange.answer_type
            fields = (exchange.question, exchange.answer, kind)
            cases.append(Case(f"{i}/{kind}", f"{i}.png", str(i), *fields))
    return cases


OTHER = {"left": "right", "right": "left", "small": "large", "large": "small"}
OTHER |= {"normal": "enlarged", "enlarged": "normal"}


def policy_answer(case: Case, errors: frozenset[str], rng: random.Random) -> str:
    """The answer of a policy that is wrong in these attributes, in two of five answers each."""
    index = int(case.image_sha256)
    truth = belief = study_truth(0, "train", index)
    for name in sorted(errors):
        if getattr(belief, name) and rng.random() < 0.4:
            belief = replace(belief, **{name: OTHER[getattr(belief, name)]})
    answers = {x.answer_type: x.answer for x in exchanges(0, "train", index, truth, belief)}
    return answers[case.answer_type]


def simulate(
    strength: float, policy: list[frozenset[str]], types: frozenset[str]
) -> tuple[list[float], list[float]]:
    """Per step: the share of cases that can err in these types, and of variants that err in them.

    `policy`: for each step, the attributes in which the policy errs.
    """
    cases, tally, position, rng = phantoms(160), Tally(), 0, random.Random(0)
    case_shares, variant_shares = [], []
    for errors in policy:
        targets = tally.targets(strength)
        drawn, position = draw(
            cases, position=position, count=32, seed=0, targets=targets, candidates=4
        )
        editor, observations, variant_types = targeted_editor(FindingsEditor(), targets), [], []
        for drawn_case in drawn:
            answer = policy_answer(drawn_case, errors, rng)
            edit = editor.edit(drawn_case.question, drawn_case.reference, answer, seed=position)
            assert edit.verdict != "abstain"
            right = edit.verdict == "right"
            if right:
                variant_types.append(_types(edit))
            sides = (answer, edit.text) if right else (edit.text, answer)
            spans = (edit.answer_spans, edit.text_spans)
            pair = Pair(
                drawn_case.case_id,
                drawn_case.case_id,
                drawn_case.case_id,
                0,
                *sides,
                *(spans if right else spans[::-1]),
                right,
                1.0,
                "findings",
            )
            score = PairScore(drawn_case.case_id, 0.0, 0.0, 0.0, 0.0, 0.0)
            observations.append(classify_errors(drawn_case, pair, score, 0.25))
        tally = tally.after(observations, 0.9)
        case_shares.append(sum(bool(case_types(case) & types) for case in drawn) / len(drawn))
        variant_shares.append(
            sum(bool(kinds & types) for kinds in variant_types) / max(1, len(variant_types))
        )
    return case_shares, variant_shares


def late(shares: list[float]) -> float:
    """The mean of the last ten steps."""
    return sum(shares[-10:]) / 10


def test_cases_and_variants_follow_a_policy_that_errs_in_side_and_size() -> None:
    types = frozenset({"side", "size"})
    off = simulate(0.0, [types] * 20, types)
    on = simulate(0.8, [types] * 20, types)
    assert on[0][0] == pytest.approx(off[0][0], abs=1e-9)  # in the first step nothing is known
    assert late(off[0]) < 0.55
    assert late(on[0]) > 0.75  # cases that ask about them
    assert late(off[1]) < 0.35
    assert late(on[1]) > 0.6  # variants of right answers


def test_variants_follow_when_the_errors_change() -> None:
    side, heart = frozenset({"side"}), frozenset({"heart"})
    _, side_shares = simulate(0.8, [side] * 15 + [heart] * 25, frozenset({"side"}))
    _, heart_shares = simulate(0.8, [side] * 15 + [heart] * 25, frozenset({"attribute"}))
    assert sum(side_shares[5:15]) / 10 > 0.4 > 0.25 > late(side_shares)
    assert late(heart_shares) > 0.5 > 0.3 > sum(heart_shares[5:15]) / 10
