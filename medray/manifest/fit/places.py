"""Where a run reads and writes, against the volumes of its pods."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from medray.config import Config
from medray.manifest.conformance import Mistake
from medray.manifest.pods import Group

IMAGE = "/opt/medray"  # what the Dockerfile copies
SHIPPED = "phantom/"  # begins the names of models that come with medray
LOCAL = ("emptyDir", "hostPath", "ephemeral", "configMap", "secret", "downwardAPI", "projected")


def place_mistakes(config: Config, groups: Sequence[Group]) -> Iterator[Mistake]:
    """Every pod must see the run's directory and its inputs at the same path."""
    yield from _output_mistakes(config.run.output, groups)
    for key, path in _inputs(config).items():
        if path is None or path.startswith((f"{IMAGE}/", SHIPPED)):
            continue
        if not path.startswith("/"):
            why = "is relative, and the image holds neither models nor data"
            yield f"{key} = {path}", why, "its path on a volume, such as /mnt/data/…"
            continue
        without = [group.name for group in groups if group.mount_of(path) is None]
        if without:
            why = f"no volume of {_pods(without)} holds it"
            yield f"{key} = {path}", why, "mount the volume in every group"
    if (cache := config.editor.cache) and cache.startswith("/"):
        yield from _written("editor.cache", cache, groups)


def _inputs(config: Config) -> dict[str, str | None]:
    return {
        "model.path": config.model.path,
        "model.adapter": config.model.adapter,
        "model.reference": config.model.reference,
        "data.path": config.data.path,
        "eval.data.path": config.eval.data.path if config.eval.data else None,
        "editor.path": config.editor.path if config.editor.kind != "findings" else None,
        "localiser.path": config.localiser.path,
    }


def _output_mistakes(output: str, groups: Sequence[Group]) -> Iterator[Mistake]:
    if not output.startswith("/"):
        why = "is relative: it would be in the container, and gone with the pod"
        yield f"run.output = {output}", why, "a path on a volume, such as run.output=/mnt/runs"
        return
    yield from _written("run.output", output, groups)


def _written(key: str, path: str, groups: Sequence[Group]) -> Iterator[Mistake]:
    mounts = {group.name: group.mount_of(path) for group in groups}
    if without := [name for name, mount in mounts.items() if mount is None]:
        yield (
            f"{key} = {path}",
            f"no volume of {_pods(without)} holds it",
            "mount it in every group",
        )
    read_only = [name for name, mount in mounts.items() if mount and mount.read_only]
    if read_only:
        yield (
            f"{key} = {path}",
            f"its volume is read-only in {_pods(read_only)}",
            "mount it to write",
        )
    for name, mount in mounts.items():
        sources = set(mount.volume) & set(LOCAL) if mount else set()
        if sources:
            why = (
                f"is on a volume of kind {', '.join(sources)} in {_pods([name])}: no other sees it"
            )
            yield f"{key} = {path}", why, "a persistentVolumeClaim with ReadWriteMany"
    claims = {
        str((mount.volume.get("persistentVolumeClaim") or {}).get("claimName"))
        for mount in mounts.values()
        if mount
    }
    if len(claims - {"None"}) > 1:
        why = f"is on different claims: {', '.join(sorted(claims))}"
        yield f"{key} = {path}", why, "one claim for all groups"


def _pods(names: Sequence[str]) -> str:
    return f"group{'s' if len(names) > 1 else ''} {', '.join(names)}"
