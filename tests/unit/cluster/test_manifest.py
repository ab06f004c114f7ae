"""cluster/rayjob.yaml against KubeRay's own definition, as strictly as the API server checks it.

The schema of the CRD is converted into a JSON Schema that rejects unknown fields (as
`kubectl apply --validate=strict` does), and mistakes are planted to verify that it finds them.
"""

from __future__ import annotations

import copy
import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from medray.config import Config, load_config
from tests.support.paths import ROOT

MANIFEST = ROOT / "cluster/rayjob.yaml"
INT_RANGES = {"int32": 2**31, "int64": 2**63}
COPIED = ("type", "enum", "pattern", "minLength", "maxLength", "minItems", "minimum")
UNDERSTOOD = {
    *COPIED,
    *("properties", "required", "additionalProperties", "items", "format", "nullable", "default"),
    *("anyOf", "x-kubernetes-int-or-string", "x-kubernetes-list-type", "x-kubernetes-map-type"),
    *("x-kubernetes-list-map-keys", "x-kubernetes-preserve-unknown-fields"),
    "x-kubernetes-validations",  # CEL rules: known, but not evaluated
}
METADATA = {
    "properties": {
        **{key: {"type": "string"} for key in ("name", "namespace", "generateName")},
        **{
            key: {"type": "object", "additionalProperties": {"type": "string"}}
            for key in ("labels", "annotations")
        },
    },
    "required": ["name"],
    "type": "object",
}
Steps = tuple[str | int, ...]


class UniqueKeyLoader(yaml.SafeLoader):
    """YAML as kubectl reads it: a duplicate key is an error."""


def _unique_mapping(loader: UniqueKeyLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
    twice = sorted({str(key) for key in keys if keys.count(key) > 1})
    if twice:
        raise ValueError(f"given twice: {', '.join(twice)} {node.start_mark}")
    return loader.construct_mapping(node, deep=True)


UniqueKeyLoader.add_constructor("tag:yaml.org,2002:map", _unique_mapping)


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    """A structural schema as a JSON Schema that rejects unknown fields."""
    unknown = schema.keys() - UNDERSTOOD
    assert not unknown, f"the checker does not understand {unknown}"
    out = {key: schema[key] for key in COPIED if key in schema}
    if schema.get("x-kubernetes-int-or-string"):
        out["type"] = ["integer", "string"]
    if limit := INT_RANGES.get(schema.get("format", "")):
        out = {"minimum": -limit, "maximum": limit - 1} | out
    elif schema.get("format") == "date-time":
        out["pattern"] = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$"
    if schema.get("nullable"):
        out["type"] = [out["type"], "null"]
    if "items" in schema:
        out["items"] = strict(schema["items"])
        _unique(schema, out)
    if schema.get("type") == "object":
        out |= _object(schema)
    return out


def _object(schema: dict[str, Any]) -> dict[str, Any]:
    fields = schema.get("properties", {})
    out: dict[str, Any] = {"properties": {name: strict(field) for name, field in fields.items()}}
    # The server fills in defaults before it checks required fields.
    out["required"] = [n for n in schema.get("required", ()) if "default" not in fields.get(n, {})]
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict):
        out["additionalProperties"] = strict(extra)
    elif not extra and not schema.get("x-kubernetes-preserve-unknown-fields"):
        out["additionalProperties"] = False
    return out


def _unique(schema: dict[str, Any], out: dict[str, Any]) -> None:
    """Lists that act as maps: no two items with the same keys (names of containers, …)."""
    if schema.get("x-kubernetes-list-type") == "set":
        out["uniqueItems"] = True
    elif schema.get("x-kubernetes-list-type") == "map":
        fields = schema["items"]["properties"]
        keys = schema["x-kubernetes-list-map-keys"]
        out["uniqueBy"] = {key: fields[key].get("default") for key in keys}


def _check_unique_by(
    validator: Any, keys: dict[str, Any], items: Any, schema: Any
) -> Iterator[jsonschema.ValidationError]:
    rows = [[item.get(k, d) for k, d in keys.items()] for item in items if isinstance(item, dict)]
    for row in rows:
        if rows.count(row) > 1:
            yield jsonschema.ValidationError(f"{row} occurs twice")


Checker = jsonschema.validators.extend(
    jsonschema.Draft202012Validator, {"uniqueBy": _check_unique_by}
)


