"""The localiser's actor as a plain class, with the shipped model."""

import numpy as np
import pytest

from actors.localiser import Localiser
from medray.config import Config
from medray.imaging.regions import region_mask
from medray.phantom.studies.study import study
from medray.records import Case


@pytest.fixture(scope="module")
def localiser() -> Localiser:
    tool = {"kind": "clipseg", "path": "phantom/localiser"}
    config = {"data": {"kind": "phantom"}, "localiser": tool, "corruption": {"region": "found"}}
    return Localiser(Config.model_validate(config), 3)


def test_it_says_which_replica_it_is(localiser):
    assert repr(localiser) == "Localiser(replica=3)"


def test_what_is_found_covers_the_lesion_of_a_phantom(localiser):
    """The region of the data is the truth here; the localiser does not see it."""
    studies = [s for s in (study(0, "train", i) for i in range(12)) if s.regions]
    cases = [
        Case(f"c{i}", "a.png", str(i), "Which lesion is there?", s.truth.kind, "open")
        for i, s in enumerate(studies)
    ]
    located = localiser.locate(cases, [""] * len(cases), *[s.image for s in studies])
    for phantom, regions in zip(studies, located, strict=True):
        (region,) = regions
        assert (region.label, region.source) == (phantom.truth.kind, "clipseg")
        found = region_mask(regions, 48, 48)
        truth = region_mask(phantom.regions, 48, 48)
        assert (found & truth).sum() / found.sum() > 0.8
        assert np.argwhere(found).shape[0] > 10
