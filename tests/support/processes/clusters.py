"""Ray clusters started by hand, as on machines of one's own: `ray start`, node by node."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from tests.support.paths import ROOT
from tests.support.processes.running import environment, free_port

BIN = Path(sys.executable).parent
PATIENCE = 300.0  # seconds that a part of Ray may take to answer on a machine with other work


class Cluster:
    """A head with its dashboard, and further nodes, all on this machine, behind a token."""

    def __init__(self, cpus: int) -> None:
        ports = (free_port() for _ in range(4))
        self.port, dashboard, client, agent = ports
        self.dashboard = f"http://127.0.0.1:{dashboard}"
        self.address = f"127.0.0.1:{self.port}"
        self.folder = Path(tempfile.mkdtemp(prefix="ray-"))
        self.variables = {
            "RAY_API_SERVER_ADDRESS": self.dashboard,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
        }
        self.nodes = [
            self._start(
                "--head",
                f"--num-cpus={cpus}",
                f"--port={self.port}",
                f"--dashboard-port={dashboard}",
                f"--ray-client-server-port={client}",
                f"--dashboard-agent-listen-port={agent}",
                f"--temp-dir={self.folder}",
            )
        ]
        deadline = time.monotonic() + PATIENCE
        while not self.answers(f"{self.dashboard}/api/version") and time.monotonic() < deadline:
            assert self.nodes[0].poll() is None, "ray start ended"
            time.sleep(0.5)

    def add_node(self, cpus: int, **resources: float) -> subprocess.Popen:
        """One more raylet, once the head knows of it; `resources` of its own beside CPUs."""
        before = self.ids()
        node = self._start(
            f"--address={self.address}",
            f"--num-cpus={cpus}",
            f"--resources={json.dumps(resources)}",
            f"--dashboard-agent-listen-port={free_port()}",
        )
        self.nodes.append(node)
        deadline = time.monotonic() + PATIENCE
        while self.ids() == before and time.monotonic() < deadline:
            assert node.poll() is None, "ray start ended"
            time.sleep(0.5)
        return node

    def ids(self) -> set[str]:
        """Ids of the nodes that the head counts as alive, once it counts itself."""
        deadline = time.monotonic() + PATIENCE
        while not (nodes := self.listed("nodes")) and time.monotonic() < deadline:
            time.sleep(0.5)
        return {node["node_id"] for node in nodes}

    def actors(self, state: str = "ALIVE") -> dict[str, set[str]]:
        """Node → the actors in this state on it."""
        found: dict[str, set[str]] = {}
        for actor in self.listed("actors", state):
            name = actor["repr_name"] or actor["class_name"]
            found.setdefault(actor["node_id"], set()).add(name)
        return found

    def listed(self, kind: str, state: str = "ALIVE") -> list[dict]:
        """As `ray list` asks for nodes or actors, without a process; again until it is answered."""
        query = "detail=true&limit=1000&filter_keys=state&filter_predicates=%3D&filter_values="
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                page = json.loads(self.read(f"{self.dashboard}/api/v0/{kind}?{query}{state}"))
                if page["result"]:
                    return page["data"]["result"]["result"]
                assert time.monotonic() < deadline, page["msg"]
            except OSError:
                assert time.monotonic() < deadline
            time.sleep(0.5)

    def drain(self, node: str, seconds: int) -> None:
        """Say that a node is taken away in so many seconds, as a provider of spot nodes does."""
        done = self.ray(
            "drain-node",
            f"--address={self.address}",
            f"--node-id={node}",
            "--reason=DRAIN_NODE_REASON_PREEMPTION",
            "--reason-message=of the test",
            f"--deadline-remaining-seconds={seconds}",
        )
        assert done.returncode == 0, done.stderr

    def kill(self, node: subprocess.Popen) -> None:
        """The power of one machine fails: everything on it is gone at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(node.pid, signal.SIGKILL)
        node.wait(timeout=60)

    def stop(self) -> None:
        """Nothing is left to be saved, and `ray stop` takes half a minute."""
        for node in reversed(self.nodes):
            if node.poll() is None:
                self.kill(node)
        shutil.rmtree(self.folder, ignore_errors=True)

    def ray(self, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess:
        return subprocess.run(
            [str(BIN / "ray"), *arguments],
            cwd=ROOT,
            env=environment(**self.variables),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def answers(self, url: str) -> bool:
        try:
            return bool(self.read(url))
        except OSError:
            return False

    def read(self, url: str) -> str:
        """One page of the cluster, requested with its token."""
        token = f"Bearer {self.variables['RAY_AUTH_TOKEN']}"
        request = urllib.request.Request(url, headers={"Authorization": token})
        with urllib.request.urlopen(request, timeout=30) as page:
            return page.read().decode()

    def _start(self, *arguments: str) -> subprocess.Popen:
        command = [str(BIN / "ray"), "start", "--block", "--disable-usage-stats", *arguments]
        return subprocess.Popen(
            command,
            env=environment(**self.variables),
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
