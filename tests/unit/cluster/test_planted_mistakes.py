"""Mistakes planted into the manifests of cluster/, each with the one line that it must give."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.cluster.manifests import change, check, lines, objects, write

C = "spec.rayClusterSpec"
HEAD, W = f"{C}.headGroupSpec", f"{C}.workerGroupSpecs.0"
POD = f"{W}.template.spec"
BOX = f"{POD}.containers.0"
HEAD_BOX = f"{HEAD}.template.spec.containers.0"
RUN = "medray launch configs/quickstart.yaml run.output=/mnt/runs --resume"
GROUPS = "medray launch configs/one_gpu.yaml --resume run.output=/mnt/runs "
GROUPS += "model.path=/mnt/data/m data.path=/mnt/data/d generator.colocated=false "

# (place, value, what the line must hold); ... removes
FIELDS: list[tuple[str, Any, str]] = [
    ("specs", {}, "specs: unknown field — did you mean spec?"),
    ("apiVersion", "ray.io/v1alpha1", "apiVersion = 'ray.io/v1alpha1': not a known value"),
    ("metadata.lables", {}, "metadata.lables: unknown field — did you mean labels?"),
    ("spec.backofLimit", 2, "spec.backofLimit: unknown field — did you mean backoffLimit?"),
    ("spec.ttlSecondsAfterFinished", "600", "must be an integer — write it without quotes"),
    ("spec.ttlSecondsAfterFinished", 2**31, "must be at most 2147483647"),
    ("spec.shutdownAfterJobFinishes", "yes", "must be true or false"),
    ("spec.entrypointNumCpus", "1", "spec.entrypointNumCpus = '1': must be a number"),
    (f"{C}.rayversion", "2.60.0", "rayversion: unknown field — did you mean rayVersion?"),
    (f"{C}.rayVersion", 2.6, "rayVersion = 2.6: must be text — put it in quotes"),
    (f"{C}.authOptions.mode", "tokens", "did you mean token?"),
    (f"{HEAD}.rayStartParams.num-cpus", 0, "num-cpus = 0: must be text — put it in quotes"),
    (f"{HEAD}.template", ..., "headGroupSpec.template: is missing — add it"),
    (f"{W}.replica", 1, "workerGroupSpecs[workers].replica: unknown field"),
    (f"{POD}.priorityClass", "x", "priorityClass: unknown field — did you mean priorityClassName"),
    (f"{POD}.securityContext.runAsNonroot", True, "did you mean runAsNonRoot?"),
    (f"{POD}.containers", ..., "template.spec.containers: is missing"),
    (f"{BOX}.name", ..., "containers[0].name: is missing"),
    (f"{BOX}.env", {"NAME": "value"}, "containers[ray-worker].env"),
    (f"{BOX}.env.0.value", 600, "env[RAY_JOB_STOP_WAIT_TIME_S].value = 600: must be text"),
    (f"{BOX}.resources.memory", "8Gi", "resources.memory: unknown field"),
    (f"{BOX}.resources.limits.memory", "8 GB", "is not written as Kubernetes wants it"),
    (f"{BOX}.volumeMounts.0.path", "/mnt/runs", "volumeMounts[runs].path: unknown field"),
    (f"{POD}.volumes.0.persistentVolumeClaim.claim", "x", "did you mean claimName?"),
    ("spec.submitterPodTemplate.spec.restartPolicies", "Never", "did you mean restartPolicy?"),
]
OPERATOR: list[tuple[str, Any, str]] = [
    ("metadata.name", "m" * 48, "has 48 characters — at most 47"),
    ("metadata.name", "Medray_1", "must be lower-case letters"),
    (f"{W}.minReplicas", 2, "minReplicas = 2: is above maxReplicas = 1"),
    (f"{W}.replicas", 3, "replicas = 3: is not between minReplicas = 1 and maxReplicas = 1"),
    (f"{W}.maxReplicas", -1, "maxReplicas = -1: is negative"),
    (f"{W}.maxReplicas", ..., "must have minReplicas and maxReplicas without autoscaling"),
    (f"{W}.groupName", ..., "workerGroupSpecs[0].groupName: is missing"),
    ("spec.entrypointNumCpus", -1, "entrypointNumCpus = -1: is negative"),
    (f"{HEAD}.rayStartParams.dashboard-host", "127.0.0.1", "that submits could not reach it"),
    (f"{W}.groupName", "g" * 64, "it is a label of its pods"),
    ("metadata.labels.team", "a b", "metadata.labels.team = a b: is no value of a label"),
    (f"{W}.rayStartParams.num-gpus", "2", "2 GPUs for Ray: the container has 0"),
    (f"{HEAD}.rayStartParams.num-cpus", "two", "num-cpus = two: is no number"),
    (f"{HEAD}.rayStartParams.object-store-memory", "9Gi", "is more than the container's memory"),
    (f"{W}.suspend", True, "a group that is suspended has no pods"),
    (f"{W}.idleTimeoutSeconds", 60, "idleTimeoutSeconds: needs version v2 of the autoscaler"),
    (f"{W}.rayStartParams.labels", "a=b", "rayStartParams.labels: is not supported"),
    (f"{W}.labels", {"-x": "y"}, "labels.-x: is no label of Kubernetes"),
    (f"{W}.resources", {"x": "one"}, "resources.x = one: is no number"),
    (f"{W}.rayStartParams.resources", "x: 1", "rayStartParams.resources: is not JSON in quotes"),
    (f"{HEAD}.resources", {"CPU": "0"}, "cannot be given beside resources in rayStartParams"),
    ("spec.submissionMode", "Job", "submissionMode = Job: not a known mode"),
    ("spec.submissionMode", "SidecarMode", "submitterPodTemplate: is not supported in SidecarMode"),
    ("spec.submissionMode", "InteractiveMode", "cannot be used with InteractiveMode"),
    ("spec.clusterSelector", {"app": "x"}, "spec.clusterSelector: names no ray.io/cluster"),
    (C, ..., "spec.rayClusterSpec: is missing"),
    ("spec.backoffLimit", -1, "backoffLimit = -1: is negative"),
    ("spec.activeDeadlineSeconds", 0, "activeDeadlineSeconds = 0: must be above 0"),
    ("spec.activeDeadlineSeconds", 60, "is beyond activeDeadlineSeconds = 60"),
    ("spec.shutdownAfterJobFinishes", False, "needs shutdownAfterJobFinishes"),
    ("spec.runtimeEnvYAML", "a: [", "runtimeEnvYAML: is not valid YAML"),
    (f"{C}.rayVersion", ..., "needs rayVersion 2.52 or later, not none"),
    (f"{C}.rayVersion", "2.55.0", "rayVersion = 2.55.0: this medray runs on Ray 2."),
    (f"{C}.autoscalerOptions", {"version": "v2"}, "does nothing without enableInTreeAutoscaling"),
    (f"{C}.enableInTreeAutoscaling", True, "the autoscaler, a container of the head"),
    (f"{C}.authOptions.enableK8sTokenAuth", True, "is not supported for a RayJob"),
]
PODS: list[tuple[str, Any, str]] = [
    (f"{BOX}.name", "Ray_Worker", "container Ray_Worker: is no name"),
    (f"{BOX}.env.0.name", "", "env '': is no name of a variable"),
    (f"{BOX}.env.0", {"name": "A", "valueFrom": {}}, "env A: valueFrom has no source"),
    (f"{BOX}.lifecycle.preStop.exec.command", [], "lifecycle.preStop: does nothing"),
    (f"{BOX}.resources.requests.cpu", "-1", "cpu = -1: is negative"),
    (f"{POD}.volumes.1.emptyDir.sizeLimit", "-1Gi", "sizeLimit = -1Gi: is negative"),
    (f"{POD}.volumes.0.persistentVolumeClaim.claimName", "", "volume runs: names no claim"),
    (f"{POD}.securityContext.runAsUser", -5, "runAsUser = -5: is negative"),
    (f"{POD}.securityContext.seccompProfile.type", "Default", "seccompProfile.type = Default"),
    (f"{POD}.securityContext.fsGroupChangePolicy", "Never", "fsGroupChangePolicy = Never"),
    (f"{BOX}.imagePullPolicy", "Sometimes", "imagePullPolicy = Sometimes: no such value"),
    (f"{POD}.restartPolicy", "Maybe", "restartPolicy = Maybe: no such value"),
    (f"{POD}.tolerations", [{"key": "a", "operator": "Is"}], "toleration a: operator = Is"),
    (
        f"{POD}.tolerations",
        [{"key": "a", "operator": "Exists", "value": "b"}],
        "Exists takes no value",
    ),
    (f"{BOX}.env.1", {"name": "RAY_JOB_STOP_WAIT_TIME_S", "value": "9"}, "occurs twice"),
    (f"{BOX}.volumeMounts.0.name", "run", "mount run: the pod has no volume of this name"),
    (f"{BOX}.volumeMounts.1.mountPath", "/mnt/runs", "volumeMounts: /mnt/runs occurs twice"),
    (f"{BOX}.volumeMounts.0.mountPath", "mnt/runs", "mountPath mnt/runs: is not absolute"),
    (f"{BOX}.resources.requests.cpu", "8", "requests.cpu = 8: is above the limit 4"),
    (f"{BOX}.resources.requests", {"nvidia.com/gpu": "1"}, "must be the limit of that device too"),
    (f"{POD}.volumes.0.persistentVolumeClaim", ..., "volume runs: has no source"),
    (f"{POD}.volumes.0.emptyDir", {}, "volume runs: has 2 sources"),
    (f"{POD}.securityContext.runAsUser", 0, "runAsUser = 0: runAsNonRoot refuses root"),
    (f"{POD}.volumes.1.emptyDir", {}, "/dev/shm: must be memory"),
    (f"{POD}.volumes.1.emptyDir.sizeLimit", "20Gi", "is more than the container's memory"),
    (f"{BOX}.resources.limits", {"cpu": "4"}, "has no limit of memory"),
    (f"{BOX}.image", "medray:old", "image medray:old: is not the head's, medray:cpu"),
    ("spec.submitterPodTemplate.spec.containers.0.image", ..., "image: is missing"),
    ("spec.submitterPodTemplate.spec.restartPolicy", "Always", "a Job's pod ends — Never"),
    (
        f"{BOX}.env.0.valueFrom",
        {"configMapKeyRef": {"name": "a", "key": "b"}},
        "has value and valueFrom",
    ),
]
RUN_FIT: list[tuple[str, Any, str]] = [
    ("spec.entrypoint", ..., "spec.entrypoint: is missing"),
    ("spec.entrypoint", "python train.py", "is not `medray launch`"),
    ("spec.entrypoint", "medray launch 'x", "is no command"),
    ("spec.entrypoint", RUN.replace("quickstart", "other"), "which is checked — name the same one"),
    ("spec.entrypoint", f"{RUN} --adress x", "--adress: no such option of launch"),
    ("spec.entrypoint", f"{RUN} --address=auto", "a job has its own cluster — remove it"),
    ("spec.entrypoint", RUN.removesuffix("--resume"), "each retry would find the run's directory"),
    ("spec.entrypoint", f"{RUN} loop.step=5", "loop.step: unknown key — did you mean steps?"),
    ("spec.entrypoint", RUN.replace("/mnt/runs", "runs"), "run.output = runs: is relative"),
    ("spec.entrypoint", RUN.replace("/mnt/runs", "/data"), "no volume of groups head, workers"),
    ("spec.entrypoint", f"{RUN} model.path=models/x", "the image holds neither models nor data"),
    ("spec.entrypoint", f"{RUN} data.path=/mnt/data/x", "data.path = /mnt/data/x: no volume of"),
    (
        "spec.entrypoint",
        f"{RUN} learner.world_size=4",
        "5 CPUs are needed (1 driver × 1, 4 Learner × 1): all pods together have 4",
    ),
    ("spec.entrypoint", f"{RUN} generator.tensor_parallel=2", "no pod has a GPU"),
    (
        "spec.entrypoint",
        f"{RUN} learner.resources.big=1",
        "learner.resources.big: no group of pods",
    ),
    ("spec.entrypoint", f"{RUN} faults.stop_within=900", "is less than faults.stop_within = 900"),
    (f"{POD}.terminationGracePeriodSeconds", 30, "no checkpoint before a preemption"),
    (f"{BOX}.env", ..., "RAY_JOB_STOP_WAIT_TIME_S = 3: is less than faults.stop_within = 60"),
    (f"{BOX}.volumeMounts.0.readOnly", True, "its volume is read-only in group workers"),
    (f"{POD}.volumes.0", {"name": "runs", "emptyDir": {}}, "volume of kind emptyDir"),
    (f"{POD}.volumes.0.persistentVolumeClaim.claimName", "x", "is on different claims"),
    (f"{W}.maxReplicas", 0, "minReplicas = 1: is above maxReplicas = 0"),
    ("spec.entrypointNumCpus", 5, "6 CPUs are needed"),
]
KEY = "editor.kind=llm editor.url=http://localhost:8000/v1 editor.model=m editor.api_key_env=KEY"
GPU_GROUPS: list[tuple[str, Any, str]] = [
    ("spec.entrypoint", f"{GROUPS} learner.world_size=2", "is refused: the cluster starts smaller"),
    (
        "spec.entrypoint",
        f"{GROUPS} generator.replicas=5 learner.world_size=2 faults.nodes_within=9",
        "7 GPUs are needed (2 Learner × 1, 5 Generator × 1): all pods together have 6",
    ),
    (
        "spec.entrypoint",
        f"{GROUPS} learner.world_size=4 learner.resources.learner-node=0.001",
        "2 Learner of 1 GPU, 1 CPU, 0.001 learner-node each: no pod has that left",
    ),
    (
        "spec.entrypoint",
        f"{GROUPS} generator.tensor_parallel=4 faults.nodes_within=9",
        "1 Generator of 4 GPU, 1 CPU each: no pod has that left",
    ),
    (f"{C}.workerGroupSpecs.1.groupName", "learners", "2 groups are named learners"),
    (f"{W}.resources", {"learners": "1"}, "learner.resources.learner-node: no group of pods"),
    ("spec.entrypoint", f"{GROUPS} {KEY} faults.nodes_within=9", "editor.api_key_env names it"),
    (f"{POD}.restartPolicy", "Always", "version v2 of the autoscaler needs Never"),
    (
        f"{HEAD_BOX}.env.0",
        {"name": "RAY_enable_autoscaler_v2", "value": "1"},
        "remove the variable",
    ),
]


@pytest.mark.parametrize(("place", "value", "line"), [*FIELDS, *OPERATOR, *PODS, *RUN_FIT])
def test_a_mistake_in_the_smoke_job(tmp_path, place, value, line):
    trees = objects("smoke")
    change(trees["RayJob"], place, value)
    found = lines(write(tmp_path / "x.yaml", list(trees.values())), "smoke")
    assert [text for text in found if line in text and text.startswith("RayJob")], found


@pytest.mark.parametrize(("place", "value", "line"), GPU_GROUPS)
def test_a_mistake_in_the_job_of_two_groups(tmp_path, place, value, line):
    trees = objects("gpu-groups")
    change(trees["RayJob"], place, value)
    found = lines(write(tmp_path / "x.yaml", list(trees.values())), "gpu-groups")
    assert [text for text in found if line in text], found


def test_each_mistake_of_a_pod_or_an_operators_rule_is_one_line(tmp_path):
    """So that a reader mends one thing, and not what follows from it."""
    for place, value, line in [*OPERATOR[:5], *PODS[3:4], *RUN_FIT[8:13]]:
        trees = objects("smoke")
        change(trees["RayJob"], place, value)
        found = lines(write(tmp_path / "x.yaml", list(trees.values())), "smoke")
        assert len(found) == 1, (line, found)


def test_other_objects_are_held_against_their_definitions(tmp_path):
    trees = objects("smoke")
    trees["PersistentVolumeClaim"]["spec"]["accessMode"] = ["ReadWriteMany"]
    trees["NetworkPolicy"]["spec"]["egress"][0]["too"] = []
    found = lines(write(tmp_path / "x.yaml", list(trees.values())), "smoke")
    assert found == [
        "PersistentVolumeClaim medray-runs: spec.accessMode: unknown field — "
        "did you mean accessModes?",
        "NetworkPolicy medray-workers-egress: spec.egress[0].too: unknown field — did you mean to?",
    ]


def test_a_claim_for_one_pod_is_not_for_several(tmp_path):
    trees = objects("smoke")
    trees["PersistentVolumeClaim"]["spec"]["accessModes"] = ["ReadWriteOnce"]
    (line,) = lines(write(tmp_path / "x.yaml", list(trees.values())), "smoke")
    assert "accessModes = ReadWriteOnce: 2 pods mount it, on any node — ReadWriteMany" in line


def test_a_claim_of_another_namespace_is_not_seen(tmp_path):
    trees = objects("smoke")
    trees["RayJob"]["metadata"]["namespace"] = "runs"
    (line,) = lines(write(tmp_path / "x.yaml", list(trees.values())), "smoke")
    assert "PersistentVolumeClaim medray-runs: namespace (none): the pods are in runs" in line


def test_what_is_allowed_and_costs_something_is_a_note(tmp_path):
    job = objects("gpu-groups")["RayJob"]
    job["metadata"]["labels"] = {"kueue.x-k8s.io/queue-name": "q"}
    change(job, f"{BOX}.lifecycle", ...)
    checked = check(write(tmp_path / "x.yaml", [job]), "gpu-groups")
    assert checked.mistakes == []
    notes = [text for _, text in checked.lines()][-2:]
    assert "its feature gate ElasticJobsViaWorkloadSlices only" in notes[0]
    assert notes[1].startswith("no preStop in learners: ")


def test_a_job_that_kueue_may_preempt_must_resume(tmp_path):
    job = objects("one-gpu")["RayJob"]
    spec = job["spec"]
    spec["entrypoint"] = spec["entrypoint"].replace("--resume", "")
    spec["backoffLimit"] = 0
    spec["shutdownAfterJobFinishes"], spec["ttlSecondsAfterFinished"] = False, 0
    del spec["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["resources"]
    found = "\n".join(lines(write(tmp_path / "x.yaml", [job]), "one-gpu"))
    assert "a job that Kueue preempted would find the run's directory taken" in found
    assert "Kueue counts pods until they are gone — set it to true" in found
    assert "requests nothing, and Kueue counts requests" in found
