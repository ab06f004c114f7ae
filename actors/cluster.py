"""The Ray cluster of a command: the given one, the job's own, or a local one."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import ray

from medray.errors import ResourceError
from medray.rundir import RunDirectory


@dataclass(frozen=True, slots=True)
class Cluster:
    """Address of its dashboard ("" without one), and the token if it was made for this run."""

    dashboard: str
    token: str | None

    def describe(self) -> str:
        total = ray.cluster_resources()
        nodes = sum(1 for node in ray.nodes() if node["Alive"])
        size = f"{nodes} node(s), {total.get('CPU', 0):g} CPUs, {total.get('GPU', 0):g} GPUs"
        return f"{size}, dashboard http://{self.dashboard}" if self.dashboard else size


@contextlib.contextmanager
def connect(address: str | None, *, dashboard: bool = False) -> Iterator[Cluster]:
    """Connect to the given cluster or the job's own; otherwise start a local one.

    A local cluster has a `dashboard` only on request: it takes two seconds, and CPUs of a laptop.
    """
    # Children (vLLM workers, compilers) must die with their actor.
    os.environ.setdefault("RAY_process_group_cleanup_enabled", "true")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    local = address is None and "RAY_ADDRESS" not in os.environ
    token = _own_token() if local else None
    try:
        context = ray.init(
            address=address,
            include_dashboard=dashboard if local else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except ConnectionError as error:
        raise ResourceError(
            f"--address {address}", f"no Ray cluster there ({error})", "check `ray status`"
        ) from None
    try:
        yield Cluster(context.dashboard_url or "", token)
    finally:
        ray.shutdown()


def _own_token() -> str | None:
    """A token for a local cluster of one run, if the user has none.

    Ray would write one to the home directory, and from then on `ray start` would require it of
    every `ray job submit`.
    """
    given = any(name.startswith("RAY_AUTH_") for name in os.environ)
    if given or (Path.home() / ".ray" / "auth_token").exists():
        return None
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    return os.environ["RAY_AUTH_TOKEN"]


def keep_token(run: RunDirectory, cluster: Cluster) -> list[tuple[str, str]]:
    """Write the token where only the user can read it; returns the plan line that says where."""
    if cluster.token is None or not cluster.dashboard:
        return []
    path = run.logs / "dashboard-token"
    path.touch(mode=0o600)
    path.write_text(cluster.token + "\n")
    return [("", f"the dashboard's token is in {path}")]
