"""The pictures of a pair: those of its case's images, and in v' those of the corrupted ones."""

from __future__ import annotations

from collections.abc import Sequence

from medray.imaging.corruption import Contrast
from medray.policy.model.chat import ChatCodec
from medray.policy.packing import Keys
from medray.policy.picture import Picture
from medray.records import Case


def picture_keys(case: Case, contrast: Contrast | None) -> tuple[Keys, Keys]:
    """The digests that name them: of the images, and of those of v', as many or none."""
    clean = tuple(image.sha256 for image in case.images)
    if contrast is None:
        return clean, ()
    changed = zip(clean, contrast.images, strict=True)
    return clean, tuple(key if image is None else image.sha256 for key, image in changed)


def add_pictures(
    pixels: dict[str, Picture],
    codec: ChatCodec,
    keys: Keys,
    clean: Sequence[Picture],
    contrast: Contrast | None,
) -> None:
    """Add to `pixels` those that it lacks. `keys`: of the clean ones."""
    for key, picture in zip(keys, clean, strict=True):
        pixels.setdefault(key, picture)
    for image in contrast.images if contrast else ():
        if image is not None and image.sha256 not in pixels:
            pixels[image.sha256] = codec.pixels(image.image)
