"""Grounding DINO (Liu et al., ECCV 2024): boxes of a phrase."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from medray.config import LocaliserConfig
from medray.localising.base import mask_regions
from medray.localising.concepts import Concept
from medray.localising.loading import load_tool
from medray.records import Region


class GroundingDino:
    """One region per box with a score of at least `threshold`."""

    def __init__(self, path: Path, config: LocaliserConfig, device: str) -> None:
        self.config, self.device = config, device
        self.model, self.processor = load_tool(path, "grounding-dino", device)

    @torch.inference_mode()
    def find(self, image: np.ndarray, concept: Concept) -> tuple[Region, ...]:
        height, width = image.shape[:2]
        inputs = self.processor(text=[[concept.phrase]], images=[image], return_tensors="pt")
        outputs = self.model(**inputs.to(self.device))
        found = self.processor.post_process_grounded_object_detection(
            outputs, inputs["input_ids"], self.config.threshold, target_sizes=[(height, width)]
        )[0]
        boxes = found["boxes"].cpu().numpy()
        regions = []
        for corners, score in zip(boxes, found["scores"].tolist(), strict=True):
            x0, y0 = np.floor(corners[:2]).astype(int).clip(0).tolist()
            x1, y1 = np.minimum(np.ceil(corners[2:]), (width, height)).astype(int).tolist()
            mask = np.zeros((height, width), dtype=bool)
            mask[y0:y1, x0:x1] = True
            if mask_regions(mask, concept, score, self.config):
                box = (x0, y0, x1, y1)
                regions.append(Region(concept.name, box=box, source="grounding-dino", score=score))
        return tuple(regions)
