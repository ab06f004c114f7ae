"""What KubeRay's operator refuses or silently changes, and no schema sees.

Read in `ray-operator/controllers/ray/utils/validation.go` of KubeRay (August 2026).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import yaml

from medray.config import YAML_ERRORS
from medray.manifest.conformance import Mistake
from medray.manifest.pods import Group, amount_of

NAME_LIMITS = {"RayJob": 47, "RayCluster": 53}  # so that the names of pods and services fit
DNS_LABEL = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?")
LABEL_KEY = re.compile(r"([a-z0-9.-]+/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
MODES = ("K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode")
START_RESOURCES = ("num-cpus", "num-gpus", "memory", "resources")
QUEUE = "kueue.x-k8s.io/queue-name"  # a label: Kueue admits the object
TOKENS_SINCE = (2, 52)  # version of Ray
GATED = {"networkPolicy": "RayClusterNetworkPolicy", "tlsOptions": "RayClusterMTLS"}


def name_mistakes(kind: str, name: str) -> Iterator[Mistake]:
    """Of the object itself."""
    limit = NAME_LIMITS[kind]
    if len(name) > limit:
        yield f"metadata.name = {name}", f"has {len(name)} characters", f"at most {limit}"
    if not DNS_LABEL.fullmatch(name):
        why = "must be lower-case letters, digits and '-', and begin with a letter"
        yield f"metadata.name = {name}", why, "rename it"


def label_mistakes(labels: dict[str, str], place: str) -> Iterator[Mistake]:
    """Of labels, in the syntax of Kubernetes."""
    for key, value in labels.items():
        if not LABEL_KEY.fullmatch(key):
            yield f"{place}.{key}", "is no label of Kubernetes", "rename it"
        if not LABEL_VALUE.fullmatch(value):
            why = "is no value of a label: at most 63 letters, digits, '-', '_', '.'"
            yield f"{place}.{key} = {value}", why, "shorten or change it"


def job_mistakes(spec: dict[str, Any]) -> Iterator[Mistake]:
    """Of a RayJob, without its cluster."""
    mode, retries = spec.get("submissionMode", "K8sJobMode"), spec.get("backoffLimit", 0)
    cluster, selector = spec.get("rayClusterSpec"), spec.get("clusterSelector")
    if mode not in MODES:
        yield f"spec.submissionMode = {mode}", "not a known mode", f"one of {', '.join(MODES)}"
    if not cluster and not selector:
        yield "spec.rayClusterSpec", "is missing", "add it, or a clusterSelector"
    if selector and not selector.get("ray.io/cluster"):
        yield "spec.clusterSelector", "names no ray.io/cluster", "add it"
    for field in ("activeDeadlineSeconds", "preRunningDeadlineSeconds"):
        if spec.get(field, 1) < 1:
            yield f"spec.{field} = {spec[field]}", "must be above 0", "correct it"
    if spec.get("preRunningDeadlineSeconds", 0) > spec.get("activeDeadlineSeconds", 2**31):
        what = f"spec.preRunningDeadlineSeconds = {spec['preRunningDeadlineSeconds']}"
        why = f"is beyond activeDeadlineSeconds = {spec['activeDeadlineSeconds']}"
        yield what, why, "raise activeDeadlineSeconds"
    for field in ("entrypointNumCpus", "entrypointNumGpus"):
        if spec.get(field, 0) < 0:
            yield f"spec.{field} = {spec[field]}", "is negative", "0 or more"
    if retries < 0:
        yield f"spec.backoffLimit = {retries}", "is negative", "0 or more"
    if retries > 0 and (selector or mode == "InteractiveMode"):
        with_what = "a clusterSelector" if selector else "InteractiveMode"
        yield f"spec.backoffLimit = {retries}", f"cannot be used with {with_what}", "set it to 0"
    yield from _end_mistakes(spec)
    if mode == "SidecarMode":
        for field in ("submitterPodTemplate", "submitterConfig", "clusterSelector"):
            if spec.get(field):
                yield f"spec.{field}", "is not supported in SidecarMode", "remove it"
    try:
        if not isinstance(yaml.safe_load(spec.get("runtimeEnvYAML") or "{}"), dict):
            yield "spec.runtimeEnvYAML", "is not a mapping", "write one"
    except YAML_ERRORS:
        yield "spec.runtimeEnvYAML", "is not valid YAML", "fix it"
    if ((cluster or {}).get("authOptions") or {}).get("enableK8sTokenAuth"):
        place = "spec.rayClusterSpec.authOptions.enableK8sTokenAuth"
        yield place, "is not supported for a RayJob", "remove it: mode token makes its own"


def _end_mistakes(spec: dict[str, Any]) -> Iterator[Mistake]:
    """What becomes of pods at the end."""
    ends, kept_for = spec.get("shutdownAfterJobFinishes"), spec.get("ttlSecondsAfterFinished", 0)
    if kept_for < 0:
        yield f"spec.ttlSecondsAfterFinished = {kept_for}", "is negative", "0 or more"
    if kept_for > 0 and not ends:
        what = f"spec.ttlSecondsAfterFinished = {kept_for}"
        yield what, "needs shutdownAfterJobFinishes", "set it to true"
    if spec.get("suspend") and not ends:
        yield "spec.suspend", "needs shutdownAfterJobFinishes", "set it to true"
    strategy = spec.get("deletionStrategy") or {}
    if ends and strategy.get("deletionRules"):
        what = "spec.deletionStrategy.deletionRules"
        yield what, "cannot be used with shutdownAfterJobFinishes", "remove one of them"
    if bool(strategy.get("onSuccess")) != bool(strategy.get("onFailure")):
        yield "spec.deletionStrategy", "needs onSuccess and onFailure", "add the other one"


def cluster_mistakes(cluster: dict[str, Any], groups: list[Group], place: str) -> Iterator[Mistake]:
    """Of a cluster's specification."""
    names = Counter(group.name for group in groups)
    for name, count in names.items():
        if count > 1:
            yield f"{place}.workerGroupSpecs", f"{count} groups are named {name}", "rename them"
    for group in groups:
        yield from _group_mistakes(group)
        if group.name != "head":
            yield from _worker_mistakes(group, cluster)
    yield from _autoscaler_mistakes(cluster, groups, place)
    yield from _token_mistakes(cluster, place)
    if "RAY_REDIS_ADDRESS" in groups[0].environment and not cluster.get("gcsFaultToleranceOptions"):
        what = f"{groups[0].place}: RAY_REDIS_ADDRESS"
        yield what, "needs gcsFaultToleranceOptions", "give redisAddress there"
    for policy in (cluster.get("networkPolicy") or {}).get("workerGroups") or ():
        if policy.get("groupName") not in names:
            what = f"{place}.networkPolicy.workerGroups[{policy.get('groupName')}]"
            yield (
                what,
                "no group has this name",
                f"one of {', '.join(sorted(set(names) - {'head'}))}",
            )


