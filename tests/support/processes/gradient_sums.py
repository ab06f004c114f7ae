"""A sum over micro-batches in DeepSpeed's hands; in a module that Ray's processes can import."""

from __future__ import annotations

import torch

from actors.learner.process_group import deepspeed_config, open_meeting_point, start_process_group
from medray.config import Config


def gradient_norms(configs: list[Config], terms: list[float]) -> list[float]:
    """For each configuration, the norm of a gradient of four values in bfloat16, each the sum of
    `terms`, one a micro-batch. For a process of its own."""
    meeting_point = open_meeting_point()
    address, port = meeting_point.getsockname()
    start_process_group(0, 1, address, port, meeting_point)
    import deepspeed

    norms = []
    for config in configs:
        layer = torch.nn.Linear(4, 1, bias=False).to(torch.bfloat16)
        engine, *_ = deepspeed.initialize(
            model=layer,
            model_parameters=list(layer.parameters()),
            optimizer=torch.optim.AdamW(layer.parameters(), fused=True),
            config=deepspeed_config(config, 4),
        )
        for number, term in enumerate(terms, 1):
            engine.set_gradient_accumulation_boundary(number == len(terms))
            loss = engine(torch.full((1, 4), term, dtype=torch.bfloat16)).sum()
            engine.backward(loss, scale_wrt_gas=False)
        engine.step()
        norms.append(float(engine.get_global_grad_norm()))
        engine.destroy()
    return norms
