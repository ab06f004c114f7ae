"""What Kubernetes refuses in a pod although its fields are right, or does otherwise than meant."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from medray.manifest.conformance import Mistake
from medray.manifest.documents import Document
from medray.manifest.pods import Group, amount_of
from medray.manifest.rules.operator import QUEUE

SHARED_MEMORY = "/dev/shm"
CHOICES = {
    "imagePullPolicy": ("Always", "IfNotPresent", "Never"),
    "restartPolicy": ("Always", "OnFailure", "Never"),
    "operator": ("Exists", "Equal"),
    "effect": ("NoSchedule", "PreferNoSchedule", "NoExecute"),
    "fsGroupChangePolicy": ("Always", "OnRootMismatch"),
}
SECCOMP = ("RuntimeDefault", "Localhost", "Unconfined")
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
VARIABLE = re.compile(r"[A-Za-z_.-][A-Za-z0-9_.-]*")


def empty_mistakes(groups: Sequence[Group], spec: dict[str, Any]) -> Iterator[Mistake]:
    """Pods without a container, about which nothing else can be told."""
    pods = {f"{group.place}.template": group.pod for group in groups}
    if submitter := (spec.get("submitterPodTemplate") or {}).get("spec"):
        pods["spec.submitterPodTemplate"] = submitter
    for place, pod in pods.items():
        if not pod.get("containers"):
            yield f"{place}.spec.containers", "is empty", "add one"


def pod_mistakes(pod: dict[str, Any], place: str) -> Iterator[Mistake]:
    """Of one pod template's specification."""
    volumes = [volume["name"] for volume in pod.get("volumes") or ()]
    for volume in pod.get("volumes") or ():
        sources = sorted(volume.keys() - {"name"})
        if (volume.get("persistentVolumeClaim") or {"claimName": "x"}).get("claimName") == "":
            yield f"{place}: volume {volume['name']}", "names no claim", "claimName"
        yield from _negative(f"{place}: volume {volume['name']}", volume.get("emptyDir") or {})
        if len(sources) != 1:
            why = f"has {len(sources)} sources" if sources else "has no source"
            yield f"{place}: volume {volume['name']}", why, "give one, as persistentVolumeClaim"
    for container in (*(pod.get("initContainers") or ()), *pod["containers"]):
        where = f"{place}: container {container['name']}"
        if not NAME.fullmatch(container["name"]):
            yield where, "is no name: lower-case letters, digits and '-'", "rename it"
        yield from _mount_mistakes(container, volumes, where)
        yield from _resource_mistakes(container, where)
        yield from _environment_mistakes(container, where)
        yield from _choice_mistakes(container, where)
    yield from _choice_mistakes(pod, place)
    for toleration in pod.get("tolerations") or ():
        yield from _choice_mistakes(toleration, f"{place}: toleration {toleration.get('key')}")
        if toleration.get("operator") == "Exists" and toleration.get("value"):
            what = f"{place}: toleration {toleration.get('key')}"
            yield what, "Exists takes no value", "remove value, or write Equal"
    yield from _user_mistakes(pod, place)


def _choice_mistakes(node: dict[str, Any], where: str) -> Iterator[Mistake]:
    """Fields that Kubernetes takes few values for, and the definition any text."""
    for field, values in CHOICES.items():
        if node.get(field, values[0]) not in values:
            yield (
                f"{where}: {field} = {node[field]}",
                "no such value",
                f"one of {', '.join(values)}",
            )


def _mount_mistakes(container: dict[str, Any], volumes: list[str], where: str) -> Iterator[Mistake]:
    for mount in container.get("volumeMounts") or ():
        if mount["name"] not in volumes:
            what = f"{where}: mount {mount['name']}"
            yield what, "the pod has no volume of this name", f"one of {', '.join(volumes) or '…'}"
        if not str(mount["mountPath"]).startswith("/"):
            yield f"{where}: mountPath {mount['mountPath']}", "is not absolute", "begin with /"


def _resource_mistakes(container: dict[str, Any], where: str) -> Iterator[Mistake]:
    resources = container.get("resources") or {}
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for part in (requests, limits):
        yield from _negative(where, part)
    for name, value in requests.items():
        if name in limits and amount_of(value) > amount_of(limits[name]):
            why = f"is above the limit {limits[name]}"
            yield f"{where}: requests.{name} = {value}", why, "lower it"
        if "/" in name and amount_of(value) != amount_of(limits.get(name, "x")):
            what = f"{where}: requests.{name} = {value}"
            yield what, "must be the limit of that device too", f'limits: {{{name}: "{value}"}}'
    for name, value in limits.items():
        if "/" in name and amount_of(value) % 1:
            yield f"{where}: limits.{name} = {value}", "devices are not divided", "a number of them"


def _negative(where: str, amounts: dict[str, Any]) -> Iterator[Mistake]:
    for name, value in amounts.items():
        if amount_of(value) < 0:
            yield f"{where}: {name} = {value}", "is negative", "correct it"


def _environment_mistakes(container: dict[str, Any], where: str) -> Iterator[Mistake]:
    for kind, hook in (container.get("lifecycle") or {}).items():
        if kind != "stopSignal" and not (hook.get("exec") or {"command": hook}).get("command"):
            yield f"{where}: lifecycle.{kind}", "does nothing", "exec: {command: […]}"
    for entry in container.get("env") or ():
        if not VARIABLE.fullmatch(entry["name"]):
            yield f"{where}: env {entry['name']!r}", "is no name of a variable", "rename it"
        if entry.get("valueFrom") == {}:
            yield f"{where}: env {entry['name']}", "valueFrom has no source", "a secretKeyRef"
        if "value" in entry and entry.get("valueFrom"):
            what = f"{where}: env {entry['name']}"
            yield what, "has value and valueFrom", "remove one of them"
        for kind, source in (entry.get("valueFrom") or {}).items():
            for field in ("name", "key") if kind in ("secretKeyRef", "configMapKeyRef") else ():
                if not source.get(field):
                    yield f"{where}: env {entry['name']}", f"{kind} has no {field}", f"add {field}"


