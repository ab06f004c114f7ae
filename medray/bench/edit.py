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
from medray.config import CorruptionConfig
from medray.editing import FindingsEditor
from medray.errors import DataError, ItemError, UserError
from medray.imaging.corruption import corrupt_inside, corrupt_whole
from medray.imaging.kinds import KINDS, WHOLE_ONLY

Answer = tuple[str, str, str]  # question, reference, answer

LESION = 1 / 8  # radius of the round lesion, of the image's side: 5 % of its area
TURN = 0.2  # seconds that one repetition takes at least
SHARED = "shared/data/model_answers/qwen2vl2b_vqa_rad.jsonl"
BUILT_IN = "built in"
GOALS = {"images_per_second": 50.0, "answers_per_second": 500.0}
DEFINITIONS = {
    "seconds": "processor time of the process, all its threads together, so that a rate is one "
    "core's whatever else the machine does",
    "image": "uint8, square, random but smooth in places; v' as the editor actor makes it, with "
    "its digest, at the defaults of the configuration",
    "lesion": "a round region of 5 % of the image's area; crop changes the whole image",
    "whole": "the whole image as the region",
    "times_a_copy": "seconds of a kind over those of a plain numpy copy of the image",
    "answers": "each answer once, after a warm-up on others where there are enough",
}


def run_edit(
    *, answers: Path | None = None, size: int = 512, feather: int = 0, repeats: int = 5
) -> dict[str, Any]:
    """Everything that is printed, as one tree of plain values."""
    from medray.bench.learner.worker_protocol import name_of

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
        "device": name_of(torch.device("cpu")),
        "versions": {
            "medray": medray.__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("numpy", "scikit-image", "pillow")},
        },
        "size": size,
        "feather": feather,
        "repeats": repeats,
        "corruption": measure_corruption(size, feather, repeats),
        "editor": [measure_editor(each) for each in ([None, source] if source else [None])],
        "goals": GOALS,
        "definitions": DEFINITIONS,
    }


def _command(answers: Path | None, size: int, feather: int, repeats: int) -> str:
    command = f"medray bench edit --size {size} --feather {feather} --repeats {repeats}"
    return f"{command} --answers {answers}" if answers else command


def measure_corruption(size: int, feather: int, repeats: int) -> dict[str, dict[str, Any]]:
    """Kind → figures, `copy` first. What cannot be done (inpainting everything) is left out."""
    image, lesion = picture(size), round_region(size)
    copy = _spread(_time(image.copy, repeats))
    found: dict[str, dict[str, Any]] = {"copy": {"whole": _rate(copy, copy["median"])}}
    for kind in KINDS:
        settings = CorruptionConfig.model_validate({"kind": kind, "feather": feather})

        def inside(settings: CorruptionConfig = settings) -> Any:
            return corrupt_inside(image, lesion, "bench", settings, 0)

        def whole(settings: CorruptionConfig = settings) -> Any:
            return corrupt_whole(image, settings, 0)

        ways = {"whole": whole} if kind in WHOLE_ONLY else {"lesion": inside, "whole": whole}
        found[kind] = {}
        for name, way in ways.items():
            try:
                told = way().kind
            except ItemError:
                continue
            seconds = _spread(_time(way, repeats))
            found[kind][name] = {"done": told} | _rate(seconds, copy["median"])
    return found


