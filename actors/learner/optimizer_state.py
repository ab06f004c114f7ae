"""float32 masters and AdamW's moments behind a DeepSpeed engine, by parameter name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from actors.learner import deepspeed_internals as internals

MASTER, MOMENTS = "fp32", ("exp_avg", "exp_avg_sq")
KEYS = (MASTER, *MOMENTS)
Shapes = dict[str, tuple[int, ...]]


class OptimizerState:
    """Reads and writes complete values, whatever the ZeRO stage.

    ZeRO-0 keeps them complete on every rank, the other stages a partition per rank. `deepspeed` is
    the module, whose helpers know the stages above 0.
    """

    def __init__(self, engine: Any, policy: nn.Module, stage: int, deepspeed: Any) -> None:
        self.optimizer, self.stage, self.deepspeed = engine.optimizer, stage, deepspeed
        self.adamw = getattr(engine.optimizer, "optimizer", engine.optimizer)
        self.parameters = {n: p for n, p in policy.named_parameters() if p.requires_grad}
        self._masters = self._complete_masters() if stage == 0 else {}
        self._prepare()

    def shapes(self) -> Shapes:
        """Complete shape of every trainable parameter, in the model's order."""
        return {
            name: internals.complete_shape(parameter) for name, parameter in self.parameters.items()
        }

    @property
    def steps(self) -> int:
        """How often AdamW has stepped; its bias correction depends on it."""
        return int(self.adamw.state[self._flat()[0]]["step"])

    @steps.setter
    def steps(self, count: int) -> None:
        for flat in self._flat():
            self.adamw.state[flat]["step"].fill_(count)

    def read(self, name: str, key: str) -> Tensor:
        """One complete value, float32; all ranks call it: above ZeRO-0 it is a collective."""
        if self.stage == 0:
            master = self._masters[name]
            return master.detach() if key == MASTER else self.adamw.state[master][key]
        parameter, helpers = self.parameters[name], self.deepspeed.utils
        if key == MASTER:
            return helpers.safe_get_full_fp32_param(parameter)
        return helpers.safe_get_full_optimizer_state(parameter, key)

    @torch.no_grad()
    def write(self, name: str, values: Mapping[str, Tensor]) -> None:
        """Set all of KEYS and the weight itself; all ranks call it with the same values."""
        parameter = self.parameters[name]
        if self.stage == 0:
            master = self._masters[name]
            master.copy_(values[MASTER])
            for key in MOMENTS:
                self.adamw.state[master][key].copy_(values[key])
        elif self.stage < 3:
            helpers = self.deepspeed.utils
            helpers.safe_set_full_fp32_param(parameter, values[MASTER])
            for key in MOMENTS:
                helpers.safe_set_full_optimizer_state(parameter, values[key], key)
        else:
            helpers = self.deepspeed.utils
            own = {key: internals.own_partition(parameter, values[key]) for key in KEYS}
            helpers.safe_set_local_fp32_param(parameter, own[MASTER])
            for key in MOMENTS:
                helpers.safe_set_local_optimizer_state(parameter, own[key], key)
        self._set_weight(parameter, values[MASTER])

    def relink_moments(self) -> None:
        """Link moments to parameters, at the start and after every `reload_states`."""
        if self.stage in (1, 2):
            internals.relink_moments(self.optimizer)

    def _set_weight(self, parameter: nn.Parameter, value: Tensor) -> None:
        """The weight that the forward pass reads: the master, rounded to the weight's dtype."""
        if self.stage < 3:
            parameter.data.copy_(value)
            return
        with self.deepspeed.zero.GatheredParameters([parameter], modifier_rank=0):
            parameter.data.copy_(value)

    def _complete_masters(self) -> dict[str, Tensor]:
        """ZeRO-0: the parameters themselves in float32, otherwise the optimiser's copies."""
        if self.adamw is self.optimizer:
            return dict(self.parameters)
        names = {id(p): name for name, p in self.parameters.items()}
        masters = internals.fp32_masters(self.optimizer, self.adamw)
        return {names[id(weight)]: master for weight, master in masters}

    def _flat(self) -> list[Tensor]:
        """The tensors that AdamW steps on, on this rank."""
        if self.stage == 3:
            return internals.flat_partitions(self.optimizer)
        return [p for group in self.adamw.param_groups for p in group["params"]]

    def _prepare(self) -> None:
        """Create AdamW's state as its first step would, so that it can be read and written before.

        DeepSpeed's bf16 ZeRO-0 optimiser has created it by a step on zero gradients. AdamW counts
        that step, and its bias correction would shrink the first real steps by a quarter
        (measured: 0.74 of lr).
        """
        for flat in self._flat():
            zeros = {key: torch.zeros_like(flat, requires_grad=False) for key in MOMENTS}
            # The fused kernel counts steps where the weights are.
            self.adamw.state[flat] = {"step": torch.zeros((), device=flat.device), **zeros}
        self.relink_moments()
