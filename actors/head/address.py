"""Which cluster a command works on, checked in seconds before Ray is given its address.

Ray itself takes any cluster that a file in a folder open to everybody names, and tries for minutes
to reach one that is not there.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import grpc
import ray

from medray.errors import ResourceError

PROBE = 5.0  # seconds to answer one question
LOCAL = "local"
_CHECK_ALIVE = "/ray.rpc.NodeInfoGcsService/CheckAlive"
_HOST_PORT = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.-]+):(?P<port>[0-9]{1,5})")
_WANTED = "HOST:PORT of its head, as `ray start` prints it"


@dataclass(frozen=True, slots=True)
class Address:
    """`value` for `ray.init`: LOCAL, or HOST:PORT; `source`: as the user gave it, for messages."""

    value: str
    source: str

    @property
    def own(self) -> bool:
        """Whether the command starts a cluster of its own."""
        return self.value == LOCAL

    def describe(self) -> str:
        """Whose cluster it is."""
        return "its own, until it ends" if self.own else f"the one at {self.value} ({self.source})"


def find_address(given: str | None) -> Address:
    """The cluster to work on: the given one, else that of RAY_ADDRESS, else one of its own.

    Raises ResourceError, which names where the address came from, if no Ray cluster of this version
    is there or it does not let this user in.
    """
    variable = os.environ.get("RAY_ADDRESS", "").strip()
    text = (given or "").strip() or variable
    source = f"--address {text}" if given else f"RAY_ADDRESS={text}"
    if text in ("", LOCAL):
        return Address(LOCAL, source if text else "")
    value = text
    if text == "auto":
        value = _running_here(source)
    _require_form(value, source)
    _probe(value, source)
    return Address(value, source)


def _running_here(source: str) -> str:
    """The cluster that was last started on this machine with `ray start`."""
    folder = Path(os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp") / "ray"
    try:
        found = (folder / "ray_current_cluster").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        found = ""
    if not found:
        raise ResourceError(
            source, "no Ray cluster was started on this machine", f"give {_WANTED}, or unset it"
        )
    return found


def _require_form(value: str, source: str) -> None:
    """Refuse what is not the address of a head."""
    if value.startswith(("http://", "https://")):
        raise ResourceError(
            source,
            "is the address of a dashboard, where `ray job submit` goes",
            f"submit a job there, or give {_WANTED}",
        )
    if value.startswith("ray://"):
        raise ResourceError(
            source,
            "is the address of a Ray Client server, which cannot pass on images and weights",
            f"start the command on a node of the cluster, with {_WANTED}",
        )
    match = _HOST_PORT.fullmatch(value)
    if match is None or not 0 < int(match["port"]) < 65536:
        raise ResourceError(source, "is not the address of a Ray cluster", f"give {_WANTED}")


def _probe(value: str, source: str) -> None:
    """Ask the head whether it is alive."""
    metadata = [("authorization", f"Bearer {token}")] if (token := _token()) else []
    with grpc.insecure_channel(value, options=[("grpc.enable_http_proxy", 0)]) as channel:
        ask = channel.unary_unary(_CHECK_ALIVE)
        try:
            reply = ask(b"", timeout=PROBE, metadata=metadata)
        except grpc.RpcError as error:
            raise _refusal(error.code(), source, with_token=bool(token)) from None
    if ray.__version__.encode() not in reply:
        raise ResourceError(
            source,
            f"the cluster there does not run Ray {ray.__version__}",
            "install the same version on all nodes",
        )


def _refusal(code: grpc.StatusCode, source: str, *, with_token: bool) -> ResourceError:
    if code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
        why = "does not accept this token" if with_token else "requires a token"
        return ResourceError(
            source, f"the cluster there {why}", "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN to its"
        )
    if code == grpc.StatusCode.DEADLINE_EXCEEDED:
        why = f"no answer of a Ray cluster within {PROBE:.0f} s"
    elif code == grpc.StatusCode.UNAVAILABLE:
        why = "no Ray cluster there"
    else:
        why = "what listens there is not the head of a Ray cluster"
    return ResourceError(source, why, f"check `ray status` there, and give {_WANTED}")


def _token() -> str:
    """The token that Ray would send, from where it looks for one; "" if it sends none."""
    if os.environ.get("RAY_AUTH_MODE", "").lower() != "token":
        return ""
    if token := os.environ.get("RAY_AUTH_TOKEN", "").strip():
        return token
    path = os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token"
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""
