"""The trained policy for others: tensors for a generator, folders for people."""

from medray.policy.export.model_folder import write_adapter, write_merged
from medray.policy.export.weight_update import export_items

__all__ = ["export_items", "write_adapter", "write_merged"]