def _user_mistakes(pod: dict[str, Any], place: str) -> Iterator[Mistake]:
    contexts = [pod.get("securityContext") or {}]
    contexts += [container.get("securityContext") or {} for container in pod["containers"]]
    merged: dict[str, Any] = {}
    for context in contexts:
        merged |= context
        yield from _choice_mistakes(context, place)
        yield from _negative(place, {k: v for k, v in context.items() if isinstance(v, int)})
        profile = context.get("seccompProfile") or {}
        if profile and profile["type"] not in SECCOMP:
            what = f"{place}: seccompProfile.type = {profile['type']}"
            yield what, "no such value", f"one of {', '.join(SECCOMP)}"
    if merged.get("runAsNonRoot") and merged.get("runAsUser") == 0:
        yield f"{place}: runAsUser = 0", "runAsNonRoot refuses root", "such as 1000"


def group_mistakes(group: Group) -> Iterator[Mistake]:
    """Of a group of Ray's pods: its memory, also that which its processes share."""
    if "memory" not in ((group.container.get("resources") or {}).get("limits") or {}):
        why = "has no limit of memory: Ray would count the machine's"
        yield f"{group.place}: container {group.container['name']}", why, "set limits.memory"
    mount = next((m for m in group.mounts if m.path == SHARED_MEMORY), None)
    if mount is None:
        return  # the operator mounts one
    disk = mount.volume.get("emptyDir")
    if disk is None or disk.get("medium") != "Memory":
        why = "must be memory: Ray's object store is there"
        yield f"{group.place}: {SHARED_MEMORY}", why, "emptyDir: {medium: Memory}"
        return
    size = amount_of(disk.get("sizeLimit", "nan"))
    if group.memory and size > group.memory:
        what = f"{group.place}: {SHARED_MEMORY} of {disk['sizeLimit']}"
        yield what, "is more than the container's memory, of which it is a part", "lower it"


def submitter_mistakes(spec: dict[str, Any]) -> Iterator[Mistake]:
    """Of the pod that submits a RayJob."""
    pod = (spec.get("submitterPodTemplate") or {}).get("spec")
    if pod is None:
        return
    yield from pod_mistakes(pod, "spec.submitterPodTemplate")
    policy = pod.get("restartPolicy", "Never")
    if policy not in ("Never", "OnFailure"):
        what = f"spec.submitterPodTemplate: restartPolicy = {policy}"
        yield what, "a Job's pod ends", "Never"


def image_mistakes(groups: Sequence[Group], spec: dict[str, Any]) -> Iterator[Mistake]:
    """All pods of a cluster must hold the same code."""
    pods = {group.place: group.pod for group in groups}
    if submitter := (spec.get("submitterPodTemplate") or {}).get("spec"):
        pods["spec.submitterPodTemplate"] = submitter
    images = {place: str(pod["containers"][0].get("image", "")) for place, pod in pods.items()}
    first = next(iter(images.values()))
    for place, image in images.items():
        if not image:
            yield f"{place}: image", "is missing", f"the head's, {first}" if first else "name it"
        elif image != first:
            yield f"{place}: image {image}", f"is not the head's, {first}", "use one image"


def claim_mistakes(
    documents: Sequence[Document], groups: Sequence[Group], namespace: str
) -> Iterator[Mistake]:
    """Claims that several pods mount must let them, if the manifest has the claim."""
    places = {d.name: d.namespace for d in documents if d.kind == "PersistentVolumeClaim"}
    modes = {
        document.name: document.tree.get("spec", {}).get("accessModes") or []
        for document in documents
        if document.kind == "PersistentVolumeClaim"
    }
    pods = sum(group.most for group in groups)
    used = {
        str((mount.volume.get("persistentVolumeClaim") or {}).get("claimName"))
        for group in groups
        for mount in group.mounts
    }
    for name in sorted(used & modes.keys()):
        if places[name] != namespace:
            what = f"PersistentVolumeClaim {name}: namespace {places[name] or '(none)'}"
            yield what, f"the pods are in {namespace or '(none)'}", "one namespace for both"
        if pods > 1 and not {"ReadWriteMany", "ReadOnlyMany"} & set(modes[name]):
            what = f"PersistentVolumeClaim {name}: accessModes = {', '.join(modes[name]) or 'none'}"
            yield what, f"{pods} pods mount it, on any node", "ReadWriteMany"


def queue_mistakes(
    labels: dict[str, str], spec: dict[str, Any], groups: Sequence[Group]
) -> Iterator[Mistake]:
    """What Kueue needs of an object that it is to admit."""
    if not labels.get(QUEUE):
        return
    if "shutdownAfterJobFinishes" in spec or "entrypoint" in spec:
        if not spec.get("shutdownAfterJobFinishes"):
            what = "spec.shutdownAfterJobFinishes"
            yield what, "Kueue counts pods until they are gone", "set it to true"
        if spec.get("clusterSelector"):
            yield "spec.clusterSelector", "Kueue does not admit such a job", "give rayClusterSpec"
    for group in groups:
        for container in group.pod["containers"]:
            resources = container.get("resources") or {}
            if not (resources.get("requests") or resources.get("limits")):
                what = f"{group.place}: container {container['name']}"
                yield what, "requests nothing, and Kueue counts requests", "set resources.requests"