@pytest.fixture(scope="module")
def crd(shared_data: Path) -> dict[str, Any]:
    """The RayJob definition's schema of version v1."""
    text = (shared_data.parent / "kuberay/ray.io_rayjobs.yaml").read_text()
    tree = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    version = next(v for v in tree["spec"]["versions"] if v["name"] == "v1")
    assert version["served"]
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    schema["properties"]["metadata"] = METADATA  # the CRD leaves metadata to the server
    schema["properties"]["apiVersion"] = {"type": "string", "enum": ["ray.io/v1"]}
    schema["properties"]["kind"] = {"type": "string", "enum": ["RayJob"]}
    return schema | {"required": ["apiVersion", "kind", "metadata", "spec"]}


@pytest.fixture(scope="module")
def checker(crd: dict[str, Any]) -> Any:
    return Checker(strict(crd))


@pytest.fixture
def documents() -> dict[str, dict[str, Any]]:
    """The manifest's documents by kind."""
    loaded = list(yaml.load_all(MANIFEST.read_text(), UniqueKeyLoader))
    # Anchors share parts of the tree: copy by value, so that a planted mistake stays in one place.
    return {document["kind"]: json.loads(json.dumps(document)) for document in loaded}


@pytest.fixture
def job(documents: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return documents["RayJob"]


def groups(job: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Pod specifications by group name."""
    cluster = job["spec"]["rayClusterSpec"]
    pods = {"head": cluster["headGroupSpec"]["template"]["spec"]}
    pods |= {g["groupName"]: g["template"]["spec"] for g in cluster["workerGroupSpecs"]}
    return pods


def problems(checker: Any, document: dict[str, Any]) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in checker.iter_errors(document)]


@pytest.mark.data
def test_the_job_conforms_to_the_definition(checker: Any, job: dict[str, Any]) -> None:
    assert problems(checker, job) == []


@pytest.mark.data
def test_the_claim_conforms_to_the_fields_of_a_pod(
    crd: dict[str, Any], documents: dict[str, dict[str, Any]]
) -> None:
    """KubeRay ships no definition of a claim, but its pods have the same fields."""
    node: Any = crd
    head = ("spec", "rayClusterSpec", "headGroupSpec", "template", "spec", "volumes")
    for key in (*head, None, "ephemeral", "volumeClaimTemplate", "spec"):
        node = node["items"] if key is None else node["properties"][key]
    claim = documents["PersistentVolumeClaim"]
    assert claim.keys() == {"apiVersion", "kind", "metadata", "spec"}
    assert problems(Checker(strict(node)), claim["spec"]) == []
    assert problems(Checker(strict(METADATA)), claim["metadata"]) == []


SPEC: Steps = ("spec",)
HEAD: Steps = (*SPEC, "rayClusterSpec", "headGroupSpec")
WORKER: Steps = (*SPEC, "rayClusterSpec", "workerGroupSpecs", 0)
POD: Steps = ("template", "spec")
CONTAINER: Steps = (*POD, "containers", 0)


@pytest.mark.data
@pytest.mark.parametrize(
    ("path", "key", "value"),
    [
        ((), "specs", {}),
        ((), "apiVersion", "ray.io/v2"),
        (("metadata",), "lables", {}),
        (SPEC, "shutdownAfterJobFinish", True),
        (SPEC, "ttlSecondsAfterFinished", "600"),
        (SPEC, "ttlSecondsAfterFinished", 2**31),
        (SPEC, "shutdownAfterJobFinishes", "true"),
        (SPEC, "entrypointNumCpus", "1"),
        ((*SPEC, "rayClusterSpec"), "rayversion", "2.60.0"),
        ((*SPEC, "rayClusterSpec"), "rayVersion", 2.6),
        ((*HEAD, "rayStartParams"), "num-cpus", 0),  # a number, but Ray expects a string
        (WORKER, "replica", 1),
        (WORKER, "replicas", "1"),
        ((*WORKER, *POD), "automountServiceAccountTokens", False),
        ((*WORKER, *POD, "securityContext"), "runAsNonroot", True),
        ((*WORKER, *POD, "securityContext", "seccompProfile"), "kind", "RuntimeDefault"),
        ((*WORKER, *CONTAINER), "imagePullPolicies", "Always"),
        ((*WORKER, *CONTAINER), "env", {"NAME": "value"}),
        ((*WORKER, *CONTAINER, "env", 0), "value", 600),
        ((*WORKER, *CONTAINER, "resources"), "memory", "8Gi"),
        ((*WORKER, *CONTAINER, "resources", "limits"), "memory", "8 GB"),
        ((*WORKER, *CONTAINER, "securityContext", "capabilities"), "drop", "ALL"),
        ((*WORKER, *CONTAINER, "volumeMounts", 0), "path", "/mnt/runs"),
        ((*WORKER, *POD, "volumes", 0, "persistentVolumeClaim"), "claim", "medray-runs"),
        ((*SPEC, "submitterPodTemplate", "spec"), "restartPolicies", "Never"),
    ],
)
def test_a_planted_mistake_is_found(
    checker: Any, job: dict[str, Any], path: Steps, key: str, value: Any
) -> None:
    node: Any = job
    for step in path:
        node = node[step]
    node[key] = value
    assert problems(checker, job)


@pytest.mark.data
def test_missing_and_duplicate_parts_are_found(checker: Any, job: dict[str, Any]) -> None:
    pod = groups(job)["workers"]
    changes: list[Callable[[dict[str, Any]], Any]] = [
        lambda worker: worker["containers"][0].pop("name"),
        lambda worker: worker.pop("containers"),
        lambda worker: worker["containers"].append(worker["containers"][0]),
        lambda worker: worker["containers"][0]["env"].append(worker["containers"][0]["env"][0]),
    ]
    original = copy.deepcopy(pod)
    for change in changes:
        change(pod)
        assert problems(checker, job)
        pod.clear()
        pod.update(copy.deepcopy(original))
    assert problems(checker, job) == []


def test_a_duplicate_key_is_found() -> None:
    with pytest.raises(ValueError, match="given twice: image"):
        yaml.load("{a: [{image: x, image: y}]}", UniqueKeyLoader)


def entrypoint(job: dict[str, Any]) -> tuple[Path, list[str], Config]:
    """(configuration file, options, resolved configuration) of the command that the job runs."""
    program, verb, config, *rest = shlex.split(job["spec"]["entrypoint"])
    assert (program, verb) == ("medray", "launch")
    overrides = [word for word in rest if "=" in word]
    return (
        ROOT / config,
        [word for word in rest if "=" not in word],
        load_config(ROOT / config, overrides),
    )


def test_the_entrypoint_runs_a_configuration_of_the_image(job: dict[str, Any]) -> None:
    config, options, _ = entrypoint(job)
    assert config.is_file()
    assert options == ["--resume"]
    copied = re.findall(r"^COPY (.+) \S+$", (ROOT / "cluster/Dockerfile").read_text(), re.M)
    sources = [ROOT / source for line in copied for source in line.split()]
    assert config.parent in sources


def test_the_image_is_built_from_existing_files() -> None:
    dockerfile = (ROOT / "cluster/Dockerfile").read_text()
    copied = re.findall(r"^COPY (.+) \S+$", dockerfile, re.M)
    allowed = re.findall(r"^!(\S+)$", (ROOT / "cluster/Dockerfile.dockerignore").read_text(), re.M)
    for source in (source for line in copied for source in line.split()):
        assert (ROOT / source).exists()
        assert source.split("/")[0] in allowed


def test_runs_are_on_the_volume_that_all_pods_share(
    job: dict[str, Any], documents: dict[str, dict[str, Any]]
) -> None:
    claim = documents["PersistentVolumeClaim"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    output = entrypoint(job)[2].run.output
    for pod in groups(job).values():
        (volume,) = pod["volumes"]
        assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        (mount,) = pod["containers"][0]["volumeMounts"]
        assert (mount["name"], mount["mountPath"]) == (volume["name"], output)


def test_versions_are_those_of_the_lock(job: dict[str, Any]) -> None:
    for stack in ("cpu", "gpu"):
        lock = (ROOT / f"requirements/{stack}.txt").read_text()
        locked = re.search(r"^ray(?:\[[a-z,]+\])?==(\S+)", lock, re.M)
        assert locked is not None
        assert job["spec"]["rayClusterSpec"]["rayVersion"] == locked[1]


def test_every_pod_has_the_same_image_and_no_privilege(job: dict[str, Any]) -> None:
    pods = [*groups(job).values(), job["spec"]["submitterPodTemplate"]["spec"]]
    containers = [container for pod in pods for container in pod["containers"]]
    assert len({container["image"] for container in containers}) == 1
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["automountServiceAccountToken"] is False
    for container in containers:
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert "memory" in container["resources"]["limits"]


def test_the_job_holds_no_secret_and_names_no_registry(job: dict[str, Any]) -> None:
    assert "secret" not in json.dumps(job).lower()
    assert "/" not in groups(job)["head"]["containers"][0]["image"]


def test_the_worker_has_enough_cpus_for_driver_and_learners(job: dict[str, Any]) -> None:
    spec = job["spec"]
    assert spec["rayClusterSpec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    (worker,) = spec["rayClusterSpec"]["workerGroupSpecs"]
    assert (worker["minReplicas"], worker["replicas"], worker["maxReplicas"]) == (1, 1, 1)
    cpus = int(groups(job)["workers"]["containers"][0]["resources"]["limits"]["cpu"])
    assert cpus >= spec["entrypointNumCpus"] + entrypoint(job)[2].learner.world_size
