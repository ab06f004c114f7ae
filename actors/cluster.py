"""The Ray cluster of a command: the given one, the job's own, or a local one."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from actors.head import Address, HeadWatch, OwnProcesses, find_address
from medray.errors import ResourceError, RunFailed
from medray.files import disk_fault
from medray.process import Scratch, current_signals
from medray.rundir import RunDirectory


@dataclass(frozen=True, slots=True)
class Cluster:
    """Its address; that of its dashboard ("" without one), the token if made for this run, and the
    folder of Ray's session, on every node."""

    address: Address
    dashboard: str
    token: str | None
    session: str = ""

    def describe(self) -> str:
        total = ray.cluster_resources()
        nodes = sum(1 for node in ray.nodes() if node["Alive"])
        size = f"{nodes} node(s), {total.get('CPU', 0):g} CPUs, {total.get('GPU', 0):g} GPUs"
        where = f"{self.address.describe()}: {size}"
        return f"{where}, dashboard http://{self.dashboard}" if self.dashboard else where

    def describe_logs(self, own: Path) -> str:
        """Where the run's log is, in the folder `own`, and where the actors write theirs."""
        actors = Path(self.session) / "logs"
        where = "until the command ends" if self.address.own else "on every node"
        return f"{own / 'progress.log'}; of the actors: {actors}, {where}"


@contextlib.contextmanager
def connect(address: str | None, *, dashboard: bool = False) -> Iterator[Cluster]:
    """Connect to the given cluster or the job's own; otherwise start a local one.

    A local cluster has a `dashboard` only on request: it takes two seconds, and CPUs of a laptop.
    Raises ResourceError if the given one cannot be joined, RunFailed if none can be started.
    """
    # Children (vLLM workers, compilers) must die with their actor.
    os.environ.setdefault("RAY_process_group_cleanup_enabled", "true")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    found = find_address(address)
    with contextlib.ExitStack() as closing:
        if not found.own:
            watch = HeadWatch(lambda: None)
            context = _init(found, include_dashboard=None)
            watch.elsewhere(found.value)
        else:
            token = _own_token()
            scratch = closing.enter_context(_scratch())
            own = OwnProcesses(scratch)
            watch = HeadWatch(own.end)
            if signals := current_signals():
                signals.on_end.append(own.end)
            with own.starting(dashboard=dashboard):
                context = _init(found, include_dashboard=dashboard, _temp_dir=own.folder)
            watch.own()
        if signals := current_signals():
            signals.install()  # Ray has taken SIGTERM for itself
        closing.callback(ray.shutdown)
        closing.callback(watch.stop)
        session = context.address_info.get("session_dir") or ""
        yield Cluster(found, context.dashboard_url or "", token if found.own else None, session)


def _init(address: Address, **options: Any) -> Any:
    """`ray.init`, its failures as one of medray's errors."""
    try:
        return ray.init(
            address=address.value, log_to_driver=False, logging_level=logging.ERROR, **options
        )
    except Exception as error:  # of many kinds, in no hierarchy
        why = " ".join(str(error).split())[:300] or type(error).__name__
        if not address.own:
            todo = "check `ray status` there"
            raise ResourceError(address.source, f"cannot be joined ({why})", todo) from None
        raise disk_fault(error) or RunFailed(
            "Ray",
            f"no cluster could be started on this machine ({why})",
            "see `ulimit -a`, the memory and the temporary folder",
        ) from None


def _scratch() -> Scratch:
    try:
        return Scratch()
    except OSError as error:
        raise ResourceError(
            "TMPDIR", error.strerror or str(error), "name a short folder you may write to"
        ) from None


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
    path.unlink(missing_ok=True)  # with whatever mode it had
    path.touch(mode=0o600)
    path.write_text(cluster.token + "\n")
    return [("", f"the dashboard's token is in {path}")]
