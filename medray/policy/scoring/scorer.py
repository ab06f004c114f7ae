"""The policy as one module whose forward pass gives values per reading instead of logits.

One module, so that a sharded engine can wrap it: everything that touches its weights happens
inside `forward`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from medray.policy.architectures import Architecture, forest_obstacle, text_config
from medray.policy.model.tuning import base_model
from medray.policy.scoring.forest import Forest, Layout
from medray.policy.scoring.head import ReadingHead, Reads
from medray.policy.scoring.last_layer import only_at


class Scorer(nn.Module):
    """A policy (plain or under PEFT) that answers forests; what trains in it is settled before."""

    def __init__(
        self,
        policy: nn.Module,
        architecture: Architecture,
        image_token: int,
        *,
        row_tokens: int | None = None,
    ) -> None:
        super().__init__()
        self.policy = policy
        tree = base_model(policy).config.to_dict()
        text = dict(text_config(tree))
        context = int(text.get("max_position_embeddings", 2048))
        self.head = ReadingHead(text)
        groups = architecture.group_marks
        marks = (*groups["vision"], *groups["projector"])
        # Whether the features of a picture are the same in policy and reference.
        self.vision_is_frozen = not any(
            p.requires_grad and any(mark in name for mark in marks)
            for name, p in policy.named_parameters()
        )
        self.layout = Layout(
            architecture,
            image_token,
            break_even_length(text),
            trees=not forest_obstacle(tree, context),
            row_tokens=row_tokens,
        )

    def forward(
        self,
        planted: DeviceForest | None = None,
        pictures: Sequence[Tensor] | None = None,
        features: Sequence[Tensor] | None = None,
        what: str = "values",
        reference: tuple[nn.Linear | None, Tensor] | None = None,
    ) -> Any:
        """One of three things, by `what`.

        features: the projected features [n, D] of each of `pictures`;
        hidden: last hidden states [U, D] at the places that are read;
        values: policy_logp [N] and, beside a `reference` (its output layer or None for this
        model's, and its hidden states), ref_logp [N], kl_fwd [K], kl_rev [K].
        `features` stand in for `pictures` where they are known.
        """
        model = base_model(self.policy)
        if features is None:
            assert pictures is not None, "pictures or their features"
            features = self.layout.architecture.features(model, pictures)
        if what == "features":
            return tuple(features)
        assert planted is not None, "rows to read from"
        hidden = self._hidden(model, planted, features)
        if what == "hidden":
            return hidden
        return self.head(model.lm_head, hidden, planted.reads, reference)

    def _hidden(self, model: Any, planted: DeviceForest, features: Sequence[Tensor]) -> Tensor:
        embedded = model.get_input_embeddings()(planted.ids)
        images = torch.cat([features[number] for number in planted.order]).to(embedded.dtype)
        flat = embedded.reshape(-1, embedded.shape[-1])
        flat = flat.index_copy(0, planted.image_places, images)
        language_model = model.model.language_model
        with only_at(planted.places, language_model):
            hidden = language_model(
                inputs_embeds=flat.view_as(embedded),
                attention_mask=planted.mask,
                position_ids=planted.positions,
                use_cache=False,
            ).last_hidden_state
        return hidden.reshape(-1, hidden.shape[-1])[planted.places]


@dataclass(frozen=True, slots=True)
class DeviceForest:
    """A forest as tensors on a device.

    ids int64 [R, L]; mask bool [R, 1, L, L] (trees) or int64 [R, L] (separate sequences);
    positions int64 [R, L] or [3, R, L].
    """

    ids: Tensor
    mask: Tensor
    positions: Tensor
    image_places: Tensor
    places: Tensor
    order: tuple[int, ...]
    reads: Reads


def to_device(forest: Forest, layout: Layout, device: torch.device) -> DeviceForest:
    """The tensors of one forward pass."""

    def tensor(array: Any) -> Tensor:
        return torch.from_numpy(array).to(device)

    positions, readings = tensor(forest.positions), forest.readings
    mask = tree_mask(tensor(forest.end)) if layout.trees else tensor(forest.used).long()
    return DeviceForest(
        ids=tensor(forest.ids),
        mask=mask,
        positions=positions[0] if len(positions) == 1 else positions,
        image_places=tensor(forest.image_places),
        places=tensor(readings.places),
        order=forest.order,
        reads=Reads(
            tensor(readings.of), tensor(readings.targets), tensor(readings.kl), readings.directions
        ),
    )


def tree_mask(end: Tensor) -> Tensor:
    """Who sees whom: [R, 1, L, L], true where j ≤ i < end[j] (see medray.policy.scoring.tree)."""
    place = torch.arange(end.shape[1], device=end.device)
    i, j = place[:, None], place[None, :]
    return ((j <= i) & (i < end[:, None, :]))[:, None]


def break_even_length(text: dict[str, Any]) -> float:
    """Row length at which attention (4·h·L operations per token) costs as much as the rest.

    The rest is 2 operations per weight: query and output projection (d·h each), key and value
    (d·h·kv/heads each), three of the MLP (d·m each).
    """
    d, heads = int(text["hidden_size"]), int(text["num_attention_heads"])
    h = heads * int(text.get("head_dim") or d // heads)
    kv = h * int(text.get("num_key_value_heads") or heads) // heads
    weights = 2 * d * h + 2 * d * kv + 3 * d * int(text["intermediate_size"])
    return 2 * weights / (4 * h)
