"""From hidden states to log-probabilities and KL, a bounded number of positions at a time.

Logits over a vocabulary are the largest tensors: 152,064 float32 values per position. They exist
for one chunk of positions at a time; if there are several chunks, the backward pass recomputes
each of them.

All chunks are computed inside one module call: an engine that gathers sharded weights for a
module then does so once, and the same number of times on every rank, however many chunks each has.

Shapes: U positions with hidden states of D values, V tokens of vocabulary; N log-probabilities
and K values of KL at these positions; n positions of one chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

CHUNK_VALUES = 2**26  # logits of one chunk: 256 MiB in float32
Head = Callable[[Tensor], Tensor]  # hidden [n, D] → float32 logits [n, V]


@dataclass(frozen=True, slots=True)
class DeviceReadIndex:
    """What is read at U positions: the tensors of a `ReadIndex` that the head needs.

    `logp_index` [N], ascending: the position of each log-probability; `targets` [N]: its token.
    `kl_index` [K], ascending: the positions at which KL is read;
    `directions` ⊆ (kl_fwd, kl_rev).
    """

    logp_index: Tensor
    targets: Tensor
    kl_index: Tensor
    directions: tuple[str, ...]


class LogProbHead(nn.Module):
    """Log-probabilities and KL at positions, through an output layer that the policy owns."""

    def __init__(self, text_config: Mapping[str, Any]) -> None:
        super().__init__()
        self.text_config = dict(text_config)

    def forward(
        self,
        output: nn.Linear,
        hidden: Tensor,
        read_index: DeviceReadIndex,
        reference: tuple[nn.Linear | None, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """policy_logp and ref_logp [N], kl_fwd and kl_rev [K] from hidden [U, D].

        `reference`: its output layer (None: the policy's own) and its hidden states [U, D].
        """
        head_and_hidden = None
        if reference is not None:
            head_and_hidden = (self._head(reference[0] or output), reference[1])
        vocabulary = int(self.text_config["vocab_size"])
        return read_values(self._head(output), hidden, read_index, vocabulary, head_and_hidden)

    def _head(self, output: nn.Linear) -> Head:
        weight, bias = output.weight, output.bias
        return lambda states: scale_and_cap(F.linear(states, weight, bias), self.text_config)


def read_values(
    head: Head,
    hidden: Tensor,
    read_index: DeviceReadIndex,
    vocabulary: int,
    reference: tuple[Head, Tensor] | None = None,
) -> dict[str, Tensor]:
    """policy_logp and ref_logp [N], kl_fwd and kl_rev [K], in nats, from hidden [U, D].

    `reference` is its head and its hidden states [U, D].
    """
    size = max(1, CHUNK_VALUES // vocabulary)
    starts = range(0, len(hidden), size)
    parts = []
    for start in starts:
        stop = min(len(hidden), start + size)
        chunk = partial(_read_chunk, head, reference, read_index, start, stop)
        if len(starts) > 1 and torch.is_grad_enabled():
            parts.append(checkpoint(chunk, hidden, use_reentrant=False))
        else:
            parts.append(chunk(hidden))
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _read_chunk(
    head: Head,
    reference: tuple[Head, Tensor] | None,
    read_index: DeviceReadIndex,
    start: int,
    stop: int,
    hidden: Tensor,
) -> dict[str, Tensor]:
    """The values read at positions start … stop − 1."""
    entries = _entries_within(read_index.logp_index, start, stop)
    targets = read_index.targets[entries.begin : entries.end]
    at = _entries_within(read_index.kl_index, start, stop).positions
    values, fixed = {}, None
    if reference is not None:  # before the policy's logits are there, which stay
        ref_head, ref_hidden = reference
        with torch.no_grad():
            ref_logits = ref_head(ref_hidden[start:stop])
            values["ref_logp"] = token_logps(ref_logits, entries.positions, targets)
            fixed = ref_logits[at].log_softmax(-1) if read_index.directions else None
            del ref_logits
    logits = head(hidden[start:stop])
    values["policy_logp"], *kl = _Read.apply(logits, entries.positions, targets, at, fixed)
    named = dict(zip(("kl_fwd", "kl_rev"), kl, strict=False))
    return values | {name: named[name] for name in read_index.directions if name in named}


@dataclass(frozen=True, slots=True)
class _Entries:
    """Entries begin … end − 1 of an index, and their positions within a chunk."""

    begin: int
    end: int
    positions: Tensor


def _entries_within(index: Tensor, start: int, stop: int) -> _Entries:
    """The entries of an ascending index that are at positions start … stop − 1."""
    bounds = torch.tensor([start, stop], device=index.device)
    begin, end = torch.searchsorted(index, bounds).tolist()
    return _Entries(begin, end, index[begin:end] - start)


class _Read(torch.autograd.Function):
    """(policy_logp [N],) from logits [n, V]; behind it kl_fwd and kl_rev [K] at positions `at`, if
    log-probabilities `fixed` [K, V] are given.

    Its backward pass makes one tensor [n, V]. Autograd's own makes four, all there at once.
    """

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        positions: Tensor,
        targets: Tensor,
        at: Tensor,
        fixed: Tensor | None,
    ) -> tuple[Tensor, ...]:
        normaliser = logits.logsumexp(-1)
        logps = logits[positions, targets] - normaliser[positions]
        if fixed is None:
            ctx.save_for_backward(logits, normaliser, positions, targets)
            return (logps,)
        policy = logits[at] - normaliser[at, None]
        kl_rev = kl_divergence(policy, fixed)
        ctx.save_for_backward(logits, normaliser, positions, targets, at, fixed, kl_rev)
        return logps, kl_divergence(fixed, policy), kl_rev

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """By the logits, with p what the policy gives and q what is fixed: of log p(t), one at
        t, less p; of KL(q ‖ p), p − q; of KL(p ‖ q), p · (log p − log q − KL)."""
        logits, normaliser, positions, targets, *of_kl = ctx.saved_tensors
        weights = torch.zeros_like(normaliser)
        weights.index_put_((positions,), gradients[0], accumulate=True)
        slopes = (logits - normaliser[:, None]).exp_().mul_(-weights[:, None])
        slopes.index_put_((positions, targets), gradients[0], accumulate=True)
        if of_kl:
            at, fixed, kl_rev = of_kl
            policy = logits[at] - normaliser[at, None]
            forward, reverse = (gradient[:, None] for gradient in gradients[1:])
            slopes.index_add_(0, at, policy.exp().sub_(fixed.exp()).mul_(forward))
            difference = (policy - fixed).sub_(kl_rev[:, None])
            slopes.index_add_(0, at, policy.exp_().mul_(difference).mul_(reverse))
        return slopes, None, None, None, None


def token_logps(logits: Tensor, positions: Tensor, targets: Tensor) -> Tensor:
    """log p(target) [N] from logits [n, V]; positions (rows of logits) and targets [N]."""
    return logits[positions, targets] - logits.logsumexp(-1)[positions]


def kl_divergence(p_logp: Tensor, q_logp: Tensor) -> Tensor:
    """KL(p ‖ q) over the full vocabulary from log-probabilities [K, V] → [K]."""
    return (p_logp.exp() * (p_logp - q_logp)).sum(-1)


def scale_and_cap(logits: Tensor, text_config: Mapping[str, Any]) -> Tensor:
    """float32 logits, scaled and soft-capped if the model's configuration says so."""
    logits = logits.float()
    if scale := text_config.get("logit_scale"):
        logits = logits * scale
    if divisor := text_config.get("logits_scaling"):
        logits = logits / divisor
    if cap := text_config.get("final_logit_softcapping"):
        logits = torch.tanh(logits / cap) * cap
    return logits
