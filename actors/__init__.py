"""medray on Ray. Plain classes, few verbs, no maths; `ray.remote` only where they are spawned."""
