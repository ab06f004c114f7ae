"""Losses of ten naive training steps: `python -m tests.golden.naive_training`.

Nothing of medray's packing, scoring, objectives or learner is used: one unpadded forward pass
per branch with all logits (tests/support/datasets/pairs.py), the papers' formulas written out
below, torch's AdamW. The real learner must reproduce the losses in losses.txt
(tests/integration/learner/test_golden.py).
"""

from __future__ import annotations

import copy
from pathlib import Path

import torch
import torch.nn.functional as F

from medray.config import LoraConfig, ModelConfig
from medray.objectives import OBJECTIVES
from medray.policy.model.loading import load_model, resolve_model_path
from medray.policy.model.tuning import prepare_policy
from tests.support.datasets.pairs import naive_scores, phantom_batch

FILE = Path(__file__).with_name("losses.txt")
STEPS, LR, CLIP, SEED = 10, 1e-3, 1.0, 0
LORA = LoraConfig(rank=4, alpha=8.0)


def delta(scores, name, mask="response_mask"):
    branch = scores[name]
    return ((branch["policy_logp"] - branch["ref_logp"]) * branch[mask]).sum(-1)


def fire(scores):
    def reward(name):
        return 0.1 * delta(scores, name, "edit_mask")

    visual = -F.logsigmoid(reward("corrupt/rejected") - reward("corrupt/chosen"))
    chosen = scores["clean/chosen"]
    kl = ((0.5 * chosen["kl_fwd"] + 0.5 * chosen["kl_rev"]) * chosen["edit_mask"]).sum(-1)
    rank = -F.logsigmoid(reward("clean/chosen") - reward("clean/rejected"))
    return rank + 0.1 * visual * scores["has_corrupt"] + 0.01 * kl


def dpo(scores):
    return -F.logsigmoid(0.1 * (delta(scores, "clean/chosen") - delta(scores, "clean/rejected")))


def mdpo(scores):
    chosen = delta(scores, "clean/chosen")
    conditional = -F.logsigmoid(0.1 * (chosen - delta(scores, "corrupt/chosen")))
    return dpo(scores) + conditional * scores["has_corrupt"] - F.logsigmoid(0.1 * chosen)


def mmedpo(scores):
    return -F.logsigmoid(0.1 * (delta(scores, "clean/chosen") - delta(scores, "corrupt/rejected")))


def window(raw):
    """Normalised relevance of the step's pairs: mean 1, variance 0.1, clipped to [0.75, 1.25]."""
    deviation = raw.std(correction=0)
    return (1 + 0.1**0.5 * (raw - raw.mean()) / deviation).clamp(0.75, 1.25)


FORMULAS = {"fire": fire, "dpo": dpo, "mdpo": mdpo, "mmedpo": mmedpo}


def train(name: str) -> list[float]:
    """The mean loss of every step, before its update."""
    torch.manual_seed(SEED)
    base = load_model(resolve_model_path("phantom/base"), "float32")
    policy = prepare_policy(copy.deepcopy(base), ModelConfig(lora=LORA)).train()
    reference = base.eval().requires_grad_(False)
    trained = [p for p in policy.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=LR, weight_decay=0.0)
    losses = []
    for step in range(STEPS):
        batch = phantom_batch(seed=step)
        needs = OBJECTIVES[name].needs  # which branches to compute, nothing else
        scores = naive_scores(policy, reference, list(batch.pairs), batch.pixels, needs)
        loss = (FORMULAS[name](scores) * window(scores["relevance"])).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, CLIP)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def read() -> dict[str, list[float]]:
    """Read losses.txt: a line per objective, its name and ten losses."""
    lines = (line.split() for line in FILE.read_text().splitlines() if not line.startswith("#"))
    return {name: [float(value) for value in values] for name, *values in lines}


def main() -> None:
    lines = ["# Ten fp32 steps on the shipped model: `python -m tests.golden.naive_training`"]
    for name in FORMULAS:
        lines.append(" ".join([name, *(f"{loss:.7f}" for loss in train(name))]))
    FILE.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
