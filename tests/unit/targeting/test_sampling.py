"""Which cases are asked, which variants are made, and that both follow a policy's errors."""

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

ASKED = {
    "side": ("Which side is the lesion on?", "Left"),
    "size": ("How large is the lesion?", "Small"),
    "none": ("Why did the patient fall?", "Ice"),
}


def case(i: int, kind: str) -> Case:
    return Case(f"c{i}", f"{i}.png", f"sha-{i}", *ASKED[kind], "open")


CASES = st.lists(st.sampled_from(sorted(ASKED)), min_size=1, max_size=12).map(
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
def test_what_is_drawn_are_candidates_in_their_order(
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
    assert all(any(one is other for other in rest) for one in drawn)  # a subsequence: no repeats
    again = draw(cases, position=position, count=count, seed=seed, targets=targets, candidates=k)
    assert again == (drawn, end)


@settings(deadline=None)
@given(cases=CASES, position=st.integers(0, 40), count=st.integers(0, 15), k=st.integers(1, 5))
def test_without_weights_it_is_the_plain_stream(
    cases: list[Case], position: int, count: int, k: int
) -> None:
    drawn = draw(
        cases, position=position, count=count, seed=3, targets=ErrorTargets(), candidates=k
    )
    assert drawn == (take(cases, position=position, count=count, seed=3), position + count)


def test_a_small_dataset_is_not_taken_twice_over() -> None:
    """Twelve candidates of five cases would hold each of them twice."""
    cases = [case(i, "side") for i in range(5)]
    targets = ErrorTargets({"side": 2.0})
    drawn, end = draw(cases, position=5, count=3, seed=0, targets=targets, candidates=4)
    assert end == 10
    assert len({c.case_id for c in drawn}) == 3


@pytest.mark.parametrize(("weight", "share"), [(3.0, 0.75), (1.0, 0.5), (0.25, 0.2)])
def test_the_chance_is_in_proportion_to_the_weight(weight: float, share: float) -> None:
    """One of two, weights w and 1: w / (w + 1); a case that tells no type weighs 1."""
    cases, targets = [case(0, "side"), case(1, "none")], ErrorTargets({"side": weight})
    drawn = Counter(
        draw(cases, position=2 * i, count=1, seed=0, targets=targets, candidates=2)[0][0].case_id
        for i in range(4000)
    )
    assert drawn["c0"] / 4000 == pytest.approx(share, abs=0.025)


REPORT = "Describe the chest radiograph."
LESION = "There is a small nodule in the left upper zone. The heart size is normal."


def variants(prefer: Mapping[str, float] | None) -> Counter[str]:
    """The types of error of the wrong variants of a right report, over 200 seeds."""
    editor = FindingsEditor(prefer)
    made = [editor.edit(REPORT, LESION, LESION, seed=seed) for seed in range(200)]
    assert all(edit.verdict == "right" for edit in made)
    assert made == [editor.edit(REPORT, LESION, LESION, seed=seed) for seed in range(200)]
    again = [FindingsEditor().edit(REPORT, LESION, edit.text, seed=0) for edit in made]
    assert all(edit.verdict == "wrong" for edit in again)
    return Counter(kind for edit in made for kind in _types(edit))


def test_variants_follow_the_weights() -> None:
    """Five small changes: kind, side, zone, size, heart. With weight 10 for side and 1 for each
    other, side comes first of them in 10 of 14."""
    plain, aimed = variants(None), variants({"side": 10.0})
    assert set(plain) == {"kind", "side", "zone", "size", "attribute"}
    assert aimed["side"] / 200 == pytest.approx(10 / 14, abs=0.08)
    assert set(aimed) > {"kind", "zone", "size", "attribute"}  # nothing starves
    assert variants({}) == plain


def test_a_policy_that_misses_lesions_is_shown_missed_lesions() -> None:
    """Without weights a lesion is denied only where nothing else can be changed."""
    report = LESION + " The mediastinum is of normal width and the bones are unremarkable."

    def denials(prefer: Mapping[str, float] | None) -> int:
        editor = FindingsEditor(prefer)
        made = [editor.edit(REPORT, report, report, seed=seed) for seed in range(60)]
        return sum("nodule" not in e.text and "presence" in _types(e) for e in made)

    assert denials(None) == 0
    assert denials({"presence": 30.0}) > 40


def test_a_preferred_variant_is_still_a_small_one() -> None:
    """To deny the lesion of this report changes more than half of its words."""
    assert variants({"presence": 30.0})["presence"] == 0


def _types(edit: Edit) -> set[str]:
    return {span.error_type for span in edit.answer_spans}


def phantoms(studies: int) -> list[Case]:
    """Cases whose reference is what `told` says of the truth itself; the id tells the study."""
    cases = []
    for i in range(studies):
        truth = study_truth(0, "train", i)
        for x in exchanges(0, "train", i, truth, truth):
            about = (x.question, x.answer, x.answer_type)
            cases.append(Case(f"{i}/{x.answer_type}", f"{i}.png", str(i), *about))
    return cases


OTHER = {"left": "right", "right": "left", "small": "large", "large": "small"}
OTHER |= {"normal": "enlarged", "enlarged": "normal"}


def say(asked: Case, errs: frozenset[str], chance: random.Random) -> str:
    """The answer of a policy that is wrong in these attributes, each in two of five answers."""
    index, told = int(asked.image_sha256), study_truth(0, "train", int(asked.image_sha256))
    for name in sorted(errs):
        if getattr(told, name) and chance.random() < 0.4:
            told = replace(told, **{name: OTHER[getattr(told, name)]})
    truth = study_truth(0, "train", index)
    answers = {x.answer_type: x.answer for x in exchanges(0, "train", index, truth, told)}
    return answers[asked.answer_type]


def simulate(
    strength: float, policy: list[frozenset[str]], about: frozenset[str]
) -> tuple[list[float], list[float]]:
    """Per step: the share of cases that ask about these types, and of variants that are of them.

    `policy` says for each step in which attributes the policy errs.
    """
    cases, tally, position, chance = phantoms(160), Tally(), 0, random.Random(0)
    asked, made = [], []
    for errs in policy:
        targets = tally.targets(strength)
        drawn, position = draw(
            cases, position=position, count=32, seed=0, targets=targets, candidates=4
        )
        editor, told, types = targeted_editor(FindingsEditor(), targets), [], []
        for one in drawn:
            answer = say(one, errs, chance)
            edit = editor.edit(one.question, one.reference, answer, seed=position)
            assert edit.verdict != "abstain"
            right = edit.verdict == "right"
            if right:
                types.append(_types(edit))
            sides = (answer, edit.text) if right else (edit.text, answer)
            spans = (edit.answer_spans, edit.text_spans)
            pair = Pair(
                one.case_id,
                one.case_id,
                0,
                *sides,
                *(spans if right else spans[::-1]),
                right,
                1.0,
                "findings",
            )
            score = PairScore(one.case_id, 0.0, 0.0, 0.0, 0.0, 0.0)
            told.append(classify_errors(one, pair, score, 0.25))
        tally = tally.after(told, 0.9)
        asked.append(sum(bool(case_types(one) & about) for one in drawn) / len(drawn))
        made.append(sum(bool(kinds & about) for kinds in types) / max(1, len(types)))
    return asked, made


def late(shares: list[float]) -> float:
    """The mean of the last ten steps."""
    return sum(shares[-10:]) / 10


def test_cases_and_variants_follow_a_policy_that_errs_in_side_and_size() -> None:
    about = frozenset({"side", "size"})
    off = simulate(0.0, [about] * 20, about)
    on = simulate(0.8, [about] * 20, about)
    assert on[0][0] == pytest.approx(off[0][0], abs=1e-9)  # the first step knows nothing yet
    assert late(off[0]) < 0.55
    assert late(on[0]) > 0.75  # cases that ask about them
    assert late(off[1]) < 0.35
    assert late(on[1]) > 0.6  # variants of right answers


def test_they_follow_when_the_errors_change() -> None:
    side, heart = frozenset({"side"}), frozenset({"heart"})
    _, of_side = simulate(0.8, [side] * 15 + [heart] * 25, frozenset({"side"}))
    _, of_heart = simulate(0.8, [side] * 15 + [heart] * 25, frozenset({"attribute"}))
    assert sum(of_side[5:15]) / 10 > 0.4 > 0.25 > late(of_side)
    assert late(of_heart) > 0.5 > 0.3 > sum(of_heart[5:15]) / 10
