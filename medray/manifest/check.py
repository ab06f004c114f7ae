"""A manifest against its definitions, the operator's rules, and a configuration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

from medray.config import Config
from medray.errors import UserError
from medray.manifest.conformance import Mistake, conformance_mistakes, is_checked, is_ray
from medray.manifest.documents import Document, read_documents
from medray.manifest.entrypoint import entrypoint_mistakes, read_entrypoint
from medray.manifest.fit.places import place_mistakes
from medray.manifest.fit.room import (
    key_mistakes,
    packed,
    room_mistakes,
    stop_mistakes,
    version_mistakes,
)
from medray.manifest.pods import UNBOUNDED, Group, groups_of
from medray.manifest.rules.kubernetes import (
    claim_mistakes,
    empty_mistakes,
    group_mistakes,
    image_mistakes,
    pod_mistakes,
    queue_mistakes,
    submitter_mistakes,
)
from medray.manifest.rules.operator import (
    cluster_mistakes,
    job_mistakes,
    label_mistakes,
    name_mistakes,
    notes_on,
)
from medray.objectives import answers_needed

if TYPE_CHECKING:
    from medray.policy.model.loading import ModelFacts

# (overrides of an entrypoint; None: those of the command) → the configuration. Raises UserError.
Load = Callable[[list[str] | None], Config]


@dataclass(frozen=True, slots=True)
class ManifestRun:
    """A run on the cluster of one object, as its pods will have it."""

    document: Document
    config: Config
    groups: list[Group]

    @property
    def spec(self) -> dict[str, Any]:
        return dict(self.document.tree["spec"]) if self.document.kind == "RayJob" else {}

    @property
    def _generates(self) -> bool:
        return answers_needed(self.config)

    def lines(self) -> list[tuple[str, str]]:
        """Rows of (topic, sentence) for the console; actors that take nothing may be anywhere."""
        rows = [f"{self.document.kind} {self.document.name}, run.output {self.config.run.output}"]
        placed: dict[str, Counter[str]] = {group.name: Counter() for group in self.groups}
        for pod in packed(self.config, self.groups, self.spec, generates=self._generates):
            placed[pod.group.name] += pod.actors
        for group in self.groups:
            most = "any number" if group.most >= UNBOUNDED else f"{group.most}"
            number = f"{group.now}" if group.most == group.now else f"{group.now} to {most}"
            amounts = {"CPUs": group.cpus, "GPUs": group.gpus, **group.custom}
            offer = ", ".join(f"{amount:g} {name}" for name, amount in amounts.items() if amount)
            size = f"{group.memory / 2**30:.0f} GiB"
            actors = ", ".join(f"{count} {kind}" for kind, count in placed[group.name].items())
            row = f"{group.name}: {number} × {', '.join(filter(None, (offer, size)))}"
            rows.append(f"{row} for {actors}" if actors else row)
        rows += notes_on(_cluster_of(self.document)[0], self.groups, _labels(self.document))
        return [("manifest" if not index else "", row) for index, row in enumerate(rows)]


@dataclass(slots=True)
class Checked:
    """What was found: mistakes, or else the runs that the manifest describes."""

    mistakes: list[UserError] = field(default_factory=list)
    runs: list[ManifestRun] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)  # kinds without a definition here

    def memory_mistakes(
        self, facts: ModelFacts, prompt_tokens: int, *, generates: bool
    ) -> list[UserError]:
        """What is known once the model is: of runs that have no other mistake."""
        from medray.manifest.fit.memory import memory_mistakes  # loads torch

        found = []
        for run in self.runs:
            pods = packed(run.config, run.groups, run.spec, generates=generates)
            mistakes = memory_mistakes(run.config, facts, prompt_tokens, pods, generates=generates)
            found += [UserError(f"{run.document.label}: {m[0]}", m[1], m[2]) for m in mistakes]
        return found

    def lines(self) -> list[tuple[str, str]]:
        rows = [row for run in self.runs for row in run.lines()]
        if self.unchecked:
            rows.append(("", f"not checked: {', '.join(self.unchecked)}"))
        return rows


def check_manifest(path: str, config_file: str, load: Load) -> Checked:
    """All mistakes that can be found without the model and the data.

    A RayJob is checked with its entrypoint's settings, a RayCluster with those of the command.
    Raises UserError if the manifest cannot be read.
    """
    documents, checked = read_documents(path), Checked()
    for document in documents:
        checked.mistakes += conformance_mistakes(document)
        if document.tree.get("kind") and not is_checked(document):
            checked.unchecked.append(document.label.partition(": ")[2])
    runs = [document for document in documents if is_ray(document)]
    if not runs:
        what = "holds no RayJob and no RayCluster"
        checked.mistakes.append(UserError(path, what, "give the one that the run is to be in"))
    broken = {str(mistake.what).partition(": ")[2].split(":")[0] for mistake in checked.mistakes}
    for document in runs:
        if document.label.partition(": ")[2] in broken:
            continue  # its fields are not what rules expect
        found, run = _of_run(document, documents, config_file, load)
        checked.mistakes += [UserError(f"{document.label}: {m[0]}", m[1], m[2]) for m in found]
        if run is not None:
            checked.runs.append(run)
    return checked


def _of_run(
    document: Document, documents: Sequence[Document], config_file: str, load: Load
) -> tuple[list[Mistake], ManifestRun | None]:
    spec, labels = document.tree["spec"], _labels(document)
    found = [*name_mistakes(document.kind, document.name)]
    found += label_mistakes(labels, "metadata.labels")
    if document.kind == "RayJob":
        found += job_mistakes(spec)
        if not spec.get("rayClusterSpec"):
            return found, None  # on a cluster that another manifest describes
    cluster, place = _cluster_of(document)
    groups = groups_of(cluster, place)
    if empty := [*empty_mistakes(groups, spec)]:
        return [*found, *empty], None
    wrong = list(cluster_mistakes(cluster, groups, place))
    found += chain(wrong, *_of_cluster(document, documents, cluster, groups, place))
    overrides: list[str] | None = None
    if document.kind == "RayJob":
        entry = read_entrypoint(spec)
        if isinstance(entry, tuple):
            return [*found, entry], None
        found += entrypoint_mistakes(entry, spec, labels, config_file)
        overrides = entry.overrides
    try:
        config = load(overrides)
    except UserError as error:
        where = "spec.entrypoint: " if document.kind == "RayJob" else ""
        return [*found, (f"{where}{error.what}", error.why, error.todo)], None
    run = ManifestRun(document, config, groups)
    if not wrong:  # else there are no such pods
        found += fit_mistakes(run, generates=answers_needed(config))
    return found, run


def fit_mistakes(run: ManifestRun, *, generates: bool) -> Iterator[Mistake]:
    """A run's configuration against its pods."""
    config, groups = run.config, run.groups
    yield from room_mistakes(config, groups, run.spec, generates=generates)
    yield from place_mistakes(config, groups)
    yield from stop_mistakes(config, groups)
    yield from key_mistakes(config, groups)


def _of_cluster(
    document: Document,
    documents: Sequence[Document],
    cluster: dict[str, Any],
    groups: list[Group],
    place: str,
) -> Iterator[Iterator[Mistake]]:
    spec = document.tree["spec"]
    yield version_mistakes(cluster, place)
    for group in groups:
        yield pod_mistakes(group.pod, group.place)
        yield group_mistakes(group)
    if document.kind == "RayJob":
        yield submitter_mistakes(spec)
    yield image_mistakes(groups, spec if document.kind == "RayJob" else {})
    yield claim_mistakes(documents, groups, document.namespace)
    yield queue_mistakes(_labels(document), spec, groups)


def _labels(document: Document) -> dict[str, str]:
    return dict(document.tree["metadata"].get("labels") or {})


def _cluster_of(document: Document) -> tuple[dict[str, Any], str]:
    """The cluster's specification, and its place in the object."""
    spec = document.tree["spec"]
    if document.kind == "RayCluster":
        return dict(spec), "spec"
    return dict(spec.get("rayClusterSpec") or {}), "spec.rayClusterSpec"
