"""CLIPSeg (Lüddecke and Ecker, CVPR 2022): a heat map of a phrase, at low resolution."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from medray.config import LocaliserConfig
from medray.errors import ModelError
from medray.localising.base import mask_regions
from medray.localising.concepts import Concept
from medray.localising.loading import load_tool
from medray.records import Region


class ClipSeg:
    """Marked is what is at least `threshold` probable; the score is the mean of those pixels."""

    def __init__(self, path: Path, config: LocaliserConfig, device: str) -> None:
        self.config, self.device = config, device
        self.model, self.processor = load_tool(path, "clipseg", device)
        if getattr(self.processor.image_processor, "do_center_crop", False):
            why = "its image processor crops, so that its maps do not cover the picture"
            raise ModelError(f"localiser.path = {path}", why, "set do_center_crop to false there")

    def find(self, image: np.ndarray, concept: Concept) -> tuple[Region, ...]:
        heat = self.heat(image, concept)
        mask = heat >= self.config.threshold
        score = float(heat[mask].mean()) if mask.any() else 0.0
        return mask_regions(mask, concept, score, self.config)

    @torch.inference_mode()
    def heat(self, image: np.ndarray, concept: Concept) -> np.ndarray:
        """The probability of each pixel, float32 [H, W], of an image, uint8 [H, W, 3]."""
        inputs = self.processor(
            text=[concept.phrase], images=[image], padding=True, return_tensors="pt"
        )
        logits = self.model(**inputs.to(self.device)).logits
        size = image.shape[:2]
        logits = logits.reshape(1, 1, *logits.shape[-2:]).float()
        full = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
        return full[0, 0].sigmoid().cpu().numpy()
