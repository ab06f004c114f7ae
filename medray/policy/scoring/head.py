"""From hidden states to log-probabilities and KL, a bounded number of positions at a time.

Logits over a vocabulary are the largest tensors there are: 152,064 float32 values per position.
They exist for one chunk of positions only; where there are several chunks, the backward pass
makes each again.

All chunks are made inside one module call: an engine that gathers sharded weights for a module
then does so once, and the same number of times on every rank, however many chunks each has.
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
class Reads:
    """What is read at U positions.

    `of` [N], ascending: the position of each reading; `targets` [N]: the token whose
    log-probability it is. `kl` [K], ascending: the positions where KL is read;
    `directions` ⊆ (kl_fwd, kl_rev).
    """

    of: Tensor
    targets: Tensor
    kl: Tensor
    directions: tuple[str, ...]


class ReadingHead(nn.Module):
    """Values at positions, through an output layer that belongs to the policy."""

    def __init__(self, text_config: Mapping[str, Any]) -> None:
        super().__init__()
        self.text_config = dict(text_config)

    def forward(
        self,
        output: nn.Linear,
        hidden: Tensor,
        reads: Reads,
        reference: tuple[nn.Linear | None, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """policy_logp and ref_logp [N], kl_fwd and kl_rev [K] from hidden [U, D].

        `reference`: its output layer (None: the policy's own) and its hidden states [U, D].
        """
        beside = None
        if reference is not None:
            beside = (self._head(reference[0] or output), reference[1])
        vocabulary = int(self.text_config["vocab_size"])
        return read_values(self._head(output), hidden, reads, vocabulary, beside)

    def _head(self, output: nn.Linear) -> Head:
        weight, bias = output.weight, output.bias
        return lambda states: finish_logits(F.linear(states, weight, bias), self.text_config)


def read_values(
    head: Head,
    hidden: Tensor,
    reads: Reads,
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
        chunk = partial(_chunk, head, reference, reads, start, min(len(hidden), start + size))
        if len(starts) > 1 and torch.is_grad_enabled():
            parts.append(checkpoint(chunk, hidden, use_reentrant=False))
        else:
            parts.append(chunk(hidden))
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _chunk(
    head: Head,
    reference: tuple[Head, Tensor] | None,
    reads: Reads,
    start: int,
    stop: int,
    hidden: Tensor,
) -> dict[str, Tensor]:
    """The values read at positions start … stop − 1."""
    of, targets = _within(reads.of, start, stop), reads.targets
    logits = head(hidden[start:stop])
    values = {"policy_logp": token_logps(logits, of.places, targets[of.begin : of.end])}
    if reference is None:
        return values
    ref_head, ref_hidden = reference
    with torch.no_grad():
        ref_logits = ref_head(ref_hidden[start:stop])
    values["ref_logp"] = token_logps(ref_logits, of.places, targets[of.begin : of.end])
    if reads.directions:
        at = _within(reads.kl, start, stop).places
        policy, fixed = logits[at].log_softmax(-1), ref_logits[at].log_softmax(-1)
        both = {"kl_fwd": (fixed, policy), "kl_rev": (policy, fixed)}
        values |= {name: kl_divergence(*both[name]) for name in reads.directions}
    return values


@dataclass(frozen=True, slots=True)
class _Slice:
    begin: int
    end: int
    places: Tensor  # within the chunk


def _within(ascending: Tensor, start: int, stop: int) -> _Slice:
    bounds = torch.tensor([start, stop], device=ascending.device)
    begin, end = torch.searchsorted(ascending, bounds).tolist()
    return _Slice(begin, end, ascending[begin:end] - start)


def token_logps(logits: Tensor, places: Tensor, targets: Tensor) -> Tensor:
    """log p(target) of each reading, [N], from logits [n, V]; places and targets [N]."""
    return logits[places, targets] - logits.logsumexp(-1)[places]


def kl_divergence(p_logp: Tensor, q_logp: Tensor) -> Tensor:
    """KL(p ‖ q) over the full vocabulary from log-probabilities [K, V] → [K]."""
    return (p_logp.exp() * (p_logp - q_logp)).sum(-1)


def finish_logits(logits: Tensor, text_config: Mapping[str, Any]) -> Tensor:
    """float32 logits, scaled and soft-capped where the model's configuration says so."""
    logits = logits.float()
    if scale := text_config.get("logit_scale"):
        logits = logits * scale
    if divisor := text_config.get("logits_scaling"):
        logits = logits / divisor
    if cap := text_config.get("final_logit_softcapping"):
        logits = torch.tanh(logits / cap) * cap
    return logits
