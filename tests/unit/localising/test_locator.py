"""From cases to regions: what is searched once, and what an odd picture costs."""

import numpy as np
import pytest

from medray.config import LocaliserConfig
from medray.localising import Concept, Locator, joint_relevance
from medray.localising import locator as locator_module
from medray.records import Case, Region

IMAGE = np.zeros((8, 8, 3), np.uint8)


class Tool:
    """Finds every concept in the upper left corner, but raises over a picture with a white one."""

    def __init__(self):
        self.seen: list[str] = []

    def find(self, image: np.ndarray, concept: Concept) -> tuple[Region, ...]:
        self.seen.append(concept.phrase)
        if image[0, 0, 0] == 255:
            raise RuntimeError("odd picture")
        return (Region(concept.name, box=(0, 0, 2, 2), source="clipseg", score=0.75),)


@pytest.fixture
def locator(monkeypatch) -> Locator:
    monkeypatch.setattr(locator_module, "open_tool", lambda config, device: Tool())
    return Locator(LocaliserConfig(kind="clipseg", path="x"))


def case(reference: str, sha: str = "00") -> Case:
    return Case("c", "a.png", sha, "Describe the image.", reference, "report")


NODULE = case("There is a nodule.")


def test_regions_are_found_for_every_concept(locator):
    both = case("There is a nodule. The heart is enlarged.")
    (regions,) = locator.locate([both], ["The lungs are clear."], [IMAGE])
    assert [(r.label, r.source, r.score) for r in regions] == [
        ("nodule", "clipseg", 0.75),
        ("heart", "clipseg", 0.75),
    ]


def test_a_picture_is_searched_once_for_a_concept(locator):
    cases = [NODULE, NODULE, case("There is a nodule.", "11"), case("A left effusion.")]
    first = locator.locate(cases, [""] * 4, [IMAGE] * 4)
    assert locator.tool.seen == ["nodule", "nodule", "pleural effusion"]
    assert locator.locate(cases, [""] * 4, [IMAGE] * 4) == first
    assert locator.searches == 3


def test_the_cache_is_bounded(locator, monkeypatch):
    monkeypatch.setattr(locator_module, "CACHED", 2)
    cases = [case("There is a nodule.", str(i)) for i in range(5)]
    locator.locate(cases, [""] * 5, [IMAGE] * 5)
    assert len(locator._cache) == 2


def test_one_odd_picture_is_not_located_and_the_others_are(locator):
    odd = np.full_like(IMAGE, 255)
    cases = [case("There is a nodule.", str(i)) for i in range(5)]
    located = locator.locate(cases, [""] * 5, [IMAGE, odd, IMAGE, IMAGE, IMAGE])
    assert [len(regions) for regions in located] == [1, 0, 1, 1, 1]
    assert (locator.searches, locator.failed) == (5, 1)


def test_a_tool_that_fails_over_everything_is_not_silent(locator):
    odd = np.full_like(IMAGE, 255)
    cases = [case("There is a nodule.", str(i)) for i in range(4)]
    with pytest.raises(RuntimeError, match="odd picture"):
        locator.locate(cases, [""] * 4, [odd] * 4)


def test_a_case_without_a_concept_costs_nothing(locator):
    assert locator.locate([case("The lungs are clear.")], ["A nodule."], [IMAGE]) == [()]
    assert locator.tool.seen == []


@pytest.mark.parametrize(
    ("clinical", "visual", "joint"),
    [(1.0, None, 1.0), (1.0, 1.0, 1.0), (1.0, 0.5, 0.75), (0.0, 0.5, 0.25), (0.6, 0.0, 0.3)],
)
def test_relevance_is_the_mean_of_its_parts(clinical, visual, joint):
    assert joint_relevance(clinical, visual) == joint
