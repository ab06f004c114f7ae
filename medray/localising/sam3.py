"""SAM 3 (Carion et al., 2025): a mask of every instance of a phrase."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from medray.config import LocaliserConfig
from medray.localising.base import mask_regions
from medray.localising.concepts import Concept
from medray.localising.loading import load_tool
from medray.records import Region


class Sam3:
    """Instances with a score of at least `threshold`, together; their best score counts.

    The score of an instance includes the probability that the picture has the concept at all.
    """

    def __init__(self, path: Path, config: LocaliserConfig, device: str) -> None:
        self.config, self.device = config, device
        self.model, self.processor = load_tool(path, "sam3", device)

    @torch.inference_mode()
    def find(self, image: np.ndarray, concept: Concept) -> tuple[Region, ...]:
        inputs = self.processor(images=[image], text=[concept.phrase], return_tensors="pt")
        inputs = inputs.to(self.device)
        outputs = self.model(
            pixel_values=inputs["pixel_values"],
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
        )
        found = self.processor.post_process_instance_segmentation(
            outputs, self.config.threshold, target_sizes=[image.shape[:2]]
        )[0]
        scores = found["scores"].tolist()
        if not scores:
            return ()
        mask = found["masks"].bool().any(dim=0).cpu().numpy()
        return mask_regions(mask, concept, max(scores), self.config)