def picture(size: int) -> np.ndarray:
    """Half noise, half a ramp: uint8 [size, size, 3]."""
    image = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    image[: size // 2] = np.linspace(0, 255, size, dtype=np.uint8)[None, :, None]
    return image


def round_region(size: int) -> np.ndarray:
    """A disc in the middle: bool [size, size]."""
    away = np.arange(size) - (size - 1) / 2
    return np.hypot(away[:, None], away[None]) < LESION * size


def measure_editor(source: Path | None) -> dict[str, Any]:
    """The findings editor on every answer once; None: the built-in answers."""
    items = list(built_in_answers()) if source is None else read_answers(source)
    editor = FindingsEditor()
    warm = items[: min(50, len(items) // 2)]
    for question, reference, answer in warm:
        editor.edit(question, reference, answer, seed=0)
    timed = items[len(warm) :]
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


def read_answers(path: Path) -> list[Answer]:
    """Lines of {question, gold, model_answer}. Raises DataError."""
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
        items = [(str(r["question"]), str(r["gold"]), str(r["model_answer"])) for r in rows]
    except (OSError, ValueError, KeyError, TypeError):
        why = "not lines of {question, gold, model_answer}"
        raise DataError(f"--answers {path}", why, "give such a file, or leave it out") from None
    if not items:
        raise DataError(f"--answers {path}", "holds no answer", "give another file")
    return items


def built_in_answers() -> Iterator[Answer]:
    """Reports of phantoms and answers that err in one attribute or in none; 576, all distinct."""
    sides, zones, sizes = ("left", "right"), ("upper", "middle", "lower"), ("small", "large")
    kinds, hearts = ("nodule", "mass", "opacity"), ("normal in size", "enlarged")
    for side, zone, size, kind, heart in product(sides, zones, sizes, kinds, hearts):
        gold = f"There is a {size} {kind} in the {side} {zone} zone. The heart is {heart}."
        other = sides[side == "left"]
        for said in (
            f"A {size} {kind} is seen in the {zone} zone of the {side} lung.",
            f"A {size} {kind} is seen in the {zone} zone of the {other} lung.",
            f"There is a {size} {kind} in the {other} {zone} zone. The heart is {heart}.",
            f"The {side} {zone} zone shows a {size} {kind}, and the heart is {heart}.",
            f"No {kind} is seen in the {side} {zone} zone. Heart: {heart}, no {size} {kind}.",
            f"There is a {size} {side} pleural effusion in the {zone} zone; heart {heart}, {kind}.",
            f"The {side} lung has a {size} {zone} zone {kind}; the heart is {heart}.",
            f"The {other} lung has a {size} {zone} zone {kind}; the heart is {heart}.",
        ):
            yield "Describe the chest radiograph.", gold, said


def _shared_answers() -> Path | None:
    """The real answers of $MEDRAY_DATA, or of shared/data here or beside here, if there."""
    given = os.environ.get("MEDRAY_DATA")
    name = Path(SHARED)
    places = [Path(given) / Path(*name.parts[2:])] if given else [name, ".." / name]
    return next((place for place in places if place.is_file()), None)


def _time(work: Callable[[], Any], repeats: int) -> list[float]:
    """Processor seconds of one call, `repeats` times, each over TURN seconds of calls."""
    work()
    start = time.process_time()
    work()
    calls = max(1, int(TURN / max(time.process_time() - start, 1e-6)))
    found = []
    for _ in range(repeats):
        start = time.process_time()
        for _ in range(calls):
            work()
        found.append((time.process_time() - start) / calls)
    return found


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    return {"median": statistics.median(seconds), "min": min(seconds), "max": max(seconds)}


def _rate(seconds: dict[str, float], copy: float) -> dict[str, Any]:
    middle = seconds["median"]
    return {"seconds": seconds, "images_per_second": 1.0 / middle, "times_a_copy": middle / copy}


def show_edit(result: dict[str, Any]) -> None:
    """One table, a sentence on each set of answers, and how to measure it again."""
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
    for kind, ways in result["corruption"].items():
        cells = []
        for name in ("lesion", "whole"):
            way = ways.get(name)
            cells += (
                [f"{way['images_per_second']:.0f}", f"{way['times_a_copy']:.0f}"]
                if way
                else ["–", "–"]
            )
        done = next((way["done"] for way in ways.values() if "done" in way), "")
        table.add_row(kind, *cells, done)
    console.print(table)
    for editor in result["editor"]:
        console.print(
            f"{editor['editor']}: {editor['answers_per_second']:.0f} answers per second and core "
            f"({editor['answers']}, {editor['source']}, {editor['words']:.1f} words each)"
        )
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    console.print(f"{result['command']}  # {result['device']}; {versions}", markup=False)
