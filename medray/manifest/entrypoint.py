"""The command of a RayJob, and the configuration that it runs with."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from medray.manifest.conformance import Mistake
from medray.manifest.rules.operator import QUEUE

OPTIONS = ("--resume", "--no-resume", "--dashboard")
NO_OPTION = ("no such option of launch", f"one of {', '.join(OPTIONS)}")


@dataclass(frozen=True, slots=True)
class Entrypoint:
    """`medray launch CONFIG key=value … --resume`."""

    config: str
    overrides: list[str]
    options: list[str]


def read_entrypoint(spec: dict[str, Any]) -> Entrypoint | Mistake:
    """Of a RayJob's specification, or why nothing is known about it."""
    text = str(spec.get("entrypoint") or "")
    what = f"spec.entrypoint = {text!r}" if text else "spec.entrypoint"
    try:
        words = shlex.split(text)
    except ValueError as error:
        return what, f"is no command ({error})", "close the quotation"
    if not text:
        return what, "is missing", "medray launch CONFIG run.output=/mnt/runs --resume"
    if words[:2] != ["medray", "launch"]:
        return what, "is not `medray launch`", "medray launch CONFIG … --resume"
    rest = words[2:]
    options = [word for word in rest if word.startswith("-")]
    overrides = [word for word in rest if "=" in word and word not in options]
    files = [word for word in rest if word not in options and word not in overrides]
    unknown = [word for word in options if not _is_known(word)]
    if unknown and len(files) != 1:  # what stands behind it may be its value
        return f"{what.partition(' = ')[0]}: {unknown[0]}", *NO_OPTION
    if len(files) != 1:
        return what, f"names {len(files)} configurations", "one, before the settings"
    return Entrypoint(files[0], overrides, options)


def entrypoint_mistakes(
    entry: Entrypoint, spec: dict[str, Any], labels: dict[str, str], config: str
) -> Iterator[Mistake]:
    """Against the file that is checked, and against what the operator does when it ends."""
    place, named = "spec.entrypoint", PurePosixPath(entry.config).name
    if named != PurePosixPath(config).name:
        yield f"{place}: {entry.config}", f"is not {config}, which is checked", "name the same one"
    for option in entry.options:
        if option.split("=")[0] == "--address":
            yield f"{place}: {option}", "a job has its own cluster", "remove it"
        elif not _is_known(option):
            yield f"{place}: {option}", *NO_OPTION
    retries = int(spec.get("backoffLimit", 0))
    if "--resume" in entry.options:
        return
    if retries:
        what = f"spec.backoffLimit = {retries}"
        yield what, "each retry would find the run's directory taken", "add --resume to entrypoint"
    elif labels.get(QUEUE):
        what = f"metadata.labels.{QUEUE}"
        why = "a job that Kueue preempted would find the run's directory taken"
        yield what, why, "add --resume to entrypoint"


def _is_known(option: str) -> bool:
    return option in OPTIONS or option.split("=")[0] == "--address"
