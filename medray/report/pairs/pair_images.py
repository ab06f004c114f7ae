"""What the policy saw: the images and corrupted images of ledger rows, recreated from the data.

An image is shown only if its digest is the one in the ledger; otherwise the pair is shown
without it, and the page says so.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medray.config import Config, CorruptionConfig
from medray.errors import ItemError, MedrayError
from medray.localising import Locator
from medray.records import Case
from medray.report.pairs.located import open_locator, with_found_regions
from medray.report.pairs.rows import PairImages, SeenImage
from medray.rundir import RunDirectory

if TYPE_CHECKING:
    from medray.data.dataset import Dataset

UNREADABLE = "The dataset could not be read; see: medray check"


def collect_images(
    run_dir: str | os.PathLike[str], rows: Sequence[dict[str, Any]], *, clean_only: bool = False
) -> list[PairImages]:
    """One PairImages per row, in order. If the dataset is gone, only the images are missing.

    `clean_only`: the images as they are in their files, without regions and corrupted images, which
    may take a localiser to recreate.
    """
    source = ImageSource(RunDirectory.open(run_dir).read_config())
    return [source.clean(row, entire=True) if clean_only else source.complete(row) for row in rows]


class ImageSource:
    """The dataset of a run, opened once, and its localiser, opened when the first row needs it."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.locator: Locator | None = None
        try:
            self.dataset: Dataset | None = _open(config)
        except MedrayError:
            self.dataset = None
        sides = (self.dataset.train, self.dataset.heldout) if self.dataset else ((), ())
        self.train, self.heldout = ({case.case_id: case for case in side} for side in sides)

    def clean(
        self, row: dict[str, Any], *, heldout: bool = False, entire: bool = False
    ) -> PairImages:
        """The images at the size at which the policy saw them. row: with case_id and image_sha256.

        `heldout`: the row is an answer of an evaluation, not of the ledger; `entire`: at the size
        of its file, for readers who look for small things.
        """
        if self.dataset is None:  # its message may name folders, and a report leaves the machine
            return PairImages(row, note=UNREADABLE)
        case = (self.heldout if heldout else self.train).get(row["case_id"])
        return _clean(row, case, "" if entire else row.get("corruption") or "")

    def complete(self, row: dict[str, Any]) -> PairImages:
        """With its region and the corrupted image, if they are those of the run."""
        clean = self.clean(row)
        case = self.train.get(row["case_id"])
        if case is None or not clean.images:
            return clean
        try:
            self.locator = self.locator or open_locator(self.config)
        except MedrayError:
            note = "The localiser could not be loaded, so that no region is shown."
            return PairImages(row, clean.images, note)
        return _collect(clean, case, self.config, self.locator)


def _open(config: Config) -> Dataset:
    """The dataset of a run, with what its evaluations are about."""
    from medray.data.dataset import evaluated_on, open_dataset
    from medray.imaging.digests import Digests

    digests = Digests.kept_in(Path(config.run.output))
    dataset = open_dataset(config.data, digests)
    if config.eval.data is not None:
        with contextlib.suppress(MedrayError):
            return evaluated_on(dataset, config.eval.data, digests)
    return dataset


def _clean(row: dict[str, Any], case: Case | None, corruption: str) -> PairImages:
    """The images alone, at the scale that `corruption` notes, or a note why they are missing."""
    from medray.imaging.load import file_sha256
    from medray.imaging.view import load_noted_views

    if case is None:
        return PairImages(row, note="The dataset no longer has this case.")
    try:
        files = [image.path for image in case.images]
        others = row.get("other_images_sha256", [image.sha256 for image in case.other_images])
        if [*map(file_sha256, files)] != [row["image_sha256"], *(others or ())]:
            return PairImages(row, note="The image file has changed since the run.")
        views = load_noted_views(files, corruption)
        return PairImages(row, tuple(SeenImage(view.pixels) for view in views))
    except (MedrayError, OSError, ValueError) as error:
        return PairImages(row, note=f"The image could not be read: {_reason(error)}")


def _reason(error: Exception) -> str:
    """Why, without the name of a file."""
    return error.reason if isinstance(error, ItemError) else type(error).__name__


def _collect(clean: PairImages, case: Case, config: Config, locator: Locator | None) -> PairImages:
    from medray.imaging.corruption import usable_regions
    from medray.imaging.load import image_size
    from medray.imaging.regions import region_mask
    from medray.imaging.view import View, case_regions

    row, images = clean.row, [seen.image for seen in clean.images]
    try:
        sizes = [image_size(file.path) for file in case.images]
        views = [View(*view) for view in zip(images, sizes, strict=True)]
        case = replace(case, regions=case_regions(views, case.regions))
        case = with_found_regions(case, row, images, locator)
        how = _how(row, config.corruption)
        corrupted, note = _corrupted(row, case, images, how, config.run.seed)
        seen = []
        for number, (image, v) in enumerate(zip(images, corrupted, strict=True)):
            own = tuple(region for region in case.regions if region.image == number)
            region = region_mask(usable_regions(own, how), image.shape[0], image.shape[1])
            seen.append(SeenImage(image, region, v))
    except (MedrayError, OSError, ValueError) as error:
        return PairImages(row, note=f"The image could not be read: {_reason(error)}")
    return PairImages(row, tuple(seen), note)


def _how(row: dict[str, Any], configured: CorruptionConfig) -> CorruptionConfig:
    """How v' was made: as configured, or as a black image where targeting took the image away."""
    kind = (row["corruption"] or "").split(" ")[0]
    if kind == "black" and row["region_source"] == "whole-image":
        return configured.model_copy(update={"kind": kind, "region": "whole"})
    return configured


def _corrupted(
    row: dict[str, Any],
    case: Case,
    images: Sequence[np.ndarray],
    how: CorruptionConfig,
    run_seed: int,
) -> tuple[list[np.ndarray | None], str]:
    """Of each image the corrupted one, uint8 [H, W, 3], if it is the one trained on, else None;
    and a note."""
    from medray.imaging.corruption import corrupt_images
    from medray.seeds import item_seed

    none: list[np.ndarray | None] = [None] * len(images)
    if not row["corrupted_sha256"]:
        return none, ""
    seed = item_seed(run_seed, case.case_id)
    recreated = corrupt_images(images, case.regions, how, seed=seed)
    if recreated is None or recreated.sha256 != row["corrupted_sha256"]:
        return none, "The corrupted image could not be reproduced; it is not shown."
    return [None if image is None else image.image for image in recreated.images], ""
