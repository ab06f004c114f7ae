"""The registry of visual tools by `localiser.kind`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from medray.config import LocaliserConfig
from medray.localising.base import VisualTool
from medray.localising.loading import tool_directory


def _clipseg(path: Path, config: LocaliserConfig, device: str) -> VisualTool:
    from medray.localising.clipseg import ClipSeg  # imports torch

    return ClipSeg(path, config, device)


def _grounding_dino(path: Path, config: LocaliserConfig, device: str) -> VisualTool:
    from medray.localising.grounding_dino import GroundingDino

    return GroundingDino(path, config, device)


def _sam3(path: Path, config: LocaliserConfig, device: str) -> VisualTool:
    from medray.localising.sam3 import Sam3

    return Sam3(path, config, device)


TOOLS: dict[str, Callable[[Path, LocaliserConfig, str], VisualTool]] = {
    "clipseg": _clipseg,
    "grounding-dino": _grounding_dino,
    "sam3": _sam3,
}


def check_localiser(config: LocaliserConfig) -> None:
    """Raise ModelError if a localiser is configured that cannot be loaded."""
    if config.kind is not None:
        tool_directory(config)


def open_tool(config: LocaliserConfig, device: str) -> VisualTool:
    """Load the configured visual tool. Raises ModelError."""
    assert config.kind is not None
    return TOOLS[config.kind](tool_directory(config), config, device)
