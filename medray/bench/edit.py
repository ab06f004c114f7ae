"""`medray bench edit`: corrupted images and edited answers per second of one core."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

import medray
from medray.bench.views import measure_views, view_line
from medray.config import CorruptionConfig
from medray.editing import FindingsEditor
from medray.errors import DataError, ItemError, UserError
from medray.imaging.corruption import corrupt_inside, corrupt_whole
from medray.imaging.kinds import KINDS, WHOLE_ONLY

Example = tuple[str, str, str]  # question, reference, answer

LESION_RADIUS = 1 / 8  # of the round lesion, as a share of the image's edge: 5 % of its area
MIN_SECONDS = 0.2  # least duration of one repetition
SHARED = "shared/data/model_answers/qwen2vl2b_vqa_rad.jsonl"
BUILT_IN = "built in"
GOALS = {"images_per_second": 50.0, "answers_per_second": 500.0}
DEFINITIONS = {
    "seconds": "processor time of the process, summed over its threads, so that a rate is that of "
    "one core whatever else runs on the machine",
    "image": "uint8, square, half noise and half smooth; v' as the editor actor makes it, digest "
    "included, with the default configuration",
    "lesion": "a round region of 5 % of the image's area; crop changes the whole image",
    "whole": "the whole image as the region",
    "times_a_copy": "seconds of a kind divided by those of a plain numpy copy of the image",
    "views": "reading, encoding and corrupting the lesion of a case's image for a model of 336 px, "
    "at the size that the model sees, beside the same at the size of the file",
    "answers": "each answer once, after a warm-up on other answers if there are enough",
}


def run_edit(
    *, answers: Path | None = None, size: int = 512, feather: int = 0, repeats: int = 5
) -> dict[str, Any]:
    """Run the benchmark; return everything that is printed as one tree of plain values."""
    from medray.bench.learner.worker_protocol import device_name

    for name, value, least in (
        ("size", size, 32),
        ("repeats", repeats, 1),
        ("feather", feather, 0),
    ):
        if value < least:
            raise UserError(f"--{name} {value}", f"below {least}", f"give {least} or more")
    source = answers or _shared_answers()
    import torch

    return {
        "bench": "edit",
        "command": _command(answers, size, feather, repeats),
        "device": device_name(torch.device("cpu")),
        "versions": {
            "medray": medray.__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("numpy", "scikit-image", "pillow")},
        },
        "size": size,
        "feather": feather,
        "repeats": repeats,
        "corruption": measure_corruption(size, feather, repeats),
        "views": measure_views(lambda work: _spread(_time(work, repeats))),
        "editor": [measure_editor(each) for each in ([None, source] if source else [None])],
        "goals": GOALS,
        "definitions": DEFINITIONS,
    }


def _command(answers: Path | None, size: int, feather: int, repeats: int) -> str:
    command = f"medray bench edit --size {size} --feather {feather} --repeats {repeats}"
    return f"{command} --answers {answers}" if answers else command


def measure_corruption(size: int, feather: int, repeats: int) -> dict[str, dict[str, Any]]:
    """Kind → figures, `copy` first. What is impossible (inpainting everything) is left out."""
    image, lesion = picture(size), round_region(size)
    copy = _spread(_time(image.copy, repeats))
    figures: dict[str, dict[str, Any]] = {"copy": {"whole": _rate(copy, copy["median"])}}
    for kind in KINDS:
        settings = CorruptionConfig.model_validate({"kind": kind, "feather": feather})

        def inside(settings: CorruptionConfig = settings) -> Any:
            return corrupt_inside(image, lesion, "bench", settings, 0)

        def entire(settings: CorruptionConfig = settings) -> Any:
            return corrupt_whole(image, settings, 0)

        calls = {"whole": entire} if kind in WHOLE_ONLY else {"lesion": inside, "whole": entire}
        figures[kind] = {}
        for region, call in calls.items():
            try:
                description = call().kind
            except ItemError:
                continue
            seconds = _spread(_time(call, repeats))
            figures[kind][region] = {"done": description} | _rate(seconds, copy["median"])
    return figures


def picture(size: int) -> np.ndarray:
    """An image, half noise and half a ramp: uint8 [size, size, 3]."""
    image = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    image[: size // 2] = np.linspace(0, 255, size, dtype=np.uint8)[None, :, None]
    return image


def round_region(size: int) -> np.ndarray:
    """A disc in the centre: bool [size, size]."""
    offsets = np.arange(size) - (size - 1) / 2
    return np.hypot(offsets[:, None], offsets[None]) < LESION_RADIUS * size


def measure_editor(source: Path | None) -> dict[str, Any]:
    """Run the findings editor once on every answer; None: the built-in answers."""
    items = list(built_in_answers()) if source is None else read_answers(source)
    editor = FindingsEditor()
    warm_up = items[: min(50, len(items) // 2)]
    for question, reference, answer in warm_up:
        editor.edit(question, reference, answer, seed=0)
    timed = items[len(warm_up) :]
    verdicts: Counter[str] = Counter()
    start = time.process_time()
    for question, reference, answer in timed:
        verdicts[editor.edit(question, reference, answer, seed=0).verdict] += 1
    seconds = time.process_time() - start
    return {
        "editor": f"{editor.name}/{editor.version}",
        "source": BUILT_IN if source is None else source.name,
        "answers": len(timed),
        "words": statistics.mean(len(answer.split()) for _, _, answer in timed),
        "seconds": seconds,
        "answers_per_second": len(timed) / seconds,
        "verdicts": dict(sorted(verdicts.items())),
    }


def read_answers(path: Path) -> list[Example]:
    """Read lines of {question, gold, model_answer}. Raises DataError."""
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
        items = [(str(r["question"]), str(r["gold"]), str(r["model_answer"])) for r in rows]
    except (OSError, ValueError, KeyError, TypeError):
        why = "not lines of {question, gold, model_answer}"
        raise DataError(f"--answers {path}", why, "give such a file, or leave it out") from None
    if not items:
        raise DataError(f"--answers {path}", "holds no answer", "give another file")
    return items


def built_in_answers() -> Iterator[Example]:
    """576 distinct answers to phantom reports, with one wrong attribute or none."""
    sides, zones, sizes = ("left", "right"), ("upper", "middle", "lower"), ("small", "large")
    kinds, hearts = ("nodule", "mass", "opacity"), ("normal in size", "enlarged")
    for side, zone, size, kind, heart in product(sides, zones, sizes, kinds, hearts):
        gold = f"There is a {size} {kind} in the {side} {zone} zone. The heart is {heart}."
        opposite = sides[side == "left"]
        for answer in (
            f"A {size} {kind} is seen in the {zone} zone of the {side} lung.",
            f"A {size} {kind} is seen in the {zone} zone of the {opposite} lung.",
            f"There is a {size} {kind} in the {opposite} {zone} zone. The heart is {heart}.",
            f"The {side} {zone} zone shows a {size} {kind}, and the heart is {heart}.",
            f"No {kind} is seen in the {side} {zone} zone. Heart: {heart}, no {size} {kind}.",
            f"There is a {size} {side} pleural effusion in the {zone} zone; heart {heart}, {kind}.",
            f"The {side} lung has a {size} {zone} zone {kind}; the heart is {heart}.",
            f"The {opposite} lung has a {size} {zone} zone {kind}; the heart is {heart}.",
        ):
            yield "Describe the chest radiograph.", gold, answer


def _shared_answers() -> Path | None:
    """The real answers in $MEDRAY_DATA, ./shared/data or ../shared/data; None if absent."""
    data_folder = os.environ.get("MEDRAY_DATA")
    name = Path(SHARED)
    paths = [Path(data_folder) / Path(*name.parts[2:])] if data_folder else [name, ".." / name]
    return next((path for path in paths if path.is_file()), None)


def _time(work: Callable[[], Any], repeats: int) -> list[float]:
    """Processor seconds of one call, `repeats` times, each averaged over MIN_SECONDS of calls."""
    work()
    start = time.process_time()
    work()
    calls = max(1, int(MIN_SECONDS / max(time.process_time() - start, 1e-6)))
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        for _ in range(calls):
            work()
        seconds.append((time.process_time() - start) / calls)
    return seconds


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    return {"median": statistics.median(seconds), "min": min(seconds), "max": max(seconds)}


def _rate(seconds: dict[str, float], copy: float) -> dict[str, Any]:
    median = seconds["median"]
    return {"seconds": seconds, "images_per_second": 1.0 / median, "times_a_copy": median / copy}


def show_edit(result: dict[str, Any]) -> None:
    """Print a table, a sentence on each set of answers, and the command that measures it again."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    from medray.bench.learner.console import WIDTH

    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console = Console(highlight=False, soft_wrap=True, width=WIDTH)
    console.print(f"{result['size']} px, feather {result['feather']}: images per second and core")
    table = Table("kind", box=SIMPLE)
    for column in ("lesion", "× a copy", "whole image", "× a copy", "as"):
        table.add_column(column, justify="right", no_wrap=True)
    for kind, regions in result["corruption"].items():
        cells = []
        for name in ("lesion", "whole"):
            rates = regions.get(name)
            cells += (
                [f"{rates['images_per_second']:.0f}", f"{rates['times_a_copy']:.0f}"]
                if rates
                else ["–", "–"]
            )
        done = next((rates["done"] for rates in regions.values() if "done" in rates), "")
        table.add_row(kind, *cells, done)
    console.print(table)
    for row in result["views"]:
        console.print(view_line(row), markup=False)
    for editor in result["editor"]:
        console.print(
            f"{editor['editor']}: {editor['answers_per_second']:.0f} answers per second and core "
            f"({editor['answers']}, {editor['source']}, {editor['words']:.1f} words each)"
        )
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    console.print(f"{result['command']}  # {result['device']}; {versions}", markup=False)
