"""The policy as one module whose forward pass gives the values that are read, not all logits.

One module, so that a sharded engine can wrap it: everything that touches its weights happens
inside `forward`. The shapes R, L, U, N and K are those of `forest`; M is the image tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from medray.policy.adapted_linear import add_in_place
from medray.policy.architectures import Architecture, attention_window, forest_obstacle, text_config
from medray.policy.bfloat16_attention import speed_up
from medray.policy.model.tuning import base_model
from medray.policy.scoring.forest import Forest, Layout
from medray.policy.scoring.head import DeviceReadIndex, LogProbHead
from medray.policy.scoring.last_layer import last_layer_only_at
from medray.policy.scoring.masks import Masks, attention_masks


class Scorer(nn.Module):
    """A policy (plain or under PEFT) that scores forests; decide before what trains in it."""

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
        model: Any = base_model(policy)
        speed_up(model.model.language_model)
        add_in_place(policy)
        config = model.config.to_dict()
        text = dict(text_config(config))
        context = int(text.get("max_position_embeddings", 2048))
        self.head = LogProbHead(text)
        groups = architecture.group_marks
        marks = (*groups["vision"], *groups["projector"])
        # If frozen, a picture's features are the same in policy and reference.
        self.vision_is_frozen = not any(
            p.requires_grad and any(mark in name for mark in marks)
            for name, p in policy.named_parameters()
        )
        self.layout = Layout(
            architecture,
            image_token,
            break_even_length(text),
            trees=not forest_obstacle(config),
            row_tokens=row_tokens,
            window=attention_window(text, context),
            masks_by_kind="sliding_attention" in (text.get("layer_types") or ()),
        )

    def forward(
        self,
        forest: DeviceForest | None = None,
        pictures: Sequence[Tensor] | None = None,
        features: Sequence[Tensor] | None = None,
        stage: str = "values",
        reference: tuple[nn.Linear | None, Tensor] | None = None,
    ) -> Any:
        """The output of one `stage` of the forward pass.

        features: those of each of `pictures` [n, F], see `Architecture`;
        hidden: last hidden states [U, D] at the positions that are read;
        values: policy_logp [N] and, with a `reference` (its output layer or None for this
        model's, and its hidden states), ref_logp [N], kl_fwd [K], kl_rev [K].
        `features` replace `pictures` if they are known.
        """
        model = base_model(self.policy)
        if features is None:
            assert pictures is not None, "pictures or their features"
            features = self.layout.architecture.features(model, pictures)
        if stage == "features":
            return tuple(features)
        assert forest is not None, "rows to read from"
        hidden = self._hidden(model, forest, features)
        if stage == "hidden":
            return hidden
        return self.head(model.lm_head, hidden, forest.read_index, reference)

    def _hidden(self, model: Any, forest: DeviceForest, features: Sequence[Tensor]) -> Tensor:
        embedded = model.get_input_embeddings()(forest.ids)
        images = torch.cat([features[number] for number in forest.tree_images])
        inputs = self.layout.architecture.language_inputs(embedded, images, forest.image_positions)
        language_model = model.model.language_model
        with last_layer_only_at(forest.read_positions, language_model):
            hidden = language_model(
                **inputs,
                attention_mask=forest.mask,
                position_ids=forest.position_ids,
                use_cache=False,
            ).last_hidden_state
        return hidden.reshape(-1, hidden.shape[-1])[forest.read_positions]


@dataclass(frozen=True, slots=True)
class DeviceForest:
    """A forest as tensors on a device.

    ids int64 [R, L]; mask: see `attention_masks` (trees), or int64 [R, L] (separate sequences);
    position_ids int64 [R, L] or [3, R, L]; image_positions [M] and read_positions [U] are flat.
    """

    ids: Tensor
    mask: Masks
    position_ids: Tensor
    image_positions: Tensor
    read_positions: Tensor
    tree_images: tuple[int, ...]
    read_index: DeviceReadIndex


def to_device(forest: Forest, layout: Layout, device: torch.device) -> DeviceForest:
    """The tensors of one forward pass."""

    def tensor(array: Any) -> Tensor:
        return torch.from_numpy(array).to(device)

    position_ids, index = tensor(forest.position_ids), forest.read_index
    masks = attention_masks(forest, layout, device) if layout.trees else tensor(forest.used).long()
    return DeviceForest(
        ids=tensor(forest.ids),
        mask=masks,
        position_ids=position_ids[0] if len(position_ids) == 1 else position_ids,
        image_positions=tensor(forest.image_positions),
        read_positions=tensor(index.positions),
        tree_images=forest.tree_images,
        read_index=DeviceReadIndex(
            tensor(index.logp_index),
            tensor(index.targets),
            tensor(index.kl_index),
            index.directions,
        ),
    )


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
