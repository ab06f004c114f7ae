"""A Kubernetes manifest of a run, before it is applied: definitions, rules, and what the run needs.

Nothing is sent to a cluster, and nothing of one is read.
"""

from medray.manifest.check import Checked, ManifestRun, check_manifest

__all__ = ["Checked", "ManifestRun", "check_manifest"]