def notes_on(cluster: dict[str, Any], groups: list[Group], labels: dict[str, str]) -> Iterator[str]:
    """What depends on the settings of others, or is allowed and costs something."""
    if QUEUE in labels and cluster.get("enableInTreeAutoscaling"):
        gate = "ElasticJobsViaWorkloadSlices"
        yield f"Kueue admits what an autoscaler resizes with its feature gate {gate} only"
    without = [
        group.name
        for group in groups
        if not (group.container.get("lifecycle") or {}).get("preStop")
    ]
    if without:
        yield f"no preStop in {', '.join(without)}: a pod that is preempted waits for no checkpoint"
    for field, gate in GATED.items():
        if cluster.get(field):
            yield f"{field} needs the operator's feature gate {gate}, which is off by default"


def _group_mistakes(group: Group) -> Iterator[Mistake]:
    parameters = group.parameters
    if group.tree.get("resources") and any(key in parameters for key in START_RESOURCES):
        why = "cannot be given beside resources in rayStartParams"
        yield f"{group.place}.resources", why, "move them all here, as CPU, GPU, memory, …"
    if "labels" in parameters:
        yield f"{group.place}.rayStartParams.labels", "is not supported", "write labels beside it"
    yield from label_mistakes(group.tree.get("labels") or {}, f"{group.place}.labels")
    yield from _start_mistakes(group)
    if "resources" in parameters and not group.custom:
        yield (
            f"{group.place}.rayStartParams.resources",
            "is not JSON in quotes",
            "write the group's field resources instead",
        )
    for key, value in (group.tree.get("resources") or {}).items():
        if not amount_of(value) >= 0:
            yield f"{group.place}.resources.{key} = {value}", "is no number", 'such as "1"'


def _start_mistakes(group: Group) -> Iterator[Mistake]:
    """What Ray would count in a pod, and is not there."""
    for key in ("num-cpus", "num-gpus", "memory", "object-store-memory"):
        value = group.parameters.get(key, "0")
        if not amount_of(value) >= 0:
            yield f"{group.place}.rayStartParams.{key} = {value}", "is no number", 'such as "1"'
    host = group.parameters.get("dashboard-host", "0.0.0.0")
    if host != "0.0.0.0":
        what = f"{group.place}.rayStartParams.dashboard-host = {host}"
        yield what, "the pod that submits could not reach it", "0.0.0.0"
    devices = group.devices
    if group.gpus > devices:
        what = f"{group.place}: {group.gpus:g} GPUs for Ray"
        yield what, f"the container has {devices:g}", "set limits: {nvidia.com/gpu: …}"
    store = amount_of(group.parameters.get("object-store-memory", "0"))
    if store > group.memory > 0:
        what = f"{group.place}.rayStartParams.object-store-memory"
        yield what, "is more than the container's memory", "lower it"


