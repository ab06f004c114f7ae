"""Cases in, regions out: concepts from the texts, each looked for once in each picture."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from medray.config import LocaliserConfig
from medray.localising.concepts import Concept, concepts
from medray.localising.registry import open_tool
from medray.records import Case, Region

CACHED = 100_000  # results kept: (picture, concept) → regions
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
        self, cases: Sequence[Case], answers: Sequence[str], images: Sequence[np.ndarray]
    ) -> list[tuple[Region, ...]]:
        """The regions found for each case and its answer; () where nothing is.

        images: uint8 [H, W, 3] each. A picture that the tool cannot work on has no region; if that
        is so for all of several, raises what the tool raised last.
        """
        searches, failed = self.searches, self.failed
        error: Exception | None = None
        located: list[tuple[Region, ...]] = []
        for case, answer, image in zip(cases, answers, images, strict=True):
            regions: tuple[Region, ...] = ()
            for concept in concepts(case.question, case.reference, answer):
                try:
                    regions += self._find(case.image_sha256, image, concept)
                except Exception as raised:  # a tool may raise anything over an odd picture
                    error, self.failed = raised, self.failed + 1
            located.append(regions)
        searches, failed = self.searches - searches, self.failed - failed
        if error is not None and failed == searches >= ALL_FAILED:
            raise error
        return located

    def _find(self, picture: str, image: np.ndarray, concept: Concept) -> tuple[Region, ...]:
        key = picture, concept.phrase
        if key not in self._cache:
            self.searches += 1
            self._cache[key] = self.tool.find(image, concept)
            if len(self._cache) > CACHED:
                self._cache.popitem(last=False)
        return self._cache[key]
