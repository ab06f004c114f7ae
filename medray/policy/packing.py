"""Pairs as arrays: what is sent from the editor to the learners.

The side that is the policy's own answer keeps its sampled tokens; the other side is encoded
from its text. Pixels are stored once per picture, by digest, however many pairs share it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from medray.editing.alignment import edit_mask, encode_answer, token_offsets
from medray.editing.relevance import normalise
from medray.errors import ItemError
from medray.policy.model.chat import ChatCodec
from medray.records import Pair, Response, Span


@dataclass(frozen=True, slots=True)
class Side:
    """One answer: token ids int64 [T], end-of-turn included; edited bool [T].

    behaviour: float32 [T] in nats, the log-probability of each token under the policy that
    sampled it; None if not recorded.
    """

    ids: np.ndarray
    edited: np.ndarray
    behaviour: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class PackedPair:
    """One pair ready for scoring; `corrupted_key` is "" if it has no v'.

    `relevance` is raw from the editor; `merge_batches` normalises it over the step's pairs.
    """

    pair_id: str
    prompt_ids: np.ndarray  # int64 [P], image placeholder expanded
    chosen: Side
    rejected: Side
    image_key: str
    corrupted_key: str
    relevance: float

    def side(self, name: str) -> Side:
        return self.chosen if name == "chosen" else self.rejected


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """Pairs and the pixels they name, each float32 [3, h, w]."""

    pairs: tuple[PackedPair, ...]
    pixels: dict[str, np.ndarray]


def merge_batches(batches: Sequence[PackedBatch]) -> list[PackedPair]:
    """All pairs in order of their ids, however batched; relevance normalised over all of them."""
    pairs = sorted((p for batch in batches for p in batch.pairs), key=lambda p: p.pair_id)
    weights = normalise([pair.relevance for pair in pairs], "window")
    return [replace(pair, relevance=weight) for pair, weight in zip(pairs, weights, strict=True)]


def pack_reference(
    codec: ChatCodec,
    pair: Pair,
    response: Response,
    prompt_ids: np.ndarray,
    image_key: str,
    *,
    context: int,
) -> PackedPair:
    """The reference answer as y+ (`pair.chosen`), for objectives that imitate it; no edits."""
    reference_ids = token_ids(codec, pair.chosen, finished=True)
    sampled_ids = np.asarray(response.token_ids, dtype=np.int64)
    if len(prompt_ids) + max(len(reference_ids), len(sampled_ids)) > context:
        raise ItemError("pair-too-long")
    chosen, rejected = (
        Side(ids, np.zeros(len(ids), dtype=bool))
        for ids in (np.asarray(reference_ids), sampled_ids)
    )
    return PackedPair(pair.pair_id, prompt_ids, chosen, rejected, image_key, "", pair.relevance)


def sampled_side(codec: ChatCodec, response: Response, spans: Sequence[Span]) -> Side:
    """The policy's own answer: its sampled tokens, spans aligned by a checked round trip, and
    the log-probabilities with which the tokens were sampled."""
    ids = list(response.token_ids)
    offsets = token_offsets(codec.tokenizer, ids, response.text)
    side = _side(ids, edit_mask(offsets, spans))
    behaviour = np.asarray(response.token_logps, dtype=np.float32)
    if len(behaviour) != len(ids):
        raise ItemError("alignment-failed", f"{len(behaviour)} log-probs of {len(ids)} tokens")
    return replace(side, behaviour=behaviour)


def written_side(codec: ChatCodec, text: str, spans: Sequence[Span], *, finished: bool) -> Side:
    """The editor's text, encoded; its turn is ended exactly if the response's was (`finished`)."""
    ids = token_ids(codec, text, finished=finished)
    return _side(ids, edit_mask(token_offsets(codec.tokenizer, ids, text), spans))


def pack_pair(
    codec: ChatCodec,
    pair: Pair,
    response: Response,
    prompt_ids: np.ndarray,
    image_key: str,
    corrupted_key: str,
    *,
    context: int,
) -> PackedPair:
    """Tokens and masks of both sides; ItemError if they cannot be aligned or do not fit."""
    sampled_spans, written_spans = pair.chosen_spans, pair.rejected_spans
    if not pair.response_was_correct:
        sampled_spans, written_spans = written_spans, sampled_spans
    sampled = sampled_side(codec, response, sampled_spans)
    text = pair.rejected if pair.response_was_correct else pair.chosen
    written = written_side(codec, text, written_spans, finished=response.finished)
    if len(prompt_ids) + max(len(sampled.ids), len(written.ids)) > context:
        raise ItemError("pair-too-long")
    chosen, rejected = (sampled, written) if pair.response_was_correct else (written, sampled)
    return PackedPair(
        pair.pair_id, prompt_ids, chosen, rejected, image_key, corrupted_key, pair.relevance
    )


def token_ids(codec: ChatCodec, text: str, *, finished: bool) -> list[int]:
    """The tokens of an answer, with the end of its turn if it is finished."""
    ids = encode_answer(codec.tokenizer, text)
    return [*ids, codec.eos_id] if finished else ids


def _side(ids: list[int], edited: list[bool]) -> Side:
    if not any(edited):
        raise ItemError("edit-mask-empty")
    return Side(np.asarray(ids, dtype=np.int64), np.asarray(edited, dtype=bool))
