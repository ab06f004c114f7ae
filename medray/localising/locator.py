"""Cases in, regions out: concepts from the texts, each looked for once in each picture."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
from PIL import Image

from medray.config import LocaliserConfig
from medray.data.stream import by_case
from medray.errors import ItemError
from medray.imaging.view import Size, View, load_view
from medray.localising.concepts import Concept, concepts
from medray.localising.registry import open_tool
from medray.records import Case, ImageFile, Region

CACHED = 100_000  # results kept: (picture, concept) → regions
LONGEST_SIDE = 1024  # pixels; what the tools themselves resize to
ALL_FAILED = 4  # searches of one call; if all of so many fail, it is not the pictures


class Locator:
    """A visual tool with a cache by picture and concept.

    `searches`: made so far; `failed`: those of them that raised, whose concept counts as not found.
    """

    def __init__(self, config: LocaliserConfig, device: str = "cpu") -> None:
        self.tool = open_tool(config, device)
        self.searches = self.failed = 0
        self._cache: OrderedDict[tuple[str, str], tuple[Region, ...]] = OrderedDict()

    def locate(
        self, cases: Sequence[Case], answers: Sequence[str], views: Sequence[np.ndarray]
    ) -> list[tuple[Region, ...]]:
        """The regions found for each case and its answer, at the scale of the view that they are
        on; () where nothing is. views: uint8 [h, w, 3] each, of one case after the other.

        The tool sees the images themselves, which have details that a view may lack, up to
        LONGEST_SIDE; the view, if the file is gone. A picture that the tool cannot work on has no
        region; if that is so for all of several, raises what the tool raised last.
        """
        searches, failed = self.searches, self.failed
        error: Exception | None = None
        located: list[tuple[Region, ...]] = []
        for case, answer, own in zip(cases, answers, by_case(cases, views), strict=True):
            regions: tuple[Region, ...] = ()
            wanted = product(concepts(case.question, case.reference, answer), range(len(own)))
            for concept, number in wanted:
                try:
                    found = self._find(case.images[number], own[number], concept)
                    regions += tuple(replace(region, image=number) for region in found)
                except Exception as raised:  # a tool may raise anything over an odd picture
                    error, self.failed = raised, self.failed + 1
            located.append(regions)
        searches, failed = self.searches - searches, self.failed - failed
        if error is not None and failed == searches >= ALL_FAILED:
            raise error
        return located

    def _find(self, file: ImageFile, view: np.ndarray, concept: Concept) -> tuple[Region, ...]:
        key = file.sha256, concept.phrase
        if key not in self._cache:
            self.searches += 1
            image = _detailed(file, view)
            found = self.tool.find(image, concept)
            self._cache[key] = View(view, (image.shape[0], image.shape[1])).regions(found)
            if len(self._cache) > CACHED:
                self._cache.popitem(last=False)
        return self._cache[key]


def _detailed(file: ImageFile, view: np.ndarray) -> np.ndarray:
    """The image as the tool is to see it."""
    try:
        found = load_view(file.path, _bounded, Image.Resampling.BICUBIC)
    except ItemError:
        return view
    return found.pixels


def _bounded(size: Size) -> Size:
    share = min(1.0, LONGEST_SIDE / max(size))
    return max(1, round(share * size[0])), max(1, round(share * size[1]))
