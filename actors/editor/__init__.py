"""Responses in, pairs and a packed batch out: edits, relevance, corruption, packing.

Where nothing is edited, the Packer makes pairs of what the dataset gives.
"""

from actors.editor.actor import Editor
from actors.editor.packer import Packer

__all__ = ["Editor", "Packer"]