def _worker_mistakes(group: Group, cluster: dict[str, Any]) -> Iterator[Mistake]:
    tree = group.tree
    numbers = {key: tree[key] for key in ("minReplicas", "replicas", "maxReplicas") if key in tree}
    for key, value in numbers.items():
        if value < 0:
            yield f"{group.place}.{key} = {value}", "is negative", "0 or more"
    if min(numbers.values(), default=0) < 0:
        return
    least, most = numbers.get("minReplicas", 0), numbers.get("maxReplicas", 2**31)
    if least > most:
        yield f"{group.place}.minReplicas = {least}", f"is above maxReplicas = {most}", "lower it"
    elif not least <= numbers.get("replicas", least) <= most:
        what = f"{group.place}.replicas = {numbers['replicas']}"
        yield what, f"is not between minReplicas = {least} and maxReplicas = {most}", "correct it"
    if not cluster.get("enableInTreeAutoscaling") and not {"minReplicas", "maxReplicas"} <= set(
        tree
    ):
        why = "must have minReplicas and maxReplicas without autoscaling"
        yield group.place, why, "set both to replicas"
    if group.tree.get("groupName") and not LABEL_VALUE.fullmatch(group.name):
        why = "must be at most 63 letters, digits, '-', '_', '.': it is a label of its pods"
        yield f"{group.place}.groupName", why, "rename the group"
    if not group.tree.get("groupName"):
        yield f"{group.place}.groupName", "is missing", "name the group"
    if tree.get("suspend"):
        yield f"{group.place}.suspend", "a group that is suspended has no pods", "remove it"
    if "idleTimeoutSeconds" in tree and not _second_autoscaler(cluster):
        what = f"{group.place}.idleTimeoutSeconds"
        yield what, "needs version v2 of the autoscaler", 'set autoscalerOptions.version: "v2"'


def _second_autoscaler(cluster: dict[str, Any]) -> bool:
    return (cluster.get("autoscalerOptions") or {}).get("version") == "v2"


def _autoscaler_mistakes(
    cluster: dict[str, Any], groups: list[Group], place: str
) -> Iterator[Mistake]:
    head = groups[0]
    idle = (cluster.get("autoscalerOptions") or {}).get("idleTimeoutSeconds", 0)
    if idle < 0:
        what = f"{place}.autoscalerOptions.idleTimeoutSeconds = {idle}"
        yield what, "is negative", "0 or more"
    switch = head.environment.get("RAY_enable_autoscaler_v2", {}).get("value")
    if not cluster.get("enableInTreeAutoscaling"):
        if switch in ("1", "true"):
            what = f"{head.place}: RAY_enable_autoscaler_v2"
            yield what, "needs enableInTreeAutoscaling", "set it to true"
        if cluster.get("autoscalerOptions"):
            what = f"{place}.autoscalerOptions"
            yield what, "does nothing without enableInTreeAutoscaling", "set it to true"
        return
    if switch and (cluster.get("autoscalerOptions") or {}).get("version"):
        what = f"{head.place}: RAY_enable_autoscaler_v2"
        yield what, "is given beside autoscalerOptions.version", "remove the variable"
    if head.pod.get("automountServiceAccountToken") is False:
        why = "the autoscaler, a container of the head, has to call the API of Kubernetes"
        yield f"{head.place}: automountServiceAccountToken: false", why, "remove it there"
    for group in groups:
        policy = group.pod.get("restartPolicy", "Never")
        if _second_autoscaler(cluster) and policy != "Never":
            what = f"{group.place}: restartPolicy = {policy}"
            yield what, "version v2 of the autoscaler needs Never", "remove it"


def _token_mistakes(cluster: dict[str, Any], place: str) -> Iterator[Mistake]:
    options, version = cluster.get("authOptions") or {}, str(cluster.get("rayVersion", ""))
    numbers = tuple(int(n) for n in re.findall(r"\d+", version)[:2])
    if options.get("mode") == "token" and numbers < TOKENS_SINCE:
        what = f"{place}.authOptions.mode = token"
        yield what, f"needs rayVersion 2.52 or later, not {version or 'none'}", "set rayVersion"
    if options.get("enableK8sTokenAuth") and options.get("mode") != "token":
        yield f"{place}.authOptions.enableK8sTokenAuth", "needs mode token", "set it"
