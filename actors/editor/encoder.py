"""What the actors that make pairs have in common: images of cases, and their prompts as tokens.

Where cases come with images, these are those of one case after the other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medray.config import Config
from medray.data.stream import by_case, images_of
from medray.errors import ItemError
from medray.imaging.view import View, case_regions
from medray.objectives import needs_of
from medray.policy.model.chat import ChatCodec
from medray.policy.model.loading import answer_context, model_facts
from medray.policy.picture import Picture
from medray.policy.saliency import EncodedQuestion
from medray.records import Case, Region

OUT_OF_MEMORY = "out-of-memory"  # the reason of a case that needs more than there is


def reason_of(error: ItemError | MemoryError) -> str:
    """Why a case is dropped over `error`."""
    return error.reason if isinstance(error, ItemError) else OUT_OF_MEMORY


class Encoder:
    """Loads the images of cases, and encodes questions about them. Keeps nothing between calls."""

    def __init__(self, config: Config, replica: int) -> None:
        self.config, self.replica = config, replica
        self.facts = model_facts(config.model)
        self.codec = ChatCodec(self.facts.path, self.facts.limits)
        self.answer_context = answer_context(config.generator, self.facts)
        self.needs = needs_of(config.objective)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(replica={self.replica})"

    def reset(self, config: Config) -> None:
        """Begin another run, with that run's settings."""
        type(self).__init__(self, config, self.replica)

    def load(
        self, cases: Sequence[Case]
    ) -> tuple[list[tuple[str, tuple[Region, ...]]], *tuple[np.ndarray | None, ...]]:
        """(per case the reason why it cannot be used, or "", and its regions at the scale of the
        view; then one view per image, in the order of `images_of`, or None if it is of no use)."""
        found: list[tuple[str, tuple[Region, ...]]] = []
        views: dict[str, View | ItemError | MemoryError] = {}
        used: dict[str, np.ndarray | None] = dict.fromkeys(images_of(cases))
        for case in cases:
            try:
                _check_text(case)
                own = [self._view(image.path, views) for image in case.images]
                self.codec.check_length(
                    case.question,
                    [view.pixels for view in own],
                    self.config.generator.max_new_tokens,
                    self.answer_context,
                )
                found.append(("", case_regions(own, case.regions)))
                used |= {i.path: v.pixels for i, v in zip(case.images, own, strict=True)}
            except (ItemError, MemoryError) as error:
                found.append((reason_of(error), ()))
        return (found, *used.values())

    def _view(self, image: str, views: dict[str, View | ItemError | MemoryError]) -> View:
        """The view of an image, which is read once."""
        if image not in views:
            try:
                views[image] = self.codec.load_view(image)
            except (ItemError, MemoryError) as error:
                views[image] = error
        view = views[image]
        if not isinstance(view, View):
            raise view
        return view

    def encode(
        self, cases: Sequence[Case], *images: np.ndarray
    ) -> list[tuple[np.ndarray, tuple[Picture, ...]]]:
        """(prompt ids [P], pictures) of each case's question with its images."""
        return [
            self.codec.encode(case.question, *own)
            for case, own in zip(cases, by_case(cases, images), strict=True)
        ]

    def encode_questions(
        self, cases: Sequence[Case], *images: np.ndarray
    ) -> tuple[int, list[EncodedQuestion]]:
        """Their number, and the questions: apart, because only learners read the latter."""
        questions = []
        for case, own in zip(cases, by_case(cases, images), strict=True):
            sizes = tuple((image.shape[0], image.shape[1]) for image in own)
            encoded = self.codec.encode(case.question, *own)
            questions.append(EncodedQuestion(*encoded, sizes, self.codec.fit))
        return len(questions), questions


def _check_text(case: Case) -> None:
    """Refuse a case that cannot be used, before its image is read."""
    if not case.reference.strip():
        raise ItemError("empty-reference")
    if not case.question.strip():
        raise ItemError("empty-question")
