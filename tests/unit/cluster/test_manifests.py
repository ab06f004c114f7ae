"""The manifests of cluster/ as they are: right, complete, and safe."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from typing import Any

import pytest
import yaml

from actors.fleet import placement
from actors.fleet.placement import custom_resources, plan_placement
from medray import cli
from medray.config import Config
from medray.manifest.conformance import conformance_mistakes
from medray.manifest.documents import read_documents
from medray.manifest.fit.demand import demands_of
from tests.support.paths import ROOT
from tests.unit.cluster.manifests import CONFIGS, SUBMITTED, change, check, lines, objects, write

USES = sorted(CONFIGS)
DRAIN = "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"


def overrides(use: str) -> tuple[str, ...]:
    return SUBMITTED if use == "interactive" else ()


@pytest.mark.parametrize("use", USES)
def test_no_mistake_is_found(use: str) -> None:
    assert lines(ROOT / "cluster" / use, use, overrides(use)) == []


@pytest.mark.parametrize("use", USES)
def test_a_right_manifest_is_described(use: str) -> None:
    rows = check(ROOT / "cluster" / use, use, overrides(use)).lines()
    assert rows[0][0] == "manifest"
    assert rows[0][1].endswith(", run.output /mnt/runs")
    assert rows[1][1].startswith("head: 1 × ")


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="renders with kubectl")
@pytest.mark.parametrize("use", [*USES, "admin", "monitoring"])
def test_kustomize_renders_the_objects_that_are_checked(use: str) -> None:
    command = ["kubectl", "kustomize", str(ROOT / "cluster" / use)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rendered = {(t["kind"], t["metadata"]["name"]): t for t in yaml.safe_load_all(done.stdout)}
    for document in read_documents(str(ROOT / "cluster" / use)):
        assert rendered[document.kind, document.name] == document.tree


def test_it_says_which_actors_fit_where() -> None:
    rows = [text for _, text in check(ROOT / "cluster/gpu-groups", "gpu-groups").lines()]
    assert rows[1] == "head: 1 × 1 CPUs, 16 GiB for 1 driver"
    assert rows[2].endswith("1 learner-node, 128 GiB for 2 Learner")
    assert rows[3].endswith("1 generator-node, 48 GiB for 4 Generator, 1 Editor")


@pytest.mark.parametrize("use", USES)
def test_the_hook_of_a_pod_finds_the_run_and_neither_shell_nor_itself(use: str) -> None:
    """Only the patterns: on this machine there may be runs of others."""
    for pod in pods(use):
        hooks = [
            c["lifecycle"]["preStop"]["exec"]["command"]
            for c in pod["containers"]
            if "lifecycle" in c
        ]
        for shell, option, script in (hook for hook in hooks if "launch" in hook[-1]):
            stop, wait = re.findall(r"-f '([^']+)'", script)
            for program in ("python", "python3.11"):
                line = f"/opt/medray/.venv/bin/{program} /usr/local/bin/medray launch c.yaml"
                assert re.search(stop, line)
                assert re.search(wait, line)
            assert not re.search(stop, "/bin/sh -c medray launch c.yaml")
            for kind in (
                "Generator(replica=0).generate",
                "Learner(rank=1)",
                "Packer",
                "LanguageModel",
            ):
                assert re.search(wait, f"ray::{kind}")
            assert not re.search(wait, "ray::IDLE")
            own = f"{shell} {option} {script}"
            assert not re.search(stop, own)
            assert not re.search(wait, own)


@pytest.mark.parametrize("use", USES)
def test_the_hook_of_a_worker_has_ray_drain_its_node(use: str) -> None:
    """As Ray does when `ray start --block` gets SIGTERM; in the pod it may be another's child."""
    containers = [c for pod in pods(use) for c in pod["containers"] if c["name"] == "ray-worker"]
    assert containers
    for container in containers:
        shell, option, script = container["lifecycle"]["preStop"]["exec"]["command"]
        (drain,) = re.findall(r"pkill -TERM -f '([^']+)'", script)
        line = "ray start --address=head:6379 --block --num-gpus=2"
        assert re.search(drain, f"/opt/medray/.venv/bin/python /opt/medray/.venv/bin/{line}")
        assert not re.search(drain, f"/bin/bash -c ulimit -n 65536; {line}")
        assert not re.search(drain, f"{shell} {option} {script}")
        variables = {v["name"]: v.get("value") for v in container["env"]}
        assert float(variables[DRAIN]) + 60 <= next(
            pod["terminationGracePeriodSeconds"]
            for pod in pods(use)
            if container in pod["containers"]
        )


def test_ray_still_reads_how_long_it_drains() -> None:
    from ray._private import ray_constants

    assert hasattr(ray_constants, DRAIN)


