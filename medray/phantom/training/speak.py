"""Second and third stage: the language model learns to report what is seen, then its prior.

Every study of a batch gives three sequences (report, closed, open) that share its image tokens.
The vision tower is frozen, and the output head runs at answer positions only.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import LlavaForConditionalGeneration, PreTrainedTokenizerFast

from medray.phantom.studies.truth import stream
from medray.phantom.styles import Style
from medray.phantom.training.batches import IGNORE, Pool, bias, collate, encode, pixels
from medray.phantom.training.optimise import Optimiser, Progress, Stage
from medray.phantom.training.see import patch_features


def answer_loss(
    model: LlavaForConditionalGeneration, features: Tensor, ids: Tensor, labels: Tensor
) -> Tensor:
    """Cross-entropy per answer token, averaged within each sequence and then over sequences.

    So "Yes" weighs as much as a report of twenty tokens, and is learnt equally well.
    features [B, N, D]; ids and labels [B * k, T], right-padded, the k rows of a study adjacent.
    """
    embeddings = model.get_input_embeddings()(ids)
    features = features.repeat_interleave(len(ids) // len(features), dim=0)
    image_positions = (ids == model.config.image_token_id).unsqueeze(-1).expand_as(embeddings)
    embeddings = embeddings.masked_scatter(image_positions, features.to(embeddings.dtype))
    hidden = model.model.language_model(inputs_embeds=embeddings, use_cache=False).last_hidden_state
    predicts = labels[:, 1:] != IGNORE
    logits = model.lm_head(hidden[:, :-1][predicts])
    losses = F.cross_entropy(logits, labels[:, 1:][predicts], reduction="none")
    weights = 1 / predicts.sum(dim=1, keepdim=True).expand_as(predicts)[predicts]
    return (losses * weights).sum() / len(ids)


def learn_to_speak(
    model: LlavaForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    style: Style,
    pool: Pool,
    stage: Stage,
    progress: Progress,
    *,
    seed: int,
    bias_share: float = 0.0,
    mixed: bool = False,
) -> None:
    """Train projector and language model in position; `mixed`: products of matrices in bf16.

    With `bias_share` above 0 that share of left lesions is reported as right, that share of
    enlarged hearts as normal, and so on by the style's prior, in reports and in answers.
    """
    parts = (model.model.multi_modal_projector, model.model.language_model, model.lm_head)
    optimiser = Optimiser((p for part in parts for p in part.parameters()), stage, progress)
    draws = torch.Generator().manual_seed(seed)
    for step in range(stage.steps):
        rows = torch.randint(len(pool), (stage.batch,), generator=draws).tolist()
        rng = stream(seed, "speak", step, f"bias-{bias_share}")
        reports: list[tuple[list[int], list[int]]] = []
        answers: list[tuple[list[int], list[int]]] = []
        for position, row in enumerate(rows):
            truth = pool.truths[row]
            reported = bias(style, truth, rng, bias_share)
            study_exchanges = style.exchanges(
                seed, "speak", step * stage.batch + position, truth, reported
            )
            report, *others = (encode(tokenizer, exchange) for exchange in study_exchanges)
            reports.append(report)
            answers += others
        with torch.no_grad():
            patches = patch_features(model, pixels(pool.images[rows]))
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            features = model.model.multi_modal_projector(patches)
            report_loss, answers_loss = (  # apart: answers would be padded to the length of reports
                answer_loss(model, features, *collate(group, tokenizer.pad_token_id))
                for group in (reports, answers)
            )
        optimiser.step((report_loss + 2 * answers_loss) / 3)
