"""medray on Ray. Plain classes, few verbs, no maths; `ray.remote` only where they are spawned."""

from medray.process import collect_rarely

# Set in the processes of engines that medray starts, for `vllm_plugin`; workers inherit it.
ENGINE_MARK = "MEDRAY_ENGINE"

# Set in all processes of a cluster of the command's own: ranks need not be reached from elsewhere.
ONE_MACHINE = "MEDRAY_ONE_MACHINE"

collect_rarely()  # in every actor, before it imports what it works with