def pods(use: str) -> list[dict[str, Any]]:
    """Specifications of all pods of a use."""
    found: list[dict[str, Any]] = []

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if "containers" in node:
                found.append(node)
            node = list(node.values())
        for child in node if isinstance(node, list) else ():
            walk(child)

    walk(objects(use))
    return found


@pytest.mark.parametrize("use", USES)
def test_pods_have_no_privilege(use: str) -> None:
    assert len(pods(use)) >= 2
    for pod in pods(use):
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["runAsUser"] > 0
        for container in pod["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("use", USES)
def test_only_a_head_with_an_autoscaler_may_call_kubernetes(use: str) -> None:
    calling = [pod for pod in pods(use) if pod.get("automountServiceAccountToken") is not False]
    assert len(calling) == (use in ("gpu-groups", "interactive"))


@pytest.mark.parametrize("use", USES)
def test_it_holds_no_secret_and_names_no_registry(use: str) -> None:
    for pod in pods(use):
        for container in pod["containers"]:
            assert "/" not in container["image"]
            for variable in container.get("env", ()):
                assert "KEY" not in variable["name"] or "secretKeyRef" in variable["valueFrom"]
    assert "Secret" not in objects(use)


@pytest.mark.parametrize("use", USES)
def test_ray_wants_a_token_and_its_version_is_that_of_the_lock(use: str) -> None:
    trees = objects(use)
    cluster = trees.get("RayCluster", {}).get("spec") or trees["RayJob"]["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    for stack in ("cpu", "gpu"):
        lock = (ROOT / f"requirements/{stack}.txt").read_text()
        locked = re.search(r"^ray(?:\[[a-z,]+\])?==(\S+)", lock, re.M)
        assert locked is not None
        assert cluster["rayVersion"] == locked[1]


def test_the_objects_of_an_administrator_conform() -> None:
    documents = read_documents(str(ROOT / "cluster/admin"))
    assert [document.kind for document in documents] == ["PriorityClass"]
    assert conformance_mistakes(documents[0]) == []
    used = {pod.get("priorityClassName") for pod in pods("gpu-groups")} - {None}
    assert used == {documents[0].name}


SETTINGS = [
    {},
    {"generator": {"replicas": 3, "tensor_parallel": 2}, "learner": {"world_size": 2}},
    {"generator": {"resources": {"g": 0.5}, "replicas": 2}, "learner": {"resources": {"l": 1}}},
    {
        "generator": {"colocated": True, "replicas": 2, "resources": {"g": 0.5}},
        "learner": {"world_size": 2, "resources": {"g": 0.25}},
    },
    {
        "editor": {"kind": "llm", "path": "a", "judges": ("b",), "replicas": 2},
        "generator": {"resources": {"g": 1}},
    },
    {
        "corruption": {"region": "found"},
        "localiser": {"kind": "clipseg", "path": "x", "gpus": 0.5, "replicas": 2},
    },
]


@pytest.mark.parametrize("settings", SETTINGS, ids=json.dumps)
@pytest.mark.parametrize("gpus", [0.0, 32.0])
def test_what_is_checked_is_what_the_fleet_asks_for(monkeypatch, settings, gpus) -> None:
    monkeypatch.setattr(placement, "is_cpu_build", lambda: False)
    config = Config.model_validate({"data": {"kind": "phantom"}, **settings})
    needs_gpus = config.generator.colocated or config.generator.tensor_parallel > 1
    if needs_gpus and not gpus:
        return
    has = {"CPU": 99.0, "GPU": gpus, "g": 99.0, "l": 99.0}
    asked_for, demands = plan_placement(config, has), demands_of(config, gpus=bool(gpus))
    assert sum(d.gpus * d.count for d in demands) == asked_for.gpus
    assert sum(d.cpus * d.count for d in demands) == asked_for.cpus
    custom: dict[str, float] = {}
    for demand in demands:
        for name, amount in demand.custom.items():
            custom[name] = custom.get(name, 0) + amount * demand.count
    replicas, world = config.generator.replicas, config.learner.world_size
    assert custom == custom_resources(config, replicas, world)


def test_every_mistake_is_a_line_and_the_command_ends_with_2(monkeypatch, capsys, tmp_path) -> None:
    trees = objects("smoke")
    change(trees["RayJob"], "spec.backoffLimit", -1)
    change(trees["RayJob"], "spec.rayClusterSpec.workerGroupSpecs.0.template.spec.containers.0", {})
    change(trees["PersistentVolumeClaim"], "spec.acces", "x")
    file = write(tmp_path / "x.yaml", list(trees.values()))
    command = ["medray", "check", str(ROOT / CONFIGS["smoke"]), "--manifest", str(file)]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as end:
        cli.main()
    printed = capsys.readouterr()
    assert (end.value.code, printed.out) == (2, "")
    found = printed.err.splitlines()
    assert len(found) == 2
    assert all(line.startswith(f"medray: {file}: ") for line in found)
