"""The size to which a model's own image processor resizes an image.

Transformers has one class per family, whose settings say it: of the shorter edge before a crop,
of the square that the image is padded to, of fixed height and width, of tiles, or by the number of
patches. A processor that is none of these is given images as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medray.errors import ModelError

Limits = Mapping[str, int]  # min_pixels, max_pixels: those that are set
Size = tuple[int, int]  # height, width
MOST_PIXELS = 2**22  # of an image that is enlarged: a thin strip would become a very long one


def view_size(image_processor: Any, size: Size) -> Size:
    """What `size` becomes before anything is cut off or cut up.

    >>> class Clip: do_resize, do_center_crop, size = True, True, {"shortest_edge": 336}
    >>> view_size(Clip, (3056, 2544)), view_size(Clip, (300, 400))
    ((403, 336), (336, 448))
    """
    if not getattr(image_processor, "do_resize", True):
        return size
    edges = dict(image_processor.size)
    target = _target(image_processor, size, {k: v for k, v in edges.items() if v is not None})
    pixels = target[0] * target[1]
    return size if pixels > max(size[0] * size[1], MOST_PIXELS) else target


def limit_pixels(image_processor: Any, limits: Limits) -> dict[str, int]:
    """Have a processor of dynamic resolution keep to the limits: min_pixels and max_pixels then.

    {} without limits. Raises ModelError if it has none of its own, or they cross.
    """
    if not limits:
        return {}
    what = ", ".join(f"model.{name} = {value}" for name, value in limits.items())
    if not hasattr(image_processor, "merge_size"):
        why = "this model's processor does not size images by their number of pixels"
        raise ModelError(what, why, "remove it; docs/models.md says what each model offers")
    size = dict(image_processor.size)
    own = {"min_pixels": size["shortest_edge"], "max_pixels": size["longest_edge"]}
    both = {name: int(limits.get(name, value)) for name, value in own.items()}
    if both["min_pixels"] > both["max_pixels"]:
        why = f"the processor's own is min_pixels {own['min_pixels']}, max_pixels"
        raise ModelError(what, f"{why} {own['max_pixels']}", "set the other one too")
    image_processor.size["shortest_edge"] = both["min_pixels"]
    image_processor.size["longest_edge"] = both["max_pixels"]
    return both


def _target(image_processor: Any, size: Size, edges: dict[str, int]) -> Size:
    height, width = size
    if hasattr(image_processor, "max_patches") and edges.keys() == {"height", "width"}:
        from transformers.models.got_ocr2.image_processing_got_ocr2 import get_optimal_tiled_canvas

        tile = edges["height"], edges["width"]
        limits = image_processor.min_patches, image_processor.max_patches
        columns, rows = get_optimal_tiled_canvas(size, tile, *limits)
        return rows * tile[0], columns * tile[1]
    if hasattr(image_processor, "merge_size"):
        from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

        factor = image_processor.patch_size * image_processor.merge_size
        resized = smart_resize(height, width, factor, edges["shortest_edge"], edges["longest_edge"])
        return int(resized[0]), int(resized[1])
    if edges.keys() == {"height", "width"}:
        return edges["height"], edges["width"]
    if edges.keys() == {"shortest_edge"}:
        square = getattr(image_processor, "do_pad", False)  # to the longer edge, before it resizes
        edge = max(size) if square else min(size)
        short = edges["shortest_edge"]
        return int(short * height / edge), int(short * width / edge)
    return size
