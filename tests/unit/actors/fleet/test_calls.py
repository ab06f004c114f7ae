"""Why an actor is lost, in words."""

from __future__ import annotations

import asyncio

import pytest
from ray.exceptions import ActorUnavailableError, RayActorError

from actors.fleet.calls import NODE_GONE, UNREACHABLE, ActorLost, await_ref


async def _fails(error: Exception) -> None:
    raise error


def lost_by(error: Exception) -> ActorLost:
    with pytest.raises(ActorLost) as caught:
        asyncio.run(await_ref(_fails(error), 5.0, "Editor(replica=0)"))  # type: ignore[arg-type]
    return caught.value


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (ActorUnavailableError("RpcError: Socket closed rpc_code: 14", b"1" * 16), UNREACHABLE),
        (RayActorError(error_msg="The actor died because its node has died."), NODE_GONE),
        (
            RayActorError(error_msg="The actor's worker process has died."),
            "its process ended unexpectedly",
        ),
        (RayActorError(error_msg="killed by `ray.kill`"), "it was killed through Ray"),
    ],
)
def test_how_an_actor_was_lost(error, why):
    lost = lost_by(error)
    assert (lost.cause, lost.what) == ("died", "Editor(replica=0)")
    assert why in lost.why
    assert lost.with_node == (why == NODE_GONE)
    assert "rpc" not in str(lost).lower()
