"""Weights on their way: `manifest` describes an update in the object store.

`checkpoint` keeps them on disk with the state of the run.
"""

from actors.weights.manifest import Manifest, Shard

__all__ = ["Manifest", "Shard"]
